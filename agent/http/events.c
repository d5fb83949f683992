/*
 * See agent/http/events.h. What has changed is found by comparing: of each part that an event may hold, the hash of the text that was sent last
 * is kept. A text that depends on nothing but what its readers see cannot miss a change, whichever field comes to it later.
 */
#include "agent/http/events.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/proto/json_out.h"
#include "agent/proto/sse.h"
#include "agent/report/report.h"

enum {
    COST_FACTOR = 20, /* rendering takes a twentieth of the time at most, states that change aside */
    EVENTS_MAX_BYTES = 16 << 20,
};

/* What all readers with the same look have been told. Zeroed: nothing yet. */
struct events_channel {
    uint64_t version;                   /* of events.version: up to there */
    uint64_t number;                    /* of the last event; readers that have it are up to date */
    struct shared *event, *snapshot;    /* the last change, and the whole view at that time; NULL: none, or not made yet */
    uint64_t verdict, diagnosis, names; /* hashes of what was sent last */
    uint64_t *rows;                     /* and of each check */
    size_t count;
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
    struct events_channel channels[EVENTS_LOOKS];
};

/* --- what has changed -------------------------------------------------------------------------------------------------- */

static uint64_t hash_add(uint64_t hash, const void *data, size_t len)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return hash;
}

static uint64_t hash_of(const void *data, size_t len)
{
    return hash_add(UINT64_C(0xcbf29ce484222325), data, len);
}

static uint64_t hash_verdict(const struct agent_view *view)
{
    const struct verdict *verdict = &view->verdict;
    const uint64_t parts[] = { verdict->status,      verdict->ready,      verdict->live,
                               verdict->started,     verdict->draining,   verdict->degraded,
                               view->drain.since_ms, view->drain.counted, view->drain.remaining };

    return hash_of(parts, sizeof parts);
}

static uint64_t hash_diagnosis(const struct agent_view *view, bool full)
{
    const struct diagnosis *diagnosis = &view->diagnosis;
    const char *sentence = full && *diagnosis->sentence ? diagnosis->sentence : diagnosis->plain;
    uint64_t hash = hash_of(sentence, strlen(sentence));

    hash = hash_add(hash, diagnosis->cause, diagnosis->cause ? strlen(diagnosis->cause) : 0);
    for (size_t i = 0; i < diagnosis->because_count; i++)
        hash = hash_add(hash, diagnosis->because[i], strlen(diagnosis->because[i]));
    return hash;
}

/* What is told at once. The number of clients that are left changes all the time. */
static uint64_t hash_states(const struct agent_view *view)
{
    const struct verdict *verdict = &view->verdict;
    const uint8_t flags[] = { (uint8_t)verdict->status, verdict->ready,    verdict->live,
                              verdict->started,         verdict->draining, verdict->degraded };
    const char *cause = view->diagnosis.cause ? view->diagnosis.cause : "";
    uint64_t hash = hash_add(hash_of(flags, sizeof flags), cause, strlen(cause));

    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        const uint8_t state[] = { (uint8_t)check->health.state, check->judged };

        hash = hash_add(hash_add(hash, check->name, strlen(check->name)), state, sizeof state);
    }
    return hash;
}

/* The hash of each check's row. True: they are the same checks, in the same order, as those of the last time. */
static bool hash_checks(const struct events_channel *channel, const struct agent_view *view, const struct report_extra *extra,
                        uint64_t *rows, uint64_t *names)
{
    struct buf row = BUF_INIT(EVENTS_MAX_BYTES);

    *names = view->check_count;
    for (size_t i = 0; i < view->check_count; i++) {
        buf_reset(&row);
        report_check_json(view->checks[i], extra, &row);
        rows[i] = hash_of(row.data, row.len);
        *names = hash_add(*names, view->checks[i]->name, strlen(view->checks[i]->name) + 1);
    }
    buf_fini(&row);
    return channel->names == *names && channel->count == view->check_count;
}

/* --- the texts --------------------------------------------------------------------------------------------------------- */

static struct report_extra extra_of(enum events_look look)
{
    return (struct report_extra){ .full = look == EVENTS_FULL, .for_users = look == EVENTS_USERS, .at_ms = clock_wall_ms() };
}

static struct shared *make_event(const struct agent_view *view, const char *name, uint64_t number, const struct report_extra *extra)
{
    struct buf json = BUF_INIT(EVENTS_MAX_BYTES), text = BUF_INIT(EVENTS_MAX_BYTES);
    char id[64];

    snprintf(id, sizeof id, "%.32s-%" PRIu64, view->nonce ? view->nonce : "", number);
    report_status_json_with(view, extra, &json);
    if (!extra->change)
        sse_write_retry(&text, EVENTS_RETRY_MS);
    sse_write(&text, name, id, slice_make(json.data, json.len ? json.len - 1 : 0)); /* without its line's end */
    buf_fini(&json);
    return shared_take(&text);
}

static void replace(struct shared **kept, struct shared *by)
{
    shared_unref(*kept);
    *kept = by;
}

/* Other checks than before, after a reload: everybody begins again. */
static void begin_again(struct events_channel *channel, uint64_t *rows, const struct agent_view *view)
{
    mem_free(channel->rows);
    channel->rows = rows;
    channel->count = view->check_count;
    channel->number += 2; /* nobody has the one before */
    replace(&channel->event, NULL);
    replace(&channel->snapshot, NULL);
}

static void tell_change(struct events_channel *channel, uint64_t *rows, const struct agent_view *view, struct report_change *change,
                        struct report_extra *extra)
{
    bool *changed = mem_alloc((view->check_count + 1) * sizeof *changed);
    bool any = change->verdict || change->diagnosis;

    for (size_t i = 0; i < view->check_count; i++) {
        changed[i] = rows[i] != channel->rows[i];
        any = any || changed[i];
    }
    if (any) {
        change->checks = changed;
        extra->change = change;
        channel->number++;
        replace(&channel->event, make_event(view, "change", channel->number, extra));
        replace(&channel->snapshot, NULL);
    }
    mem_free(changed);
    mem_free(channel->rows);
    channel->rows = rows;
}

static void refresh(struct events *events, struct events_channel *channel, enum events_look look)
{
    const struct agent_view *view = events->source.view(events->source.user);
    struct report_extra extra = extra_of(look);
    uint64_t names, verdict = hash_verdict(view), diagnosis = hash_diagnosis(view, extra.full), began_ns = clock_now_ns();
    uint64_t *rows = mem_alloc((view->check_count + 1) * sizeof *rows);
    struct report_change change = { verdict != channel->verdict, diagnosis != channel->diagnosis, NULL };

    if (hash_checks(channel, view, &extra, rows, &names) && channel->rows)
        tell_change(channel, rows, view, &change, &extra);
    else
        begin_again(channel, rows, view);
    channel->names = names;
    channel->verdict = verdict;
    channel->diagnosis = diagnosis;
    channel->version = events->version;
    events->cost_ns += clock_now_ns() - began_ns;
}

static struct shared *snapshot(struct events *events, struct events_channel *channel, enum events_look look)
{
    struct report_extra extra = extra_of(look);

    if (!channel->snapshot)
        channel->snapshot = make_event(events->source.view(events->source.user), "snapshot", channel->number, &extra);
    return shared_ref(channel->snapshot);
}

/* --- when -------------------------------------------------------------------------------------------------------------- */

static void drop_channel(struct events_channel *channel)
{
    shared_unref(channel->event);
    shared_unref(channel->snapshot);
    mem_free(channel->rows);
    *channel = (struct events_channel){ .number = channel->number + 1 };
}

static void rest(struct events *events)
{
    events->active = false;
    timer_stop(&events->due);
    timer_stop(&events->ticking);
    for (size_t i = 0; i < EVENTS_LOOKS; i++)
        drop_channel(&events->channels[i]);
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
    tell(events, hash_states(events->source.view(events->source.user)));
    events->source.news(events->source.user);
}

static void make_tick(struct events *events)
{
    struct buf text = BUF_INIT(EVENTS_MAX_BYTES);
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
    tell(events, hash_states(events->source.view(events->source.user)));
    timer_start(&events->ticking, EVENTS_TICK_MS);
}

void events_note(struct events *events)
{
    uint64_t cost_ms = events->cost_ns * COST_FACTOR / NS_PER_MS, now_ms = clock_now_ms(), due_ms;

    if (!events->active)
        return;
    if (hash_states(events->source.view(events->source.user)) != events->key)
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
    (void)request;
    reply->status = 200;
    reply->content_type = "text/event-stream";
    buf_append_str(reply->headers, "X-Accel-Buffering: no\r\n"); /* nginx passes each event on at once */
    reply->stream = true;
}

struct shared *events_next(struct events *events, enum events_look look, struct httpd_reader *reader)
{
    struct events_channel *channel = &events->channels[look];
    bool fresh = reader->at == 0 || reader->look != look;
    uint64_t before = reader->at;

    wake_up(events);
    if (channel->version != events->version)
        refresh(events, channel, look);
    reader->look = look;
    reader->at = channel->number;
    if (fresh)
        reader->tick = events->ticks;
    if (!fresh && before == channel->number && reader->tick == events->ticks)
        return NULL;
    if (!fresh && before == channel->number) {
        reader->tick = events->ticks;
        return events->tick ? shared_ref(events->tick) : NULL;
    }
    return !fresh && before + 1 == channel->number && channel->event ? shared_ref(channel->event) : snapshot(events, channel, look);
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
