/*
 * See agent/http/events.h: when something is told, and to whom. What is told is in events_text.c.
 */
#include "agent/http/events.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/http/events_impl.h"
#include "agent/proto/sse.h"

enum {
    COST_FACTOR = 20, /* rendering takes a twentieth of the time at most, states that change aside */
    TICK_MAX_BYTES = 256,
};

struct events {
    struct loop *loop;
    struct events_source source;
    struct timer due, ticking;
    bool active;      /* somebody reads */
    uint64_t key;     /* of the states, verdict and cause that were last told */
    uint64_t version; /* grows when something is to be told */
    uint64_t told_ms; /* when that was */
    uint64_t due_ms;  /* when the next is, if `due` runs */
    uint64_t cost_ns; /* what the last one cost to render */
    uint64_t ticks;
    struct shared *tick;
    struct events_channel channels[EVENTS_KINDS];
};

/* --- when -------------------------------------------------------------------------------------------------------------- */

static void replace(struct shared **kept, struct shared *by)
{
    shared_unref(*kept);
    *kept = by;
}

static void rest(struct events *events)
{
    events->active = false;
    timer_stop(&events->due);
    timer_stop(&events->ticking);
    for (size_t i = 0; i < EVENTS_KINDS; i++)
        events_channel_drop(&events->channels[i]);
    replace(&events->tick, NULL);
}

static void tell(struct events *events, uint64_t key)
{
    events->version++;
    events->key = key;
    events->told_ms = clock_now_ms();
    events->cost_ns = 0;
}

static void on_due(struct timer *timer, void *user)
{
    struct events *events = user;

    (void)timer;
    tell(events, events_hash_states(events->source.view(events->source.user)));
    events->source.news(events->source.user);
}

static void make_tick(struct events *events)
{
    struct buf text = BUF_INIT(TICK_MAX_BYTES);
    char stamp[CLOCK_STAMP_MAX], data[CLOCK_STAMP_MAX + 16];

    clock_stamp(clock_wall_ms(), stamp, sizeof stamp);
    snprintf(data, sizeof data, "{\"at\":\"%s\"}", stamp);
    sse_write(&text, "tick", NULL, slice_str(data));
    replace(&events->tick, shared_take(&text));
    events->ticks++;
}

static void on_tick(struct timer *timer, void *user)
{
    struct events *events = user;

    if (events->source.readers(events->source.user) == 0) {
        rest(events);
        return;
    }
    make_tick(events);
    timer_start(timer, EVENTS_TICK_MS);
    events->source.news(events->source.user);
}

static void wake_up(struct events *events)
{
    if (events->active)
        return;
    events->active = true;
    tell(events, events_hash_states(events->source.view(events->source.user)));
    timer_start(&events->ticking, EVENTS_TICK_MS);
}

void events_note(struct events *events)
{
    uint64_t cost_ms = events->cost_ns * COST_FACTOR / NS_PER_MS, now_ms = clock_now_ms(), due_ms;

    if (!events->active)
        return;
    if (events_hash_states(events->source.view(events->source.user)) != events->key)
        due_ms = events->told_ms + EVENTS_CHANGE_MS;
    else
        due_ms = events->told_ms + (cost_ms > EVENTS_ROUND_MS ? cost_ms : EVENTS_ROUND_MS);
    if (timer_active(&events->due) && events->due_ms <= due_ms)
        return;
    events->due_ms = due_ms;
    timer_start(&events->due, due_ms > now_ms ? due_ms - now_ms : 0);
}

/* --- readers ----------------------------------------------------------------------------------------------------------- */

void events_begin(const struct httpd_request *request, struct httpd_reply *reply)
{
    char given[1];

    reply->status = 200;
    reply->content_type = "text/event-stream";
    buf_append_str(reply->headers, "X-Accel-Buffering: no\r\n"); /* nginx passes each event on at once */
    reply->stream = true;
    reply->topic = httpd_query(request, "page", given, sizeof given) ? EVENTS_PAGE : EVENTS_STATUS;
}

/* A reader far away pays for each byte: a page of 60 KiB is not sent each second for the sake of its figures. */
static uint64_t quiet_ms(const struct events_channel *channel)
{
    uint64_t ms = channel->event ? shared_slice(channel->event).len / EVENTS_BYTES_PER_MS : 0;

    return ms < EVENTS_TICK_MS ? ms : EVENTS_TICK_MS;
}

static void refresh(struct events *events, struct events_channel *channel, unsigned kind)
{
    uint64_t began_ns = clock_now_ns(), now_ms = clock_now_ms();

    if (channel->version == events->version || (channel->key == events->key && now_ms < channel->quiet_until_ms))
        return;
    channel->version = events->version;
    channel->key = events->key;
    events_channel_refresh(channel, events->source.view(events->source.user), kind);
    channel->quiet_until_ms = now_ms + quiet_ms(channel);
    events->cost_ns += clock_now_ns() - began_ns;
}

struct shared *events_next(struct events *events, enum events_look look, struct httpd_reader *reader)
{
    unsigned kind = events_kind(reader->topic, look);
    struct events_channel *channel = &events->channels[kind];
    bool fresh = reader->at == 0 || reader->look != look;
    uint64_t before = reader->at;

    wake_up(events);
    refresh(events, channel, kind);
    reader->look = look;
    reader->at = channel->number;
    if (fresh)
        reader->tick = events->ticks;
    if (!fresh && before == channel->number) {
        bool ticks = reader->tick != events->ticks && events->tick;

        reader->tick = events->ticks;
        return ticks ? shared_ref(events->tick) : NULL;
    }
    if (!fresh && before + 1 == channel->number && channel->event)
        return shared_ref(channel->event);
    return events_channel_snapshot(channel, events->source.view(events->source.user), kind);
}

/* --- life -------------------------------------------------------------------------------------------------------------- */

struct events *events_new(struct loop *loop, const struct events_source *source)
{
    struct events *events = mem_alloc(sizeof *events);

    events->loop = loop;
    events->source = *source;
    timer_init(&events->due, loop, on_due, events);
    timer_init(&events->ticking, loop, on_tick, events);
    return events;
}

void events_free(struct events *events)
{
    if (!events)
        return;
    rest(events);
    mem_free(events);
}
