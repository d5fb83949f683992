/* Inside of TLS: what contexts (tls.c), their files (tls_files.c), the judgement of certificates (tls_cert.c), the sentences of errors
 * (tls_error.c) and the stream (stream_tls.c) share. */
#ifndef WSHEALTHD_NET_TLS_IMPL_H
#define WSHEALTHD_NET_TLS_IMPL_H

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include "agent/net/tls.h"

enum { TLS_NAME_MAX = 256, TLS_RETRY_MS = 500 };

/* How the files were when they were read; zeroes for those that there are not. */
struct tls_files {
    struct stat ca, ca_dir, cert, key;
};

struct tls_context {
    unsigned refs;
    SSL_CTX *ssl_ctx;
    BIO_METHOD *bio_method; /* made by the first stream */
    bool verify, resume, has_cert;
    bool system_ca;
    int min_version;
    char *ca_file, *cert_file, *key_file;
    struct tls_files files; /* what ssl_ctx was made from */
    struct tls_files tried; /* what could not be used, with stale */
    char stale[200];        /* why newer files are not used; "": what is used is the newest */
    uint64_t retry_ms;      /* with stale: they are tried again then, or when they change */
    /* The last session of a resuming context, and the name of its server: it is never offered to another one. */
    SSL_SESSION *session;
    char *session_name;
};

/* What a handshake needs and learns, kept until it is over. */
struct tls_handshake {
    char name[TLS_NAME_MAX]; /* the name or address that the certificate must have */
    struct tls_info info;    /* from the certificates that the verification has seen */
    struct err failure;      /* the first failure of the verification; REASON_NONE: none */
    void (*on_done)(void *user, const struct err *err);
    void *user;
};

struct tls_held;

/* TLS over one stream. The SSL's app data. */
struct tls_link {
    SSL *ssl;
    struct stream *stream;
    struct tls_context *context;
    const uint8_t *in; /* wire bytes that OpenSSL has not read yet; they lie in the loop's slab */
    size_t in_len;
    struct tls_handshake *handshake; /* NULL once the handshake has succeeded */
    struct tls_held *held;           /* wire bytes for later; NULL: none */
    char *session_name;              /* of a resuming context */
    bool answered;                   /* something has come that looks like TLS */
    bool failed;                     /* the handshake has failed and on_done was called */
    bool cert_wanted;                /* the server asked for a client certificate, and we have none */
};

void tls_files_look(const struct tls_context *context, struct tls_files *files);
bool tls_files_same(const struct tls_files *a, const struct tls_files *b);
int tls_files_load(const struct tls_context *context, SSL_CTX *ctx, struct tls_files *files, struct err *err);

/* For SSL_set_verify. */
int tls_judge_certificate(int ok, X509_STORE_CTX *store);
/* Of certificates in words: a name, "a.test, b.test and 7 more", wall milliseconds (0: unknown). */
void tls_name_text(const X509_NAME *name, char *out, size_t size);
void tls_names_text(X509 *cert, char *out, size_t size);
int64_t tls_time_ms(const ASN1_TIME *time);
void tls_info_of_connection(struct tls_info *info, const SSL *ssl);

/* agent/net/tls_error.c */
void tls_span_text(int64_t ms, char *out, size_t size); /* "3 days", in the largest unit that fits */
/* "ca_file (changed 3 days ago)": after a rotation the age tells which side still has the old certificate. */
void tls_age_text(const char *name, const struct stat *seen, char *out, size_t size);
/* The reason at the head of OpenSSL's error queue, in words. tls_failure_text knows alerts and what they mean on this connection. */
void tls_error_text(char *out, size_t size);
enum reason tls_failure_text(const struct tls_link *link, char *out, size_t size);

#endif
