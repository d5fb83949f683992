/* The exp of a token that may be a JWT: of real ones, and of everything else that may stand in its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "agent/base/buf.h"
#include "agent/base/mem.h"
#include "agent/proto/base64.h"
#include "agent/proto/jwt.h"

/* A token with that payload, in the alphabet of URLs and without padding. -1: no exp is found in it. */
static int64_t exp_of(const char *payload)
{
    struct buf token = BUF_INIT(65536);
    char *text = mem_alloc(BASE64_LEN(strlen(payload)) + 1);
    int64_t exp_s = 0;
    bool found;

    base64_encode(slice_str(payload), text);
    text[strcspn(text, "=")] = 0;
    for (char *at = text; *at; at++)
        *at = *at == '+' ? '-' : *at == '/' ? '_' : *at;
    buf_printf(&token, "eyJhbGciOiJIUzI1NiJ9.%s.c2lnbmF0dXJl", text);
    found = jwt_exp(buf_slice(&token), &exp_s);
    buf_fini(&token);
    mem_free(text);
    return found ? exp_s : -1;
}

static void test_payloads(void **state)
{
    (void)state;
    assert_int_equal(exp_of("{\"exp\":1700000000}"), 1700000000);
    assert_int_equal(exp_of("{\"sub\":\"\xc3\xbf\xc3\xbe?>\",\"exp\":1700000000.75,\"iat\":1}"), 1700000000);
    assert_int_equal(exp_of("{\"sub\":\"probe\"}"), -1);
    assert_int_equal(exp_of("{\"exp\":\"soon\"}"), -1);
    assert_int_equal(exp_of("{\"exp\":-5}"), -1);
    assert_int_equal(exp_of("{\"exp\":1e300}"), -1);
    assert_int_equal(exp_of("{\"a\":{\"exp\":1700000000}}"), -1);
    assert_int_equal(exp_of("[1700000000]"), -1);
    assert_int_equal(exp_of("not json"), -1);
}

static void test_other_tokens(void **state)
{
    static const char *const tokens[] = { "", ".", "..", "...", "a.b", "a.b.c", "s3cret", "v2.local.abc", "a.!!!!.c" };
    int64_t exp_s;
    char *big = mem_alloc(100000);

    (void)state;
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++)
        assert_false(jwt_exp(slice_str(tokens[i]), &exp_s));
    memset(big, 'A', 99999);
    big[1] = big[99000] = '.';
    assert_false(jwt_exp(slice_make(big, 99999), &exp_s));
    mem_free(big);
}

static void expect_composed(const struct jwt_claims *claims, const char *header, const char *payload)
{
    struct buf token = BUF_INIT(JWT_MAX), text = BUF_INIT(JWT_MAX);
    struct err err = { 0 };

    if (jwt_compose(claims, &token, &err) < 0)
        fail_msg("%s", err.text);
    jwt_base64url(slice_str(header), &text);
    buf_append_char(&text, '.');
    jwt_base64url(slice_str(payload), &text);
    assert_string_equal(buf_str(&token), buf_str(&text));
    buf_fini(&token);
    buf_fini(&text);
}

static void test_compose(void **state)
{
    struct jwt_claims claims = { .alg = "HS256", .iat_s = 100, .exp_s = 160 };
    struct buf token = BUF_INIT(JWT_MAX), small = BUF_INIT(20);
    struct jwt_times times;
    struct err err;

    (void)state;
    expect_composed(&claims, "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", "{\"iat\":100,\"exp\":160}");
    claims.json = "{\"sub\":\"probe\",\"aud\":[\"chat\"],\"exp\":9,\"iat\":7}";
    claims.kid = "k1";
    expect_composed(&claims, "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
                    "{\"sub\":\"probe\",\"aud\":[\"chat\"],\"exp\":160,\"iat\":7}");
    claims.audience = "elsewhere";
    expect_composed(&claims, "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
                    "{\"sub\":\"probe\",\"aud\":\"elsewhere\",\"exp\":160,\"iat\":7}");
    assert_int_equal(jwt_compose(&claims, &small, &err), -1);
    assert_non_null(strstr(err.text, "longer than 20 bytes"));
    claims.json = "[1]";
    assert_int_equal(jwt_compose(&claims, &token, &err), -1);
    assert_non_null(strstr(err.text, "want a mapping"));
    token.len = 0;
    claims.json = "{\"nbf\":90}";
    assert_int_equal(jwt_compose(&claims, &token, &err), 0);
    buf_append_str(&token, ".sig");
    assert_true(jwt_times_of(buf_slice(&token), &times));
    assert_int_equal(times.exp_s, 160);
    assert_int_equal(times.nbf_s, 90);
    assert_int_equal(times.iat_s, 100);
    assert_false(jwt_times_of(slice_str("opaque"), &times));
    buf_fini(&token);
    buf_fini(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_payloads), cmocka_unit_test(test_other_tokens),
                                        cmocka_unit_test(test_compose) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
