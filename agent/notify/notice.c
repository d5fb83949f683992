/*
 * A notice as JSON and as the holes of a template (agent/notify/notice.h). Pure. Called by the receivers and by notify.c. Leaves to them
 * what their services want of it.
 */
#include "agent/notify/notice.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/notify/told.h"
#include "agent/proto/json_out.h"
#include "agent/proto/template.h"

enum { TEXT_PART_MAX = 8 << 10, HOLES_MAX = 24 };

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

static void join(struct buf *out, const char *const *texts, size_t count, const char *before, const char *between)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s%s%s", i ? between : "", before, texts[i]);
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
    char title[TOLD_TITLE_BYTES];

    told_title(notice, title);
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
    told_escape *escape; /* of texts from outside; NULL: none */
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

/* A text in which a server or a broker may have its say. */
static void add_said(struct holes *holes, const char *name, const char *text)
{
    char clean[TOLD_SENTENCE_BYTES];

    if (!holes->escape) {
        add_text(holes, name, text);
        return;
    }
    told_clean(text, TOLD_SENTENCE_CHARS, clean, sizeof clean);
    told_put(add(holes, name), clean, TEXT_PART_MAX, holes->escape);
}

static void add_because(struct holes *holes, const struct notice *notice)
{
    struct buf names = BUF_INIT(TEXT_PART_MAX);

    join(&names, notice->because, notice->because_count, "", ", ");
    add_said(holes, "because", buf_str(&names));
    buf_fini(&names);
}

/* All of it. The link is the operator's own, so it is one. */
static void add_all(struct holes *holes, const struct notice *notice)
{
    struct buf *out = add(holes, "text"), plain = BUF_INIT(TEXT_PART_MAX);
    struct notice unlinked = *notice;

    unlinked.link = NULL;
    told_text(&unlinked, &plain);
    told_put(out, buf_str(&plain), TEXT_PART_MAX, holes->escape);
    if (told_link(notice))
        buf_printf(out, "\n%s", told_link(notice));
    buf_fini(&plain);
}

static void add_time(struct holes *holes, const char *name, int64_t at_ms)
{
    char stamp[CLOCK_STAMP_MAX];

    clock_stamp(at_ms, stamp, sizeof stamp);
    add_text(holes, name, stamp);
}

static void fill_words(struct holes *holes, const struct notice *notice)
{
    char title[TOLD_TITLE_BYTES];

    told_title(notice, title);
    add_said(holes, "title", title);
    add_all(holes, notice);
    add_text(holes, "kind", notice_kind_name(notice->kind));
    add_text(holes, "severity", notice_severity_name(notice->severity));
    add_text(holes, "incident", notice->incident);
    add_text(holes, "key", notice->key);
    add_text(holes, "word", notice->word);
    add_text(holes, "was", notice->was);
    add_text(holes, "cause", notice->cause);
    add_said(holes, "sentence", notice->sentence);
    join(add(holes, "advice"), notice->advice, notice->advice_count, "", "\n");
    add_because(holes, notice);
    add_said(holes, "service", notice->service);
    add_text(holes, "agent", notice->agent_id);
    add_text(holes, "region", notice->region);
    add_text(holes, "host", notice->host);
    add_text(holes, "link", notice->link);
    add_text(holes, "version", notice->version);
}

int notice_expand(const char *body, const struct notice *notice, bool json, size_t (*escape)(struct slice, size_t, char *),
                  struct buf *out, struct err *err)
{
    struct holes holes = { .escape = escape };
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
