/*
 * TLS contexts: files, trust and versions. Owns SSL_CTX and the remembered session of a resuming context. Made by whoever has a
 * configuration, used by agent/net/stream_tls.c. Nothing of OpenSSL is set up before the first context is made: it costs megabytes.
 */
#include "agent/net/tls.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/net/tls_impl.h"

void tls_error_text(char *out, size_t size)
{
    unsigned long error = ERR_peek_error();
    const char *text = ERR_reason_error_string(error);
    if (error == 0)
        snprintf(out, size, "unknown error");
    else if (ERR_SYSTEM_ERROR(error))
        snprintf(out, size, "%s", strerror((int)ERR_GET_REASON(error)));
    else if (text != NULL)
        snprintf(out, size, "%s", text);
    else
        snprintf(out, size, "OpenSSL error %lx", error);
}

static int file_error(const char *what, const char *file, struct err *err)
{
    char text[128];
    tls_error_text(text, sizeof text);
    return err_set(err, REASON_NONE, 0, "%s %s: %s", what, file, text);
}

static int load_trust(struct tls_context *context, const struct tls_options *options, struct err *err)
{
    if (!options->verify)
        return 0;
    if (options->ca_file != NULL)
        return SSL_CTX_load_verify_file(context->ssl_ctx, options->ca_file) == 1 ? 0 : file_error("ca_file", options->ca_file, err);
    context->system_ca = true;
    if (SSL_CTX_set_default_verify_paths(context->ssl_ctx) != 1)
        return err_set(err, REASON_NONE, 0, "the system's certificate authorities cannot be read");
    return 0;
}

/* Without this OpenSSL would ask for the password on the terminal. */
static int no_password(char *buf, int size, int writing, void *user)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

static int load_identity(struct tls_context *context, const struct tls_options *options, struct err *err)
{
    if (options->cert_file == NULL && options->key_file == NULL)
        return 0;
    if (options->cert_file == NULL || options->key_file == NULL)
        return err_set(err, REASON_NONE, 0, "cert_file and key_file: want both or none");
    SSL_CTX_set_default_passwd_cb(context->ssl_ctx, no_password);
    if (SSL_CTX_use_certificate_chain_file(context->ssl_ctx, options->cert_file) != 1)
        return file_error("cert_file", options->cert_file, err);
    if (SSL_CTX_use_PrivateKey_file(context->ssl_ctx, options->key_file, SSL_FILETYPE_PEM) != 1)
        return file_error("key_file", options->key_file, err);
    if (SSL_CTX_check_private_key(context->ssl_ctx) != 1)
        return err_set(err, REASON_NONE, 0, "key_file %s is not the key of cert_file %s", options->key_file, options->cert_file);
    context->has_cert = true;
    return 0;
}

static int set_versions(struct tls_context *context, int min_version, struct err *err)
{
    static const int versions[] = { TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION };
    if (min_version < 10 || min_version > 13)
        return err_set(err, REASON_NONE, 0, "min_version %d, want 10 to 13", min_version);
    if (SSL_CTX_set_min_proto_version(context->ssl_ctx, versions[min_version - 10]) != 1)
        return err_set(err, REASON_NONE, 0, "this OpenSSL does not speak TLS 1.%d", min_version - 10);
    /* Who asks for versions that are obsolete wants to reach servers that are, whose signatures OpenSSL takes on no other level. */
    if (min_version < 12 && SSL_CTX_set_cipher_list(context->ssl_ctx, "DEFAULT:@SECLEVEL=0") != 1)
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

/* Called when the server asks and we have none. Its refusal comes as a bare alert, in TLS 1.3 long after the handshake: the sentence then
 * needs to know. */
static int on_cert_wanted(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
    (void)cert;
    (void)key;
    struct tls_link *link = SSL_get_app_data(ssl);
    link->cert_wanted = true;
    return 0;
}

struct tls_context *tls_context_new(const struct tls_options *options, struct err *err)
{
    struct tls_context *context = mem_alloc(sizeof *context);
    context->refs = 1;
    context->verify = options->verify;
    context->resume = options->resume;
    context->min_version = options->min_version;
    ERR_clear_error();
    context->ssl_ctx = SSL_CTX_new(TLS_client_method());
    if (context->ssl_ctx == NULL) {
        file_error("OpenSSL", "does not start", err);
        goto out;
    }
    SSL_CTX_set_client_cert_cb(context->ssl_ctx, on_cert_wanted);
    SSL_CTX_set_mode(context->ssl_ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(context->ssl_ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    if (options->resume) {
        SSL_CTX_set_session_cache_mode(context->ssl_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context->ssl_ctx, on_new_session);
    } else {
        SSL_CTX_set_session_cache_mode(context->ssl_ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_options(context->ssl_ctx, SSL_OP_NO_TICKET);
    }
    if (set_versions(context, options->min_version, err) == 0 && load_trust(context, options, err) == 0 &&
        load_identity(context, options, err) == 0)
        return context;
out:
    tls_context_unref(context);
    return NULL;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
    context->refs++;
    return context;
}

void tls_context_unref(struct tls_context *context)
{
    if (context == NULL || --context->refs > 0)
        return;
    SSL_SESSION_free(context->session);
    SSL_CTX_free(context->ssl_ctx);
    BIO_meth_free(context->bio_method);
    mem_free(context->session_name);
    mem_free(context);
}
