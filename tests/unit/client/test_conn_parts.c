/* Messages in several frames (conn_send_parts), compressed or not: what the server puts together is what was sent. */
#include "tests/unit/client/script.h"

#include "agent/base/random.h"
#include "agent/client/conn.h"

enum { PATIENCE_MS = 20000, BIG = 3 << 20 };

static const unsigned part_counts[] = { 1, 2, 3, 7, CONN_PARTS_MAX };

static struct stage {
    struct loop loop;
    struct script script;
    struct conn_group group;
    struct target_conf target;
    struct conn conn;
    struct conn_report report;
    struct timer patience;
    uint8_t *data;
    size_t len, sizes_at, counts_at;
    bool compress;
    unsigned told, frames; /* messages that came back right; frames that the server has read */
} stage;

static void on_patience(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    fail_msg("no answer after %u messages", stage.told);
}

static const size_t sizes[] = { 0, 1, 5, 125, 126, 65535, 65536, BIG };

static void send_next(void)
{
    if (stage.counts_at == sizeof part_counts / sizeof *part_counts) {
        stage.counts_at = 0;
        stage.sizes_at++;
    }
    if (stage.sizes_at == sizeof sizes / sizeof *sizes) {
        loop_stop(&stage.loop);
        return;
    }
    stage.len = sizes[stage.sizes_at];
    assert_int_equal(conn_send_parts(&stage.conn, stage.counts_at % 2 ? WS_TEXT : WS_BINARY, slice_make(stage.data, stage.len),
                                     part_counts[stage.counts_at], stage.compress),
                     0);
}

static void on_open(void *user)
{
    (void)user;
    send_next();
}

static void on_message(void *user, const struct ws_message *message, uint64_t received_ns)
{
    (void)user;
    (void)received_ns;
    assert_int_equal(message->opcode, stage.counts_at % 2 ? WS_TEXT : WS_BINARY);
    assert_true(slice_equal(message->body, slice_make(stage.data, stage.len)));
    stage.told++;
    stage.counts_at++;
    send_next();
}

static void on_lost(void *user, const struct err *err)
{
    (void)user;
    fail_msg("lost: %s", err->text);
}

static const struct conn_events events = { .on_open = on_open, .on_message = on_message, .on_lost = on_lost };

static void echo(struct peer *peer, const struct ws_message *message)
{
    peer_say(peer, message->opcode, message->body);
}

/* Everything that is worth a test of its own comes in one connection, so that a window of DEFLATE lives through messages that are not compressed. */
static void play(bool offers, bool compress)
{
    struct conn_options options = { .group = &stage.group, .target = &stage.target, .url = &stage.target.local };
    char url[64];
    struct err err;

    memset(&stage, 0, sizeof stage);
    stage.compress = compress;
    stage.data = mem_alloc(BIG);
    for (size_t i = 0; i < BIG; i++) /* it is text as well */
        stage.data[i] = (uint8_t)('a' + random_below(16));
    assert_int_equal(loop_init(&stage.loop, &err), 0);
    stage.script = (struct script){ .on_message = echo, .deflates = offers, .max_message = BIG };
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", script_begin(&stage.script, &stage.loop));
    assert_int_equal(url_parse(url, &stage.target.local, &err), 0);
    options.offer_deflate = offers;
    conn_group_init(&stage.group, &stage.loop);
    timer_init(&stage.patience, &stage.loop, on_patience, NULL);
    timer_start(&stage.patience, PATIENCE_MS);
    assert_int_equal(conn_open(&stage.conn, &options, &events, NULL, &stage.report, &err), 0);
    loop_run(&stage.loop);
    assert_int_equal(stage.report.deflate, offers);
    assert_int_equal(stage.told, sizeof sizes / sizeof *sizes * (sizeof part_counts / sizeof *part_counts));
    conn_drop(&stage.conn);
    timer_stop(&stage.patience);
    conn_group_fini(&stage.group);
    script_end(&stage.script);
    loop_fini(&stage.loop);
    mem_free(stage.data);
}

static void test_parts_are_put_together(void **state)
{
    (void)state;
    play(false, false);
    play(false, true); /* not negotiated: not compressed */
}

static void test_compressed_parts_are_put_together(void **state)
{
    (void)state;
    play(true, true);
}

static void test_what_was_negotiated_need_not_be_used(void **state)
{
    (void)state;
    play(true, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_are_put_together),
        cmocka_unit_test(test_compressed_parts_are_put_together),
        cmocka_unit_test(test_what_was_negotiated_need_not_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
