/*
 * The redis driver under the broker core, against a scripted server on the same loop: what is said on which connection, what answers mean,
 * redirections, Sentinels, servers that lie or talk too much, and letting go at any moment. Real servers: tests/e2e/test_redis.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/net/listen.h"
#include "agent/proto/resp.h"
#include "brokers/registry.h"

#define COUNT(array) (sizeof array / sizeof array[0])
enum { PATIENCE_MS = 20000, FAKES = 3, CONNS_MAX = 64, HUGE_BYTES = 2 << 20 };

static struct loop loop;

/* --- the scripted server --- */

/* The first rule whose command is at the front of what comes decides. NULL: no answer. "": close. */
struct rule {
    const char *command, *reply;
};

struct fake;
struct fake_conn {
    struct fake *fake;
    struct stream *stream;
    struct resp_reader *reader;
    bool subscribed;
};

static struct fake {
    struct listener *listener;
    uint16_t port;
    const struct rule *rules;
    struct fake_conn *conns[CONNS_MAX];
    size_t conn_count;
    char log[16384]; /* a line for each command */
} fakes[FAKES];

static const struct rule common_rules[] = {
    { "ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n" },
    { "CLUSTER INFO", "-ERR This instance has cluster support disabled\r\n" },
    { "PUBLISH", ":1\r\n" },
    { "SPUBLISH", ":1\r\n" },
    { "", "+OK\r\n" },
};

static void fake_close(struct fake_conn *conn)
{
    if (conn->stream)
        stream_close_now(conn->stream);
    conn->stream = NULL;
}

static void fake_say(struct fake_conn *conn, const char *text)
{
    if (conn->stream)
        stream_write(conn->stream, slice_str(text));
}

/* To every connection that has subscribed. */
static void fake_tell(struct fake *fake, const char *text)
{
    for (size_t i = 0; i < fake->conn_count; i++)
        if (fake->conns[i]->subscribed)
            fake_say(fake->conns[i], text);
}

static void fake_confirm(struct fake_conn *conn, const char *command)
{
    char reply[256];
    const char *topic = strchr(command, ' ') + 1, *verb = command[0] == 'S' && command[1] == 'S' ? "ssubscribe" : "subscribe";
    conn->subscribed = true;
    snprintf(reply, sizeof reply, "*3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n:1\r\n", strlen(verb), verb, strlen(topic), topic);
    fake_say(conn, reply);
}

static void fake_command(struct fake_conn *conn, const char *command)
{
    const struct rule *rules[] = { conn->fake->rules, common_rules };
    for (size_t set = 0; set < 2; set++)
        for (const struct rule *rule = rules[set]; rule && rule->command; rule++) {
            bool all = rule == &common_rules[COUNT(common_rules) - 1];
            if (all && (strncmp(command, "SUBSCRIBE", 9) == 0 || strncmp(command, "SSUBSCRIBE", 10) == 0)) {
                fake_confirm(conn, command);
            } else if (all && strncmp(command, "PING", 4) == 0) {
                fake_say(conn, conn->subscribed ? "*2\r\n$4\r\npong\r\n$0\r\n\r\n" : "+PONG\r\n");
            } else if (strncmp(command, rule->command, strlen(rule->command)) != 0) {
                continue;
            } else if (rule->reply && !*rule->reply) {
                fake_close(conn);
            } else if (rule->reply) {
                fake_say(conn, rule->reply);
            }
            return;
        }
}

static void fake_data(void *user, struct slice data)
{
    struct fake_conn *conn = user;
    struct fake *fake = conn->fake;
    struct resp_reply *reply;
    char command[512];
    while (conn->stream && resp_reader_next(conn->reader, &data, &reply, NULL) == 1) {
        size_t len = 0;
        command[0] = '\0';
        for (size_t i = 0; i < resp_count(reply); i++) {
            struct slice text = resp_text(resp_item(reply, i));
            len += (size_t)snprintf(command + len, sizeof command - len, "%s%.*s", i ? " " : "",
                                    text.len > 100 ? 100 : (int)text.len, text.len ? (const char *)text.data : "");
        }
        resp_reply_free(reply);
        if (strlen(fake->log) + len + 2 < sizeof fake->log) {
            strcat(fake->log, command);
            strcat(fake->log, "\n");
        }
        fake_command(conn, command);
    }
}

static void fake_end(void *user, const struct err *err)
{
    (void)err;
    fake_close(user);
}

static void fake_accept(void *user, struct stream *stream)
{
    static const struct stream_events events = { .on_data = fake_data, .on_end = fake_end };
    struct fake *fake = user;
    assert_true(fake->conn_count < CONNS_MAX);
    struct fake_conn *conn = mem_alloc(sizeof *conn);
    conn->fake = fake;
    conn->stream = stream;
    conn->reader = resp_reader_new(1 << 20);
    fake->conns[fake->conn_count++] = conn;
    stream_set_max_pending(stream, HUGE_BYTES * 2);
    stream_start(stream, &events, conn);
}

static size_t fake_heard(const struct fake *fake, const char *command)
{
    size_t count = 0;
    for (const char *at = fake->log; (at = strstr(at, command)); at++)
        count++;
    return count;
}

/* --- a client of the core --- */

static struct client {
    struct broker_conf conf;
    struct broker *broker;
    struct broker_listener listener;
    struct broker_watcher watch;
    struct broker_request probe, publish;
    struct err err; /* of the last answer */
    int answers, ups, downs, confirmed, refused, messages, freed;
    char url[128], body[128];
    bool listening;
} client;

static void on_watchdog(struct timer *timer, void *user)
{
    (void)timer;
    *(bool *)user = true;
}

static void run_until(const int *done)
{
    bool late = false;
    struct timer watchdog = { 0 };
    timer_init(&watchdog, &loop, on_watchdog, &late);
    timer_start(&watchdog, PATIENCE_MS);
    while (*done == 0 && !late)
        uv_run(&loop.uv, UV_RUN_ONCE);
    timer_stop(&watchdog);
    assert_false(late);
}

static void on_answer(void *user, const struct err *err, uint64_t rtt_ns)
{
    (void)user;
    (void)rtt_ns;
    if (err)
        client.err = *err;
    else
        err_clear(&client.err);
    client.answers++;
}

static void on_state(void *user, bool confirmed, const struct err *err)
{
    (void)user;
    client.confirmed += confirmed;
    if (!err)
        return;
    client.err = *err;
    client.refused++;
}

static void on_message(void *user, struct slice body, uint64_t received_ns)
{
    (void)user;
    assert_true(received_ns > 0);
    snprintf(client.body, sizeof client.body, "%.*s", body.len > 100 ? 100 : (int)body.len, (const char *)body.data);
    client.messages++;
}

static void on_change(void *user, bool up, const struct err *err)
{
    (void)user;
    client.ups += up;
    client.downs += !up;
    if (err)
        client.err = *err;
}

static void on_freed(void *user)
{
    (void)user;
    client.broker = NULL;
    client.freed = 1;
}

static void *opts(void)
{
    return client.conf.opts;
}

static void option(const char *name, const char *value)
{
    struct err err;
    if (opt_set(broker_redis.opts, opts(), name, value, &err))
        fail_msg("%s", err.text);
}

static void probe(void)
{
    client.answers = 0;
    memset(&client.probe, 0, sizeof client.probe);
    client.probe.on_answer = on_answer;
    broker_probe(client.broker, &client.probe, PATIENCE_MS);
    run_until(&client.answers);
}

static void publish(const char *body)
{
    client.answers = 0;
    memset(&client.publish, 0, sizeof client.publish);
    client.publish.on_answer = on_answer;
    broker_publish(client.broker, &client.publish, slice_str("news"), slice_str(body), PATIENCE_MS);
    run_until(&client.answers);
}

/* Opens with the path and userinfo given, and asks once. */
static void begin_with(const char *userinfo, const char *path)
{
    struct err err;
    snprintf(client.url, sizeof client.url, "redis://%s127.0.0.1:%u%s", userinfo, fakes[0].port, path);
    client.conf.url = client.url;
    err_clear(&err);
    if (broker_redis.validate(&client.conf, &err))
        fail_msg("%s", err.text);
    client.broker = broker_new(&loop, &client.conf, NULL);
    client.watch.on_change = on_change;
    broker_watch(client.broker, &client.watch);
    broker_start(client.broker);
    probe();
}

static void begin(const struct rule *rules)
{
    fakes[0].rules = rules;
    begin_with("", "");
}

static void listen_to_news(void)
{
    client.listener.on_message = on_message;
    client.listener.on_state = on_state;
    client.listening = true;
    broker_listen(client.broker, &client.listener, "news");
}

static void expect(enum reason reason, const char *text)
{
    if (client.err.reason != reason || (text && !strstr(client.err.text, text)))
        fail_msg("%s '%s', want %s '%s'", reason_name(client.err.reason), client.err.text, reason_name(reason), text ? text : "");
}

static int setup(void **state)
{
    (void)state;
    struct listen_address address;
    struct listen_options options = { .fd = -1 };
    struct err err;
    assert_int_equal(loop_init(&loop, &err), 0);
    assert_int_equal(listen_address_parse("127.0.0.1:0", &address, &err), 0);
    memset(fakes, 0, sizeof fakes);
    for (size_t i = 0; i < FAKES; i++) {
        fakes[i].listener = listener_open(&loop, &address, &options, fake_accept, &fakes[i], &err);
        assert_non_null(fakes[i].listener);
        fakes[i].port = listener_port(fakes[i].listener);
    }
    memset(&client, 0, sizeof client);
    client.conf = (struct broker_conf){
        .name = (char[]){ "bus" }, .type = &broker_redis, .timeout_ms = 5000, .retry_min_ms = 1, .retry_max_ms = 20
    };
    client.conf.opts = mem_alloc(broker_redis.opts_size);
    opt_defaults(broker_redis.opts, client.conf.opts);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < FAKES; i++)
        fakes[i].rules = NULL; /* they may lie in the test's own frame, which is gone */
    if (client.broker) {
        broker_request_cancel(&client.probe);
        broker_request_cancel(&client.publish);
        if (client.listening)
            broker_unlisten(&client.listener);
        broker_unwatch(&client.watch);
        broker_free(client.broker, on_freed, NULL);
        run_until(&client.freed);
    }
    for (size_t i = 0; i < FAKES; i++) {
        listener_close(fakes[i].listener);
        for (size_t n = 0; n < fakes[i].conn_count; n++) {
            fake_close(fakes[i].conns[n]);
            resp_reader_free(fakes[i].conns[n]->reader);
            mem_free(fakes[i].conns[n]);
        }
    }
    opt_fini(broker_redis.opts, client.conf.opts);
    mem_free(client.conf.opts);
    loop_fini(&loop);
    return 0;
}

/* --- standalone --- */

static void test_what_is_said(void **state)
{
    (void)state;
    option("write_key", "my:key");
    fakes[0].rules = NULL;
    begin_with("al:s3cret@", "/2");
    expect(REASON_NONE, "");
    assert_int_equal(client.ups, 1);
    assert_int_equal(fakes[0].conn_count, 2);
    const char *order[] = {
        "AUTH al s3cret\nCLIENT SETNAME wshealthd\nSELECT 2\nROLE\nCLUSTER INFO\nSET my:key wshealthd PX 60000\n",
        "AUTH al s3cret\nCLIENT SETNAME wshealthd\nPING\n"
    };
    assert_int_equal(strncmp(fakes[0].log, order[0], strlen(order[0])), 0);
    assert_int_equal(strncmp(fakes[0].log + strlen(order[0]), order[1], strlen(order[1])), 0);
    probe(); /* what it is no cluster need not be asked again */
    expect(REASON_NONE, "");
    assert_int_equal(fake_heard(&fakes[0], "CLUSTER"), 1);
}

static void test_password_alone(void **state)
{
    (void)state;
    begin_with(":pw%20x@", "");
    expect(REASON_NONE, "");
    assert_int_equal(fake_heard(&fakes[0], "AUTH pw x\n"), 2);
    assert_int_equal(fake_heard(&fakes[0], "SELECT"), 0);
}

static void test_messages(void **state)
{
    (void)state;
    begin(NULL);
    listen_to_news();
    run_until(&client.confirmed);
    publish("a body");
    expect(REASON_NONE, "");
    assert_int_equal(fake_heard(&fakes[0], "PUBLISH news a body\n"), 1);
    /* other topics, odd shapes and patterns are nobody's; what comes in pieces is put together */
    fake_tell(&fakes[0], "*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$1\r\nx\r\n*2\r\n$7\r\nmessage\r\n$4\r\nnews\r\n"
                         "*3\r\n$7\r\nmessage\r\n*1\r\n:1\r\n:7\r\n*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$6\r\nhe");
    fake_tell(&fakes[0], "llo!\r\n");
    run_until(&client.messages);
    assert_int_equal(client.messages, 1);
    assert_string_equal(client.body, "hello!");
    probe(); /* PING on a connection that has subscribed is answered in another form */
    expect(REASON_NONE, "");
    broker_unlisten(&client.listener);
    client.listening = false;
    probe();
    assert_int_equal(fake_heard(&fakes[0], "UNSUBSCRIBE news\n"), 1);
}

static void test_what_errors_mean(void **state)
{
    (void)state;
    static const struct {
        struct rule rule;
        enum reason reason;
        const char *says;
    } rows[] = {
        { { "SET", "-READONLY You can't write\r\n" }, REASON_BROKER_READ_ONLY, "takes no writes: it is a replica" },
        { { "SET", "-MISCONF Redis is configured to save\r\n" }, REASON_BROKER_READ_ONLY, "cannot save to disk" },
        { { "SET", "-NOREPLICAS Not enough\r\n" }, REASON_BROKER_READ_ONLY, "too few replicas" },
        { { "SET", "-OOM command not allowed\r\n" }, REASON_BROKER_BLOCKED, "maxmemory" },
        { { "SET", "-LOADING Redis is loading\r\n" }, REASON_BROKER_BLOCKED, "still loading its dataset" },
        { { "SET", "-BUSY Redis is busy\r\n" }, REASON_BROKER_BLOCKED, "busy with a script" },
        { { "SET", "-CLUSTERDOWN Hash slot not served\r\n" }, REASON_BROKER_UNREACHABLE, "cluster that is down" },
        { { "SET", "-NOAUTH Authentication required.\r\n" }, REASON_BROKER_AUTH_FAILED, "the URL has none" },
        { { "SET", "-NOPERM no permissions\r\n" }, REASON_BROKER_AUTH_FAILED, "grant +set" },
        { { "SET", "-ERR unknown command\r\n" }, REASON_BROKER_READ_ONLY, "refuses the write test: ERR unknown" },
        { { "SET", ":1\r\n" }, REASON_BROKER_READ_ONLY, "answers the write test with something else" },
        { { "PING", "-MASTERDOWN Link with MASTER is down\r\n" }, REASON_BROKER_READ_ONLY, "has lost its master" },
        { { "CLIENT", "-ERR max number of clients reached\r\n" }, REASON_BROKER_UNREACHABLE, "maxclients" },
        { { "CLIENT", "-DENIED Redis is running in protected mode\r\n" }, REASON_BROKER_AUTH_FAILED, "protected mode" },
        { { "CLIENT", "" }, REASON_BROKER_UNREACHABLE, "closed the connection without an answer" },
        { { "ROLE", "" }, REASON_BROKER_UNREACHABLE, "has closed the connection" },
        { { "ROLE", "HTTP/1.1 400 Bad Request\r\n" }, REASON_BROKER_UNREACHABLE, "begins with 'H'" },
        { { "ROLE", "*1000000000\r\n" }, REASON_BROKER_UNREACHABLE, "1000000000 elements" },
        { { "ROLE", "$1000000000\r\n" }, REASON_BROKER_UNREACHABLE, "1000000000 bytes" },
        { { "SET", "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n" }, REASON_BROKER_UNREACHABLE, "a reply without a request" },
        { { "ROLE", "*2\r\n$8\r\nsentinel\r\n*0\r\n" }, REASON_BROKER_UNREACHABLE, "is a Sentinel" },
        { { "CLUSTER", "$42\r\ncluster_state:fail\r\ncluster_slots_ok:100\r\n\r\n" }, REASON_BROKER_UNREACHABLE, "100 of 16384" },
        { { "CLUSTER", "$42\r\ncluster_state:ok\r\ncluster_slots_ok:16000\r\n\r\n" }, REASON_BROKER_UNREACHABLE, "only 16000" },
        { { "CLUSTER", "$7\r\nnothing\r\n" }, REASON_BROKER_UNREACHABLE, "is down: 0 of" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct rule rules[] = { rows[i].rule, { 0 } };
        begin(rules);
        expect(rows[i].reason, rows[i].says);
        assert_int_equal(client.ups, 0);
        teardown(NULL);
        setup(NULL);
    }
}

static void test_auth(void **state)
{
    (void)state;
    static const struct {
        const char *reply, *says;
    } rows[] = {
        { "-WRONGPASS invalid username-password pair\r\n", "refuses the user or the password" },
        { "-ERR invalid password\r\n", "refuses the password" },
        { "-ERR Client sent AUTH, but no password is set\r\n", "has no password set" },
        { "-ERR AUTH <password> called without any password\r\n", "has no password set" },
        { "-ERR unknown command 'AUTH', with args beginning with: 'hunter22'\r\n", "refuses AUTH" },
        { "$8\r\nhunter22\r\n", "answers AUTH with something else" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct rule rules[] = { { "AUTH", rows[i].reply }, { 0 } };
        fakes[0].rules = rules;
        begin_with(":hunter22@", "");
        expect(REASON_BROKER_AUTH_FAILED, rows[i].says);
        assert_null(strstr(client.err.text, "hunter22"));
        assert_int_equal(client.ups, 0);
        teardown(NULL);
        setup(NULL);
    }
}

#define REPLICA(link) "*5\r\n$5\r\nslave\r\n$8\r\n10.0.0.7\r\n:6379\r\n" link ":5\r\n"

static void test_replicas(void **state)
{
    (void)state;
    static const struct rule linked[] = { { "ROLE", REPLICA("$9\r\nconnected\r\n") }, { "SET", "-READONLY no\r\n" }, { 0 } };
    static const struct rule lost[] = { { "ROLE", REPLICA("$7\r\nconnect\r\n") }, { "SET", "-READONLY no\r\n" }, { 0 } };
    static const struct rule odd[] = { { "ROLE", "*1\r\n$5\r\nslave\r\n" }, { "SET", "-READONLY no\r\n" }, { 0 } };
    begin(linked);
    expect(REASON_BROKER_READ_ONLY, "it is a read-only replica of 10.0.0.7:6379");
    fakes[0].rules = lost;
    probe();
    while (!strstr(client.err.text, "lost its master"))
        probe();
    expect(REASON_BROKER_READ_ONLY, "has lost its master 10.0.0.7:6379");
    fakes[0].rules = odd;
    while (!strstr(client.err.text, "?:0"))
        probe();
    fakes[0].rules = NULL;
    while (client.err.reason) /* writable again */
        probe();
    fakes[0].rules = linked; /* read-only again, while it is up: the connection stays */
    probe();
    expect(REASON_BROKER_READ_ONLY, "read-only replica");
    assert_int_equal(client.downs, 0);
}

static void test_without_write_test(void **state)
{
    (void)state;
    static const struct rule linked[] = { { "ROLE", REPLICA("$9\r\nconnected\r\n") }, { 0 } };
    static const struct rule lost[] = { { "ROLE", REPLICA("$4\r\nsync\r\n") }, { 0 } };
    option("write_test", "false");
    begin(linked);
    expect(REASON_NONE, "");
    fakes[0].rules = lost;
    probe();
    expect(REASON_BROKER_NOT_DELIVERING, "has lost its master");
    assert_int_equal(fake_heard(&fakes[0], "SET "), 0);
}

/* A user who may not ask is not asked about at every ping. */
static void test_what_is_not_permitted_is_not_asked_twice(void **state)
{
    (void)state;
    static const struct rule rules[] = { { "ROLE", "-NOPERM no\r\n" }, { "CLUSTER", "-NOPERM no\r\n" }, { 0 } };
    begin(rules);
    expect(REASON_NONE, "");
    probe();
    expect(REASON_NONE, "");
    assert_int_equal(fake_heard(&fakes[0], "ROLE"), 1);
    assert_int_equal(fake_heard(&fakes[0], "CLUSTER"), 1);
}

static void command(const char *word)
{
    const struct slice args[] = { slice_str(word), slice_str("chat"), slice_str("*"), slice_str("data"), slice_str("x") };
    client.answers = 0;
    memset(&client.publish, 0, sizeof client.publish);
    client.publish.on_answer = on_answer;
    broker_command(client.broker, &client.publish, args, sizeof args / sizeof *args, PATIENCE_MS);
    run_until(&client.answers);
}

/* Any reply but an error and nothing means that it is done; errors mean what they mean for PUBLISH. */
static void test_commands(void **state)
{
    (void)state;
    static const struct rule rules[] = { { "XADD", "$3\r\n1-0\r\n" },
                                         { "LPUSH", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n" },
                                         { "RPUSH", "-READONLY You can't write against a read only replica.\r\n" },
                                         { "ZADD", "-OOM command not allowed\r\n" },
                                         { "SADD", "-NOPERM no key\r\n" },
                                         { "SETEX", "$-1\r\n" },
                                         { 0 } };
    static const struct {
        const char *word;
        enum reason reason;
        const char *text;
    } cases[] = {
        { "XADD", REASON_NONE, "" },
        { "LPUSH", REASON_BROKER_NOT_DELIVERING, "refuses publish.command: WRONGTYPE Operation against" },
        { "RPUSH", REASON_BROKER_READ_ONLY, "READONLY" },
        { "ZADD", REASON_BROKER_BLOCKED, "maxmemory" },
        { "SADD", REASON_BROKER_AUTH_FAILED, "grant the command and its key" },
        { "SETEX", REASON_BROKER_NOT_DELIVERING, "its condition did not hold" },
    };
    begin(rules);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        command(cases[i].word);
        expect(cases[i].reason, cases[i].text);
    }
    probe();
    expect(REASON_NONE, "");
}

static void test_refused_subscription_and_publish(void **state)
{
    (void)state;
    static const struct rule rules[] = { { "SUBSCRIBE", "-NOPERM no channel\r\n" },
                                         { "PUBLISH", "-NOPERM no channel\r\n" },
                                         { 0 } };
    begin(rules);
    listen_to_news();
    run_until(&client.refused);
    expect(REASON_BROKER_AUTH_FAILED, "grant +subscribe");
    publish("x");
    expect(REASON_BROKER_AUTH_FAILED, "grant +publish");
    probe();
    expect(REASON_NONE, "");
}

static void test_loss_is_told_at_once_and_comes_back(void **state)
{
    (void)state;
    begin(NULL);
    listen_to_news();
    run_until(&client.confirmed);
    for (size_t i = 0; i < fakes[0].conn_count; i++)
        if (fakes[0].conns[i]->subscribed)
            fake_close(fakes[0].conns[i]);
    client.confirmed = 0;
    run_until(&client.downs);
    expect(REASON_BROKER_UNREACHABLE, "has closed the connection");
    run_until(&client.confirmed); /* subscribed again, on a new connection */
    assert_int_equal(client.ups, 2);
}

static void test_silence(void **state)
{
    (void)state;
    static const struct rule rules[] = { { "ROLE", NULL }, { 0 } };
    client.conf.timeout_ms = 100;
    begin(rules);
    expect(REASON_BROKER_TIMEOUT, "takes connections, but has not answered within");
    fakes[0].rules = NULL;
    run_until(&client.ups);
}

static void tell_news(size_t count)
{
    static const char message[] = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n";
    while (count--)
        fake_tell(&fakes[0], message);
}

/* Far more than a small group's come in batches: each arrives, an answer does not wait for them, and what was paused goes on or ends. */
static void test_messages_in_batches(void **state)
{
    enum { ROUNDS = 12, MANY = 100 };
    (void)state;
    client.listener.in_batches = true;
    begin(NULL);
    listen_to_news();
    run_until(&client.confirmed);
    for (int round = 1; round <= ROUNDS; round++) {
        tell_news(MANY);
        while (client.messages < round * MANY) {
            int before = client.messages;
            client.messages = 0;
            run_until(&client.messages);
            client.messages += before;
        }
        if (round % 3 == 0)
            probe(); /* asks on this connection, too */
    }
    expect(REASON_NONE, "");
    assert_int_equal(client.messages, ROUNDS * MANY);
    for (size_t i = 0; i < fakes[0].conn_count; i++)
        if (fakes[0].conns[i]->subscribed)
            fake_close(fakes[0].conns[i]);
    run_until(&client.downs);
    client.confirmed = 0;
    run_until(&client.confirmed);
    tell_news(MANY); /* and it is let go in the middle */
    client.messages = 0;
    run_until(&client.messages);
}

/* What is larger than the ceiling for replies is not kept but counted, and the connection stays. */
static void test_a_large_message_is_counted(void **state)
{
    (void)state;
    begin(NULL);
    listen_to_news();
    run_until(&client.confirmed);
    char *text = mem_alloc(HUGE_BYTES + 128);
    int len = sprintf(text, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$%d\r\n", HUGE_BYTES);
    memset(text + len, 'x', HUGE_BYTES);
    strcpy(text + len + HUGE_BYTES, "\r\n");
    fake_tell(&fakes[0], text);
    mem_free(text);
    fake_tell(&fakes[0], "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nsmall\r\n");
    run_until(&client.messages);
    for (client.messages = 0; strcmp(client.body, "small") != 0; client.messages = 0)
        run_until(&client.messages);
    assert_int_equal(broker_unread_count(client.broker), 1);
    assert_int_equal(broker_dropped_count(client.broker), 0);
    assert_int_equal(client.downs, 0);
}

static void test_a_flood_is_refused(void **state)
{
    (void)state;
    begin(NULL);
    listen_to_news();
    run_until(&client.confirmed);
    char *flood = mem_alloc(HUGE_BYTES);
    memset(flood, 'x', HUGE_BYTES - 1);
    memcpy(flood, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1048000\r\n", 37);
    fake_tell(&fakes[0], flood);
    mem_free(flood);
    run_until(&client.downs);
    assert_int_equal(client.err.reason, REASON_BROKER_UNREACHABLE);
    run_until(&client.messages); /* one of the largest size is taken, what follows it is no reply */
}

/* --- clusters --- */

#define CLUSTER_OK "$42\r\ncluster_state:ok\r\ncluster_slots_ok:16384\r\n\r\n"
static char redirection[3][64];

static const char *redirect_to(size_t i, const char *word, uint16_t port)
{
    snprintf(redirection[i], sizeof redirection[i], "-%s %u 127.0.0.1:%u\r\n", word, resp_slot(slice_str("key")), port);
    return redirection[i];
}

static void test_redirections_are_followed(void **state)
{
    (void)state;
    const struct rule first[] = { { "CLUSTER", CLUSTER_OK }, { "SET", redirect_to(0, "MOVED", fakes[1].port) }, { 0 } };
    const struct rule second[] = { { "SET", redirect_to(1, "ASK", fakes[2].port) }, { 0 } };
    option("write_key", "key");
    fakes[1].rules = second;
    begin(first);
    expect(REASON_NONE, "");
    assert_int_equal(fake_heard(&fakes[0], "SET "),
                     1); /* opening, and the probe that waited for it: MOVED is remembered, ASK is not */
    assert_int_equal(fake_heard(&fakes[1], "SET "), 2);
    assert_int_equal(fake_heard(&fakes[2], "ASKING\nSET "), 2);
    listen_to_news(); /* ordinary pub/sub works on any node: it stays where it is */
    run_until(&client.confirmed);
    assert_int_equal(fake_heard(&fakes[0], "SUBSCRIBE news\n"), 1);
}

static void test_sharded_channels_go_to_their_node(void **state)
{
    (void)state;
    char moved[64];
    snprintf(moved, sizeof moved, "-MOVED %u :%u\r\n", resp_slot(slice_str("news")), fakes[1].port); /* no host: the same */
    const struct rule first[] = { { "CLUSTER", CLUSTER_OK }, { "SSUBSCRIBE", moved }, { "SPUBLISH", moved }, { 0 } };
    option("sharded", "true");
    begin(first);
    listen_to_news();
    run_until(&client.confirmed);
    publish("x");
    publish("y");
    expect(REASON_NONE, "");
    assert_int_equal(fake_heard(&fakes[0], "SPUBLISH"), 0); /* learnt from the subscription */
    assert_int_equal(fake_heard(&fakes[1], "SPUBLISH news"), 2);
    fake_tell(&fakes[1], "*3\r\n$8\r\nsmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
    run_until(&client.messages);
    probe(); /* asks the node that delivers, too */
    assert_int_equal(fake_heard(&fakes[1], "PING"), 1);
    client.confirmed = 0;
    fake_tell(&fakes[1], "*3\r\n$12\r\nsunsubscribe\r\n$4\r\nnews\r\n:0\r\n");
    run_until(&client.downs);
    expect(REASON_BROKER_UNREACHABLE, "its slot has moved");
    run_until(&client.confirmed);
    broker_unlisten(&client.listener); /* the answer to our own wish is no surprise */
    client.listening = false;
    const struct rule leave[] = { { "SUNSUBSCRIBE", "*3\r\n$12\r\nsunsubscribe\r\n$4\r\nnews\r\n:0\r\n" }, { 0 } };
    fakes[1].rules = leave;
    client.downs = 0;
    probe();
    assert_int_equal(client.downs, 0);
}

static void test_redirections_that_lead_nowhere(void **state)
{
    (void)state;
    static const char *const broken[] = { "-MOVED\r\n",
                                          "-MOVED 1\r\n",
                                          "-MOVED x 127.0.0.1:1\r\n",
                                          "-MOVED 16384 127.0.0.1:1\r\n",
                                          "-MOVED 1 127.0.0.1\r\n",
                                          "-MOVED 1 a b:1\r\n",
                                          "-MOVED 1 h:99999\r\n",
                                          "-MOVED -1 h:1\r\n",
                                          "-ASK 1 user@h:1\r\n",
                                          "-MOVED 1 h/x:1\r\n" };
    for (size_t i = 0; i < COUNT(broken); i++) {
        const struct rule rules[] = { { "SET", broken[i] }, { 0 } };
        begin(rules);
        expect(REASON_BROKER_UNREACHABLE, "redirects to an address that is not valid");
        teardown(NULL);
        setup(NULL);
    }
    const struct rule there[] = { { "SET", redirect_to(0, "MOVED", fakes[1].port) }, { 0 } };
    const struct rule back[] = { { "SET", redirect_to(1, "MOVED", fakes[0].port) }, { 0 } };
    fakes[1].rules = back;
    begin(there);
    expect(REASON_BROKER_UNREACHABLE, "redirection number 6");
    teardown(NULL);
    setup(NULL);
    const struct rule away[] = { { "SET", redirect_to(0, "MOVED", fakes[1].port) }, { 0 } };
    option("mode", "standalone");
    begin(away);
    expect(REASON_BROKER_UNREACHABLE, "want mode: cluster");
    assert_int_equal(fake_heard(&fakes[0], "CLUSTER"), 0);
}

static void test_further_nodes_are_tried(void **state)
{
    (void)state;
    static const struct rule silent[] = { { "CLIENT", NULL }, { "ROLE", NULL }, { 0 } };
    char host[32];
    snprintf(host, sizeof host, "127.0.0.1:%u", fakes[1].port);
    option("hosts", host);
    client.conf.timeout_ms = 1000;
    begin(silent);
    expect(REASON_NONE, "");
    assert_int_equal(client.ups, 1);
    assert_true(fake_heard(&fakes[1], "SET ") > 0);
}

static void test_mode_cluster_of_a_standalone(void **state)
{
    (void)state;
    option("mode", "cluster");
    begin(NULL);
    expect(REASON_BROKER_UNREACHABLE, "is not a node of a cluster");
}

/* --- Sentinel --- */

static char master_reply[2][96];

static const char *master_at(size_t i, uint16_t port)
{
    char digits[8];
    snprintf(digits, sizeof digits, "%u", port);
    snprintf(master_reply[i], sizeof master_reply[i], "*2\r\n$9\r\n127.0.0.1\r\n$%zu\r\n%s\r\n", strlen(digits), digits);
    return master_reply[i];
}

static void sentinel_hosts(void)
{
    char host[32];
    option("sentinel.master", "chat");
    for (size_t i = 0; i < 2; i++) {
        snprintf(host, sizeof host, "127.0.0.1:%u", fakes[i].port);
        option("sentinel.hosts", host);
    }
}

static void test_sentinel(void **state)
{
    (void)state;
    const struct rule rules[] = { { "SENTINEL get-master-addr-by-name chat", master_at(0, fakes[2].port) }, { 0 } };
    sentinel_hosts();
    option("sentinel.password", "sentinelpw");
    fakes[0].rules = rules;
    begin_with(":masterpw@", "/1");
    expect(REASON_NONE, "");
    assert_int_equal(fake_heard(&fakes[0], "AUTH sentinelpw\n"), 1);
    assert_int_equal(fake_heard(&fakes[0], "masterpw"), 0);
    assert_int_equal(fake_heard(&fakes[0], "SELECT"), 0);
    assert_int_equal(fake_heard(&fakes[2], "AUTH masterpw\n"), 2);
    assert_int_equal(fake_heard(&fakes[2], "SELECT 1\n"), 1);
    assert_int_equal(fakes[1].conn_count, 0);
    fake_tell(&fakes[0], "*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$23\r\nother 1.1.1.1 1 2.2.2 2\r\n");
    probe();
    assert_int_equal(client.downs, 0); /* another master is nothing to us */
    fakes[0].rules = NULL;             /* +OK is no address: the next is asked */
    const struct rule moved[] = { { "SENTINEL", master_at(1, fakes[2].port) }, { 0 } };
    fakes[1].rules = moved;
    client.ups = 0;
    fake_tell(&fakes[0], "*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$26\r\nchat 1.1.1.1 1 2.2.2.2 222\r\n");
    run_until(&client.downs);
    expect(REASON_BROKER_UNREACHABLE, "has moved master chat (1.1.1.1 1 2.2.2.2 222)");
    run_until(&client.ups);
    assert_int_equal(fake_heard(&fakes[1], "SENTINEL"), 1);
    for (size_t i = 0; i < fakes[1].conn_count; i++)
        fake_close(fakes[1].conns[i]); /* a Sentinel that goes away matters to nobody */
    probe();
    expect(REASON_NONE, "");
    assert_int_equal(client.downs, 1);
}

static void test_sentinels_that_do_not_know(void **state)
{
    (void)state;
    static const struct {
        const char *reply, *says;
    } rows[] = {
        { "*-1\r\n", "knows no master named chat" },
        { "-ERR unknown command 'SENTINEL'\r\n", "is no Sentinel" },
        { "-NOAUTH Authentication required.\r\n", "wants a user or password" },
        { "*2\r\n$1\r\nh\r\n:1\r\n", "an address for master chat that is not valid" },
        { "*2\r\n$3\r\na b\r\n$1\r\n1\r\n", "an address for master chat that is not valid" },
        { "*2\r\n$1\r\nh\r\n$6\r\n123456\r\n", "an address for master chat that is not valid" },
        { "*3\r\n$1\r\nh\r\n$1\r\n1\r\n$0\r\n\r\n", "an address for master chat that is not valid" },
        { "+OK\r\n", "an address for master chat that is not valid" },
        { "", "without an answer" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct rule rules[] = { { "CLIENT", *rows[i].reply ? "+OK\r\n" : "" }, { "SENTINEL", rows[i].reply }, { 0 } };
        sentinel_hosts();
        fakes[1].rules = rules;
        begin(rules);
        assert_non_null(strstr(client.err.text, "Sentinel at 127.0.0.1:"));
        if (!strstr(client.err.text, rows[i].says))
            fail_msg("'%s' does not say '%s'", client.err.text, rows[i].says);
        assert_true(fake_heard(&fakes[1], "CLIENT") > 0); /* both have been asked */
        teardown(NULL);
        setup(NULL);
    }
}

/* A failover that is not over: the named one is still a replica. Then, later, the promoted one turns replica again. */
static void test_sentinel_names_a_replica(void **state)
{
    (void)state;
    const struct rule rules[] = { { "SENTINEL", master_at(0, fakes[2].port) }, { 0 } };
    static const struct rule replica[] = { { "ROLE", REPLICA("$9\r\nconnected\r\n") }, { "SET", "-READONLY no\r\n" }, { 0 } };
    sentinel_hosts();
    fakes[1].rules = rules;
    fakes[2].rules = replica;
    begin(rules);
    expect(REASON_BROKER_READ_ONLY, "is said to be master chat, but is a replica of 10.0.0.7:6379");
    fakes[2].rules = NULL;
    run_until(&client.ups);
    fakes[2].rules = replica;
    probe();
    expect(REASON_BROKER_READ_ONLY, "is said to be master chat");
    assert_int_equal(client.downs, 1); /* to ask the Sentinels anew */
}

/* --- rules of the options, and letting go --- */

static void test_options(void **state)
{
    (void)state;
    static const struct {
        const char *names[3], *values[3];
        const char *url, *says;
    } rows[] = {
        { { 0 }, { 0 }, "redis://h/x", "url: path '/x', want the number of a database" },
        { { 0 }, { 0 }, "redis://h/-1", "url: path '/-1'" },
        { { 0 }, { 0 }, "redis://h/1?x=y", "url: path" },
        { { 0 }, { 0 }, "redis://h/99999999999", "url: path" },
        { { 0 }, { 0 }, "redis://h/15", NULL },
        { { 0 }, { 0 }, "redis+unix:///run/redis.sock:/2", NULL },
        { { "mode" }, { "sentinel" }, "redis://h", "mode: sentinel wants sentinel.master" },
        { { "mode", "sentinel.master" }, { "cluster", "m" }, "redis://h", "mode: with sentinel.master" },
        { { "sentinel.hosts" }, { "h" }, "redis://h", "sentinel: master is not set" },
        { { "sentinel.master", "sentinel.hosts" }, { "m", "h:99999" }, "redis://h", "sentinel: url: port 99999" },
        { { "sentinel.master", "sentinel.hosts" }, { "m", "h/x" }, "redis://h", "sentinel: 'h/x' is no host:port" },
        { { "sentinel.master", "sentinel.hosts", "sentinel.hosts" }, { "m", "h", "[::1]:7" }, "redis://h", NULL },
        { { "mode", "hosts" }, { "standalone", "h" }, "redis://h", "hosts: only a cluster" },
        { { "hosts" }, { "[::1]" }, "redis://h", NULL },
        { { "hosts" }, { "a..b" }, "redis://h", "hosts: url: host" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct err err;
        err_clear(&err);
        for (size_t n = 0; n < 3 && rows[i].names[n]; n++)
            option(rows[i].names[n], rows[i].values[n]);
        snprintf(client.url, sizeof client.url, "%s", rows[i].url);
        client.conf.url = client.url;
        int rc = broker_redis.validate(&client.conf, &err);
        if (rc != (rows[i].says ? -1 : 0) || (rows[i].says && !strstr(err.text, rows[i].says)))
            fail_msg("row %zu: %d '%s', want '%s'", i, rc, err.text, rows[i].says ? rows[i].says : "");
        teardown(NULL);
        setup(NULL);
    }
}

/* Closed after each number of turns of the loop: whatever is under way then is let go, and nothing is reported twice. */
static void test_closing_at_any_moment(void **state)
{
    (void)state;
    for (int turns = 0; turns < 24; turns++) {
        const struct rule rules[] = { { "SENTINEL", master_at(0, fakes[2].port) }, { 0 } };
        if (turns % 2)
            sentinel_hosts();
        fakes[0].rules = fakes[1].rules = rules;
        snprintf(client.url, sizeof client.url, "redis://127.0.0.1:%u", fakes[0].port);
        client.conf.url = client.url;
        client.broker = broker_new(&loop, &client.conf, NULL);
        listen_to_news();
        broker_start(client.broker);
        for (int i = 0; i < turns / 2; i++)
            uv_run(&loop.uv, UV_RUN_NOWAIT);
        client.publish.on_answer = on_answer;
        broker_publish(client.broker, &client.publish, slice_str("news"), slice_str("x"), PATIENCE_MS);
        teardown(NULL);
        setup(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(test_password_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_errors_mean, setup, teardown),
        cmocka_unit_test_setup_teardown(test_auth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replicas, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_write_test, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_permitted_is_not_asked_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_subscription_and_publish, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loss_is_told_at_once_and_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_messages_in_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_large_message_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_flood_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redirections_are_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sharded_channels_go_to_their_node, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redirections_that_lead_nowhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_further_nodes_are_tried, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mode_cluster_of_a_standalone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sentinel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sentinels_that_do_not_know, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sentinel_names_a_replica, setup, teardown),
        cmocka_unit_test_setup_teardown(test_options, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closing_at_any_moment, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
