/*
 * The stage of tests/unit/probes/test_delivery.c: a WebSocket server that passes on what is published, a puppet of a broker, and one
 * delivery check between them, on one loop.
 */
#ifndef WSHEALTHD_TESTS_DELIVERY_STAGE_H
#define WSHEALTHD_TESTS_DELIVERY_STAGE_H

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/core/broker.h"
#include "agent/core/check.h"
#include "agent/net/listen.h"
#include "agent/proto/heartbeat.h"
#include "agent/proto/upgrade.h"
#include "probes/dialects/registry.h"
#include "probes/registry.h"
#include "tests/unit/probes/host.h"

enum { SEEN_MAX = 64 };

/* --- a WebSocket server that passes on --- */

struct peer {
    struct stream *stream;
    struct http_reader *http;
    struct ws_reader reader;
    bool open, dead; /* dead: nothing comes through any more */
    struct peer *next;
};

static struct loop loop;
static struct listener *listener;
static struct peer *peers;
static unsigned accepted;
static char asked_for[8][128]; /* texts of clients */
static unsigned asked_count;
static unsigned unconfirmed; /* so many texts of clients get no answer; then each gets "ok" */
static bool confirms;
static enum ws_opcode
    floods_on; /* the next such frame of a client is followed by a flood in which no answer can be seen; 0: none is */

static void peer_gone(struct peer *peer)
{
    if (peer->stream)
        stream_close_now(peer->stream);
    peer->stream = NULL;
    peer->open = false;
}

static void peer_write(struct peer *peer, enum ws_opcode opcode, struct slice body)
{
    struct buf out = BUF_INIT(1 << 20);

    assert_int_equal(ws_write_frame(&out, WS_SERVER, opcode, true, false, body), 0);
    stream_write(peer->stream, buf_slice(&out));
    buf_fini(&out);
}

static void server_say(struct slice body)
{
    for (struct peer *peer = peers; peer; peer = peer->next)
        if (peer->open && !peer->dead)
            peer_write(peer, WS_TEXT, body);
}

/* More than a mebibyte of a message that does not end; then nothing. */
static void peer_flood(struct peer *peer)
{
    enum { PIECES = 20, PIECE_BYTES = 64 << 10 };
    struct buf piece = BUF_INIT(2 * PIECE_BYTES);
    uint8_t *bytes = mem_alloc(PIECE_BYTES);

    memset(bytes, 'x', PIECE_BYTES);
    stream_set_max_pending(peer->stream, 4 << 20);
    for (int i = 0; i < PIECES; i++) {
        buf_reset(&piece);
        assert_int_equal(
            ws_write_frame(&piece, WS_SERVER, i ? WS_CONTINUATION : WS_TEXT, false, false, slice_make(bytes, PIECE_BYTES)), 0);
        assert_int_equal(stream_write(peer->stream, buf_slice(&piece)), 0);
    }
    mem_free(bytes);
    buf_fini(&piece);
    peer->dead = true;
    floods_on = 0;
}

static void peer_message(struct peer *peer, const struct ws_message *message)
{
    if (floods_on && message->opcode == floods_on) {
        if (floods_on == WS_PING)
            peer_write(peer, WS_PONG, message->body);
        peer_flood(peer);
        return;
    }
    if (message->opcode == WS_PING)
        peer_write(peer, WS_PONG, message->body);
    else if (message->opcode == WS_TEXT && asked_count < 8)
        snprintf(asked_for[asked_count++], sizeof asked_for[0], "%.*s", (int)message->body.len, (const char *)message->body.data);
    if (message->opcode == WS_TEXT && confirms && asked_count > unconfirmed)
        peer_write(peer, WS_TEXT, slice_str("ok"));
}

static void on_peer_data(void *user, struct slice data)
{
    char accept[WS_ACCEPT_LEN + 1], extensions[256] = "";
    struct upgrade_agreed agreed = { 0 };
    struct buf out = BUF_INIT(4096);
    struct peer *peer = user;
    struct ws_message message;
    struct err err;

    if (!peer->open && http_reader_feed(peer->http, &data, &err) == HTTP_HEAD) {
        assert_int_equal(
            upgrade_validate_request(http_reader_head(peer->http), false, accept, &agreed, extensions, sizeof extensions, &err), 0);
        upgrade_write_response(&out, accept, &agreed, extensions);
        stream_write(peer->stream, buf_slice(&out));
        ws_reader_init(&peer->reader, WS_SERVER, 1 << 20, NULL);
        peer->open = true;
    }
    while (peer->open && ws_reader_next(&peer->reader, &data, &message, &err) > 0)
        if (peer->dead)
            continue;
        else if (message.opcode == WS_CLOSE)
            peer_gone(peer);
        else
            peer_message(peer, &message);
    buf_fini(&out);
}

static void on_peer_end(void *user, const struct err *err)
{
    (void)err;
    peer_gone(user);
}

static const struct stream_events peer_events = { .on_data = on_peer_data, .on_end = on_peer_end };

static void on_accept(void *user, struct stream *stream)
{
    static const struct http_limits limits = { 8192, 0 };
    struct peer *peer = mem_alloc(sizeof *peer);

    (void)user;
    peer->stream = stream;
    peer->http = http_reader_new(HTTP_KIND_REQUEST, &limits);
    peer->next = peers;
    peers = peer;
    accepted++;
    stream_start(stream, &peer_events, peer);
}

/* The connections of now are cut off without a word; new ones are well. */
static void kill_peers(void)
{
    for (struct peer *peer = peers; peer; peer = peer->next)
        peer->dead = true;
}

static void drop_peers(void)
{
    for (struct peer *peer = peers; peer; peer = peer->next)
        peer_gone(peer);
}

/* --- a broker that does what the test says --- */

static struct puppet {
    bool down;      /* refuses to open */
    bool deaf;      /* answers nothing */
    bool forgetful; /* answers no subscription */
    bool publishes_unanswered;
    bool no_control;            /* delivers nothing to the agent */
    unsigned drops;             /* so many messages are dropped on their way to the agent, with each that is published */
    bool no_server;             /* the server gets nothing from it, or passes nothing on */
    bool twice;                 /* the server passes everything on twice */
    bool hold_back;             /* the server keeps each message until the next one has been passed on */
    enum reason why;            /* with which publishing is refused */
    unsigned late_ms;           /* from publishing to the WebSocket */
    const char *before, *after; /* what the server puts around it */
    struct broker *broker;
    struct list pending;
    char topics[SEEN_MAX][64], bodies[SEEN_MAX][512]; /* published */
    unsigned published, subscribed, opened;
    char held[512];
} puppet;

enum what { LATER_UP, LATER_DOWN, LATER_PONG, LATER_PUBLISHED, LATER_SUBSCRIBED, LATER_MESSAGE, LATER_SERVER };
struct later {
    struct list node;
    struct timer timer;
    enum what what;
    uint64_t token;
    char topic[64], body[512];
};

static struct list server_pending;

static void server_pass_on(const char *body)
{
    char text[1024];

    snprintf(text, sizeof text, "%s%s%s", puppet.before ? puppet.before : "", body, puppet.after ? puppet.after : "");
    server_say(slice_str(text));
    if (puppet.twice)
        server_say(slice_str(text));
}

static void on_later(struct timer *timer, void *user)
{
    struct later *later = user, copy = *later;
    struct err err;

    (void)timer;
    list_remove(&later->node);
    mem_free(later);
    err_set(&err, puppet.why ? puppet.why : REASON_BROKER_UNREACHABLE, 0, "the puppet says so");
    switch (copy.what) {
    case LATER_UP:
        broker_up(puppet.broker);
        return;
    case LATER_DOWN:
        broker_down(puppet.broker, &err);
        return;
    case LATER_PONG:
        broker_pong(puppet.broker, puppet.why ? &err : NULL);
        return;
    case LATER_PUBLISHED:
        broker_published(puppet.broker, copy.token, puppet.why ? &err : NULL);
        return;
    case LATER_SUBSCRIBED:
        broker_subscribed(puppet.broker, slice_str(copy.topic), NULL);
        return;
    case LATER_MESSAGE:
        broker_message(puppet.broker, slice_str(copy.topic), slice_str(copy.body), clock_now_ns());
        return;
    case LATER_SERVER:
        server_pass_on(copy.body);
        return;
    }
}

static void later(enum what what, struct slice topic, struct slice body, uint64_t token, unsigned ms)
{
    struct later *later = mem_alloc(sizeof *later);

    later->what = what;
    later->token = token;
    snprintf(later->topic, sizeof later->topic, "%.*s", (int)topic.len, (const char *)topic.data);
    snprintf(later->body, sizeof later->body, "%.*s", (int)body.len, (const char *)body.data);
    timer_init(&later->timer, &loop, on_later, later);
    timer_start(&later->timer, ms);
    list_push(what == LATER_SERVER ? &server_pending : &puppet.pending, &later->node);
}

static void forget_later(struct list *list)
{
    list_each_safe (node, list) {
        struct later *later = list_entry(node, struct later, node);

        timer_stop(&later->timer);
        mem_free(later);
    }
    list_init(list);
}

#define NOTHING slice_str("")

static int puppet_open(struct broker *broker, struct err *err)
{
    (void)err;
    puppet.broker = broker;
    puppet.opened++;
    later(puppet.down ? LATER_DOWN : LATER_UP, NOTHING, NOTHING, 0, 0);
    return 0;
}

static int puppet_ping(struct broker *broker)
{
    (void)broker;
    if (!puppet.deaf)
        later(LATER_PONG, NOTHING, NOTHING, 0, 0);
    return 0;
}

static void publish_to_server(struct slice body)
{
    char held[512];

    if (!puppet.hold_back) {
        later(LATER_SERVER, NOTHING, body, 0, puppet.late_ms);
        return;
    }
    memcpy(held, puppet.held, sizeof held);
    snprintf(puppet.held, sizeof puppet.held, "%.*s", (int)body.len, (const char *)body.data);
    later(LATER_SERVER, NOTHING, body, 0, 0);
    if (held[0])
        later(LATER_SERVER, NOTHING, slice_str(held), 0, 0);
}

static int puppet_publish(struct broker *broker, struct slice topic, struct slice body, uint64_t token)
{
    unsigned n = puppet.published++ % SEEN_MAX;

    (void)broker;
    snprintf(puppet.topics[n], sizeof puppet.topics[0], "%.*s", (int)topic.len, (const char *)topic.data);
    snprintf(puppet.bodies[n], sizeof puppet.bodies[0], "%.*s", (int)body.len, (const char *)body.data);
    if (puppet.deaf || puppet.publishes_unanswered)
        return 0;
    later(LATER_PUBLISHED, NOTHING, NOTHING, token, 0);
    if (puppet.drops)
        broker_dropped(broker, puppet.drops);
    if (puppet.why)
        return 0;
    if (!puppet.no_control)
        later(LATER_MESSAGE, topic, body, 0, 0);
    if (!puppet.no_server)
        publish_to_server(body);
    return 0;
}

/* The key is noted as the topic, the last word as the body. There is nothing to listen to. */
static int puppet_command(struct broker *broker, const struct slice *args, size_t count, uint64_t token)
{
    bool no_control = puppet.no_control;
    int rc;

    puppet.no_control = true;
    rc = puppet_publish(broker, args[1], args[count - 1], token);
    puppet.no_control = no_control;
    return rc;
}

static const char *const puppet_commands[] = { "XADD", "LPUSH", NULL };

static int puppet_subscribe(struct broker *broker, struct slice topic)
{
    (void)broker;
    puppet.subscribed++;
    if (!puppet.deaf && !puppet.forgetful)
        later(LATER_SUBSCRIBED, topic, NOTHING, 0, 0);
    return 0;
}

static int puppet_unsubscribe(struct broker *broker, struct slice topic)
{
    (void)broker;
    (void)topic;
    return 0;
}

static void puppet_close(struct broker *broker)
{
    forget_later(&puppet.pending);
    broker_closed(broker);
}

static const struct broker_type puppet_type = {
    .name = "puppet",
    .summary = "a puppet",
    .schemes = "memory",
    .default_url = "memory://puppet",
    .open = puppet_open,
    .ping = puppet_ping,
    .publish = puppet_publish,
    .commands = puppet_commands,
    .command = puppet_command,
    .subscribe = puppet_subscribe,
    .unsubscribe = puppet_unsubscribe,
    .close = puppet_close,
};

/* --- the stage --- */

static const struct broker_type *const puppets[] = { &puppet_type, NULL };
static const struct conf_env env = { .probes = probe_registry, .brokers = puppets, .dialects = dialect_registry, .getenv = no_env };

static struct stage {
    struct check_host host;
    struct conf *conf;
    struct check *check;
    struct broker *broker;
    unsigned rounds, stop_after;
    void (*on_round)(unsigned round); /* after each; the first is 1 */
    enum reason reasons[SEEN_MAX];
    enum result results[SEEN_MAX];
    bool freed;
} stage;

static void on_judged(void *user, struct check *check, bool changed)
{
    const struct check_view *view = check_get_view(check);

    (void)user;
    (void)changed;
    if (stage.rounds < SEEN_MAX) {
        stage.results[stage.rounds] = view->status;
        stage.reasons[stage.rounds] = view->reason;
    }
    stage.rounds++;
    if (stage.on_round)
        stage.on_round(stage.rounds);
    if (stage.rounds == stage.stop_after)
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

/* `more` are lines of the check's mapping. */
static void begin_every(const char *interval, const char *timeout, const char *more)
{
    static const struct listen_options options = { .fd = -1 };
    struct buf text = BUF_INIT(4096);
    struct listen_address address;
    struct err err;

    memset(&stage, 0, sizeof stage);
    memset(&puppet, 0, sizeof puppet);
    list_init(&puppet.pending);
    list_init(&server_pending);
    peers = NULL;
    accepted = asked_count = unconfirmed = 0;
    confirms = false;
    floods_on = 0;
    assert_int_equal(loop_init(&loop, &err), 0);
    assert_int_equal(listen_address_parse("127.0.0.1:0", &address, &err), 0);
    listener = listener_open(&loop, &address, &options, on_accept, NULL, &err);
    assert_non_null(listener);
    buf_printf(&text,
               "target: { url: \"ws://127.0.0.1:%u/ws\" }\nidentity: { id: me, region: here }\n"
               "brokers: [ { name: bus, type: puppet, timeout: 1s, retry: { min: 10ms, max: 10ms } } ]\n"
               "checks:\n  - type: delivery\n    interval: %s\n    jitter: 0%%\n    timeout: %s\n%s",
               listener_port(listener), interval, timeout, more);
    stage.conf = host_conf(&text, &env);
    buf_fini(&text);
    stage.host = (struct check_host){ .on_judged = on_judged, .find_broker = find_broker, .nonce = "0badcafe", .user = &stage };
    host_begin(&stage.host, &loop);
    stage.broker = broker_new(&loop, &stage.conf->brokers[0], NULL);
    host_checks(&stage.host, stage.conf, &stage.check, 1);
}

static void begin(const char *timeout, const char *more)
{
    begin_every("100ms", timeout, more);
}

static const struct check_view *play(unsigned rounds)
{
    if (!stage.stop_after) {
        broker_start(stage.broker);
        check_start(stage.check, 0, 0, 1);
    }
    stage.stop_after = stage.rounds + rounds;
    loop_run(&loop);
    return check_get_view(stage.check);
}

static void end(void)
{
    check_free(stage.check);
    broker_free(stage.broker, on_freed, NULL);
    while (!stage.freed)
        loop_run(&loop);
    host_end(&stage.host);
    forget_later(&server_pending);
    drop_peers();
    while (peers) {
        struct peer *peer = peers;

        peers = peer->next;
        http_reader_free(peer->http);
        ws_reader_fini(&peer->reader);
        mem_free(peer);
    }
    listener_close(listener);
    conf_unref(stage.conf);
    loop_fini(&loop);
}

static void assert_judged(const struct check_view *view, enum result status, enum reason reason, const char *words)
{
    assert_verdict(view, status, reason, words, "delivery");
}

static uint64_t heard(enum delivery_result result)
{
    return check_get_view(stage.check)->stats.delivery->heartbeats[result];
}

#endif
