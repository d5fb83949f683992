/*
 * TLS contexts and what is known of a peer's certificate. OpenSSL; identity by RFC 6125: SNI and name for names, address for IP
 * literals. Sessions are not resumed unless asked: a resumed session hides an expired certificate.
 */
#ifndef WSHEALTHD_NET_TLS_H
#define WSHEALTHD_NET_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/err.h"

struct tls_options {
    const char *ca_file;              /* NULL: the system's */
    const char *cert_file, *key_file; /* the client certificate and its key; both or none */
    bool verify;
    int min_version; /* 10, 11, 12, 13. Below 12 OpenSSL's security level is lowered too: those servers need it */
    bool resume;     /* for mass holding only */
};

/* Counted by reference. Its files are read when it is made, and again whenever they have changed since. New ones that cannot be used (one half
 * written, a certificate whose key has not come yet) are tried again shortly; until then the old ones hold. */
struct tls_context;
struct tls_context *tls_context_new(const struct tls_options *options,
                                    struct err *err); /* NULL: err names the file and OpenSSL's reason */
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context);              /* NULL is fine */
void tls_context_refresh(struct tls_context *context);            /* before each connection: looks whether the files have changed */
const char *tls_context_stale(const struct tls_context *context); /* why newer files are not used; "": there are none */

/* The leaf certificate and the connection, filled also when verification failed. Times are wall milliseconds; 0: unknown. */
struct tls_info {
    bool have_cert;
    char subject[128], issuer[128];
    int64_t not_before_ms, not_after_ms;    /* of the leaf */
    int64_t chain_not_after_ms;             /* the earliest of the chain that was verified */
    char version[12], cipher[40], alpn[12]; /* alpn: the protocol that was chosen; "": none */
    bool resumed;
};

#endif
