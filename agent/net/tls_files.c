/*
 * The files of a TLS context: authorities, client certificate, key. Loads them into an SSL_CTX, and tells whether they have changed since.
 * Called by agent/net/tls.c. Every file is read whole, without blocking and up to a ceiling, before OpenSSL sees it, so that a fifo or
 * a device in its place is an error and not the end of the loop.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/file.h"
#include "agent/base/mem.h"
#include "agent/net/tls_impl.h"

enum { TLS_FILE_MAX = 1 << 20 };

static int openssl_error(const char *what, const char *file, struct err *err)
{
    char text[128];
    tls_error_text(text, sizeof text);
    return err_set(err, REASON_NONE, 0, "%s %s: %s", what, file, text);
}

/* The file's text as a BIO over content, which must outlive it; NULL: err says why. */
static BIO *open_pem(const char *what, const char *file, struct buf *content, struct stat *seen, struct err *err)
{
    if (file_read(file, TLS_FILE_MAX, FILE_REGULAR, content, seen, err) != 0) {
        err_prefix(err, "%s %s", what, file);
        return NULL;
    }
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(content->len > 0 ? (const void *)content->data : "", (int)content->len);
    panic_if(!bio);
    return bio;
}

static void close_pem(BIO *bio, struct buf *content)
{
    BIO_free(bio);
    buf_wipe(content);
}

/* --- authorities ---------------------------------------------------------------------------------------------------- */

static int add_authorities(SSL_CTX *ctx, BIO *bio)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    STACK_OF(X509_INFO) *infos = PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL);
    int count = 0;
    for (int i = 0; infos && i < sk_X509_INFO_num(infos); i++) {
        const X509_INFO *info = sk_X509_INFO_value(infos, i);
        if (info->x509 && X509_STORE_add_cert(store, info->x509) == 1)
            count++;
        if (info->crl)
            X509_STORE_add_crl(store, info->crl);
    }
    sk_X509_INFO_pop_free(infos, X509_INFO_free);
    return count;
}

static int load_authorities(const char *file, SSL_CTX *ctx, struct stat *seen, struct err *err)
{
    struct buf content = BUF_INIT(TLS_FILE_MAX);
    BIO *bio = open_pem("ca_file", file, &content, seen, err);
    int rc = -1;
    if (bio && add_authorities(ctx, bio) > 0)
        rc = 0;
    else if (bio && ERR_peek_error() != 0)
        openssl_error("ca_file", file, err);
    else if (bio)
        err_set(err, REASON_NONE, 0, "ca_file %s: no certificate in it", file);
    close_pem(bio, &content);
    return rc;
}

/* Where OpenSSL looks, as its environment says. */
static const char *system_file(void)
{
    const char *file = getenv(X509_get_default_cert_file_env());
    return file ? file : X509_get_default_cert_file();
}

static const char *system_dir(void)
{
    const char *dir = getenv(X509_get_default_cert_dir_env());
    return dir ? dir : X509_get_default_cert_dir();
}

static int load_system(SSL_CTX *ctx, struct err *err)
{
    struct stat status;
    struct err wrong;
    if (stat(system_file(), &status) == 0 && file_validate(system_file(), &wrong) != 0)
        return err_set(err, REASON_NONE, 0, "the system's certificate authorities: %s %s", system_file(), wrong.text);
    if (SSL_CTX_set_default_verify_paths(ctx) != 1)
        return err_set(err, REASON_NONE, 0, "the system's certificate authorities cannot be read");
    return 0;
}

/* --- who we are ----------------------------------------------------------------------------------------------------- */

/* Without this OpenSSL would ask for the password on the terminal. */
static int no_password(char *buf, int size, int writing, void *user)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

static bool use_chain(SSL_CTX *ctx, BIO *bio)
{
    X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
    bool fine = cert && SSL_CTX_use_certificate(ctx, cert) == 1;
    X509_free(cert);
    while (fine && (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)))
        if (SSL_CTX_add0_chain_cert(ctx, cert) != 1) {
            X509_free(cert);
            return false;
        }
    if (fine && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        return false; /* a certificate after the first is damaged */
    if (fine)
        ERR_clear_error();
    return fine;
}

static int load_chain(const char *file, SSL_CTX *ctx, struct stat *seen, struct err *err)
{
    struct buf content = BUF_INIT(TLS_FILE_MAX);
    BIO *bio = open_pem("cert_file", file, &content, seen, err);
    int rc = bio && use_chain(ctx, bio) ? 0 : -1;
    if (bio && rc != 0)
        openssl_error("cert_file", file, err);
    close_pem(bio, &content);
    return rc;
}

static int load_key(const char *file, SSL_CTX *ctx, struct stat *seen, struct err *err)
{
    struct buf content = BUF_INIT(TLS_FILE_MAX);
    BIO *bio = open_pem("key_file", file, &content, seen, err);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    int rc = key && SSL_CTX_use_PrivateKey(ctx, key) == 1 ? 0 : -1;
    if (bio && rc != 0)
        openssl_error("key_file", file, err);
    EVP_PKEY_free(key);
    close_pem(bio, &content);
    return rc;
}

/* Both SSL_CTX_use_PrivateKey and SSL_CTX_check_private_key may find that the key is not the certificate's; both give the same
 * sentence. */
static int load_identity(const struct tls_context *context, SSL_CTX *ctx, struct tls_files *files, struct err *err)
{
    if (!context->cert_file && !context->key_file)
        return 0;
    if (!context->cert_file || !context->key_file)
        return err_set(err, REASON_NONE, 0, "cert_file and key_file: want both or none");
    if (load_chain(context->cert_file, ctx, &files->cert, err) != 0)
        return -1;
    bool loaded = load_key(context->key_file, ctx, &files->key, err) == 0;
    bool mismatch = !loaded && ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH;
    if (mismatch || (loaded && SSL_CTX_check_private_key(ctx) != 1))
        return err_set(err, REASON_NONE, 0, "key_file %s is not the key of cert_file %s", context->key_file, context->cert_file);
    return loaded ? 0 : -1;
}

/* --- the whole ------------------------------------------------------------------------------------------------------ */

static void look(const char *file, struct stat *seen)
{
    if (!file || stat(file, seen) != 0)
        memset(seen, 0, sizeof *seen);
}

void tls_files_look(const struct tls_context *context, struct tls_files *files)
{
    memset(files, 0, sizeof *files);
    look(context->system_ca ? system_file() : context->ca_file, &files->ca);
    look(context->system_ca ? system_dir() : NULL, &files->ca_dir);
    look(context->cert_file, &files->cert);
    look(context->key_file, &files->key);
}

bool tls_files_same(const struct tls_files *a, const struct tls_files *b)
{
    return file_same(&a->ca, &b->ca) && file_same(&a->ca_dir, &b->ca_dir) && file_same(&a->cert, &b->cert) &&
           file_same(&a->key, &b->key);
}

int tls_files_load(const struct tls_context *context, SSL_CTX *ctx, struct tls_files *files, struct err *err)
{
    tls_files_look(context,
                   files); /* for the system's authorities; files that we read ourselves are looked at when they are read */
    if (context->verify && context->ca_file && load_authorities(context->ca_file, ctx, &files->ca, err) != 0)
        return -1;
    if (context->system_ca && load_system(ctx, err) != 0)
        return -1;
    return load_identity(context, ctx, files, err);
}
