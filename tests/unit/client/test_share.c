/*
 * One connection for several dialogues, against a scripted server: who hears what, who ends it and when, and that there are never two.
 */
#include "tests/unit/client/script.h"

#include "agent/base/clock.h"
#include "agent/client/share.h"

#define TEXT(text) { .data = (text), .len = sizeof text - 1 }

enum { PATIENCE_MS = 10000, SEATS = 3 };

struct stage;
struct seat { /* an owner: a check */
    struct stage *stage;
    char name;
    struct dialogue *dialogue;
    struct conn_report report;
    bool asks;
    uint64_t began_ns;
    struct asker asker;
    struct dialect *dialect;
    const char *channel; /* asked for when it is ready */
};

struct stage {
    struct loop loop;
    struct script script;
    struct conn_group group;
    struct conf conf;
    struct generation generation;
    struct share *shares, *share;
    struct seat seats[SEATS]; /* A, B and C */
    struct timer patience, moment;
    struct buf said, heard; /* a word and a semicolon each */
    const char *until;      /* the loop stops when `said` has it */
    const char *then_open;  /* when that is said, C joins */
    unsigned together;      /* the most connections that the server has had open at once */
};

static const struct dialect raw = { .name = "raw" };

static void join(struct seat *seat)
{
    struct stage *stage = seat->stage;
    struct conn_options options = { .group = &stage->group, .share = stage->share, .asker = &seat->asker };
    struct err err;

    assert_int_equal(dialogue_open(seat->dialogue, &options, seat->dialect ? seat->dialect : &raw, "agent-1", &seat->report, &err),
                     0);
}

static void __attribute__((format(printf, 2, 3))) note(struct stage *stage, const char *fmt, ...)
{
    va_list args;
    size_t before = stage->said.len;

    va_start(args, fmt);
    buf_vprintf(&stage->said, fmt, args);
    va_end(args);
    buf_append_char(&stage->said, ';');
    if (stage->then_open && slice_find(slice_skip(buf_slice(&stage->said), before), slice_str(stage->then_open)) == 0) {
        stage->then_open = NULL;
        join(&stage->seats[2]);
    }
    if (stage->until && strstr(buf_str(&stage->said), stage->until))
        loop_stop(&stage->loop);
}

static void on_ready(void *user)
{
    struct seat *seat = user;
    struct err err;

    note(seat->stage, "%c ready%s", seat->name, seat->report.joined ? ", joined" : "");
    if (seat->channel)
        assert_int_equal(dialogue_subscribe(seat->dialogue, seat->channel, &err), 0);
}

static void on_subscribed(void *user, const char *channel, const struct err *err)
{
    const struct seat *seat = user;

    note(seat->stage, "%c %s %s", seat->name, err ? "refused" : "subscribed", channel);
}

static void on_payload(void *user, const char *channel, struct slice payload, uint64_t received_ns)
{
    const struct seat *seat = user;

    (void)channel;
    (void)received_ns;
    note(seat->stage, "%c payload %.*s", seat->name, (int)payload.len, (const char *)payload.data);
}

static void on_message(void *user, const struct ws_message *message, uint64_t received_ns)
{
    const struct seat *seat = user;

    (void)received_ns;
    note(seat->stage, "%c %s %.*s", seat->name, message->opcode == WS_PONG ? "pong" : "message", (int)message->body.len,
         (const char *)message->body.data);
}

static void on_lost(void *user, const struct err *err)
{
    const struct seat *seat = user;

    note(seat->stage, "%c lost %d", seat->name, err->code);
}

static void on_ended(void *user)
{
    const struct seat *seat = user;

    note(seat->stage, "%c ended", seat->name);
}

static const struct dialogue_events plain_events = {
    .on_ready = on_ready, .on_message = on_message, .on_lost = on_lost, .on_ended = on_ended
};
static const struct dialogue_events subscriber_events = { .on_ready = on_ready,
                                                          .on_subscribed = on_subscribed,
                                                          .on_payload = on_payload,
                                                          .on_message = on_message,
                                                          .on_lost = on_lost,
                                                          .on_ended = on_ended };

static void on_patience(struct timer *timer, void *user)
{
    struct stage *stage = user;

    (void)timer;
    fail_msg("so far: %s, want %s; the server heard: %s", buf_str(&stage->said), stage->until, buf_str(&stage->heard));
}

static void on_moment(struct timer *timer, void *user)
{
    struct stage *stage = user;

    (void)timer;
    note(stage, "moment");
}

static void count_peers(struct peer *peer)
{
    struct stage *stage = peer->script->user;
    unsigned count = 0;

    for (const struct peer *other = peer->script->peers; other; other = other->next)
        count += other->stream && other->open;
    if (count > stage->together)
        stage->together = count;
}

/* It answers texts by what they say, and all pings. */
static void serve(struct peer *peer, const struct ws_message *message)
{
    struct stage *stage = peer->script->user;

    buf_append_slice(&stage->heard, message->body);
    buf_append_char(&stage->heard, ';');
    if (message->opcode == WS_PING)
        peer_say(peer, WS_PONG, message->body);
    else if (slice_equal(message->body, slice_str("hello")))
        peer_say(peer, WS_TEXT, slice_str("hello"));
    else if (slice_equal(message->body, slice_str("last words"))) {
        peer_say(peer, WS_TEXT, slice_str("these"));
        peer_close(peer, 4001, "");
    }
}

static void begin_with(struct stage *stage, void (*on_frame)(struct peer *peer, const struct ws_message *message), bool keeps)
{
    struct target_conf *target = &stage->conf.target;
    struct err err;
    char url[64];

    memset(stage, 0, sizeof *stage);
    assert_int_equal(loop_init(&stage->loop, &err), 0);
    conn_group_init(&stage->group, &stage->loop);
    buf_init(&stage->said, 1 << 20);
    buf_init(&stage->heard, 1 << 20);
    stage->script = (struct script){
        .on_open = count_peers, .on_message = on_frame, .user = stage, .leaves_pings = true, .seed = script_seed()
    };
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", script_begin(&stage->script, &stage->loop));
    assert_int_equal(url_parse(url, &target->local, &err), 0);
    target->dialect = &raw;
    stage->generation.refs = 1;
    stage->generation.conf = &stage->conf;
    stage->share = share_ref(&stage->shares, &stage->group, &stage->generation, PATH_LOCAL, false, keeps);
    for (int i = 0; i < SEATS; i++) {
        stage->seats[i] = (struct seat){ .stage = stage, .name = (char)('A' + i) };
        stage->seats[i].asker = (struct asker){ .asks = &stage->seats[i].asks, .began_ns = &stage->seats[i].began_ns };
        stage->seats[i].dialogue = dialogue_new(&stage->seats[i], i == 1 ? &subscriber_events : &plain_events);
    }
    timer_init(&stage->patience, &stage->loop, on_patience, stage);
    timer_start(&stage->patience, PATIENCE_MS);
    timer_init(&stage->moment, &stage->loop, on_moment, stage);
}

static void begin(struct stage *stage, bool keeps)
{
    begin_with(stage, serve, keeps);
}

static void run_until(struct stage *stage, const char *until)
{
    stage->until = until;
    if (!strstr(buf_str(&stage->said), until))
        loop_run(&stage->loop);
}

/* Some turns of the loop, for what must not happen. */
static void run_a_moment(struct stage *stage)
{
    buf_reset(&stage->said);
    timer_start(&stage->moment, 60);
    run_until(stage, "moment;");
}

static void end(struct stage *stage, bool keeps)
{
    for (int i = 0; i < SEATS; i++)
        dialogue_free(stage->seats[i].dialogue);
    share_unref(stage->share, keeps);
    assert_null(stage->shares);
    assert_int_equal(stage->generation.refs, 1);
    timer_stop(&stage->patience);
    timer_stop(&stage->moment);
    conn_group_fini(&stage->group);
    script_end(&stage->script);
    buf_fini(&stage->said);
    buf_fini(&stage->heard);
    loop_fini(&stage->loop);
}

static struct seat *take_seats(struct stage *stage, int count)
{
    for (int i = 0; i < count; i++)
        join(&stage->seats[i]);
    run_until(stage, count == 1 ? "A ready;" : "B ready;");
    return stage->seats;
}

static void test_one_for_all(void **state)
{
    struct stage stage;
    struct seat *seats;

    (void)state;
    begin(&stage, false);
    seats = take_seats(&stage, 2);
    assert_string_equal(buf_str(&stage.said), "A ready;B ready;");
    assert_int_equal(seats[0].report.http_status, 101);
    assert_int_equal(seats[1].report.http_status, 101);
    join(&seats[2]);
    assert_false(dialogue_is_ready(seats[2].dialogue));
    run_until(&stage, "C ready, joined;");
    assert_int_equal(seats[2].report.http_status, 0);
    dialogue_send(seats[0].dialogue, WS_TEXT, slice_str("hello"));
    run_until(&stage, "C message hello;");
    assert_non_null(strstr(buf_str(&stage.said), "B payload hello;A message hello;B message hello;C message hello;"));
    dialogue_leave(seats[0].dialogue);
    dialogue_leave(seats[2].dialogue);
    assert_true(share_is_open(stage.share));
    dialogue_leave(seats[1].dialogue);
    assert_false(share_is_open(stage.share));
    assert_int_equal(stage.script.accepted, 1);
    end(&stage, false);
}

static void test_it_is_kept_for_keepers(void **state)
{
    struct stage stage;
    struct seat *seats;

    (void)state;
    begin(&stage, true);
    seats = take_seats(&stage, 1);
    dialogue_leave(seats[0].dialogue);
    assert_true(share_is_open(stage.share));
    join(&seats[0]);
    run_until(&stage, "A ready, joined;");
    assert_int_equal(stage.script.accepted, 1);
    end(&stage, true);
}

static void answer_the_newest(struct peer *peer, const struct ws_message *message)
{
    if (slice_equal(message->body, slice_str("second")))
        peer_say(peer, WS_PONG, message->body);
    else if (slice_equal(message->body, slice_str("hello")))
        peer_say(peer, WS_PONG, slice_str("nobody's"));
}

/* RFC 6455, 5.5.3: a server may answer the newest ping only, which was not everybody's. */
static void test_pongs(void **state)
{
    struct stage stage;
    struct seat *seats;

    (void)state;
    begin_with(&stage, answer_the_newest, false);
    seats = take_seats(&stage, 2);
    buf_reset(&stage.said);
    dialogue_send(seats[0].dialogue, WS_PING, slice_str("first"));
    dialogue_send(seats[1].dialogue, WS_PING, slice_str("second"));
    run_until(&stage, "B pong second;");
    assert_string_equal(buf_str(&stage.said), "A pong first;B pong second;");
    dialogue_send(seats[1].dialogue, WS_PING, slice_str("second"));
    buf_reset(&stage.said);
    run_until(&stage, "B pong second;");
    assert_string_equal(buf_str(&stage.said), "B pong second;"); /* A has asked nothing */
    dialogue_send(seats[0].dialogue, WS_TEXT, slice_str("hello"));
    run_until(&stage, "B pong nobody's;");
    assert_non_null(strstr(buf_str(&stage.said), "A pong nobody's;"));
    end(&stage, false);
}

/* Who ends it does not take it from those who are asking, and those hear of no fault. */
static void test_an_end_waits_for_answers(void **state)
{
    struct stage stage;
    struct seat *seats;

    (void)state;
    begin(&stage, false);
    seats = take_seats(&stage, 2);
    seats[1].asks = true;
    dialogue_close(seats[0].dialogue, 1000);
    assert_true(share_is_between(stage.share));
    seats[0].asks = true;
    join(&seats[0]); /* for the next one */
    run_a_moment(&stage);
    assert_string_equal(buf_str(&stage.said), "moment;");
    dialogue_send(seats[1].dialogue, WS_PING, slice_str("still"));
    run_until(&stage, "B pong still;");
    seats[1].asks = false;
    run_until(&stage, "A ready;");
    assert_non_null(strstr(buf_str(&stage.said), "B ended;A ready;"));
    assert_false(dialogue_busy(seats[1].dialogue));
    assert_int_equal(stage.script.accepted, 2);
    assert_int_equal(stage.together, 1);
    end(&stage, false);
}

static void on_cut(void *user)
{
    struct seat *seat = user;

    note(seat->stage, "%c cut", seat->name);
    seat->asks = false;
}

/* A connection that was dropped is dead: who would wait for it longer than whoever dropped it is cut short, unless it gates more. */
static void test_the_dead_are_not_waited_for(void **state)
{
    struct stage stage;
    struct seat *seats;

    (void)state;
    begin(&stage, false);
    seats = take_seats(&stage, 2);
    seats[0].asker.timeout_ms = 100;
    seats[0].asker.gates = 1;
    seats[1].asker.timeout_ms = 3600000;
    seats[1].asker.gates = 3;
    seats[1].asker.cut = on_cut;
    seats[1].asker.user = &seats[1];
    seats[1].began_ns = clock_now_ns();
    seats[1].asks = true;
    dialogue_drop(seats[0].dialogue);
    run_a_moment(&stage);
    assert_string_equal(buf_str(&stage.said), "moment;");
    seats[1].asker.gates = 1;
    run_until(&stage, "B ended;");
    assert_non_null(strstr(buf_str(&stage.said), "B cut;B ended;"));
    join(&seats[1]);
    run_until(&stage, "B ready;");
    seats[1].asks = true;
    join(&seats[0]);
    run_until(&stage, "A ready, joined;");
    dialogue_close(seats[0].dialogue, 1000); /* it lives: who asks something may have it as long as it likes */
    run_a_moment(&stage);
    assert_string_equal(buf_str(&stage.said), "moment;");
    seats[1].asks = false;
    run_until(&stage, "B ended;");
    end(&stage, false);
}

struct lazy {
    struct timer timer;
    struct peer *peer;
};

static void on_lazy(struct timer *timer, void *user)
{
    struct lazy *lazy = user;

    (void)timer;
    peer_close(lazy->peer, 1000, "");
}

static struct lazy lazy;

static void close_lazily(struct peer *peer, const struct ws_message *message)
{
    if (message->opcode != WS_CLOSE)
        return;
    lazy.peer = peer;
    timer_init(&lazy.timer, peer->script->loop, on_lazy, &lazy);
    timer_start(&lazy.timer, 200);
}

static void test_never_two(void **state)
{
    struct stage stage;
    struct seat *seats;

    (void)state;
    begin_with(&stage, close_lazily, true);
    stage.script.leaves_close = true;
    seats = take_seats(&stage, 1);
    buf_reset(&stage.said);
    dialogue_close(seats[0].dialogue, 1000);
    join(&seats[0]);
    run_until(&stage, "A ready;");
    assert_int_equal(stage.script.accepted, 2);
    assert_int_equal(stage.together, 1);
    end(&stage, true);
    timer_stop(&lazy.timer);
}

/* Everybody hears how it was lost, but for who came at the last moment: that one gets the next. */
static void test_lost(void **state)
{
    struct stage stage;
    struct seat *seats;

    (void)state;
    begin(&stage, false);
    seats = take_seats(&stage, 2);
    buf_reset(&stage.said);
    stage.then_open = "A message these";
    dialogue_send(seats[0].dialogue, WS_TEXT, slice_str("last words"));
    run_until(&stage, "C ready;");
    assert_non_null(strstr(buf_str(&stage.said), "A lost 4001;B lost 4001;C ready;"));
    assert_int_equal(seats[2].report.http_status, 101);
    assert_int_equal(stage.script.accepted, 2);
    assert_int_equal(stage.together, 1);
    end(&stage, false);
}

/* Who subscribes brings its own forms for channels, and takes them along: nobody reads them afterwards. */
static void test_the_subscriber(void **state)
{
    struct stage stage;
    struct seat *seats;

    (void)state;
    begin(&stage, false);
    seats = take_seats(&stage, 1);
    seats[1].dialect = mem_alloc(sizeof raw);
    *seats[1].dialect = (struct dialect){ .name = "raw",
                                          .subscribe = { .send = TEXT("SUB {{channel}}") },
                                          .message = { .match = { .contains = "ell" } } };
    seats[1].channel = "news";
    seats[0].asks = true;
    join(&seats[1]);
    run_until(&stage, "B subscribed news;");
    dialogue_send(seats[0].dialogue, WS_TEXT, slice_str("hello"));
    run_until(&stage, "B message hello;");
    assert_non_null(strstr(buf_str(&stage.said), "A message hello;"));
    assert_non_null(strstr(buf_str(&stage.said), "B payload hello;"));
    assert_non_null(strstr(buf_str(&stage.heard), "SUB news;hello;"));
    dialogue_close(seats[1].dialogue, 1001);
    mem_free(seats[1].dialect);
    buf_reset(&stage.said);
    dialogue_send(seats[0].dialogue, WS_TEXT, slice_str("hello")); /* it is asking, and may go on */
    run_until(&stage, "A message hello;");
    seats[0].asks = false;
    run_until(&stage, "A ended;");
    end(&stage, false);
}

static void test_one_at_a_time(void **state)
{
    struct stage stage;
    struct share_turn turns[4];

    (void)state;
    begin(&stage, false);
    for (size_t i = 0; i < 4; i++)
        list_init(&turns[i].node);
    assert_true(share_claim(stage.share, &turns[0], false));
    assert_true(share_claim(stage.share, &turns[0], false));
    assert_false(share_claim(stage.share, &turns[1], false));
    share_yield(stage.share, &turns[1]); /* waits no more */
    assert_false(share_claim(stage.share, &turns[2], false));
    assert_false(share_claim(stage.share, &turns[1], false));
    share_yield(stage.share, &turns[0]);
    assert_false(share_claim(stage.share, &turns[1], false)); /* it came later */
    assert_false(share_claim(stage.share, &turns[0], false)); /* it had its turn */
    assert_true(share_claim(stage.share, &turns[2], false));
    assert_false(share_claim(stage.share, &turns[3], true));
    share_yield(stage.share, &turns[2]);
    assert_false(share_claim(stage.share, &turns[1], false));
    assert_true(share_claim(stage.share, &turns[3], true)); /* it is urgent */
    share_yield(stage.share, &turns[3]);
    assert_false(share_claim(stage.share, &turns[0], false));
    assert_true(share_claim(stage.share, &turns[1], false));
    share_yield(stage.share, &turns[0]);
    share_yield(stage.share, &turns[1]);
    end(&stage, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_for_all),
        cmocka_unit_test(test_it_is_kept_for_keepers),
        cmocka_unit_test(test_pongs),
        cmocka_unit_test(test_an_end_waits_for_answers),
        cmocka_unit_test(test_never_two),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_the_dead_are_not_waited_for),
        cmocka_unit_test(test_the_subscriber),
        cmocka_unit_test(test_one_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
