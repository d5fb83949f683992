/* TLS as a trace shows it: version, cipher, and the chain of certificates as the server has sent it, whether it was believed or not. */
#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/net/stream_impl.h"
#include "agent/net/tls_impl.h"

enum { CHAIN_SHOWN = 8 };

static void date(const ASN1_TIME *time, char out[CLOCK_STAMP_MAX])
{
    clock_stamp(tls_time_ms(time), out, CLOCK_STAMP_MAX);
    out[10] = '\0';
}

static void trace_certificate(X509 *cert, int at, struct trace *trace, const struct trace_by *by)
{
    char subject[128], issuer[128], names[256], from[CLOCK_STAMP_MAX], to[CLOCK_STAMP_MAX];

    tls_name_text(X509_get_subject_name(cert), subject, sizeof subject);
    tls_name_text(X509_get_issuer_name(cert), issuer, sizeof issuer);
    date(X509_get0_notBefore(cert), from);
    date(X509_get0_notAfter(cert), to);
    trace_note_by(trace, by, "certificate %d: %s, issued by %s", at, *subject ? subject : "(no subject)", issuer);
    if (at == 0) {
        tls_names_text(cert, names, sizeof names);
        trace_note_by(trace, by, "    valid %s to %s, for %s", from, to, names);
    } else {
        trace_note_by(trace, by, "    valid %s to %s", from, to);
    }
}

void stream_tls_trace(const struct stream *stream, struct trace *trace, const struct trace_by *by)
{
    const SSL *ssl = stream->tls ? stream->tls->ssl : NULL;
    STACK_OF(X509) *chain = ssl ? SSL_get_peer_cert_chain(ssl) : NULL;
    const char *cipher = ssl ? SSL_get_cipher_name(ssl) : NULL;
    struct trace_by more = *by;

    if (!ssl)
        return;
    more.continues = true;
    if (cipher && strcmp(cipher, "(NONE)") != 0)
        trace_note_by(trace, by, "%s, %s%s", SSL_get_version(ssl), cipher,
                      SSL_session_reused(ssl) == 1 ? ", a resumed session" : "");
    else
        trace_note_by(trace, by, "TLS was not agreed");
    for (int i = 0; chain && i < sk_X509_num(chain) && i < CHAIN_SHOWN; i++)
        trace_certificate(sk_X509_value(chain, i), i, trace, &more);
}
