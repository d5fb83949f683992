/*
 * A notice as text and as JSON (agent/notify/notice.h), for all receivers. Pure. Called by the receivers and by notify.c. Leaves to them
 * what their services want of it.
 */
#include "agent/notify/notice.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/proto/json_out.h"
#include "agent/proto/template.h"

enum { TEXT_PART_MAX = 8 << 10, TIME_MAX = 16, HOLES_MAX = 24 };

const char *notice_kind_name(enum notice_kind kind)
{
    static const char *const names[] = { "begin", "change", "repeat", "end", "test" };

    return names[kind];
}

const char *notice_severity_name(enum notice_severity severity)
{
    static const char *const names[] = { "ok", "info", "warning", "critical" };

    return names[severity];
}

bool notice_is_open(const struct notice *notice)
{
    return notice->kind != NOTICE_END && notice->kind != NOTICE_TEST;
}

void notice_duration(const struct notice *notice, char *out, size_t size)
{
    int64_t ms = notice->at_ms > notice->begun_ms ? notice->at_ms - notice->begun_ms : 0;

    text_format_duration(ms < 1000 ? 1000 : ms / 1000 * 1000, out, size);
}

/* "10:00:01", of a stamp "2026-11-22T10:00:01.000Z". */
static void time_of_day(int64_t at_ms, char out[TIME_MAX])
{
    char stamp[CLOCK_STAMP_MAX];

    clock_stamp(at_ms, stamp, sizeof stamp);
    snprintf(out, TIME_MAX, "%.8s", strlen(stamp) > 19 ? stamp + 11 : "");
}

static void title_end(const struct notice *notice, char *out, size_t size)
{
    char duration[32], begun[TIME_MAX], at[TIME_MAX];

    notice_duration(notice, duration, sizeof duration);
    time_of_day(notice->begun_ms, begun);
    time_of_day(notice->at_ms, at);
    if (notice->untold)
        snprintf(out, size, "%s: %s, was %s from %s to %s UTC (%s)", notice->agent_id, notice->word, notice->was, begun, at,
                 notice->cause);
    else if (strcmp(notice->word, "ready") == 0)
        snprintf(out, size, "%s: ready again after %s", notice->agent_id, duration);
    else
        snprintf(out, size, "%s: %s, no longer %s, after %s", notice->agent_id, notice->word, notice->was, duration);
}

static void title_change(const struct notice *notice, char *out, size_t size)
{
    bool same = strcmp(notice->was, notice->word) == 0;
    char times[40] = "";

    if (notice->changes > 1)
        snprintf(times, sizeof times, ", changed %u times", notice->changes);
    if (!same)
        snprintf(out, size, "%s: %s, was %s%s (%s)", notice->agent_id, notice->word, notice->was, times, notice->cause);
    else if (*times)
        snprintf(out, size, "%s: still %s%s (%s)", notice->agent_id, notice->word, times, notice->cause);
    else
        snprintf(out, size, "%s: still %s, now %s", notice->agent_id, notice->word, notice->cause);
}

void notice_title(const struct notice *notice, char out[NOTICE_TITLE_MAX])
{
    char duration[32];

    notice_duration(notice, duration, sizeof duration);
    switch (notice->kind) {
    case NOTICE_TEST:
        snprintf(out, NOTICE_TITLE_MAX, "%s: a test of the notifier, nothing has happened", notice->agent_id);
        break;
    case NOTICE_END:
        title_end(notice, out, NOTICE_TITLE_MAX);
        break;
    case NOTICE_CHANGE:
        title_change(notice, out, NOTICE_TITLE_MAX);
        break;
    case NOTICE_REPEAT:
        snprintf(out, NOTICE_TITLE_MAX, "%s: still %s for %s (%s)", notice->agent_id, notice->word, duration, notice->cause);
        break;
    default:
        snprintf(out, NOTICE_TITLE_MAX, "%s: %s (%s)", notice->agent_id, notice->word, notice->cause);
        break;
    }
}

void notice_remarks(const struct notice *notice, struct buf *out)
{
    char begun[CLOCK_STAMP_MAX], at[CLOCK_STAMP_MAX];

    clock_stamp(notice->begun_ms, begun, sizeof begun);
    clock_stamp(notice->at_ms, at, sizeof at);
    if (notice->kind == NOTICE_END && notice->untold)
        buf_printf(out, "It lasted from %s to %s, and no message about it could be sent meanwhile.\n", begun, at);
    if (notice->changes > 1)
        buf_printf(out, "The state changed %u times since the last message.\n", notice->changes);
    if (notice->left_out)
        buf_printf(out, "%u message%s left out before this one.\n", notice->left_out, notice->left_out == 1 ? " was" : "s were");
}

static void join(struct buf *out, const char *const *texts, size_t count, const char *before, const char *between)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%s%s", i ? between : "", before, texts[i]);
}

void notice_text(const struct notice *notice, struct buf *out)
{
    char title[NOTICE_TITLE_MAX];

    notice_title(notice, title);
    buf_printf(out, "%s\n", title);
    if (notice->sentence && *notice->sentence)
        buf_printf(out, "%s%s.\n", notice->kind == NOTICE_END ? "It was: " : "", notice->sentence);
    if (notice_is_open(notice)) {
        join(out, notice->advice, notice->advice_count, "- ", "\n");
        buf_append_str(out, notice->advice_count ? "\n" : "");
        if (notice->because_count) {
            buf_append_str(out, "Checks: ");
            join(out, notice->because, notice->because_count, "", ", ");
            buf_append_char(out, '\n');
        }
    }
    notice_remarks(notice, out);
    if (notice->service && *notice->service)
        buf_printf(out, "Server: %s\n", notice->service);
    if (notice->link)
        buf_printf(out, "%s\n", notice->link);
}

/* --- JSON ---------------------------------------------------------------------------------------------------------------------- */

static void put_string(struct json_out *json, const char *key, const char *value)
{
    json_out_key(json, key);
    json_out_string(json, value);
}

static void put_strings(struct json_out *json, const char *key, const char *const *texts, size_t count)
{
    json_out_key(json, key);
    json_out_array(json);
    for (size_t i = 0; i < count; i++)
        json_out_string(json, texts[i]);
    json_out_array_end(json);
}

static void put_time(struct json_out *json, const char *key, int64_t at_ms)
{
    char stamp[CLOCK_STAMP_MAX];

    clock_stamp(at_ms, stamp, sizeof stamp);
    put_string(json, key, stamp);
}

static void put_int(struct json_out *json, const char *key, int64_t value)
{
    json_out_key(json, key);
    json_out_int(json, value);
}

static void put_members(struct json_out *json, const struct notice *notice)
{
    char title[NOTICE_TITLE_MAX];

    notice_title(notice, title);
    put_string(json, "kind", notice_kind_name(notice->kind));
    put_string(json, "severity", notice_severity_name(notice->severity));
    put_string(json, "title", title);
    put_string(json, "incident", notice->incident);
    put_string(json, "key", notice->key);
    put_string(json, "word", notice->word);
    put_string(json, "was", notice->was);
    put_string(json, "cause", notice->cause);
    put_string(json, "sentence", notice->sentence);
    put_strings(json, "advice", notice->advice, notice->advice_count);
    put_strings(json, "because", notice->because, notice->because_count);
    put_string(json, "service", notice->service);
    put_string(json, "agent", notice->agent_id);
    put_string(json, "region", notice->region);
    put_string(json, "host", notice->host);
    put_string(json, "link", notice->link);
    put_time(json, "begun", notice->begun_ms);
    put_time(json, "at", notice->at_ms);
    put_int(json, "duration_s", notice->at_ms > notice->begun_ms ? (notice->at_ms - notice->begun_ms) / 1000 : 0);
    put_int(json, "changes", notice->changes);
    put_int(json, "left_out", notice->left_out);
    json_out_key(json, "untold");
    json_out_bool(json, notice->untold);
    put_string(json, "version", notice->version);
}

int notice_json(const struct notice *notice, struct buf *out)
{
    struct json_out json;
    size_t start = out->len;
    int rc;

    json_out_begin(&json, out);
    json_out_object(&json);
    put_members(&json, notice);
    json_out_object_end(&json);
    rc = json_out_finish(&json);
    if (rc < 0) {
        out->len = start;
        return -1;
    }
    /* The status is JSON already: it takes the place of the brace that ends the object. */
    size_t end = out->len;
    out->len--;
    if (buf_printf(out, ",\"status\":%s}", notice->status_json ? notice->status_json : "null") == 0)
        return 0;
    out->len = end - 1;
    buf_append_char(out, '}');
    return 0;
}

/* --- templates ------------------------------------------------------------------------------------------------------------------- */

struct holes {
    struct template_name names[HOLES_MAX];
    struct buf texts[HOLES_MAX];
    size_t count;
};

static struct buf *add(struct holes *holes, const char *name)
{
    panic_if(holes->count == HOLES_MAX);
    holes->names[holes->count] = (struct template_name){ .name = name };
    buf_init(&holes->texts[holes->count], TEXT_PART_MAX);
    return &holes->texts[holes->count++];
}

static void add_text(struct holes *holes, const char *name, const char *text)
{
    buf_append_str(add(holes, name), text ? text : "");
}

static void add_time(struct holes *holes, const char *name, int64_t at_ms)
{
    char stamp[CLOCK_STAMP_MAX];

    clock_stamp(at_ms, stamp, sizeof stamp);
    add_text(holes, name, stamp);
}

static void fill_words(struct holes *holes, const struct notice *notice)
{
    char title[NOTICE_TITLE_MAX];

    notice_title(notice, title);
    add_text(holes, "title", title);
    notice_text(notice, add(holes, "text"));
    add_text(holes, "kind", notice_kind_name(notice->kind));
    add_text(holes, "severity", notice_severity_name(notice->severity));
    add_text(holes, "incident", notice->incident);
    add_text(holes, "key", notice->key);
    add_text(holes, "word", notice->word);
    add_text(holes, "was", notice->was);
    add_text(holes, "cause", notice->cause);
    add_text(holes, "sentence", notice->sentence);
    join(add(holes, "advice"), notice->advice, notice->advice_count, "", "\n");
    join(add(holes, "because"), notice->because, notice->because_count, "", ", ");
    add_text(holes, "service", notice->service);
    add_text(holes, "agent", notice->agent_id);
    add_text(holes, "region", notice->region);
    add_text(holes, "host", notice->host);
    add_text(holes, "link", notice->link);
    add_text(holes, "version", notice->version);
}

int notice_expand(const char *body, const struct notice *notice, bool json, struct buf *out, struct err *err)
{
    struct holes holes = { .count = 0 };
    struct template_vars vars = { .now_ms = notice->at_ms, .json = json };
    char duration[32];
    int rc;

    fill_words(&holes, notice);
    add_time(&holes, "begun", notice->begun_ms);
    add_time(&holes, "at", notice->at_ms);
    notice_duration(notice, duration, sizeof duration);
    add_text(&holes, "duration", duration);
    buf_printf(add(&holes, "changes"), "%u", notice->changes);
    for (size_t i = 0; i < holes.count; i++)
        holes.names[i].value = buf_slice(&holes.texts[i]);
    add(&holes, "status");
    holes.names[holes.count - 1].value = slice_str(notice->status_json ? notice->status_json : "null");
    holes.names[holes.count - 1].raw = true;
    vars.names = holes.names;
    vars.name_count = holes.count;
    rc = template_expand(slice_str(body), &vars, out, err);
    for (size_t i = 0; i < holes.count; i++)
        buf_fini(&holes.texts[i]);
    return rc;
}
