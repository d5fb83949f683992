/*
 * TLS contexts: versions, and the files as they are now (agent/net/tls_files.c). Owns SSL_CTX and the remembered session of a
 * resuming context. Made for each configuration that needs TLS, used by agent/net/stream_tls.c. OpenSSL is not initialised before
 * the first context is made, as it costs megabytes.
 */
#include "agent/net/tls.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/net/tls_impl.h"

static int set_versions(SSL_CTX *ctx, int min_version, struct err *err)
{
    static const int versions[] = { TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION };
    if (min_version < 10 || min_version > 13)
        return err_set(err, REASON_NONE, 0, "min_version %d, want 10 to 13", min_version);
    if (SSL_CTX_set_min_proto_version(ctx, versions[min_version - 10]) != 1)
        return err_set(err, REASON_NONE, 0, "this OpenSSL does not speak TLS 1.%d", min_version - 10);
    /* min_version below 1.2 is set for obsolete servers. OpenSSL accepts their signatures only on security level 0. */
    if (min_version < 12 && SSL_CTX_set_cipher_list(ctx, "DEFAULT:@SECLEVEL=0") != 1)
        return err_set(err, REASON_NONE, 0, "this OpenSSL has no ciphers for TLS 1.%d", min_version - 10);
    return 0;
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    const struct tls_link *link = SSL_get_app_data(ssl);
    struct tls_context *context = link->context;
    SSL_SESSION_free(context->session);
    context->session = session;
    mem_free(context->session_name);
    context->session_name = mem_strdup(link->session_name);
    return 1; /* ours now */
}

/* Called when the server asks for a client certificate and none is configured. The server may refuse later by an alert without a
 * reason (in TLS 1.3 after the handshake); this is remembered for the sentence. */
static int on_cert_wanted(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
    (void)cert;
    (void)key;
    struct tls_link *link = SSL_get_app_data(ssl);
    link->cert_wanted = true;
    return 0;
}

/* An SSL_CTX without the files. */
static SSL_CTX *make_ctx(const struct tls_context *context, struct err *err)
{
    SSL_CTX *ctx;
    char text[128];
    ERR_clear_error();
    ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx) {
        tls_error_text(text, sizeof text);
        err_set(err, REASON_NONE, 0, "OpenSSL does not start: %s", text);
        return NULL;
    }
    SSL_CTX_set_client_cert_cb(ctx, on_cert_wanted);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    if (context->resume) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ctx, on_new_session);
    } else {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    }
    if (set_versions(ctx, context->min_version, err) == 0)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* A context of OpenSSL's from the files as they are now. */
static int load(struct tls_context *context, struct err *err)
{
    struct tls_files files = { 0 };
    SSL_CTX *ctx = make_ctx(context, err);
    if (!ctx)
        return -1;
    tls_files_look(context, &context->tried);
    if (tls_files_load(context, ctx, &files, err) != 0) {
        SSL_CTX_free(ctx);
        return -1;
    }
    SSL_CTX_free(context->ssl_ctx); /* connections that use it keep it */
    context->ssl_ctx = ctx;
    context->files = files;
    /* A session of the old files must not be resumed: the new ones may not trust that server. */
    SSL_SESSION_free(context->session);
    context->session = NULL;
    return 0;
}

struct tls_context *tls_context_new(const struct tls_options *options, struct err *err)
{
    struct tls_context *context = mem_alloc(sizeof *context);
    context->refs = 1;
    context->verify = options->verify;
    context->resume = options->resume;
    context->min_version = options->min_version;
    context->ca_file = mem_strdup(options->ca_file);
    context->cert_file = mem_strdup(options->cert_file);
    context->key_file = mem_strdup(options->key_file);
    context->system_ca = options->verify && !options->ca_file;
    context->has_cert = options->cert_file;
    if (load(context, err) == 0)
        return context;
    tls_context_unref(context);
    return NULL;
}

void tls_context_refresh(struct tls_context *context)
{
    struct tls_files now;
    struct err err;
    uint64_t now_ms = clock_now_ms();
    tls_files_look(context, &now);
    if (tls_files_same(&now, context->stale[0] ? &context->tried : &context->files) &&
        (!context->stale[0] || now_ms < context->retry_ms))
        return;
    context->retry_ms = now_ms + TLS_RETRY_MS;
    if (load(context, &err) == 0)
        context->stale[0] = '\0';
    else
        snprintf(context->stale, sizeof context->stale, "%.199s", err.text);
}

const char *tls_context_stale(const struct tls_context *context)
{
    return context->stale;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    context->refs++;
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (!context || --context->refs > 0)
        return;
    SSL_SESSION_free(context->session);
    SSL_CTX_free(context->ssl_ctx);
    BIO_meth_free(context->bio_method);
    mem_free(context->session_name);
    mem_free(context->ca_file);
    mem_free(context->cert_file);
    mem_free(context->key_file);
    mem_free(context);
}
