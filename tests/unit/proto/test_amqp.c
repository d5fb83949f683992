/* AMQP as bytes: what a client says is what rabbitmq-c would read, what a broker says comes as events, and what breaks a rule is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proto/amqp.h"
#include "tests/unit/proto/amqp_server.h"

enum { BODY_MAX = 64 << 10 };

static struct amqp_reader *reader;
static struct buf wire;
static struct amqp_event event;
static struct err err;

static int setup(void **state)
{
    (void)state;
    reader = amqp_reader_new(BODY_MAX);
    buf_init(&wire, 1 << 20);
    memset(&err, 0, sizeof err);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    amqp_reader_free(reader);
    buf_fini(&wire);
    return 0;
}

/* Feeds the whole wire and wants one event, or none, and then nothing. */
static enum amqp_progress feed(struct slice *rest)
{
    return amqp_reader_feed(reader, rest, &event, &err);
}

static void want_one(enum amqp_got got)
{
    struct slice rest = buf_slice(&wire);
    assert_int_equal(feed(&rest), AMQP_EVENT);
    assert_int_equal(event.got, got);
    assert_int_equal(rest.len, 0);
    buf_reset(&wire);
}

static void want_bad(const char *text)
{
    struct slice rest = buf_slice(&wire);
    enum amqp_progress progress;
    while ((progress = feed(&rest)) == AMQP_EVENT)
        ;
    assert_int_equal(progress, AMQP_BAD);
    assert_int_equal(err.reason, REASON_BROKER_UNREACHABLE);
    if (!strstr(err.text, text))
        fail_msg("'%s' is not in '%s'", text, err.text);
}

/* --- what a client says, read as rabbitmq-c reads it --- */

static void *decode(struct slice *rest, amqp_pool_t *pool, amqp_method_number_t want_id, uint16_t want_channel)
{
    void *decoded = NULL;
    size_t len = (size_t)rest->data[3] << 24 | (size_t)rest->data[4] << 16 | (size_t)rest->data[5] << 8 | rest->data[6];
    const uint8_t *id = rest->data + 7;
    assert_true(rest->len >= len + 8);
    assert_int_equal(rest->data[0], AMQP_FRAME_METHOD);
    assert_int_equal(rest->data[1] << 8 | rest->data[2], want_channel);
    assert_int_equal(rest->data[7 + len], AMQP_FRAME_END);
    assert_int_equal((uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3], want_id);
    amqp_bytes_t bytes = { .len = len - 4, .bytes = (void *)(uintptr_t)(id + 4) };
    assert_int_equal(amqp_decode_method(want_id, pool, bytes, &decoded), AMQP_STATUS_OK);
    *rest = slice_skip(*rest, len + 8);
    return decoded;
}

static void assert_bytes(amqp_bytes_t bytes, const char *text)
{
    assert_int_equal(bytes.len, strlen(text));
    assert_memory_equal(bytes.bytes, text, bytes.len);
}

static void test_login(void **state)
{
    const struct amqp_login plain = { .mechanism = "PLAIN", .user = "guest", .password = "pw", .name = "wshealthd bus" };
    const struct amqp_login external = { .mechanism = "EXTERNAL", .user = "guest", .password = "pw", .name = "" };
    amqp_pool_t pool;
    (void)state;
    init_amqp_pool(&pool, 4096);
    assert_int_equal(amqp_put_greeting(&wire), 0);
    assert_memory_equal(wire.data, "AMQP\0\0\x09\x01", 8);
    buf_reset(&wire);
    assert_int_equal(amqp_put_start_ok(&wire, &plain), 0);
    assert_int_equal(amqp_put_start_ok(&wire, &external), 0);
    struct slice rest = buf_slice(&wire);
    const amqp_connection_start_ok_t *ok = decode(&rest, &pool, AMQP_CONNECTION_START_OK_METHOD, 0);
    assert_bytes(ok->mechanism, "PLAIN");
    assert_int_equal(ok->response.len, 9);
    assert_memory_equal(ok->response.bytes, "\0guest\0pw", 9);
    assert_int_equal(ok->client_properties.num_entries, 3);
    assert_bytes(ok->client_properties.entries[1].value.value.bytes, "wshealthd bus");
    assert_int_equal(ok->client_properties.entries[2].value.value.table.num_entries, 5);
    ok = decode(&rest, &pool, AMQP_CONNECTION_START_OK_METHOD, 0);
    assert_bytes(ok->mechanism, "EXTERNAL");
    assert_bytes(ok->response, "");
    assert_int_equal(rest.len, 0);
    empty_amqp_pool(&pool);
}

static void test_open(void **state)
{
    amqp_pool_t pool;
    (void)state;
    init_amqp_pool(&pool, 4096);
    amqp_put_tune_ok(&wire, 3, 8192, 10);
    amqp_put_open(&wire, "/a b");
    amqp_put_channel_open(&wire, 2);
    amqp_put_confirm_select(&wire, 2);
    amqp_put_exchange_exists(&wire, 1, "amq.topic");
    amqp_put_queue_declare(&wire, 1, "");
    amqp_put_consume(&wire, 1);
    amqp_put_channel_close_ok(&wire, 2);
    amqp_put_close(&wire, "bye");
    amqp_put_close_ok(&wire);
    struct slice rest = buf_slice(&wire);
    const amqp_connection_tune_ok_t *tune = decode(&rest, &pool, AMQP_CONNECTION_TUNE_OK_METHOD, 0);
    assert_int_equal(tune->channel_max, 3);
    assert_int_equal(tune->frame_max, 8192);
    assert_int_equal(tune->heartbeat, 10);
    assert_bytes(((amqp_connection_open_t *)decode(&rest, &pool, AMQP_CONNECTION_OPEN_METHOD, 0))->virtual_host, "/a b");
    decode(&rest, &pool, AMQP_CHANNEL_OPEN_METHOD, 2);
    decode(&rest, &pool, AMQP_CONFIRM_SELECT_METHOD, 2);
    const amqp_exchange_declare_t *exchange = decode(&rest, &pool, AMQP_EXCHANGE_DECLARE_METHOD, 1);
    assert_bytes(exchange->exchange, "amq.topic");
    assert_true(exchange->passive && !exchange->durable);
    const amqp_queue_declare_t *queue = decode(&rest, &pool, AMQP_QUEUE_DECLARE_METHOD, 1);
    assert_true(queue->exclusive && queue->auto_delete && !queue->durable && !queue->passive);
    assert_true(((amqp_basic_consume_t *)decode(&rest, &pool, AMQP_BASIC_CONSUME_METHOD, 1))->no_ack);
    decode(&rest, &pool, AMQP_CHANNEL_CLOSE_OK_METHOD, 2);
    assert_int_equal(((amqp_connection_close_t *)decode(&rest, &pool, AMQP_CONNECTION_CLOSE_METHOD, 0))->reply_code, 200);
    decode(&rest, &pool, AMQP_CONNECTION_CLOSE_OK_METHOD, 0);
    assert_int_equal(rest.len, 0);
    empty_amqp_pool(&pool);
}

static void test_bindings(void **state)
{
    const struct amqp_binding binding = { "q", "amq.topic", slice_str("a.b") };
    amqp_pool_t pool;
    (void)state;
    init_amqp_pool(&pool, 4096);
    assert_int_equal(amqp_put_bind(&wire, 3, &binding), 0);
    assert_int_equal(amqp_put_unbind(&wire, 3, &binding), 0);
    struct slice rest = buf_slice(&wire);
    const amqp_queue_bind_t *bind = decode(&rest, &pool, AMQP_QUEUE_BIND_METHOD, 3);
    assert_bytes(bind->queue, "q");
    assert_bytes(bind->exchange, "amq.topic");
    assert_bytes(bind->routing_key, "a.b");
    assert_bytes(((amqp_queue_unbind_t *)decode(&rest, &pool, AMQP_QUEUE_UNBIND_METHOD, 3))->routing_key, "a.b");
    empty_amqp_pool(&pool);
}

/* A body that does not fit one frame is cut, and what the reader makes of the frames is the body. */
static void test_publish(void **state)
{
    static uint8_t body[10000];
    amqp_pool_t pool;
    size_t bodies = 0, bytes = 0;
    (void)state;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(i * 7);
    init_amqp_pool(&pool, 4096);
    const struct amqp_message message = { "ex", slice_str("key"), slice_of(body), 60000, AMQP_FRAME_BYTES_MIN };
    assert_int_equal(amqp_put_publish(&wire, 2, &message), 0);
    struct slice rest = buf_slice(&wire);
    const amqp_basic_publish_t *publish = decode(&rest, &pool, AMQP_BASIC_PUBLISH_METHOD, 2);
    assert_bytes(publish->exchange, "ex");
    assert_bytes(publish->routing_key, "key");
    assert_false(publish->mandatory);
    while (rest.len) {
        size_t len = (size_t)rest.data[5] << 8 | rest.data[6];
        assert_true(len + 8 <= AMQP_FRAME_BYTES_MIN);
        assert_int_equal(rest.data[7 + len], AMQP_FRAME_END);
        if (rest.data[0] == AMQP_FRAME_HEADER) {
            void *decoded = NULL;
            amqp_bytes_t fields = { .len = len - 12, .bytes = (void *)(uintptr_t)(rest.data + 7 + 12) };
            assert_int_equal(rest.data[7 + 10] << 8 | rest.data[7 + 11], sizeof body);
            assert_int_equal(amqp_decode_properties(AMQP_BASIC_CLASS, &pool, fields, &decoded), 0);
            assert_bytes(((amqp_basic_properties_t *)decoded)->expiration, "60000");
            assert_int_equal(((amqp_basic_properties_t *)decoded)->delivery_mode, 1);
        } else {
            assert_int_equal(rest.data[0], AMQP_FRAME_BODY);
            assert_memory_equal(rest.data + 7, body + bytes, len);
            bytes += len;
            bodies++;
        }
        rest = slice_skip(rest, len + 8);
    }
    assert_int_equal(bytes, sizeof body);
    assert_int_equal(bodies, 3);
    empty_amqp_pool(&pool);
}

static void test_too_long_is_not_written(void **state)
{
    char name[300];
    struct buf small = BUF_INIT(5000);
    static const uint8_t body[6000];
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    const struct amqp_message message = { "", slice_str(name), slice_str("x"), 0, AMQP_FRAME_BYTES_MIN };
    const struct amqp_message large = { "", slice_str("k"), slice_of(body), 0, AMQP_FRAME_BYTES_MIN };
    const struct amqp_binding binding = { "q", name, slice_str("k") };
    assert_int_equal(amqp_put_open(&wire, name), -1);
    assert_int_equal(amqp_put_queue_declare(&wire, 1, name), -1);
    assert_int_equal(amqp_put_exchange_exists(&wire, 1, name), -1);
    assert_int_equal(amqp_put_bind(&wire, 1, &binding), -1);
    assert_int_equal(amqp_put_unbind(&wire, 1, &binding), -1);
    assert_int_equal(amqp_put_publish(&wire, 1, &message), -1);
    assert_int_equal(wire.len, 0);
    assert_int_equal(amqp_put_publish(&small, 1, &large), -1);
    assert_int_equal(small.len, 0);
    buf_fini(&small);
}

/* --- what a broker says --- */

static void test_beginning(void **state)
{
    (void)state;
    server_start(&wire, "PLAIN AMQPLAIN");
    want_one(AMQP_GOT_START);
    assert_true(slice_equal_str(event.mechanisms, "PLAIN AMQPLAIN"));
    server_tune(&wire, 131072, 60);
    want_one(AMQP_GOT_TUNE);
    assert_int_equal(event.frame_max, 131072);
    assert_int_equal(event.heartbeat_s, 60);
    assert_int_equal(event.channel_max, 2047);
    amqp_connection_open_ok_t open = { .known_hosts = { 0 } };
    server_method(&wire, 0, AMQP_CONNECTION_OPEN_OK_METHOD, &open);
    want_one(AMQP_GOT_OPEN_OK);
    amqp_queue_declare_ok_t queue = { .queue = server_text("amq.gen-1") };
    server_method(&wire, 1, AMQP_QUEUE_DECLARE_OK_METHOD, &queue);
    want_one(AMQP_GOT_QUEUE);
    assert_true(slice_equal_str(event.key, "amq.gen-1"));
    assert_int_equal(event.channel, 1);
    amqp_confirm_select_ok_t select = { 0 };
    server_method(&wire, 2, AMQP_CONFIRM_SELECT_OK_METHOD, &select);
    want_one(AMQP_GOT_OTHER);
}

static void test_ends(void **state)
{
    amqp_connection_blocked_t blocked = { .reason = server_text("low on memory") };
    amqp_connection_unblocked_t unblocked = { 0 };
    amqp_basic_nack_t nack = { .delivery_tag = 8 };
    (void)state;
    server_close(&wire, 320, "CONNECTION_FORCED - shutdown");
    want_one(AMQP_GOT_CLOSE);
    assert_int_equal(event.code, 320);
    assert_true(slice_equal_str(event.text, "CONNECTION_FORCED - shutdown"));
    server_channel_close(&wire, 3, 404, "NOT_FOUND");
    want_one(AMQP_GOT_CHANNEL_CLOSE);
    assert_int_equal(event.channel, 3);
    assert_int_equal(event.code, 404);
    server_method(&wire, 0, AMQP_CONNECTION_BLOCKED_METHOD, &blocked);
    want_one(AMQP_GOT_BLOCKED);
    assert_true(slice_equal_str(event.text, "low on memory"));
    server_method(&wire, 0, AMQP_CONNECTION_UNBLOCKED_METHOD, &unblocked);
    want_one(AMQP_GOT_UNBLOCKED);
    server_ack(&wire, 2, UINT64_MAX, true);
    want_one(AMQP_GOT_ACK);
    assert_true(event.tag == UINT64_MAX && event.multiple);
    server_method(&wire, 2, AMQP_BASIC_NACK_METHOD, &nack);
    want_one(AMQP_GOT_NACK);
    assert_true(event.tag == 8 && !event.multiple);
    amqp_put_heartbeat(&wire);
    want_one(AMQP_GOT_HEARTBEAT);
}

/* However the bytes are cut, the same events come. */
static void test_messages_in_pieces(void **state)
{
    static uint8_t body[9000];
    (void)state;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(i * 13);
    server_message(&wire, 1, "amq.topic", "news", slice_str("hello"));
    server_message(&wire, 1, "amq.topic", "empty", slice_str(""));
    server_deliver(&wire, 1, "", "large");
    server_head(&wire, 1, sizeof body);
    amqp_put_heartbeat(&wire); /* of channel 0: may come between */
    server_frame(&wire, AMQP_FRAME_BODY, 1, body, 4000);
    server_frame(&wire, AMQP_FRAME_BODY, 1, body + 4000, 5000);
    for (size_t cut = 1; cut <= wire.len; cut += cut < 40 ? 1 : 997) {
        unsigned messages = 0, beats = 0;
        for (size_t at = 0; at < wire.len; at += cut) {
            struct slice piece = slice_make(wire.data + at, wire.len - at < cut ? wire.len - at : cut);
            enum amqp_progress progress;
            while ((progress = feed(&piece)) == AMQP_EVENT) {
                beats += event.got == AMQP_GOT_HEARTBEAT;
                if (event.got != AMQP_GOT_MESSAGE)
                    continue;
                struct slice want = messages == 0 ? slice_str("hello") : messages == 1 ? slice_str("") : slice_of(body);
                assert_true(slice_equal(event.body, want));
                assert_true(slice_equal_str(event.key, messages == 0 ? "news" : messages == 1 ? "empty" : "large"));
                assert_true(slice_equal_str(event.exchange, messages < 2 ? "amq.topic" : ""));
                messages++;
            }
            assert_int_equal(progress, AMQP_MORE);
        }
        assert_int_equal(messages, 3);
        assert_int_equal(beats, 1);
    }
}

/* Somebody else's message on the channel may be of any size: it is passed over, whatever it said, and the next one is read. */
static void test_large_message_is_passed_over(void **state)
{
    static uint8_t chunk[16000];
    (void)state;
    server_deliver(&wire, 1, "ex", "large");
    server_head(&wire, 1, 6 * sizeof chunk);
    for (int i = 0; i < 6; i++)
        server_frame(&wire, AMQP_FRAME_BODY, 1, chunk, sizeof chunk);
    server_message(&wire, 1, "ex", "small", slice_str("x"));
    want_one(AMQP_GOT_MESSAGE);
    assert_true(slice_equal_str(event.key, "small"));
    assert_true(slice_equal_str(event.body, "x"));
    assert_int_equal(amqp_reader_passed(reader), 1);
    assert_int_equal(amqp_reader_passed(reader), 0);
}

/* --- what breaks a rule --- */

static void test_other_protocols(void **state)
{
    (void)state;
    buf_append_str(&wire, "HTTP/1.1 400 Bad Request\r\n\r\n");
    want_bad("does not speak AMQP: its answer begins with 'HTTP/1.1 400 Bad");
    teardown(NULL);
    setup(NULL);
    buf_append(&wire, "AMQP\3\1\0\0", 8);
    want_bad("speaks AMQP 1-0-0 (protocol id 3), want 0-9-1");
    teardown(NULL);
    setup(NULL);
    buf_append_str(&wire, "-ERR unknown command");
    want_bad("'-ERR unknown command'");
}

static void bad_frame(uint8_t type, uint16_t channel, const char *payload, size_t len, const char *text)
{
    teardown(NULL);
    setup(NULL);
    amqp_put_heartbeat(&wire); /* something good first */
    server_frame(&wire, type, channel, payload, len);
    want_bad(text);
}

static void test_bad_frames(void **state)
{
    static const uint8_t huge[] = { 1, 0, 0, 0, 1, 0, 0 };
    amqp_basic_return_t refused = { .reply_code = 312, .reply_text = server_text("NO_ROUTE") };
    (void)state;
    bad_frame(7, 0, "", 0, "unknown type");
    bad_frame(AMQP_FRAME_METHOD, 4, "", 0, "never opened");
    bad_frame(AMQP_FRAME_METHOD, 0, "\0\x0a", 2, "ends too soon");
    bad_frame(AMQP_FRAME_METHOD, 0, "\0\x0a\0\x0a\0", 5, "cannot be decoded");
    bad_frame(AMQP_FRAME_METHOD, 0, "\x7f\x7f\0\x0a\0", 5, "cannot be decoded");
    bad_frame(AMQP_FRAME_HEADER, 1, "", 0, "not announced");
    bad_frame(AMQP_FRAME_BODY, 1, "x", 1, "not announced");
    teardown(NULL);
    setup(NULL);
    buf_append(&wire, huge, sizeof huge);
    want_bad("65536 bytes");
    teardown(NULL);
    setup(NULL);
    amqp_put_heartbeat(&wire);
    wire.data[wire.len - 1] = 0;
    want_bad("end mark");
    teardown(NULL);
    setup(NULL);
    server_method(&wire, 2, AMQP_BASIC_RETURN_METHOD, &refused);
    want_bad("nobody asked for");
}

static void test_bad_messages(void **state)
{
    (void)state;
    server_deliver(&wire, 1, "", "k");
    server_ack(&wire, 1, 1, false);
    want_bad("in the middle of a message");
    teardown(NULL);
    setup(NULL);
    server_deliver(&wire, 1, "", "k");
    server_head(&wire, 1, 3);
    server_frame(&wire, AMQP_FRAME_BODY, 1, "four", 4);
    want_bad("longer than it said");
    teardown(NULL);
    setup(NULL);
    server_deliver(&wire, 1, "", "k");
    server_head(&wire, 2, 3);
    want_bad("not announced");
    teardown(NULL);
    setup(NULL);
    server_deliver(&wire, 1, "", "k");
    server_frame(&wire, AMQP_FRAME_HEADER, 1, "\0\x3c\0", 3);
    want_bad("ends too soon");
}

/* A table in a table in a table …, as deep as a frame has room for: refused or read, but nothing breaks and nothing is kept. */
static void test_deep_tables(void **state)
{
    static uint8_t payload[16000];
    size_t at = 0, end = sizeof payload;
    static const uint8_t id[] = { 0, 10, 0, 10, 0, 9 };
    (void)state;
    memcpy(payload, id, sizeof id);
    at = sizeof id;
    while (at + 12 < end) { /* length of the table, one name of no length, F */
        size_t inside = end - at - 4;
        payload[at] = 0, payload[at + 1] = 0, payload[at + 2] = (uint8_t)(inside >> 8), payload[at + 3] = (uint8_t)inside;
        payload[at + 4] = 0, payload[at + 5] = 'F';
        at += 6;
    }
    server_frame(&wire, AMQP_FRAME_METHOD, 0, payload, sizeof payload);
    want_bad("cannot be decoded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_login, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bindings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_publish, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_long_is_not_written, setup, teardown),
        cmocka_unit_test_setup_teardown(test_beginning, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_messages_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_message_is_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_protocols, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deep_tables, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
