/* The rabbitmq driver under the real core, against a broker that is played on the same loop: it answers what the test lets it answer. */
#include "agent/net/listen.h"
#include "tests/unit/brokers/client.h"
#include "tests/unit/proto/amqp_server.h"

enum { CONSUME = 1, PUBLISH, BIND };

/* --- the broker --- */

static struct listener *listener;
static struct server {
    struct stream *stream;
    struct buf in, out;
    amqp_pool_t pool;
    unsigned connections, opens[4], publishes, binds, unbinds, beats, closes;
    char vhost[256], key[300], exchange[256], user[64];
    bool shut[4]; /* the channel was closed: what comes on it is thrown away until close-ok */
    uint64_t tag;
    /* how it behaves */
    const char *mechanisms;
    bool deaf;                                                                        /* reads and says nothing */
    bool silent_publish;                                                              /* takes messages without a word */
    bool lose_pings;                                                                  /* confirms them and does not deliver */
    uint16_t refuse_login, refuse_open, refuse_exchange, refuse_bind, refuse_publish; /* codes */
    uint16_t heartbeat;
} server;

static void flush(void)
{
    if (server.stream)
        stream_write(server.stream, buf_slice(&server.out));
    buf_reset(&server.out);
}

static void shut(uint16_t channel, uint16_t code, const char *text)
{
    server.shut[channel] = true;
    server_channel_close(&server.out, channel, code, text);
}

static void copy(char *out, size_t size, amqp_bytes_t bytes)
{
    snprintf(out, size, "%.*s", (int)bytes.len, (const char *)bytes.bytes);
}

static void say(uint16_t channel, amqp_method_number_t id)
{
    uint64_t nothing[8] = { 0 };
    server_method(&server.out, channel, id, nothing);
}

static void on_connection_method(amqp_method_number_t id, const void *fields)
{
    const amqp_connection_start_ok_t *start = fields;
    switch (id) {
    case AMQP_CONNECTION_START_OK_METHOD:
        copy(server.user, sizeof server.user, (amqp_bytes_t){ start->response.len - 1, (char *)start->response.bytes + 1 });
        if (server.refuse_login)
            server_close(&server.out, server.refuse_login, "ACCESS_REFUSED - Login was refused");
        else
            server_tune(&server.out, 131072, server.heartbeat);
        return;
    case AMQP_CONNECTION_OPEN_METHOD:
        copy(server.vhost, sizeof server.vhost, ((const amqp_connection_open_t *)fields)->virtual_host);
        if (server.refuse_open)
            server_close(&server.out, server.refuse_open, "NOT_ALLOWED - vhost x not found");
        else
            say(0, AMQP_CONNECTION_OPEN_OK_METHOD);
        return;
    case AMQP_CONNECTION_CLOSE_METHOD:
        server.closes++;
        say(0, AMQP_CONNECTION_CLOSE_OK_METHOD);
        return;
    default:
        return;
    }
}

static void on_queue_method(uint16_t channel, amqp_method_number_t id, const void *fields)
{
    amqp_queue_declare_ok_t queue = { .queue = server_text("amq.gen-test") };
    switch (id) {
    case AMQP_QUEUE_DECLARE_METHOD:
        server_method(&server.out, channel, AMQP_QUEUE_DECLARE_OK_METHOD, &queue);
        return;
    case AMQP_QUEUE_BIND_METHOD:
        copy(server.key, sizeof server.key, ((const amqp_queue_bind_t *)fields)->routing_key);
        server.binds++;
        if (server.refuse_bind && strcmp(server.key, "bad") == 0)
            shut(channel, server.refuse_bind, "ACCESS_REFUSED - no reading");
        else
            say(channel, AMQP_QUEUE_BIND_OK_METHOD);
        return;
    case AMQP_QUEUE_UNBIND_METHOD:
        server.unbinds++;
        say(channel, AMQP_QUEUE_UNBIND_OK_METHOD);
        return;
    default:
        return;
    }
}

static void on_channel_method(uint16_t channel, amqp_method_number_t id, const void *fields)
{
    amqp_basic_consume_ok_t consume = { .consumer_tag = server_text("tag") };
    switch (id) {
    case AMQP_CHANNEL_CLOSE_OK_METHOD:
        server.shut[channel] = false;
        return;
    case AMQP_CHANNEL_OPEN_METHOD:
        server.opens[channel]++;
        server.tag = channel == PUBLISH ? 0 : server.tag;
        say(channel, AMQP_CHANNEL_OPEN_OK_METHOD);
        return;
    case AMQP_CONFIRM_SELECT_METHOD:
        say(channel, AMQP_CONFIRM_SELECT_OK_METHOD);
        return;
    case AMQP_EXCHANGE_DECLARE_METHOD:
        if (server.refuse_exchange)
            shut(channel, server.refuse_exchange, "NOT_FOUND - no exchange 'x' in vhost '/'");
        else
            say(channel, AMQP_EXCHANGE_DECLARE_OK_METHOD);
        return;
    case AMQP_BASIC_CONSUME_METHOD:
        server_method(&server.out, channel, AMQP_BASIC_CONSUME_OK_METHOD, &consume);
        return;
    case AMQP_BASIC_PUBLISH_METHOD:
        copy(server.key, sizeof server.key, ((const amqp_basic_publish_t *)fields)->routing_key);
        copy(server.exchange, sizeof server.exchange, ((const amqp_basic_publish_t *)fields)->exchange);
        return;
    default:
        on_queue_method(channel, id, fields);
        return;
    }
}

/* The whole body is in one frame here. */
static void on_published(struct slice body)
{
    bool ping = !*server.exchange;
    server.publishes++;
    server.tag++;
    if (server.silent_publish)
        return;
    if (server.refuse_publish) {
        shut(PUBLISH, server.refuse_publish, "ACCESS_REFUSED - no writing");
        return;
    }
    if (!ping || !server.lose_pings)
        server_message(&server.out, CONSUME, server.exchange, server.key, body);
    server_ack(&server.out, PUBLISH, server.tag, false);
}

static void on_frame(uint8_t type, uint16_t channel, struct slice payload)
{
    void *fields = NULL;
    if (type == AMQP_FRAME_HEARTBEAT)
        server.beats++;
    if (type == AMQP_FRAME_BODY && !server.shut[channel])
        on_published(payload);
    if (type != AMQP_FRAME_METHOD)
        return;
    amqp_method_number_t id = (amqp_method_number_t)payload.data[1] << 16 | payload.data[3];
    amqp_bytes_t bytes = { .len = payload.len - 4, .bytes = (void *)(uintptr_t)(payload.data + 4) };
    assert_int_equal(amqp_decode_method(id, &server.pool, bytes, &fields), AMQP_STATUS_OK);
    if (channel == 0)
        on_connection_method(id, fields);
    else if (!server.shut[channel] || id == AMQP_CHANNEL_CLOSE_OK_METHOD)
        on_channel_method(channel, id, fields);
    recycle_amqp_pool(&server.pool);
}

static void on_data(void *user, struct slice data)
{
    (void)user;
    buf_append_slice(&server.in, data);
    if (server.deaf)
        return;
    if (server.in.len >= 8 && memcmp(server.in.data, "AMQP", 4) == 0) {
        buf_consume(&server.in, 8);
        server_start(&server.out, server.mechanisms);
    }
    while (server.in.len >= 8) {
        size_t len = (size_t)server.in.data[5] << 8 | server.in.data[6];
        if (server.in.len < len + 8)
            break;
        on_frame(server.in.data[0], (uint16_t)(server.in.data[1] << 8 | server.in.data[2]), slice_make(server.in.data + 7, len));
        buf_consume(&server.in, len + 8);
    }
    flush();
}

static void hang_up(void)
{
    if (server.stream)
        stream_close_now(server.stream);
    server.stream = NULL;
}

static void on_end(void *user, const struct err *err)
{
    (void)user, (void)err;
    hang_up();
}

static const struct stream_events server_events = { .on_data = on_data, .on_end = on_end };

static void on_accept(void *user, struct stream *stream)
{
    (void)user;
    hang_up();
    buf_reset(&server.in);
    server.connections++;
    memset(server.shut, 0, sizeof server.shut);
    server.stream = stream;
    stream_start(stream, &server_events, NULL);
}

static int setup(void **state)
{
    struct listen_address address = { .host = "127.0.0.1" };
    struct err err;
    (void)state;
    memset(&server, 0, sizeof server);
    client_init(&broker_rabbitmq);
    server.mechanisms = "PLAIN AMQPLAIN";
    server.heartbeat = 60;
    buf_init(&server.in, 1 << 20);
    buf_init(&server.out, 1 << 20);
    init_amqp_pool(&server.pool, 4096);
    if (loop_init(&loop, &err) < 0)
        return -1;
    listener = listener_open(&loop, &address, &(struct listen_options){ .fd = -1 }, on_accept, NULL, &err);
    if (!listener)
        return -1;
    snprintf(url, sizeof url, "amqp://127.0.0.1:%d", listener_port(listener));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    end();
    hang_up();
    listener_close(listener);
    loop_fini(&loop);
    client_fini();
    buf_fini(&server.in);
    buf_fini(&server.out);
    empty_amqp_pool(&server.pool);
    return 0;
}

static struct broker_request requests[4];

static void probe(unsigned i, uint64_t timeout_ms)
{
    memset(&requests[i], 0, sizeof requests[i]);
    requests[i].on_answer = on_answer;
    broker_probe(broker, &requests[i], timeout_ms);
}

static void publish(unsigned i, const char *topic, const char *body)
{
    memset(&requests[i], 0, sizeof requests[i]);
    requests[i].on_answer = on_answer;
    broker_publish(broker, &requests[i], slice_str(topic), slice_str(body), PATIENCE_MS);
}

static struct broker_listener wishes[2];

static void listen_to(unsigned i, const char *topic)
{
    memset(&wishes[i], 0, sizeof wishes[i]);
    wishes[i].on_state = on_state;
    wishes[i].on_message = on_message;
    broker_listen(broker, &wishes[i], topic);
}

/* --- the tests --- */

static void test_up_ping_close(void **state)
{
    (void)state;
    begin_up();
    assert_string_equal(server.vhost, "/");
    assert_string_equal(server.user, "guest");
    probe(0, PATIENCE_MS);
    await(&heard.answers, 1);
    assert_int_equal(heard.answer.reason, REASON_NONE);
    assert_string_equal(server.exchange, ""); /* nobody else sees a ping */
    assert_string_equal(server.key, "amq.gen-test");
}

static void test_vhost_and_user(void **state)
{
    (void)state;
    snprintf(url, sizeof url, "amqp://us%%65r:pw@127.0.0.1:%d/%%2Fa%%20b", listener_port(listener));
    begin_up();
    assert_string_equal(server.vhost, "/a b");
    assert_string_equal(server.user, "user");
}

static void test_publish_and_message(void **state)
{
    (void)state;
    begin_up();
    listen_to(0, "news");
    await(&heard.confirmed, 1);
    publish(0, "news", "hello");
    await(&heard.answers, 1);
    await(&heard.messages, 1);
    assert_int_equal(heard.answer.reason, REASON_NONE);
    assert_string_equal(heard.body, "hello");
    assert_string_equal(server.exchange, "amq.topic");
    broker_unlisten(&wishes[0]);
    await(&server.unbinds, 1);
}

/* A ping that is confirmed and does not come back is no pong. */
static void test_ping_that_is_lost(void **state)
{
    (void)state;
    server.lose_pings = true;
    begin_up();
    probe(0, 60);
    await(&heard.answers, 1);
    assert_int_equal(heard.answer.reason, REASON_BROKER_TIMEOUT);
    assert_int_equal(server.publishes, 1);
}

static void test_blocked(void **state)
{
    amqp_connection_blocked_t blocked = { .reason = server_text("low on memory") };
    unsigned before;
    (void)state;
    begin_up();
    server.silent_publish = true;
    probe(0, PATIENCE_MS);
    publish(1, "news", "x");
    await(&server.publishes, 2);
    server_method(&server.out, 0, AMQP_CONNECTION_BLOCKED_METHOD, &blocked);
    flush();
    await(&heard.answers, 2); /* both at once, long before any deadline */
    assert_says(&heard.answer, REASON_BROKER_BLOCKED, "low on memory");
    before = server.publishes;
    probe(0, PATIENCE_MS);
    publish(1, "news", "y");
    assert_int_equal(heard.answers, 2); /* never inside the call */
    await(&heard.answers, 4);
    assert_says(&heard.answer, REASON_BROKER_BLOCKED, "low on memory");
    assert_int_equal(server.publishes, before); /* nothing that would be delivered stale */
    assert_int_equal(heard.downs, 0);
    server.silent_publish = false;
    say(0, AMQP_CONNECTION_UNBLOCKED_METHOD);
    server_ack(&server.out, PUBLISH, 2, true); /* what nobody awaits any more */
    flush();
    for (unsigned i = 0; i < 20 && heard.answer.reason != REASON_NONE; i++) {
        unsigned answers = heard.answers;
        probe(0, PATIENCE_MS);
        await(&heard.answers, answers + 1);
    }
    assert_int_equal(heard.answer.reason, REASON_NONE);
    assert_int_equal(server.connections, 1);
}

static void test_nack(void **state)
{
    amqp_basic_nack_t nack = { .delivery_tag = 0, .multiple = 1 };
    (void)state;
    begin_up();
    server.silent_publish = true;
    publish(0, "news", "x");
    publish(1, "news", "y");
    await(&server.publishes, 2);
    server_method(&server.out, PUBLISH, AMQP_BASIC_NACK_METHOD, &nack);
    flush();
    await(&heard.answers, 2);
    assert_says(&heard.answer, REASON_BROKER_BLOCKED, "basic.nack");
}

static void test_many_confirms_at_once(void **state)
{
    (void)state;
    begin_up();
    server.silent_publish = true;
    for (unsigned i = 0; i < 4; i++)
        publish(i, "news", "x");
    await(&server.publishes, 4);
    server_ack(&server.out, PUBLISH, 3, true);
    server_ack(&server.out, PUBLISH, 3, true); /* again: nothing to confirm */
    server_ack(&server.out, PUBLISH, 99, false);
    flush();
    await(&heard.answers, 3);
    assert_int_equal(heard.answers, 3);
    server_ack(&server.out, PUBLISH, 4, false);
    flush();
    await(&heard.answers, 4);
    assert_int_equal(heard.answer.reason, REASON_NONE);
}

/* The channel goes with the refusal, and a new one comes; the connection stays. */
static void test_publish_refused(void **state)
{
    (void)state;
    server.refuse_publish = 403;
    begin_up();
    publish(0, "news", "x");
    await(&heard.answers, 1);
    assert_says(&heard.answer, REASON_BROKER_AUTH_FAILED, "no writing");
    server.refuse_publish = 0;
    publish(0, "news", "x");
    await(&heard.answers, 2);
    assert_int_equal(heard.answer.reason, REASON_NONE);
    assert_int_equal(server.opens[PUBLISH], 2);
    assert_int_equal(heard.downs, 0);
}

static void test_bind_refused(void **state)
{
    (void)state;
    server.refuse_bind = 403;
    begin_up();
    listen_to(0, "bad");
    listen_to(1, "good"); /* on its way when the channel is closed */
    await(&heard.refused, 1);
    await(&heard.confirmed, 1);
    assert_says(&heard.refusal, REASON_BROKER_AUTH_FAILED, "no reading");
    assert_false(wishes[0].confirmed);
    assert_true(wishes[1].confirmed);
    assert_int_equal(server.opens[BIND], 2);
    assert_int_equal(server.connections, 1);
    broker_unlisten(&wishes[0]);
    broker_unlisten(&wishes[1]);
}

static void test_topic_too_long(void **state)
{
    char topic[400];
    (void)state;
    memset(topic, 't', sizeof topic - 1);
    topic[sizeof topic - 1] = 0;
    begin_up();
    publish(0, topic, "x");
    listen_to(0, topic);
    await(&heard.answers, 1);
    await(&heard.refused, 1);
    assert_says(&heard.answer, REASON_AGENT_ERROR, "255 bytes");
    assert_says(&heard.refusal, REASON_AGENT_ERROR, "255 bytes");
    assert_int_equal(server.publishes + server.binds, 0);
    broker_unlisten(&wishes[0]);
}

/* What the broker says on the way to being open. */
static void want_why(enum reason reason, const char *text)
{
    begin();
    await(&server.connections, 2); /* it has failed, and tries again */
    assert_says(broker_why(broker), reason, text);
    assert_int_equal(heard.ups, 0);
}

static void test_login_refused(void **state)
{
    (void)state;
    server.refuse_login = 403;
    want_why(REASON_BROKER_AUTH_FAILED, "the broker refused the credentials: ACCESS_REFUSED");
}

static void test_vhost_missing(void **state)
{
    (void)state;
    server.refuse_open = 530;
    want_why(REASON_BROKER_NOT_DELIVERING, "there is no virtual host '/': NOT_ALLOWED - vhost x not found");
    assert_int_equal(broker_why(broker)->code, BROKER_HINT_ABSENT);
}

static void test_exchange_missing(void **state)
{
    (void)state;
    server.refuse_exchange = 404;
    want_why(REASON_BROKER_NOT_DELIVERING, "no exchange 'x'");
}

static void test_mechanism_missing(void **state)
{
    (void)state;
    server.mechanisms = "EXTERNAL PLAINER";
    want_why(REASON_BROKER_AUTH_FAILED, "EXTERNAL PLAINER, want PLAIN");
}

static void test_silence(void **state)
{
    (void)state;
    server.deaf = true;
    conf.timeout_ms = 60;
    want_why(REASON_BROKER_TIMEOUT, "no connection to the broker within 60ms");
}

/* What ends an open connection is told at once, and the subscription comes back with the next one. */
static void end_with(enum reason reason, const char *text)
{
    flush();
    await(&heard.downs, 1);
    assert_says(&heard.down, reason, text);
    await(&heard.ups, 2);
    await(&heard.confirmed, 2);
    assert_true(wishes[0].confirmed);
    assert_int_equal(server.connections, 2);
    broker_unlisten(&wishes[0]);
}

static void begin_listening(void)
{
    begin_up();
    listen_to(0, "news");
    await(&heard.confirmed, 1);
}

static void test_forced_close(void **state)
{
    (void)state;
    begin_listening();
    server_close(&server.out, 320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'");
    end_with(REASON_BROKER_UNREACHABLE, "closing its connections: CONNECTION_FORCED");
}

static void test_cancel(void **state)
{
    amqp_basic_cancel_t cancel = { .consumer_tag = server_text("tag"), .nowait = 1 };
    (void)state;
    begin_listening();
    server_method(&server.out, CONSUME, AMQP_BASIC_CANCEL_METHOD, &cancel);
    end_with(REASON_BROKER_NOT_DELIVERING, "cancelled");
}

static void test_hang_up(void **state)
{
    (void)state;
    begin_listening();
    publish(0, "news", "x");
    hang_up();
    await(&heard.answers, 1);
    assert_int_equal(heard.answer.reason, REASON_BROKER_UNREACHABLE);
    end_with(REASON_BROKER_UNREACHABLE, "the broker closed the connection");
}

static void test_broken_frame(void **state)
{
    (void)state;
    begin_listening();
    buf_append(&server.out, "\7\0\0\0\0\0\0\0", 8);
    end_with(REASON_BROKER_UNREACHABLE, "broke the AMQP protocol");
}

static void test_heartbeats(void **state)
{
    (void)state;
    option("heartbeat", "1s");
    begin_up();
    await(&server.beats, 1);
    await(&heard.downs, 1); /* this broker sends none */
    assert_says(&heard.down, REASON_BROKER_TIMEOUT, "not even a heartbeat");
}

static void test_check(void **state)
{
    static const struct {
        const char *url, *exchange, *mechanism, *text;
    } cases[] = {
        { "amqp://127.0.0.1", "x", "plain", NULL },
        { "amqp://127.0.0.1/", "x", "plain", NULL },
        { "amqp://127.0.0.1/%00", "x", "plain", "virtual host" },
        { "amqp://127.0.0.1:99999", "x", "plain", "99999" },
        { "amqp://127.0.0.1", "", "plain", "exchange: empty" },
        { "amqps://127.0.0.1", "x", "external", "mechanism: external, want tls.cert_file" },
    };
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conf.url = (char *)(uintptr_t)cases[i].url;
        option("exchange", cases[i].exchange);
        option("mechanism", cases[i].mechanism);
        assert_int_equal(broker_rabbitmq.validate(&conf, &err), cases[i].text ? -1 : 0);
        if (cases[i].text && !strstr(err.text, cases[i].text))
            fail_msg("'%s' is not in '%s'", cases[i].text, err.text);
    }
    conf.url = url;
    option("exchange", "amq.topic");
    option("mechanism", "plain");
    begin_up();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(up_ping_close),
        TEST(vhost_and_user),
        TEST(publish_and_message),
        TEST(ping_that_is_lost),
        TEST(blocked),
        TEST(nack),
        TEST(many_confirms_at_once),
        TEST(publish_refused),
        TEST(bind_refused),
        TEST(topic_too_long),
        TEST(login_refused),
        TEST(vhost_missing),
        TEST(exchange_missing),
        TEST(mechanism_missing),
        TEST(silence),
        TEST(forced_close),
        TEST(cancel),
        TEST(hang_up),
        TEST(broken_frame),
        TEST(heartbeats),
        TEST(check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
