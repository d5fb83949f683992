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

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_payloads), cmocka_unit_test(test_other_tokens) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
