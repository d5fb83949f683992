/*
 * The sentences that TLS has for its errors: OpenSSL's error queue, alerts of the peer, and the age of files. Owns nothing. Called by
 * agent/net/tls.c, tls_files.c, tls_cert.c and stream_tls.c.
 */
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/net/tls_impl.h"

void tls_error_text(char *out, size_t size)
{
    unsigned long error = ERR_peek_error();
    const char *text = ERR_reason_error_string(error);
    if (error == 0)
        snprintf(out, size, "unknown error");
    else if (ERR_SYSTEM_ERROR(error))
        snprintf(out, size, "%s", strerror((int)ERR_GET_REASON(error)));
    else if (text)
        snprintf(out, size, "%s", text);
    else
        snprintf(out, size, "OpenSSL error %lx", error);
}

void tls_span_text(int64_t ms, char *out, size_t size)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = { { 86400000, "day" }, { 3600000, "hour" }, { 60000, "minute" }, { 1000, "second" } };
    size_t i = 0;
    while (i < 3 && ms < units[i].ms)
        i++;
    long long n = ms / units[i].ms;
    snprintf(out, size, "%lld %s%s", n, units[i].unit, n == 1 ? "" : "s");
}

void tls_age_text(const char *name, const struct stat *seen, char *out, size_t size)
{
    char span[48];
    int64_t age_ms = clock_wall_ms() - (int64_t)seen->st_mtim.tv_sec * 1000;
    tls_span_text(age_ms > 0 ? age_ms : 0, span, sizeof span);
    if (seen->st_ino == 0)
        snprintf(out, size, "%s", name);
    else
        snprintf(out, size, "%s (changed %s ago)", name, span);
}

/* --- alerts --------------------------------------------------------------------------------------------------------- */

static bool is_about_certificate(int alert)
{
    return (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) || alert == SSL_AD_UNKNOWN_CA ||
           alert == SSL_AD_ACCESS_DENIED || alert == TLS13_AD_CERTIFICATE_REQUIRED;
}

static void refused_text(const struct tls_context *context, int alert, const char *word, char *out, size_t size)
{
    char ours[96];
    bool stale = context->stale[0] != '\0';
    tls_age_text("cert_file", &context->files.cert, ours, sizeof ours);
    snprintf(out, size, "the server refused our client certificate (alert %d, %s), %s%s%s", alert, word, ours,
             stale ? "; newer files cannot be used: " : "", context->stale);
}

/* A refused client certificate is a fault of the agent's configuration, so it has a reason of its own. */
static enum reason alert_text(const struct tls_link *link, int alert, char *out, size_t size)
{
    const char *word = SSL_alert_desc_string_long(alert);
    bool no_cert = link->cert_wanted && (is_about_certificate(alert) || alert == SSL_AD_HANDSHAKE_FAILURE);
    bool refused = is_about_certificate(alert) && link->context->has_cert;
    if (no_cert || alert == TLS13_AD_CERTIFICATE_REQUIRED)
        snprintf(out, size, "the server wants a client certificate, and none is configured (alert %d)", alert);
    else if (refused)
        refused_text(link->context, alert, word, out, size);
    else if (alert == SSL_AD_PROTOCOL_VERSION)
        snprintf(out, size, "the server does not speak TLS 1.%d or later (alert %d, %s)", link->context->min_version - 10, alert,
                 word);
    else if (alert == SSL_AD_HANDSHAKE_FAILURE)
        snprintf(out, size, "the server shares no version, cipher or parameter with us (alert %d, %s)", alert, word);
    else if (alert == SSL_AD_UNRECOGNIZED_NAME)
        snprintf(out, size, "the server does not serve this name (alert %d, %s)", alert, word);
    else if (alert == SSL_AD_NO_APPLICATION_PROTOCOL)
        snprintf(out, size, "the server speaks none of the protocols that were offered with ALPN: HTTP/2 (alert %d, %s)", alert,
                 word);
    else
        snprintf(out, size, "the server ended TLS with alert %d (%s)", alert, word);
    return no_cert || refused || alert == TLS13_AD_CERTIFICATE_REQUIRED ? REASON_TLS_CLIENT_CERT_REJECTED
                                                                        : REASON_TLS_HANDSHAKE_FAILED;
}

enum reason tls_failure_text(const struct tls_link *link, char *out, size_t size)
{
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_REASON(error);
    bool of_ssl = ERR_GET_LIB(error) == ERR_LIB_SSL;
    if (of_ssl && reason > SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + 255)
        return alert_text(link, reason - SSL_AD_REASON_OFFSET, out, size);
    if (of_ssl && (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_WRONG_SSL_VERSION))
        snprintf(out, size, "the server chose an older version than TLS 1.%d", link->context->min_version - 10);
    else
        tls_error_text(out, size);
    return REASON_TLS_HANDSHAKE_FAILED;
}
