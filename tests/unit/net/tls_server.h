/*
 * The other side of the TLS tests: certificates made on the spot, and a server on a thread of its own that serves one connection after
 * another by a script. OpenSSL's blocking calls only; the tests know what to expect of it.
 */
#ifndef WSHEALTHD_TESTS_NET_TLS_SERVER_H
#define WSHEALTHD_TESTS_NET_TLS_SERVER_H

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/net/support.h"

struct cert {
    X509 *x509;
    EVP_PKEY *key;
};

enum { DAY_S = 86400 };

struct cert_plan {
    const char *subject;   /* CN */
    const char *names;     /* "DNS:a.test,IP:127.0.0.1"; NULL: none */
    const struct cert *by; /* issuer; NULL: self-signed */
    long from_s, to_s;     /* from now */
    bool is_ca;
};

static inline void add_extension(X509 *x509, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, x509, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
}

static inline struct cert cert_make(const struct cert_plan *plan)
{
    static long serial = 1;
    struct cert cert = { X509_new(), EVP_EC_gen("P-256") };
    const struct cert *issuer = plan->by ? plan->by : &cert;
    X509_set_version(cert.x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert.x509), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert.x509), plan->from_s);
    X509_gmtime_adj(X509_getm_notAfter(cert.x509), plan->to_s);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert.x509), "CN", MBSTRING_UTF8, (const unsigned char *)plan->subject, -1, -1,
                               0);
    X509_set_issuer_name(cert.x509, X509_get_subject_name(issuer->x509));
    X509_set_pubkey(cert.x509, cert.key);
    add_extension(cert.x509, NID_basic_constraints, plan->is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (plan->names)
        add_extension(cert.x509, NID_subject_alt_name, plan->names);
    assert_true(X509_sign(cert.x509, issuer->key, EVP_sha256()) > 0);
    return cert;
}

static inline struct tls_context *context_of(const struct tls_options *options)
{
    struct err err = { 0 };
    struct tls_context *context = tls_context_new(options, &err);
    if (!context)
        fail_msg("%s", err.text);
    return context;
}

static inline void cert_free(struct cert *cert)
{
    X509_free(cert->x509);
    EVP_PKEY_free(cert->key);
}

static inline void cert_write(const struct cert *cert, const char *cert_path, const char *key_path)
{
    FILE *file = fopen(cert_path, "w");
    assert_non_null(file);
    PEM_write_X509(file, cert->x509);
    fclose(file);
    if (!key_path)
        return;
    file = fopen(key_path, "w");
    PEM_write_PrivateKey(file, cert->key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
}

/* What the server does with a connection, after the handshake where there is one. */
enum script {
    SERVE_ECHO,     /* until close_notify or EOF */
    SERVE_TALK,     /* sends many records at once, then echoes */
    SERVE_TRUNCATE, /* "bye", then FIN without close_notify */
    SERVE_RESET,    /* "bye", then RST */
    SERVE_GARBAGE,  /* after the handshake, bytes that are no record */
    SERVE_HTTP,     /* no TLS at all: what a plain port answers */
    SERVE_SILENT,   /* accepts and says nothing, until the client goes */
    SERVE_HALF,     /* a few bytes of a handshake record, then nothing */
    SERVE_EOF,      /* closes on the ClientHello */
    SERVE_NOISE     /* a handshake record of random bytes */
};

enum { TALK_RECORDS = 50, TALK_BYTES = 3000 };

struct tls_server {
    SSL_CTX *ctx;
    int fd, port;
    pthread_t thread;
    _Atomic enum script script;
    atomic_int handshakes, resumed, notified; /* close_notify received */
};

static inline void serve_echo(struct tls_server *server, SSL *ssl)
{
    static _Thread_local char data[16384];
    for (int n; (n = SSL_read(ssl, data, sizeof data)) > 0;)
        if (SSL_write(ssl, data, n) != n)
            return;
    if (SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN)
        atomic_fetch_add(&server->notified, 1);
}

static inline void serve_talk(SSL *ssl)
{
    char record[TALK_BYTES];
    for (int i = 0; i < TALK_RECORDS; i++) {
        memset(record, 'A' + i % 26, sizeof record);
        SSL_write(ssl, record, sizeof record);
    }
}

static inline void no_delay(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static inline void wait_until_gone(int fd)
{
    char sink[1024];
    while (read(fd, sink, sizeof sink) > 0)
        ;
}

static inline void serve_tls(struct tls_server *server, enum script script, int fd)
{
    SSL *ssl = SSL_new(server->ctx);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) != 1)
        goto out;
    atomic_fetch_add(&server->handshakes, 1);
    atomic_fetch_add(&server->resumed, SSL_session_reused(ssl));
    if (script == SERVE_TALK)
        serve_talk(ssl);
    if (script == SERVE_ECHO || script == SERVE_TALK)
        serve_echo(server, ssl);
    if (script == SERVE_TRUNCATE || script == SERVE_RESET)
        SSL_write(ssl, "bye", 3);
    if (script == SERVE_GARBAGE)
        assert_true(write(fd, "\x17\x03\x03\x00\x1e this is not a record of ours", 35) > 0);
    if (script == SERVE_ECHO || script == SERVE_TALK)
        SSL_shutdown(ssl);
out:
    if (script == SERVE_RESET)
        usleep(50000); /* the reset must not overtake the bytes */
    else
        shutdown(fd, SHUT_WR);
    if (script == SERVE_RESET)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
    else
        wait_until_gone(fd);
    SSL_free(ssl);
    ERR_clear_error();
}

static inline void serve_plain(enum script script, int fd)
{
    static const char http[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    char hello[4096];
    ssize_t n = read(fd, hello, sizeof hello);
    if (script == SERVE_HTTP)
        n = write(fd, http, sizeof http - 1);
    else if (script == SERVE_HALF)
        n = write(fd, "\x16\x03\x03\x00\x7a\x02\x00", 7);
    else if (script == SERVE_NOISE)
        n = write(fd, "\x16\x03\x03\x00\x10 a poor handshake", 22);
    (void)n;
    if (script == SERVE_EOF)
        shutdown(fd, SHUT_WR);
    wait_until_gone(fd);
}

static inline void *serve(void *arg)
{
    struct tls_server *server = arg;
    for (int fd; (fd = accept(server->fd, NULL, NULL)) >= 0; close(fd)) {
        no_delay(fd);
        enum script script = atomic_load(&server->script);
        if (script >= SERVE_HTTP)
            serve_plain(script, fd);
        else
            serve_tls(server, script, fd);
    }
    return NULL;
}

static inline void tls_server_start(struct tls_server *server, const struct cert *cert, const struct cert *intermediate)
{
    memset(server, 0, sizeof *server);
    server->ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_options(server->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_id_context(server->ctx, (const unsigned char *)"t", 1);
    if (cert) {
        assert_int_equal(SSL_CTX_use_certificate(server->ctx, cert->x509), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(server->ctx, cert->key), 1);
    }
    if (intermediate)
        SSL_CTX_add1_chain_cert(server->ctx, intermediate->x509);
    server->fd = listen_plain(&server->port, 16);
}

static inline void tls_server_run(struct tls_server *server, enum script script)
{
    atomic_store(&server->script, script);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static inline void tls_server_stop(struct tls_server *server)
{
    shutdown(server->fd, SHUT_RDWR); /* accept returns */
    pthread_join(server->thread, NULL);
    close(server->fd);
    SSL_CTX_free(server->ctx);
}

#endif
