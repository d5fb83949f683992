/*
 * What /events tells (agent/http/events_impl.h). Called by events.c. What has changed is found by comparing: of each part that an event may hold, the
 * hash of the text that was sent last is kept. A text that depends on nothing but what its readers see cannot miss a change, whichever field comes
 * to it later.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/http/events_impl.h"
#include "agent/http/page.h"
#include "agent/proto/json_out.h"
#include "agent/proto/sse.h"
#include "agent/report/report.h"

enum { EVENTS_MAX_BYTES = 16 << 20, ID_MAX = 64 };

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

static uint64_t hash_fleet(const struct fleet_view *fleet, enum events_look look)
{
    if (!fleet || look == EVENTS_USERS)
        return 0;
    const uint64_t parts[] = { fleet->linked, fleet->held, fleet->wide, fleet->member_count, fleet->finding_count };
    uint64_t hash = hash_add(hash_of(parts, sizeof parts), fleet->sentence, strlen(fleet->sentence));

    return hash_add(hash, fleet->regions, fleet->region_count * sizeof fleet->regions[0]);
}

uint64_t events_hash_states(const struct agent_view *view)
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

static enum events_look look_of(unsigned kind)
{
    return (enum events_look)(kind % EVENTS_LOOKS);
}

static bool is_page(unsigned kind)
{
    return kind / EVENTS_LOOKS == EVENTS_PAGE;
}

static struct report_extra extra_of(enum events_look look)
{
    return (struct report_extra){ .full = look == EVENTS_FULL, .for_users = look == EVENTS_USERS, .at_ms = clock_wall_ms() };
}

/* The hash of each check's row, and of their names. */
static void hash_checks(const struct agent_view *view, const struct report_extra *extra, uint64_t *rows, uint64_t *names)
{
    struct buf row = BUF_INIT(EVENTS_MAX_BYTES);

    *names = hash_of(&view->check_count, sizeof view->check_count);
    for (size_t i = 0; i < view->check_count; i++) {
        buf_reset(&row);
        report_check_json(view->checks[i], extra, &row);
        rows[i] = hash_of(row.data, row.len);
        *names = hash_add(*names, view->checks[i]->name, strlen(view->checks[i]->name) + 1);
    }
    buf_fini(&row);
}

/* --- JSON ---------------------------------------------------------------------------------------------------------------- */

static void write_id(const struct agent_view *view, uint64_t number, char *out, size_t size)
{
    snprintf(out, size, "%.32s-%" PRIu64, view->nonce ? view->nonce : "", number);
}

static struct shared *make_event(const struct agent_view *view, const char *name, uint64_t number, const struct report_extra *extra)
{
    struct buf json = BUF_INIT(EVENTS_MAX_BYTES), text = BUF_INIT(EVENTS_MAX_BYTES);
    char id[ID_MAX];

    write_id(view, number, id, sizeof id);
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

/* NULL, with nothing changed. */
static struct shared *make_change(struct events_channel *channel, const uint64_t *rows, const struct agent_view *view,
                                  struct report_change *change, struct report_extra *extra)
{
    bool *changed = mem_alloc((view->check_count + 1) * sizeof *changed);
    bool any = change->state || change->verdict || change->diagnosis || change->fleet;
    struct shared *event = NULL;

    for (size_t i = 0; i < view->check_count; i++) {
        changed[i] = rows[i] != channel->parts[i];
        any = any || changed[i];
    }
    change->checks = changed;
    extra->change = change;
    if (any)
        event = make_event(view, "change", channel->number + 1, extra);
    mem_free(changed);
    return event;
}

static void keep_parts(struct events_channel *channel, uint64_t *parts, size_t count)
{
    mem_free(channel->parts);
    channel->parts = parts;
    channel->count = count;
}

/* The next event, or with NULL other parts than before: everybody begins again, as nobody has the event before. */
static void go_on(struct events_channel *channel, struct shared *event)
{
    channel->number += event ? 1 : 2;
    replace(&channel->event, event);
    replace(&channel->snapshot, NULL);
}

static void refresh_status(struct events_channel *channel, const struct agent_view *view, enum events_look look)
{
    struct report_extra extra = extra_of(look);
    uint64_t names, state = events_hash_states(view), verdict = hash_verdict(view), diagnosis = hash_diagnosis(view, extra.full);
    uint64_t fleet = hash_fleet(view->fleet, look), *rows = mem_alloc((view->check_count + 1) * sizeof *rows);
    struct report_change change = { state != channel->state, verdict != channel->verdict, diagnosis != channel->diagnosis,
                                    fleet != channel->fleet, NULL };

    hash_checks(view, &extra, rows, &names);
    bool same = channel->parts && channel->names == names;
    struct shared *event = same ? make_change(channel, rows, view, &change, &extra) : NULL;
    if (event || !same)
        go_on(channel, event);
    keep_parts(channel, rows, view->check_count);
    channel->names = names;
    channel->state = state;
    channel->verdict = verdict;
    channel->diagnosis = diagnosis;
    channel->fleet = fleet;
}

static struct shared *status_snapshot(const struct events_channel *channel, const struct agent_view *view, enum events_look look)
{
    const struct report_extra extra = extra_of(look);

    return make_event(view, "snapshot", channel->number, &extra);
}

/* --- the page -------------------------------------------------------------------------------------------------------------- */

static struct page_look page_look_of(enum events_look look)
{
    return (struct page_look){ .full = look == EVENTS_FULL, .public_view = look == EVENTS_USERS, .now_ms = clock_wall_ms() };
}

static void put_section(struct buf *text, size_t section, const char *id, struct slice html)
{
    struct buf data = BUF_INIT(EVENTS_MAX_BYTES);
    struct json_out json;

    json_out_begin(&json, &data);
    json_out_object(&json);
    json_out_key(&json, "id");
    json_out_string(&json, page_section_id(section));
    json_out_key(&json, "html");
    json_out_slice(&json, html);
    json_out_object_end(&json);
    (void)json_out_finish(&json);
    sse_write(text, "section", id, buf_slice(&data));
    buf_fini(&data);
}

/* The sections that are others than `before` has, NULL: all; their hashes go into parts. */
static void put_sections(const struct agent_view *view, enum events_look look, uint64_t number, const uint64_t *before,
                         uint64_t *parts, struct buf *text)
{
    const struct page_look page_look = page_look_of(look);
    struct buf html = BUF_INIT(EVENTS_MAX_BYTES);
    char id[ID_MAX];

    write_id(view, number, id, sizeof id);
    for (size_t i = 0; i < page_section_count(); i++) {
        buf_reset(&html);
        page_section_write(view, &page_look, i, &html);
        uint64_t hash = hash_of(html.data, html.len);
        if (!before || before[i] != hash)
            put_section(text, i, id, buf_slice(&html));
        if (parts)
            parts[i] = hash;
    }
    buf_fini(&html);
}

static void refresh_page(struct events_channel *channel, const struct agent_view *view, enum events_look look)
{
    size_t count = page_section_count();
    uint64_t *parts = mem_alloc((count + 1) * sizeof *parts);
    struct buf text = BUF_INIT(EVENTS_MAX_BYTES);
    bool begun = channel->parts;

    put_sections(view, look, channel->number + 1, channel->parts, parts, &text);
    if (!begun)
        go_on(channel, NULL);
    else if (text.len)
        go_on(channel, shared_take(&text));
    buf_fini(&text);
    keep_parts(channel, parts, count);
}

static struct shared *page_snapshot(const struct events_channel *channel, const struct agent_view *view, enum events_look look)
{
    struct buf text = BUF_INIT(EVENTS_MAX_BYTES);

    sse_write_retry(&text, EVENTS_RETRY_MS);
    put_sections(view, look, channel->number, NULL, NULL, &text);
    return shared_take(&text);
}

/* --- both ------------------------------------------------------------------------------------------------------------------ */

void events_channel_refresh(struct events_channel *channel, const struct agent_view *view, unsigned kind)
{
    if (is_page(kind))
        refresh_page(channel, view, look_of(kind));
    else
        refresh_status(channel, view, look_of(kind));
}

struct shared *events_channel_snapshot(struct events_channel *channel, const struct agent_view *view, unsigned kind)
{
    if (!channel->snapshot)
        channel->snapshot =
            is_page(kind) ? page_snapshot(channel, view, look_of(kind)) : status_snapshot(channel, view, look_of(kind));
    return shared_ref(channel->snapshot);
}

void events_channel_drop(struct events_channel *channel)
{
    shared_unref(channel->event);
    shared_unref(channel->snapshot);
    mem_free(channel->parts);
    *channel = (struct events_channel){ .number = channel->number + 1 };
}
