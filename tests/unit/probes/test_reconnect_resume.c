/* What a reconnect check comes back to: a token of the server's, and heartbeats that were published while it was away. */
#include "agent/core/broker.h"
#include "agent/core/check.h"
#include "probes/dialects/registry.h"
#include "probes/registry.h"
#include "tests/unit/client/script.h"
#include "tests/unit/probes/host.h"

enum { KEPT_MAX = 16 };

static struct loop loop;
static struct stage {
    struct script script;
    struct check_host host;
    struct conf *conf;
    struct check *check;
    struct broker *broker;
    unsigned rounds;
    bool freed;
    /* The server. */
    bool gives_no_token, refuses, forgets, no_control, speaks_of_others, detached;
    unsigned twice; /* so many of the kept are said twice */
    char kept[KEPT_MAX][256], resumed_with[128];
    unsigned kept_count, resumes;
    struct list later;
} stage;

/* --- a broker that gives what is published to the server, and to the agent --- */

struct later {
    struct list node;
    struct timer timer;
    uint64_t token;
    enum later_what { UP, TAKEN, SUBSCRIBED } what;
    char topic[64], body[256];
};

static void server_pass_on(const char *body)
{
    bool there = false;

    if (stage.detached)
        return;
    for (struct peer *peer = stage.script.peers; peer; peer = peer->next)
        if (peer->open && peer->stream && !peer->closing) {
            peer_say(peer, WS_TEXT, slice_str(body));
            there = true;
        }
    if (!there && !stage.forgets)
        snprintf(stage.kept[stage.kept_count++ % KEPT_MAX], sizeof stage.kept[0], "%s", body);
}

static void on_later(struct timer *timer, void *user)
{
    struct later *later = user;

    (void)timer;
    list_remove(&later->node);
    if (later->what == UP)
        broker_up(stage.broker);
    else if (later->what == SUBSCRIBED)
        broker_subscribed(stage.broker, slice_str(later->topic), NULL);
    else {
        if (!stage.no_control)
            broker_message(stage.broker, slice_str(later->topic), slice_str(later->body), clock_now_ns());
        server_pass_on(later->body);
        broker_published(stage.broker, later->token, NULL);
    }
    mem_free(later);
}

static void do_later(enum later_what what, struct slice topic, struct slice body, uint64_t token)
{
    struct later *later = mem_alloc(sizeof *later);

    later->what = what;
    later->token = token;
    snprintf(later->topic, sizeof later->topic, "%.*s", (int)topic.len, (const char *)topic.data);
    snprintf(later->body, sizeof later->body, "%.*s", (int)body.len, (const char *)body.data);
    list_push(&stage.later, &later->node);
    timer_init(&later->timer, &loop, on_later, later);
    timer_start(&later->timer, 0);
}

static int bus_open(struct broker *broker, struct err *err)
{
    (void)err;
    stage.broker = broker;
    do_later(UP, slice_str(""), slice_str(""), 0);
    return 0;
}

static int bus_ping(struct broker *broker)
{
    broker_pong(broker, NULL);
    return 0;
}

static int bus_publish(struct broker *broker, struct slice topic, struct slice body, uint64_t token)
{
    (void)broker;
    do_later(TAKEN, topic, body, token);
    return 0;
}

static int bus_subscribe(struct broker *broker, struct slice topic)
{
    (void)broker;
    do_later(SUBSCRIBED, topic, slice_str(""), 0);
    return 0;
}

static int bus_unsubscribe(struct broker *broker, struct slice topic)
{
    (void)broker;
    (void)topic;
    return 0;
}

static void bus_close(struct broker *broker)
{
    broker_closed(broker);
}

static const struct broker_type bus_type = {
    .name = "bus",
    .summary = "a bus",
    .schemes = "memory",
    .default_url = "memory://bus",
    .open = bus_open,
    .ping = bus_ping,
    .publish = bus_publish,
    .subscribe = bus_subscribe,
    .unsubscribe = bus_unsubscribe,
    .close = bus_close,
};
static const struct broker_type *const buses[] = { &bus_type, NULL };
static const struct conf_env env = { .probes = probe_registry, .brokers = buses, .dialects = dialect_registry, .getenv = no_env };

/* --- a server with sessions: "sub CHANNEL" is answered with a token, "resume TOKEN" with what was missed --- */

static void answer(struct peer *peer, const struct ws_message *message)
{
    char text[128], token[64];

    snprintf(text, sizeof text, "%.*s", (int)message->body.len, (const char *)message->body.data);
    if (message->opcode == WS_CLOSE) {
        peer_close(peer, 1000, "");
    } else if (strncmp(text, "resume ", 7) == 0) {
        snprintf(stage.resumed_with, sizeof stage.resumed_with, "%s", text + 7);
        stage.resumes++;
        peer_say(peer, WS_TEXT, slice_str(stage.refuses ? "{\"error\":\"no such session\"}" : "{\"resumed\":true}"));
        for (unsigned i = 0; i < stage.kept_count; i++) {
            peer_say(peer, WS_TEXT, slice_str(stage.kept[i]));
            if (i < stage.twice)
                peer_say(peer, WS_TEXT, slice_str(stage.kept[i]));
        }
        stage.kept_count = 0;
    } else if (message->opcode == WS_TEXT) {
        snprintf(token, sizeof token, "{\"ok\":1,\"session\":\"token-%u\"}", stage.script.accepted);
        if (stage.speaks_of_others)
            peer_say(peer, WS_TEXT, slice_str("{\"ch\":\"other\",\"n\":7}"));
        peer_say(peer, WS_TEXT, slice_str(stage.gives_no_token ? "{\"ok\":1}" : token));
        if (stage.speaks_of_others)
            peer_say(peer, WS_TEXT, slice_str("{\"ch\":\"other\",\"n\":8}"));
    }
}

static void on_judged(void *user, struct check *check, bool changed)
{
    (void)user;
    (void)check;
    (void)changed;
    stage.rounds++;
    loop_stop(&loop);
}

static struct broker *find_broker(void *user, const char *name)
{
    (void)user;
    assert_string_equal(name, "bus");
    return stage.broker;
}

static void on_freed(void *user)
{
    (void)user;
    stage.freed = true;
    loop_stop(&loop);
}

static void begin(const char *timeout, const char *resume)
{
    struct buf text = BUF_INIT(4096);
    struct err err;

    assert_int_equal(loop_init(&loop, &err), 0);
    list_init(&stage.later);
    stage.script.on_message = answer;
    stage.script.leaves_close = true;
    buf_printf(&text,
               "target: { url: \"ws://127.0.0.1:%u/ws\" }\nbrokers: [ { name: bus, type: bus, timeout: 1s } ]\n"
               "checks:\n  - { type: reconnect, interval: 1s, fast_interval: 1s, max_per_second: 100, within: 500ms, timeout: %s, "
               "channel: news,\n"
               "      subscribe: { send: 'sub {{channel}}', expect: { json: { /ok: 1 } } },\n      resume: { %s } }\n",
               script_begin(&stage.script, &loop), timeout, resume);
    stage.host.on_judged = on_judged;
    stage.host.find_broker = find_broker;
    snprintf(stage.host.nonce, sizeof stage.host.nonce, "0badcafe");
    host_begin(&stage.host, &loop);
    stage.conf = host_conf(&text, &env);
    buf_fini(&text);
    stage.broker = broker_new(&loop, &stage.conf->brokers[0], NULL);
    broker_start(stage.broker);
    host_checks(&stage.host, stage.conf, &stage.check, 1);
    check_start(stage.check, 0, 0, 1);
}

static const struct check_view *play(void)
{
    loop_run(&loop);
    return check_get_view(stage.check);
}

static void end(void)
{
    check_free(stage.check);
    broker_free(stage.broker, on_freed, NULL);
    while (!stage.freed)
        loop_run(&loop);
    list_each_safe (node, &stage.later) {
        struct later *later = list_entry(node, struct later, node);

        timer_stop(&later->timer);
        mem_free(later);
    }
    host_end(&stage.host);
    script_end(&stage.script);
    conf_unref(stage.conf);
    loop_fini(&loop);
    memset(&stage, 0, sizeof stage);
}

#define TOKEN "token: /session, send: 'resume {{resume}}'"

static void test_what_was_missed_comes(void **state)
{
    (void)state;
    begin("20s", TOKEN ", missed: true");
    assert_verdict(play(), RESULT_PASS, REASON_NONE, "with all that it had missed", "first");
    assert_string_equal(stage.resumed_with, "token-1");
    assert_verdict(play(), RESULT_PASS, REASON_NONE, "with all that it had missed", "second");
    assert_string_equal(stage.resumed_with, "token-2"); /* the newest */
    end();
}

static void test_what_was_missed_is_lost(void **state)
{
    (void)state;
    stage.forgets = true;
    begin("20s", TOKEN ", missed: true");
    assert_verdict(play(), RESULT_FAIL, REASON_RESUME_FAILED,
                   "3 of 3 heartbeats published during the gap did not arrive within 500ms", "lost");
    end();
}

static void test_what_was_missed_comes_twice(void **state)
{
    (void)state;
    stage.twice = 2;
    begin("20s", TOKEN ", missed: true");
    assert_verdict(play(), RESULT_FAIL, REASON_RESUME_FAILED, "heartbeat 1 of 3 published during the gap came twice", "twice");
    end();
}

/* What nobody got is the broker's fault, which is not this server's. */
static void test_the_broker_loses_it(void **state)
{
    (void)state;
    stage.forgets = stage.no_control = true;
    begin("20s", TOKEN ", missed: true");
    assert_verdict(play(), RESULT_FAIL, REASON_BROKER_NOT_DELIVERING, "did not reach the agent's own subscription either",
                   "broker");
    end();
}

static void test_a_token_that_never_comes_is_no_fault(void **state)
{
    (void)state;
    stage.gives_no_token = true;
    begin("1s", TOKEN ", missed: true");
    assert_verdict(play(), RESULT_WARN, REASON_RESUME_FAILED, "no message had /session", "none");
    assert_int_equal(stage.script.accepted, 1);
    end();
}

/* A wrong topic looks as a lost subscription does, until the first heartbeat has come. */
static void test_none_has_ever_come(void **state)
{
    (void)state;
    stage.detached = true;
    begin("3s", TOKEN ", missed: true");
    assert_verdict(play(), RESULT_WARN, REASON_DELIVERY_LOST, "no heartbeat has ever arrived through this server", "never");
    stage.detached = false;
    assert_verdict(play(), RESULT_PASS, REASON_NONE, "with all that it had missed", "comes");
    stage.detached = true;
    assert_verdict(play(), RESULT_WARN, REASON_DELIVERY_LOST, "the heartbeat before the drop did not arrive within 3s", "lost");
    end();
}

/* Without heartbeats, the server's word is all there is. */
static void test_the_servers_word(void **state)
{
    (void)state;
#define WORDS ", expect: { json: { /resumed: true } }, reject: { contains: no such session }"
    begin("20s", TOKEN WORDS);
    assert_verdict(play(), RESULT_PASS, REASON_NONE, "and its session", "taken");
    end();
    stage.refuses = true;
    begin("20s", TOKEN WORDS);
    assert_verdict(
        play(), RESULT_FAIL, REASON_RESUME_FAILED,
        "the server did not take the session up again (/session is another one now, so what the server had kept is gone): "
        "\"no such session\"",
        "refused");
    end();
    begin("20s", TOKEN ", expect: { contains: hello }");
    assert_verdict(play(), RESULT_FAIL, REASON_RESUME_FAILED, "did not say within 500ms that the session goes on", "silent");
    end();
}

/* Where nothing was published yet there is no offset: it begins with what the server says of it, or with 0. Other channels have their own. */
static void test_where_an_offset_begins(void **state)
{
    (void)state;
    stage.speaks_of_others = true;
    begin("20s", "token: /session, offset: /n, start: /at, send: 'resume {{resume}} {{offset}}' }, "
                 "message: { match: { json: { /ch: '{{channel}}' } }");
    assert_verdict(play(), RESULT_PASS, REASON_NONE, "and its session", "none");
    assert_string_equal(stage.resumed_with, "token-1 0");
    end();
    begin("20s", "token: /session, offset: /n, start: /ok, send: 'resume {{resume}} {{offset}}'");
    assert_verdict(play(), RESULT_PASS, REASON_NONE, "and its session", "said");
    assert_string_equal(stage.resumed_with, "token-1 1");
    end();
}

static void server_ends_all(void)
{
    for (struct peer *peer = stage.script.peers; peer; peer = peer->next)
        if (peer->open && peer->stream && !peer->closing)
            peer_close(peer, 1001, "");
}

/* A deploy ends connections between rounds. The client comes back with its token, and what the server says to that is judged first. */
static void test_the_server_ends_the_connection(void **state)
{
    (void)state;
    begin("20s", TOKEN WORDS);
    assert_verdict(play(), RESULT_PASS, REASON_NONE, "and its session", "before");
    assert_int_equal(stage.resumes, 1);
    server_ends_all();
    assert_verdict(play(), RESULT_PASS, REASON_NONE, "and its session", "kept");
    assert_int_equal(stage.resumes, 3); /* after the server's end, and after the round's own drop */
    server_ends_all();
    stage.refuses = true;
    assert_verdict(
        play(), RESULT_FAIL, REASON_RESUME_FAILED,
        "the server had ended the connection between rounds: after the reconnect, the server did not take the session up "
        "again",
        "lost");
    assert_int_equal(stage.resumes, 4);
    stage.refuses = false;
    assert_verdict(play(), RESULT_PASS, REASON_NONE, "and its session", "a new one");
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_missed_comes),
        cmocka_unit_test(test_what_was_missed_is_lost),
        cmocka_unit_test(test_what_was_missed_comes_twice),
        cmocka_unit_test(test_the_broker_loses_it),
        cmocka_unit_test(test_a_token_that_never_comes_is_no_fault),
        cmocka_unit_test(test_none_has_ever_come),
        cmocka_unit_test(test_the_servers_word),
        cmocka_unit_test(test_where_an_offset_begins),
        cmocka_unit_test(test_the_server_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
