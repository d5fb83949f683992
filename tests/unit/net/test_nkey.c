/* Public keys of seeds: known pairs, decorated files, and every way to damage a seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/net/nkey.h"

/* Of the key whose 32 bytes are 0, 1, 2, … 31; the public half by another implementation of Ed25519. */
static const char seed[] = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y",
                  public[] = "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK",
                  account_seed[] = "SAAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4HYMHI";

static void expect_public(const char *file)
{
    char out[NKEY_PUBLIC_CHARS + 1] = "";
    struct err err = { 0 };
    assert_int_equal(nkey_public_of(slice_str(file), out, &err), 0);
    assert_string_equal(out, public);
}

static void expect_refused(const char *file, const char *why)
{
    char out[NKEY_PUBLIC_CHARS + 1] = "";
    struct err err = { 0 };
    assert_int_equal(nkey_public_of(slice_str(file), out, &err), -1);
    assert_int_equal(err.reason, REASON_AGENT_ERROR);
    assert_non_null(strstr(err.text, why));
    assert_null(strstr(err.text, seed + 2));
    assert_string_equal(out, "");
}

static void test_known_pair(void **state)
{
    (void)state;
    expect_public(seed);
}

static void test_in_a_decorated_file(void **state)
{
    char file[512];
    (void)state;
    snprintf(file, sizeof file, "-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n\n***\n", seed);
    expect_public(file);
    snprintf(file, sizeof file, "# SUPER secret\r\n  %s\r\n", seed);
    expect_public(file);
}

static void test_no_seed(void **state)
{
    char file[512];
    (void)state;
    expect_refused("", "no user seed");
    expect_refused("\n\n", "no user seed");
    expect_refused(public, "no user seed");
    expect_refused(account_seed, "no user seed");
    snprintf(file, sizeof file, "%.57s", seed);
    expect_refused(file, "no user seed");
    snprintf(file, sizeof file, "%sA", seed);
    expect_refused(file, "no user seed");
}

static void test_every_damaged_character_is_noticed(void **state)
{
    (void)state;
    for (size_t i = 2; i < NKEY_SEED_CHARS; i++) {
        char file[sizeof seed];
        memcpy(file, seed, sizeof seed);
        file[i] = file[i] == 'A' ? 'B' : 'A';
        expect_refused(file, "damaged");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_pair),
        cmocka_unit_test(test_in_a_decorated_file),
        cmocka_unit_test(test_no_seed),
        cmocka_unit_test(test_every_damaged_character_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
