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
    const char *cert_file, *key_file; /* client certificate; both or none */
    bool verify;
    int min_version; /* 10, 11, 12, 13. Below 12 OpenSSL's security level is lowered too: those servers need it */
    bool resume;     /* for mass holding only */
};

struct tls_context; /* counted by reference; its files are read once, when it is made */
struct tls_context *tls_context_new(const struct tls_options *options,
                                    struct err *err); /* NULL: err names the file and OpenSSL's reason */
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* NULL is fine */

/* The leaf certificate and the connection, filled also when verification failed. Times are wall milliseconds; 0: unknown. */
struct tls_info {
    bool have_cert;
    char subject[128], issuer[128];
    int64_t not_before_ms, not_after_ms; /* of the leaf */
    int64_t chain_not_after_ms;          /* the earliest of the chain that was verified */
    char version[12], cipher[40];
    bool resumed;
};

#endif
