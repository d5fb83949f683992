/* SHA-2 and HMAC against the examples of FIPS 180-4 and RFC 4231. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proto/digest.h"

static void is_hex(const uint8_t *bytes, size_t len, const char *want)
{
    char hex[2 * DIGEST_MAX + 1] = "";
    for (size_t i = 0; i < len; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    assert_string_equal(hex, want);
}

static void test_hashes(void **state)
{
    uint8_t out[DIGEST_MAX];
    (void)state;
    is_hex(out, digest_hash(DIGEST_SHA256, slice_str("abc"), out),
           "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    is_hex(out, digest_hash(DIGEST_SHA256, slice_str(""), out), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    is_hex(out, digest_hash(DIGEST_SHA384, slice_str("abc"), out),
           "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
    is_hex(out, digest_hash(DIGEST_SHA512, slice_str("abc"), out),
           "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94"
           "fa54ca49f");
}

static void test_macs(void **state)
{
    uint8_t out[DIGEST_MAX], long_key[131];
    const struct slice key = slice_str("Jefe"), text = slice_str("what do ya want for nothing?");
    (void)state;
    is_hex(out, digest_hmac(DIGEST_SHA256, key, text, out), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    is_hex(out, digest_hmac(DIGEST_SHA384, key, text, out),
           "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649");
    is_hex(out, digest_hmac(DIGEST_SHA512, key, text, out),
           "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070"
           "a38bce737");
    memset(long_key, 0xaa, sizeof long_key); /* a key longer than a block is hashed first */
    is_hex(out,
           digest_hmac(DIGEST_SHA256, slice_make(long_key, sizeof long_key),
                       slice_str("Test Using Larger Than Block-Size Key - Hash Key First"), out),
           "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_macs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
