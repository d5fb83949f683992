/*
 * The budget of agent/net/intake.h. Used by the brokers' drivers that use our transport. Owns the bytes that a turn has left over,
 * and pauses the stream while there are any.
 */
#include "agent/net/intake.h"

#include <string.h>

#include "agent/base/mem.h"

enum { MESSAGES_PER_TURN = 512, BYTES_PER_TURN = 256 << 10, US_PER_TURN = 2000 };

/* libuv reads a socket again and again in one turn: all of that is one budget. */
static void renew(struct intake *intake)
{
    uint64_t now_ms = uv_now(&stream_loop(intake->stream)->uv);
    if (now_ms == intake->turn_ms)
        return;
    intake->turn_ms = now_ms;
    intake->budget = budget_of(MESSAGES_PER_TURN, BYTES_PER_TURN, US_PER_TURN);
}

static void take_some(struct intake *intake, struct slice *data)
{
    bool going = true;
    while (going && intake->stream && data->len && budget_left(&intake->budget)) {
        size_t before = data->len;
        going = intake->take(intake->user, data);
        budget_spend(&intake->budget, before - data->len);
    }
    if (!going)
        data->len = 0;
}

static void on_more(struct timer *timer, void *user)
{
    struct intake *intake = user;
    struct buf rest = intake->rest; /* intake_stop may free it meanwhile */
    struct slice data = buf_slice(&rest);
    (void)timer;
    buf_init(&intake->rest, LOOP_SLAB_BYTES);
    intake->turn_ms = 0;
    renew(intake);
    take_some(intake, &data);
    if (intake->stream && data.len) {
        buf_append_slice(&intake->rest, data); /* fits: it is the tail of what was there */
        timer_start(&intake->more, 0);
    } else if (intake->stream) {
        stream_resume(intake->stream);
    }
    buf_fini(&rest);
}

void intake_start(struct intake *intake, struct stream *stream, bool (*take)(void *user, struct slice *data), void *user)
{
    memset(intake, 0, sizeof *intake);
    intake->stream = stream;
    intake->take = take;
    intake->user = user;
    buf_init(&intake->rest, LOOP_SLAB_BYTES);
    timer_init(&intake->more, stream_loop(stream), on_more, intake);
}

void intake_data(struct intake *intake, struct slice data)
{
    if (!intake->stream)
        return;
    renew(intake);
    take_some(intake, &data);
    if (!intake->stream || data.len == 0)
        return;
    panic_if(buf_append_slice(&intake->rest, data)); /* one read is at most a slab */
    stream_pause(intake->stream);
    timer_start(&intake->more, 0);
}

void intake_stop(struct intake *intake)
{
    if (!intake->stream)
        return;
    intake->stream = NULL;
    timer_stop(&intake->more);
    buf_fini(&intake->rest);
}
