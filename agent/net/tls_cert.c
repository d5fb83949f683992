/*
 * What is to be said of certificates and alerts: the verification's verdict as a reason and a sentence, and the facts for the tls check.
 * Pure but for the wall clock. Called by OpenSSL during the handshake, and by agent/net/stream_tls.c.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/base/text.h"
#include "agent/net/tls_impl.h"

enum { CERT_NAMES_SHOWN = 5, CERT_LABEL_MAX = 160 };

static int64_t time_ms(const ASN1_TIME *time)
{
    struct tm tm;
    return time && ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) * 1000 : 0;
}

static void name_text(const X509_NAME *name, char *out, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    out[0] = '\0';
    if (!bio)
        return;
    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
    long len = BIO_get_mem_data(bio, &data);
    text_excerpt(slice_make(data, len > 0 ? (size_t)len : 0), size / 2, out, size);
    BIO_free(bio);
}

/* One name of the certificate in words; false: a kind that no connection asks for. */
static bool alt_name(const GENERAL_NAME *name, char *out, size_t size)
{
    if (name->type == GEN_DNS) {
        const ASN1_IA5STRING *dns = name->d.dNSName;
        text_excerpt(slice_make(ASN1_STRING_get0_data(dns), (size_t)ASN1_STRING_length(dns)), 64, out, size);
        return true;
    }
    if (name->type != GEN_IPADD)
        return false;
    int len = ASN1_STRING_length(name->d.iPAddress);
    const unsigned char *ip = ASN1_STRING_get0_data(name->d.iPAddress);
    return (len == 4 || len == 16) && inet_ntop(len == 4 ? AF_INET : AF_INET6, ip, out, (socklen_t)size);
}

/* "a.test, b.test and 7 more", from the alternative names, or the subject where there are none. */
static void names_text(X509 *cert, char *out, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    size_t len = 0;
    int shown = 0, more = 0;
    out[0] = '\0';
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
        char one[80];
        if (!alt_name(sk_GENERAL_NAME_value(names, i), one, sizeof one))
            continue;
        if (shown == CERT_NAMES_SHOWN) {
            more++;
            continue;
        }
        len += (size_t)snprintf(out + len, size - len, "%s%s", shown++ > 0 ? ", " : "", one);
        if (len >= size)
            len = size - 1;
    }
    if (more > 0)
        snprintf(out + len, size - len, " and %d more", more);
    if (shown == 0)
        name_text(X509_get_subject_name(cert), out, size);
    GENERAL_NAMES_free(names);
}

/* How a sentence calls a certificate: by its subject, or its names where the subject is empty. */
static void label(X509 *cert, char *out, size_t size)
{
    if (X509_NAME_entry_count(X509_get_subject_name(cert)) > 0)
        name_text(X509_get_subject_name(cert), out, size);
    else
        names_text(cert, out, size);
}

static void span_text(int64_t ms, char *out, size_t size)
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

static void date_error(struct err *err, enum reason reason, const char *who, int64_t when_ms)
{
    char stamp[CLOCK_STAMP_MAX], span[48];
    int64_t away_ms = clock_wall_ms() - when_ms;
    clock_stamp(when_ms, stamp, sizeof stamp);
    stamp[10] = '\0'; /* the date */
    span_text(away_ms < 0 ? -away_ms : away_ms, span, sizeof span);
    if (reason == REASON_TLS_CERT_EXPIRED)
        err_set(err, reason, 0, "certificate %s expired %s, %s ago", who, stamp, span);
    else
        err_set(err, reason, 0, "certificate %s is not valid before %s, in %s", who, stamp, span);
}

/* "ca_file (changed 3 days ago)": after a rotation the age tells which of the two sides has not followed. */
static void with_age(const char *name, const struct stat *seen, char *out, size_t size)
{
    char span[48];
    int64_t age_ms = clock_wall_ms() - (int64_t)seen->st_mtim.tv_sec * 1000;
    span_text(age_ms > 0 ? age_ms : 0, span, sizeof span);
    if (seen->st_ino == 0)
        snprintf(out, size, "%s", name);
    else
        snprintf(out, size, "%s (changed %s ago)", name, span);
}

static void trust_error(struct err *err, const struct tls_context *context, X509 *cert, int code, const char *who)
{
    char issuer[CERT_LABEL_MAX], trusted[96];
    if (context->system_ca)
        with_age("the system's authorities", &context->files.ca_dir, trusted, sizeof trusted);
    else
        with_age("ca_file", &context->files.ca, trusted, sizeof trusted);
    name_text(X509_get_issuer_name(cert), issuer, sizeof issuer);
    if (code == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT)
        err_set(err, REASON_TLS_CERT_UNTRUSTED, code, "certificate %s is self-signed and not in %s", who, trusted);
    else if (code == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN)
        err_set(err, REASON_TLS_CERT_UNTRUSTED, code, "the chain ends in %s, which is not in %s", who, trusted);
    else if (code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY || code == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
             code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT)
        err_set(err, REASON_TLS_CERT_UNTRUSTED, code,
                "certificate %s was issued by %s, which is neither in %s nor sent by the server", who, issuer, trusted);
    else
        err_set(err, REASON_TLS_CERT_UNTRUSTED, code, "certificate %s: %s", who, X509_verify_cert_error_string(code));
}

static void judge(const struct tls_link *link, X509 *cert, int code, struct err *err)
{
    char who[CERT_LABEL_MAX], names[256];
    label(cert, who, sizeof who);
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        date_error(err, REASON_TLS_CERT_EXPIRED, who, time_ms(X509_get0_notAfter(cert)));
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        date_error(err, REASON_TLS_CERT_NOT_YET_VALID, who, time_ms(X509_get0_notBefore(cert)));
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        names_text(cert, names, sizeof names);
        err_set(err, REASON_TLS_HOSTNAME_MISMATCH, code, "the certificate is for %s, want %s", names, link->check->name);
        break;
    default:
        trust_error(err, link->context, cert, code, who);
    }
    if (err->reason == REASON_TLS_CERT_UNTRUSTED && link->context->stale[0] != '\0') {
        struct err sentence = *err;
        err_set(err, sentence.reason, sentence.code, "%s; newer files cannot be used: %s", sentence.text, link->context->stale);
    }
}

static void info_of_cert(struct tls_info *info, X509 *cert)
{
    info->have_cert = true;
    name_text(X509_get_subject_name(cert), info->subject, sizeof info->subject);
    name_text(X509_get_issuer_name(cert), info->issuer, sizeof info->issuer);
    info->not_before_ms = time_ms(X509_get0_notBefore(cert));
    info->not_after_ms = time_ms(X509_get0_notAfter(cert));
    if (info->chain_not_after_ms == 0)
        info->chain_not_after_ms = info->not_after_ms;
}

int tls_check_certificate(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_link *link = SSL_get_app_data(ssl);
    struct tls_check *check = link->check;
    if (ok || !check || check->failure.reason != REASON_NONE)
        return ok;
    X509 *leaf = X509_STORE_CTX_get0_cert(store), *cert = X509_STORE_CTX_get_current_cert(store);
    if (leaf)
        info_of_cert(&check->info, leaf);
    judge(link, cert ? cert : leaf, X509_STORE_CTX_get_error(store), &check->failure);
    return 0;
}

void tls_info_of_connection(struct tls_info *info, const SSL *ssl)
{
    X509 *cert = SSL_get0_peer_certificate(ssl);
    STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    if (cert)
        info_of_cert(info, cert);
    for (int i = 0; chain && i < sk_X509_num(chain); i++) {
        int64_t end_ms = time_ms(X509_get0_notAfter(sk_X509_value(chain, i)));
        if (end_ms != 0 && end_ms < info->chain_not_after_ms)
            info->chain_not_after_ms = end_ms;
    }
    snprintf(info->version, sizeof info->version, "%s", SSL_get_version(ssl));
    snprintf(info->cipher, sizeof info->cipher, "%s", SSL_get_cipher_name(ssl) ? SSL_get_cipher_name(ssl) : "");
    info->resumed = SSL_session_reused(ssl) == 1;
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
    with_age("cert_file", &context->files.cert, ours, sizeof ours);
    snprintf(out, size, "the server refused our client certificate (alert %d, %s), %s%s%s", alert, word, ours,
             stale ? "; newer files cannot be used: " : "", context->stale);
}

/* What is wrong with the client's certificate is the agent's own affair, and no broken TLS. */
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
