/*
 * Judges certificates: the verification's result as a reason and a sentence, and the facts for the tls check. Reads the wall clock and
 * nothing else. Called by OpenSSL during the handshake, and by agent/net/stream_tls.c.
 */
#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/base/text.h"
#include "agent/net/tls_impl.h"

enum { CERT_NAMES_SHOWN = 5, CERT_LABEL_MAX = 160 };

int64_t tls_time_ms(const ASN1_TIME *time)
{
    struct tm tm;
    return time && ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) * 1000 : 0;
}

void tls_name_text(const X509_NAME *name, char *out, size_t size)
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
void tls_names_text(X509 *cert, char *out, size_t size)
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
        tls_name_text(X509_get_subject_name(cert), out, size);
    GENERAL_NAMES_free(names);
}

/* The name of a certificate in sentences: its subject, or its alternative names if the subject is empty. */
static void label(X509 *cert, char *out, size_t size)
{
    if (X509_NAME_entry_count(X509_get_subject_name(cert)) > 0)
        tls_name_text(X509_get_subject_name(cert), out, size);
    else
        tls_names_text(cert, out, size);
}

static void date_error(struct err *err, enum reason reason, const char *who, int64_t when_ms)
{
    char stamp[CLOCK_STAMP_MAX], span[48];
    int64_t away_ms = clock_wall_ms() - when_ms;
    clock_stamp(when_ms, stamp, sizeof stamp);
    stamp[10] = '\0'; /* the date */
    tls_span_text(away_ms < 0 ? -away_ms : away_ms, span, sizeof span);
    if (reason == REASON_TLS_CERT_EXPIRED)
        err_set(err, reason, 0, "certificate %s expired %s, %s ago", who, stamp, span);
    else
        err_set(err, reason, 0, "certificate %s is not valid before %s, in %s", who, stamp, span);
}

static void trust_error(struct err *err, const struct tls_context *context, X509 *cert, int code, const char *who)
{
    char issuer[CERT_LABEL_MAX], trusted[96];
    if (context->system_ca)
        tls_age_text("the system's authorities", &context->files.ca_dir, trusted, sizeof trusted);
    else
        tls_age_text("ca_file", &context->files.ca, trusted, sizeof trusted);
    tls_name_text(X509_get_issuer_name(cert), issuer, sizeof issuer);
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
        date_error(err, REASON_TLS_CERT_EXPIRED, who, tls_time_ms(X509_get0_notAfter(cert)));
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        date_error(err, REASON_TLS_CERT_NOT_YET_VALID, who, tls_time_ms(X509_get0_notBefore(cert)));
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        tls_names_text(cert, names, sizeof names);
        err_set(err, REASON_TLS_HOSTNAME_MISMATCH, code, "the certificate is for %s, want %s", names, link->handshake->name);
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
    tls_name_text(X509_get_subject_name(cert), info->subject, sizeof info->subject);
    tls_name_text(X509_get_issuer_name(cert), info->issuer, sizeof info->issuer);
    info->not_before_ms = tls_time_ms(X509_get0_notBefore(cert));
    info->not_after_ms = tls_time_ms(X509_get0_notAfter(cert));
    if (info->chain_not_after_ms == 0)
        info->chain_not_after_ms = info->not_after_ms;
}

int tls_judge_certificate(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_link *link = SSL_get_app_data(ssl);
    struct tls_handshake *handshake = link->handshake;
    if (ok || !handshake || handshake->failure.reason != REASON_NONE)
        return ok;
    X509 *leaf = X509_STORE_CTX_get0_cert(store), *cert = X509_STORE_CTX_get_current_cert(store);
    if (leaf)
        info_of_cert(&handshake->info, leaf);
    judge(link, cert ? cert : leaf, X509_STORE_CTX_get_error(store), &handshake->failure);
    return 0;
}

void tls_info_of_connection(struct tls_info *info, const SSL *ssl)
{
    X509 *cert = SSL_get0_peer_certificate(ssl);
    STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    if (cert)
        info_of_cert(info, cert);
    for (int i = 0; chain && i < sk_X509_num(chain); i++) {
        int64_t end_ms = tls_time_ms(X509_get0_notAfter(sk_X509_value(chain, i)));
        if (end_ms != 0 && end_ms < info->chain_not_after_ms)
            info->chain_not_after_ms = end_ms;
    }
    snprintf(info->version, sizeof info->version, "%s", SSL_get_version(ssl));
    snprintf(info->cipher, sizeof info->cipher, "%s", SSL_get_cipher_name(ssl) ? SSL_get_cipher_name(ssl) : "");
    info->resumed = SSL_session_reused(ssl) == 1;
    const unsigned char *alpn;
    unsigned alpn_len;
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_len);
    snprintf(info->alpn, sizeof info->alpn, "%.*s", (int)alpn_len, alpn ? (const char *)alpn : "");
}
