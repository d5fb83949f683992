/* Tokens that are signed: known pairs from the RFCs, what OpenSSL itself verifies, strangers' signatures, and every kind of wrong key file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "agent/net/jwt_sign.h"
#include "agent/proto/base64.h"

/* RFC 8037, A. */
static const char ed25519_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                                  "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                                  "-----END PRIVATE KEY-----\n";

static void expect_signed(enum jwt_alg alg, struct slice file, const char *text, const char *signature)
{
    struct buf token = BUF_INIT(4096);
    struct err err = { 0 };

    buf_append_str(&token, text);
    if (jwt_sign(alg, file, JWT_OURS, &token, &err) < 0)
        fail_msg("%s", err.text);
    assert_memory_equal(token.data, text, strlen(text));
    assert_int_equal(token.data[strlen(text)], '.');
    assert_string_equal(buf_str(&token) + strlen(text) + 1, signature);
    buf_fini(&token);
}

static void test_known_pairs(void **state)
{
    static const char line[] = "0123456789";
    struct buf key = BUF_INIT(256);

    (void)state;
    /* RFC 7515, A.1. */
    assert_int_equal(
        base64_decode(slice_str("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ+EstJQLr/T+1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow=="), &key),
        0);
    expect_signed(JWT_HS256, buf_slice(&key),
                  "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
                  "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
                  "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    expect_signed(JWT_EDDSA, slice_str(ed25519_pem), "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
                  "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    buf_fini(&key);
    /* A line break at the end of the file is the editor's. */
    for (int i = 0; i < 3; i++) {
        static const char *const files[] = { "0123456789", "0123456789\n", "0123456789\r\n" };
        struct buf one = BUF_INIT(4096), two = BUF_INIT(4096);
        struct err err;

        buf_append_str(&one, "a.b");
        buf_append_str(&two, "a.b");
        assert_int_equal(jwt_sign(JWT_HS256, slice_str(line), JWT_OURS, &one, &err), 0);
        assert_int_equal(jwt_sign(JWT_HS256, slice_str(files[i]), JWT_OURS, &two, &err), 0);
        assert_string_equal(buf_str(&one), buf_str(&two));
        buf_fini(&one);
        buf_fini(&two);
    }
}

/* --- by keys that are made here --- */

static EVP_PKEY *make_key(enum jwt_alg alg)
{
    if (alg == JWT_RS256)
        return EVP_RSA_gen(2048);
    return alg == JWT_ES256 ? EVP_EC_gen("P-256") : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

static void write_private(EVP_PKEY *key, struct buf *out, const char *passphrase)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    long len;

    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, passphrase ? EVP_aes_256_cbc() : NULL, passphrase,
                                                   passphrase ? (int)strlen(passphrase) : 0, NULL, NULL),
                     1);
    len = BIO_get_mem_data(bio, &data);
    buf_append(out, data, (size_t)len);
    BIO_free(bio);
}

static void write_public(EVP_PKEY *key, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    long len;

    assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    len = BIO_get_mem_data(bio, &data);
    buf_append(out, data, (size_t)len);
    BIO_free(bio);
}

/* The signature of "a.b" in a token. */
static void signature_of(struct buf *token, struct buf *out)
{
    struct buf text = BUF_INIT(8192);

    for (const char *at = buf_str(token) + 4; *at; at++)
        buf_append_char(&text, *at == '-' ? '+' : *at == '_' ? '/' : *at);
    while (text.len % 4)
        buf_append_char(&text, '=');
    assert_int_equal(base64_decode(buf_slice(&text), out), 0);
    buf_fini(&text);
}

static int verify(enum jwt_alg alg, EVP_PKEY *key, struct buf *token)
{
    struct buf signature = BUF_INIT(8192);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t der[200], *end = der;
    const uint8_t *bytes;
    size_t len;
    int good;

    signature_of(token, &signature);
    bytes = signature.data;
    len = signature.len;
    if (alg == JWT_ES256) {
        ECDSA_SIG *pair = ECDSA_SIG_new();

        assert_int_equal(len, 64);
        ECDSA_SIG_set0(pair, BN_bin2bn(bytes, 32, NULL), BN_bin2bn(bytes + 32, 32, NULL));
        len = (size_t)i2d_ECDSA_SIG(pair, &end);
        bytes = der;
        ECDSA_SIG_free(pair);
    }
    EVP_DigestVerifyInit(context, NULL, alg == JWT_EDDSA ? NULL : EVP_sha256(), NULL, key);
    good = EVP_DigestVerify(context, bytes, len, (const uint8_t *)"a.b", 3);
    EVP_MD_CTX_free(context);
    buf_fini(&signature);
    return good;
}

static void test_ours_is_verified_and_a_strangers_is_not(void **state)
{
    (void)state;
    for (int alg = JWT_RS256; alg <= JWT_EDDSA; alg++) {
        EVP_PKEY *key = make_key((enum jwt_alg)alg);
        struct buf pem = BUF_INIT(8192);

        write_private(key, &pem, NULL);
        for (int i = 0; i < 20; i++) { /* ES256: numbers with zeros in front, too */
            struct buf ours = BUF_INIT(8192), theirs = BUF_INIT(8192);
            struct err err = { 0 };

            buf_append_str(&ours, "a.b");
            buf_append_str(&theirs, "a.b");
            if (jwt_sign((enum jwt_alg)alg, buf_slice(&pem), JWT_OURS, &ours, &err) < 0 ||
                jwt_sign((enum jwt_alg)alg, buf_slice(&pem), JWT_STRANGER, &theirs, &err) < 0)
                fail_msg("%s: %s", jwt_alg_names[alg], err.text);
            assert_int_equal(verify((enum jwt_alg)alg, key, &ours), 1);
            assert_int_not_equal(verify((enum jwt_alg)alg, key, &theirs), 1);
            assert_int_equal(ours.len, theirs.len);
            buf_fini(&ours);
            buf_fini(&theirs);
        }
        buf_fini(&pem);
        EVP_PKEY_free(key);
    }
}

static void test_a_strangers_secret(void **state)
{
    struct buf ours = BUF_INIT(100), theirs = BUF_INIT(100);
    struct err err;

    (void)state;
    buf_append_str(&ours, "a.b");
    buf_append_str(&theirs, "a.b");
    assert_int_equal(jwt_sign(JWT_HS256, slice_str("secret"), JWT_OURS, &ours, &err), 0);
    assert_int_equal(jwt_sign(JWT_HS256, slice_str("secret"), JWT_STRANGER, &theirs, &err), 0);
    assert_int_equal(ours.len, theirs.len);
    assert_string_not_equal(buf_str(&ours), buf_str(&theirs));
    buf_fini(&ours);
    buf_fini(&theirs);
}

/* --- files that are no such key --- */

static void expect_refused(enum jwt_alg alg, struct slice file, const char *why)
{
    struct buf token = BUF_INIT(8192);
    struct err err = { 0 };

    buf_append_str(&token, "a.b");
    assert_int_equal(jwt_sign(alg, file, JWT_OURS, &token, &err), -1);
    assert_int_equal(err.reason, REASON_AGENT_ERROR);
    if (!strstr(err.text, why))
        fail_msg("%s, want %s", err.text, why);
    assert_string_equal(buf_str(&token), "a.b");
    buf_fini(&token);
}

static void test_wrong_files(void **state)
{
    EVP_PKEY *rsa = make_key(JWT_RS256), *p384 = EVP_EC_gen("P-384");
    struct buf private = BUF_INIT(8192), public = BUF_INIT(8192), locked = BUF_INIT(8192), curve = BUF_INIT(8192);

    (void)state;
    write_private(rsa, &private, NULL);
    write_private(rsa, &locked, "open sesame");
    write_private(p384, &curve, NULL);
    write_public(rsa, &public);
    expect_refused(JWT_HS256, slice_str(""), "is empty, want the shared secret");
    expect_refused(JWT_HS256, slice_str("\n"), "is empty");
    expect_refused(JWT_HS256, buf_slice(&private), "holds a key in PEM, want the shared secret as it is");
    expect_refused(JWT_RS256, slice_str(""), "holds no key in PEM, want a private RSA key in PEM");
    expect_refused(JWT_RS256, slice_str("s3cret"), "holds no key in PEM");
    expect_refused(JWT_RS256, buf_slice(&public), "holds a public key, want a private RSA key");
    expect_refused(JWT_RS256, buf_slice(&locked), "is encrypted, want a private RSA key in PEM without a passphrase");
    expect_refused(JWT_RS256, slice_make(private.data, private.len / 2), "holds a damaged key");
    expect_refused(JWT_RS256, slice_str(ed25519_pem), "of another kind (ED25519), want a private RSA key");
    expect_refused(JWT_ES256, buf_slice(&private), "of another kind (RSA), want a private EC key of the curve P-256");
    expect_refused(JWT_ES256, buf_slice(&curve), "of another kind (EC), want a private EC key of the curve P-256");
    expect_refused(JWT_EDDSA, buf_slice(&private), "want a private Ed25519 key");
    buf_fini(&private);
    buf_fini(&public);
    buf_fini(&locked);
    buf_fini(&curve);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(p384);
}

static void test_a_token_that_is_too_long(void **state)
{
    struct buf token = BUF_INIT(10);
    struct err err;

    (void)state;
    buf_append_str(&token, "a.b");
    assert_int_equal(jwt_sign(JWT_HS256, slice_str("secret"), JWT_OURS, &token, &err), -1);
    assert_non_null(strstr(err.text, "longer than 10 bytes"));
    buf_fini(&token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_pairs),
        cmocka_unit_test(test_ours_is_verified_and_a_strangers_is_not),
        cmocka_unit_test(test_a_strangers_secret),
        cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_a_token_that_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
