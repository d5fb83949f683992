/* The messages of gRPC's health protocol: bytes that Google's protobuf writes, and bytes that nobody should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proto/grpc.h"

#define BYTES(text) slice_make((const uint8_t *)(text), sizeof(text) - 1)

static void expect(struct slice body, enum grpc_status status, const char *service)
{
    struct slice got;

    assert_int_equal(grpc_read_request(body, &got), status);
    if (status == GRPC_OK)
        assert_true(slice_equal_str(got, service));
}

static void test_requests(void **state)
{
    (void)state;
    expect(BYTES("\0\0\0\0\0"), GRPC_OK, "");
    expect(BYTES("\0\0\0\0\x07\x0a\x05ready"), GRPC_OK, "ready");
    expect(BYTES("\0\0\0\0\x02\x0a\0"), GRPC_OK, "");
    expect(BYTES("\0\0\0\0\x06\x0a\x01x\x0a\x01y"), GRPC_OK, "y"); /* the last one counts */
    /* Fields of a later version, of every wire type, are passed over. */
    expect(BYTES("\0\0\0\0\x1b\x10\xac\x02\x1a\x01z\x21\1\2\3\4\5\6\7\x08\x2d\1\2\3\4\x0a\x05ready"), GRPC_OK, "ready");
    expect(BYTES("\0\0\0\0\x02\x08\x05"), GRPC_OK, ""); /* field 1 as a number is another field */
}

static void test_what_is_no_request(void **state)
{
    (void)state;
    expect(BYTES(""), GRPC_INVALID_ARGUMENT, NULL);
    expect(BYTES("\0\0\0\0"), GRPC_INVALID_ARGUMENT, NULL);
    expect(BYTES("\x01\0\0\0\0"), GRPC_UNIMPLEMENTED, NULL); /* compressed */
    expect(BYTES("\0\0\0\0\x01"), GRPC_INVALID_ARGUMENT, NULL);
    expect(BYTES("\0\xff\xff\xff\xff\x0a"), GRPC_INVALID_ARGUMENT, NULL);
    expect(BYTES("\0\0\0\0\0\0\0\0\0\0"), GRPC_INVALID_ARGUMENT, NULL);  /* two messages */
    expect(BYTES("\0\0\0\0\x03\x0a\x05r"), GRPC_INVALID_ARGUMENT, NULL); /* a text that is longer than the message */
    expect(BYTES("\0\0\0\0\x01\x0a"), GRPC_INVALID_ARGUMENT, NULL);      /* no length */
    expect(BYTES("\0\0\0\0\x02\x02\0"), GRPC_INVALID_ARGUMENT, NULL);    /* field 0 */
    expect(BYTES("\0\0\0\0\x02\x0b\0"), GRPC_INVALID_ARGUMENT, NULL);    /* a group */
    expect(BYTES("\0\0\0\0\x0b\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"), GRPC_INVALID_ARGUMENT, NULL); /* an endless varint */
    expect(BYTES("\0\0\0\0\x0b\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), GRPC_INVALID_ARGUMENT, NULL);
}

static void assert_bytes(const struct buf *out, struct slice want)
{
    assert_int_equal(out->len, want.len);
    assert_memory_equal(out->data, want.data, want.len);
}

static void test_answers(void **state)
{
    struct buf out = BUF_INIT(1024);

    (void)state;
    grpc_put_health(&out, GRPC_SERVING);
    assert_bytes(&out, BYTES("\0\0\0\0\x02\x08\x01"));
    buf_reset(&out);
    grpc_put_health(&out, GRPC_SERVICE_UNKNOWN);
    assert_bytes(&out, BYTES("\0\0\0\0\x02\x08\x03"));
    buf_reset(&out);
    grpc_put_health(&out, GRPC_UNKNOWN); /* protobuf leaves a default out */
    assert_bytes(&out, BYTES("\0\0\0\0\0"));
    buf_fini(&out);
}

static void test_a_list(void **state)
{
    struct buf out = BUF_INIT(4096);
    char name[201];

    (void)state;
    size_t at = grpc_list_begin(&out);
    grpc_list_put(&out, "", GRPC_NOT_SERVING);
    grpc_list_put(&out, "live", GRPC_SERVING);
    grpc_list_put(&out, "x", GRPC_UNKNOWN);
    grpc_list_end(&out, at);
    assert_bytes(&out, BYTES("\0\0\0\0\x1b"
                             "\x0a\x06\x0a\0\x12\x02\x08\x02"
                             "\x0a\x0a\x0a\x04live\x12\x02\x08\x01"
                             "\x0a\x05\x0a\x01x\x12\0"));
    buf_reset(&out);
    memset(name, 'n', 200);
    name[200] = 0;
    at = grpc_list_begin(&out);
    grpc_list_put(&out, name, GRPC_SERVING);
    grpc_list_end(&out, at);
    assert_int_equal(out.len, 5 + 3 + 207); /* lengths of two bytes */
    assert_memory_equal(out.data, "\0\0\0\0\xd2\x0a\xcf\x01\x0a\xc8\x01nn", 13);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_what_is_no_request),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
