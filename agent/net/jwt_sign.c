/*
 * Signs tokens with OpenSSL (agent/net/jwt_sign.h). Called by the auth check for each token that it makes, with the key file read anew. Owns
 * no key: one is parsed, used once and freed. The text of a token is agent/proto/jwt.c's.
 *
 * Signing is done on the loop: 4096 bits of RSA take some milliseconds, and a token is made once in a while. Making an RSA key would take
 * up to a second, so a stranger's RSA signature is a random number below the modulus: to whoever verifies it, it looks the same.
 */
#include "agent/net/jwt_sign.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <string.h>

#include "agent/proto/jwt.h"

enum { SIGNATURE_MAX = 2048, SECRET_BYTES = 32, HALF = 32 /* of an ES256 signature */ };

const char *const jwt_alg_names[JWT_ALG_COUNT + 1] = { "HS256", "RS256", "ES256", "EdDSA", NULL };

struct signature {
    uint8_t bytes[SIGNATURE_MAX];
    size_t len;
};

/* --- keys --- */

static int no_passphrase(char *buf, int size, int writing, void *user)
{
    (void)buf;
    (void)size;
    (void)writing;
    *(bool *)user = true;
    return -1;
}

static bool holds(struct slice file, const char *word)
{
    return slice_find(file, slice_str(word)) >= 0;
}

static EVP_PKEY *read_pem(struct slice file, const char *want, struct err *err)
{
    BIO *bio = BIO_new_mem_buf(file.data, (int)file.len);
    bool asked = false;
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked) : NULL;

    BIO_free(bio);
    ERR_clear_error();
    if (key)
        return key;
    if (asked)
        err_set(err, REASON_AGENT_ERROR, 0, "the key is encrypted, want %s without a passphrase", want);
    else
        err_set(err, REASON_AGENT_ERROR, 0, "%s, want %s",
                holds(file, "PUBLIC KEY-----")    ? "holds a public key"
                : holds(file, "-----BEGIN CERTI") ? "holds a certificate"
                : holds(file, "-----BEGIN")       ? "holds a damaged key, or one of another kind"
                                                  : "holds no key in PEM",
                want);
    return NULL;
}

static bool fits(enum jwt_alg alg, const EVP_PKEY *key)
{
    char group[32] = "";

    if (alg == JWT_ES256)
        return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
               EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, NULL) == 1 &&
               strcmp(group, "prime256v1") == 0;
    return EVP_PKEY_get_base_id(key) == (alg == JWT_RS256 ? EVP_PKEY_RSA : EVP_PKEY_ED25519);
}

static EVP_PKEY *load(enum jwt_alg alg, struct slice file, struct err *err)
{
    static const char *const wants[] = { [JWT_RS256] = "a private RSA key in PEM",
                                         [JWT_ES256] = "a private EC key of the curve P-256 in PEM",
                                         [JWT_EDDSA] = "a private Ed25519 key in PEM" };
    EVP_PKEY *key = read_pem(file, wants[alg], err);

    if (key && !fits(alg, key)) {
        err_set(err, REASON_AGENT_ERROR, 0, "holds a key of another kind (%s), want %s", EVP_PKEY_get0_type_name(key), wants[alg]);
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

/* Of the same kind. NULL: of RSA, or without memory. */
static EVP_PKEY *make_stranger(enum jwt_alg alg)
{
    if (alg == JWT_ES256)
        return EVP_EC_gen("P-256");
    return alg == JWT_EDDSA ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : NULL;
}

/* --- signatures --- */

static int sign_hmac(struct slice file, enum jwt_signer signer, struct slice text, struct signature *out, struct err *err)
{
    uint8_t stranger[SECRET_BYTES];
    unsigned len = 0;

    if (file.len && file.data[file.len - 1] == '\n')
        file.len--;
    if (file.len && file.data[file.len - 1] == '\r')
        file.len--;
    if (!file.len)
        return err_set(err, REASON_AGENT_ERROR, 0, "is empty, want the shared secret");
    if (holds(file, "-----BEGIN"))
        return err_set(err, REASON_AGENT_ERROR, 0, "holds a key in PEM, want the shared secret as it is");
    if (signer == JWT_STRANGER) {
        RAND_bytes(stranger, sizeof stranger);
        file = slice_make(stranger, sizeof stranger);
    }
    if (!HMAC(EVP_sha256(), file.data, (int)file.len, text.data, text.len, out->bytes, &len))
        return err_set(err, REASON_AGENT_ERROR, 0, "the token could not be signed");
    out->len = len;
    return 0;
}

static int sign_with(EVP_PKEY *key, const EVP_MD *digest, struct slice text, struct signature *out)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int good;

    out->len = sizeof out->bytes;
    good = context && EVP_DigestSignInit(context, NULL, digest, NULL, key) == 1 &&
           EVP_DigestSign(context, out->bytes, &out->len, text.data, text.len) == 1;
    EVP_MD_CTX_free(context);
    return good ? 0 : -1;
}

/* From the DER of OpenSSL to two numbers of 32 bytes (RFC 7518, 3.4). */
static int flatten(struct signature *out)
{
    const uint8_t *at = out->bytes;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)out->len);
    int good = pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), out->bytes, HALF) == HALF &&
               BN_bn2binpad(ECDSA_SIG_get0_s(pair), out->bytes + HALF, HALF) == HALF;

    ECDSA_SIG_free(pair);
    out->len = 2 * (size_t)HALF;
    return good ? 0 : -1;
}

static int random_below_modulus(const EVP_PKEY *key, struct signature *out)
{
    out->len = (size_t)EVP_PKEY_get_size(key);
    if (out->len > sizeof out->bytes || RAND_bytes(out->bytes, (int)out->len) != 1)
        return -1;
    out->bytes[0] = 0;
    return 0;
}

static int sign_by_key(enum jwt_alg alg, EVP_PKEY *key, enum jwt_signer signer, struct slice text, struct signature *out)
{
    EVP_PKEY *stranger = NULL;
    int rc = -1;

    if (EVP_PKEY_get_size(key) > SIGNATURE_MAX)
        return -1;
    if (signer == JWT_STRANGER && alg == JWT_RS256)
        return random_below_modulus(key, out);
    if (signer == JWT_STRANGER)
        key = stranger = make_stranger(alg);
    if (key)
        rc = sign_with(key, alg == JWT_EDDSA ? NULL : EVP_sha256(), text, out);
    if (rc == 0 && alg == JWT_ES256)
        rc = flatten(out);
    EVP_PKEY_free(stranger);
    return rc;
}

int jwt_sign(enum jwt_alg alg, struct slice file, enum jwt_signer signer, struct buf *token, struct err *err)
{
    struct signature signature = { .len = 0 };
    struct slice text = buf_slice(token);
    EVP_PKEY *key = NULL;
    int rc;

    if (alg == JWT_HS256) {
        rc = sign_hmac(file, signer, text, &signature, err);
    } else {
        key = load(alg, file, err);
        rc = key ? sign_by_key(alg, key, signer, text, &signature) : -1;
        if (key && rc < 0)
            err_set(err, REASON_AGENT_ERROR, 0, "the token could not be signed with this key");
    }
    EVP_PKEY_free(key);
    ERR_clear_error();
    if (rc == 0 && (buf_append_char(token, '.') < 0 || jwt_base64url(slice_make(signature.bytes, signature.len), token) < 0))
        rc = err_set(err, REASON_AGENT_ERROR, 0, "the token is longer than %zu bytes", token->max);
    return rc;
}
