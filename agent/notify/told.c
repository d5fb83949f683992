/*
 * Owns the words of a notification, whatever the receiver. Called by the types that write for people. Promises that a text from outside is
 * one line of valid UTF-8, masked and cut, and that a title says what happened to whom. The layout is the types' own.
 */
#include "agent/notify/told.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"

void told_clean(const char *text, size_t max_chars, char *out, size_t size)
{
    text_excerpt(slice_str(text), max_chars, out, size);
}

const char *told_who(const struct notice *notice)
{
    if (notice->agent_id && *notice->agent_id)
        return notice->agent_id;
    return notice->host && *notice->host ? notice->host : "wshealthd";
}

/* How a word of /ready is said of an instance, behind "is" or "was". */
static const struct {
    const char *word;
    enum notice_severity severity;
    bool is_told; /* the diagnosis adds to it; a drain says all by itself */
} words[] = {
    { "ready", NOTICE_OK, true },          { "degraded", NOTICE_WARNING, true }, { "not ready", NOTICE_CRITICAL, true },
    { "not live", NOTICE_CRITICAL, true }, { "draining", NOTICE_INFO, false },   { "starting", NOTICE_INFO, false },
    { "warning", NOTICE_WARNING, true },
};

enum notice_severity told_severity(const char *word)
{
    for (size_t i = 0; word && i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].severity;
    return NOTICE_INFO;
}

static bool adds_a_clause(const char *word)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].is_told;
    return true;
}

/* A warning gates nothing. */
static const char *state(const char *word)
{
    return strcmp(word, "warning") == 0 ? "ready, with a warning" : word;
}

/* --- times --- */

static const struct {
    const char *name;
    int64_t ms;
} lengths[] = { { "day", 86400000 }, { "hour", 3600000 }, { "minute", 60000 }, { "second", 1000 } };

void told_length(int64_t ms, char out[TOLD_LENGTH_MAX])
{
    enum { UNITS = sizeof lengths / sizeof lengths[0] };
    size_t first = 0;
    while (first < UNITS && ms < lengths[first].ms)
        first++;
    if (first == UNITS) {
        snprintf(out, TOLD_LENGTH_MAX, "less than a second");
        return;
    }
    int64_t many = ms / lengths[first].ms, rest = first + 1 < UNITS ? ms % lengths[first].ms / lengths[first + 1].ms : 0;
    int len = snprintf(out, TOLD_LENGTH_MAX, "%" PRId64 " %s%s", many, lengths[first].name, many == 1 ? "" : "s");
    if (rest && len > 0 && len < TOLD_LENGTH_MAX)
        snprintf(out + len, TOLD_LENGTH_MAX - (size_t)len, " %" PRId64 " %s%s", rest, lengths[first + 1].name,
                 rest == 1 ? "" : "s");
}

/* "2026-11-22T10:00:00.000Z" without what nobody reads. */
void told_time(int64_t wall_ms, char out[TOLD_TIME_MAX])
{
    char stamp[CLOCK_STAMP_MAX];
    clock_stamp(wall_ms, stamp, sizeof stamp);
    snprintf(out, TOLD_TIME_MAX, "%.10s %.8s UTC", stamp, stamp + strlen("2026-11-22T"));
}

static int64_t lasted_ms(const struct notice *notice)
{
    return notice->at_ms > notice->begun_ms ? notice->at_ms - notice->begun_ms : 0;
}

/* --- the title --- */

static void put_end(const struct notice *notice, const char *was, const char *word, const char *length, struct buf *out)
{
    if (notice->untold)
        buf_printf(out, "was %s for %s, and is %s again", state(was), length, state(word));
    else if (strcmp(word, "ready") != 0)
        buf_printf(out, "is %s, after %s of %s", state(word), length, strcmp(was, "warning") == 0 ? "a warning" : was);
    else if (strcmp(was, "warning") == 0)
        buf_printf(out, "is without a warning again after %s", length);
    else
        buf_printf(out, "is ready again after %s", length);
}

/* What happened, without why. */
static void put_state(const struct notice *notice, const char *was, const char *word, struct buf *out)
{
    char length[TOLD_LENGTH_MAX];
    told_length(lasted_ms(notice), length);
    switch (notice->kind) {
    case NOTICE_BEGIN:
        buf_printf(out, "is %s", state(word));
        break;
    case NOTICE_CHANGE:
        buf_printf(out, "is %s %s", strcmp(was, word) == 0 ? "still" : "now", state(word));
        if (notice->changes > 1)
            buf_printf(out, ", changed %u times", notice->changes);
        else if (strcmp(was, word) == 0)
            buf_append_str(out, ", for another reason");
        break;
    case NOTICE_REPEAT:
        buf_printf(out, "is still %s after %s", state(word), length);
        if (notice->changes > 1)
            buf_printf(out, ", changed %u times", notice->changes);
        break;
    case NOTICE_END:
        put_end(notice, was, word, length, out);
        break;
    case NOTICE_TEST:
        break;
    }
}

/* "The server has lost its subscription: messages published on …" has the point in front. A check's own message, in brackets, is detail. */
static struct slice main_clause(const char *sentence)
{
    size_t len = strlen(sentence);
    const char *colon = strstr(sentence, ": "), *bracket = strstr(sentence, " (");
    if (colon)
        len = (size_t)(colon - sentence);
    if (bracket && (size_t)(bracket - sentence) < len)
        len = (size_t)(bracket - sentence);
    return slice_make(sentence, len);
}

/* Goes on after a colon, so "The server" is "the server"; "HTTP checks" and "A" stay as they are, or are cared for. */
static void put_clause(const char *sentence, struct buf *out)
{
    struct slice clause = main_clause(sentence);
    size_t at = out->len + 2;
    if (!clause.len)
        return;
    buf_append_str(out, ": ");
    buf_append_slice(out, clause);
    if (out->len < at + 2)
        return;
    uint8_t *first = out->data + at;
    if (first[0] >= 'A' && first[0] <= 'Z' && ((first[1] >= 'a' && first[1] <= 'z') || first[1] == ' '))
        first[0] = (uint8_t)(first[0] - 'A' + 'a');
}

void told_title(const struct notice *notice, char out[TOLD_TITLE_BYTES])
{
    enum { MAX = 4096 };
    struct buf text = BUF_INIT(MAX);
    const char *word = notice->word ? notice->word : "", *was = notice->was ? notice->was : "";
    char who[TOLD_VALUE_BYTES];
    told_clean(told_who(notice), TOLD_TITLE_CHARS / 3, who, sizeof who);
    if (notice->kind == NOTICE_TEST) {
        buf_printf(&text, "Test message of wshealthd on %s", who);
    } else {
        buf_printf(&text, "%s ", who);
        put_state(notice, was, word, &text);
        bool is_news = notice->kind != NOTICE_END || notice->untold;
        if (is_news && adds_a_clause(notice->kind == NOTICE_END ? was : word) && notice->sentence)
            put_clause(notice->sentence, &text);
    }
    told_clean(buf_str(&text), TOLD_TITLE_CHARS, out, TOLD_TITLE_BYTES);
    buf_fini(&text);
}

/* --- what is below it --- */

void told_sentence(const struct notice *notice, char out[TOLD_SENTENCE_BYTES])
{
    enum { MAX = 4096 };
    struct buf text = BUF_INIT(MAX);
    const char *sentence = notice->sentence ? notice->sentence : "";
    if (notice->kind == NOTICE_TEST)
        sentence = "Messages of this notifier arrive here. Nothing has happened, and nothing is to be done.";
    else if (notice->kind == NOTICE_END && *sentence)
        buf_append_str(&text, "It was: ");
    buf_append_str(&text, sentence);
    if (text.len && text.data[text.len - 1] < 0x80 && !strchr(".!?", text.data[text.len - 1]))
        buf_append_char(&text, '.');
    told_clean(buf_str(&text), TOLD_SENTENCE_CHARS, out, TOLD_SENTENCE_BYTES);
    buf_fini(&text);
}

size_t told_advice_count(const struct notice *notice)
{
    if (!notice_is_open(notice))
        return 0;
    return notice->advice_count < TOLD_ADVICE_MAX ? notice->advice_count : TOLD_ADVICE_MAX;
}

void told_advice(const struct notice *notice, size_t index, char out[TOLD_ADVICE_BYTES])
{
    told_clean(notice->advice[index], TOLD_ADVICE_CHARS, out, TOLD_ADVICE_BYTES);
}

struct facts {
    struct told_fact *rows;
    size_t count;
};

/* Services refuse a field that is empty, or blank. */
static void add_fact(struct facts *facts, const char *name, const char *text)
{
    if (!text || !text[strspn(text, " \t\r\n")])
        return;
    facts->rows[facts->count].name = name;
    told_clean(text, TOLD_VALUE_CHARS, facts->rows[facts->count].value, sizeof facts->rows->value);
    facts->count++;
}

static void add_when(struct facts *facts, const struct notice *notice)
{
    char from[TOLD_TIME_MAX], to[TOLD_TIME_MAX], length[TOLD_LENGTH_MAX], text[TOLD_VALUE_BYTES];
    if (notice->kind == NOTICE_TEST)
        return;
    told_time(notice->begun_ms, from);
    told_time(notice->at_ms, to);
    told_length(lasted_ms(notice), length);
    if (notice->kind == NOTICE_END)
        snprintf(text, sizeof text, "%s to %s (%s)", from, to, length);
    else
        snprintf(text, sizeof text, "%s (%s)", from, length);
    add_fact(facts, notice->kind == NOTICE_END ? "From" : "Since", text);
}

static void add_checks(struct facts *facts, const struct notice *notice)
{
    enum { MAX = 1024 };
    struct buf names = BUF_INIT(MAX);
    for (size_t i = 0; i < notice->because_count; i++)
        buf_printf(&names, "%s%s", i ? ", " : "", notice->because[i]);
    buf_printf(&names, "%s", notice->because_more ? " and others" : "");
    add_fact(facts, notice->because_count == 1 ? "Check" : "Checks", buf_str(&names));
    buf_fini(&names);
}

/* What the reader has not been told one by one. */
static void add_unseen(struct facts *facts, const struct notice *notice)
{
    char text[TOLD_VALUE_BYTES] = "";
    int len = 0;
    if (notice->changes > 1)
        len = snprintf(text, sizeof text, "changed %u times", notice->changes);
    if (notice->left_out && len >= 0)
        snprintf(text + len, sizeof text - (size_t)len, "%s%u message%s left out", len ? ", " : "", notice->left_out,
                 notice->left_out == 1 ? "" : "s");
    if (notice->kind == NOTICE_END && notice->untold)
        snprintf(text, sizeof text, "no message about it could be sent");
    add_fact(facts, "Before this", text);
}

/* "chat-1 in eu-west, on node7.example.com": what is the same, or was never set, is left out. */
static void add_instance(struct facts *facts, const struct notice *notice)
{
    const char *who = told_who(notice), *region = notice->region, *host = notice->host;
    char name[TOLD_VALUE_BYTES / 4], where[TOLD_VALUE_BYTES / 4], on[TOLD_VALUE_BYTES / 4], text[TOLD_VALUE_BYTES];
    bool has_region = region && *region && strcmp(region, "default") != 0, has_host = host && *host && strcmp(host, who) != 0;
    told_clean(who, TOLD_VALUE_CHARS / 4, name, sizeof name);
    told_clean(region, TOLD_VALUE_CHARS / 4, where, sizeof where);
    told_clean(host, TOLD_VALUE_CHARS / 4, on, sizeof on);
    snprintf(text, sizeof text, "%s%s%s%s%s", name, has_region ? " in " : "", has_region ? where : "", has_host ? ", on " : "",
             has_host ? on : "");
    add_fact(facts, "Instance", text);
}

size_t told_facts(const struct notice *notice, struct told_fact rows[TOLD_FACTS_MAX])
{
    struct facts facts = { rows, 0 };
    add_when(&facts, notice);
    if (notice->kind != NOTICE_TEST) {
        add_fact(&facts, "Cause", notice->cause);
        add_checks(&facts, notice);
        add_unseen(&facts, notice);
    }
    add_instance(&facts, notice);
    add_fact(&facts, "Server", notice->service);
    return facts.count;
}

void told_text(const struct notice *notice, struct buf *out)
{
    char text[TOLD_SENTENCE_BYTES], advice[TOLD_ADVICE_BYTES];
    struct told_fact facts[TOLD_FACTS_MAX];
    size_t count = told_facts(notice, facts);
    told_title(notice, text);
    buf_append_str(out, text);
    told_sentence(notice, text);
    buf_printf(out, "%s%s", *text ? "\n" : "", text);
    for (size_t i = 0; i < told_advice_count(notice); i++) {
        told_advice(notice, i, advice);
        buf_printf(out, "\n- %s", advice);
    }
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "\n%s: %s", facts[i].name, facts[i].value);
    if (told_link(notice))
        buf_printf(out, "\n%s", told_link(notice));
}

const char *told_link(const struct notice *notice)
{
    const char *link = notice->link;
    if (!link || (strncmp(link, "https://", 8) != 0 && strncmp(link, "http://", 7) != 0) || strlen(link) > TOLD_LINK_MAX)
        return NULL;
    for (const char *c = link; *c; c++)
        if (*c <= ' ' || *c > '~' || strchr("\"'<>()[]{}|\\^`", *c))
            return NULL;
    return link;
}

/* --- in a format --- */

static const char ellipsis[] = "…";

int told_put(struct buf *out, const char *plain, size_t max_units, told_escape *escape)
{
    struct slice rest = slice_str(plain);
    size_t units = 0, cut_at = out->len; /* cut_at: the last place where an ellipsis still fits */
    while (rest.len) {
        char written[TOLD_ESCAPE_MAX];
        size_t len = text_char_len(rest), bytes;
        panic_if(len == 0); /* told_clean makes valid UTF-8 */
        bytes = escape ? escape(rest, len, written) : 0;
        size_t more = bytes ? bytes : len == 4 ? 2 : 1; /* bytes of an escape are at least as many as its units */
        if (units + more > max_units) {
            out->len = cut_at;
            return buf_append_str(out, ellipsis);
        }
        if (buf_append(out, bytes ? written : (const char *)rest.data, bytes ? bytes : len) < 0)
            return -1;
        units += more;
        if (units + 1 <= max_units)
            cut_at = out->len;
        rest = slice_skip(rest, len);
    }
    return 0;
}

size_t told_break(char c, char out[TOLD_ESCAPE_MAX])
{
    int len = snprintf(out, TOLD_ESCAPE_MAX, "%c\xe2\x80\x8b", c);
    return (size_t)len;
}

static bool begins(struct slice rest, const char *word)
{
    size_t len = strlen(word);
    return rest.len >= len && slice_equal_nocase(slice_make(rest.data, len), word);
}

bool told_begins_link(struct slice rest)
{
    return begins(rest, "http://") || begins(rest, "https://") || begins(rest, "www.");
}

void told_word(struct json_out *json, const char *key, const char *value)
{
    json_out_key(json, key);
    json_out_string(json, value);
}

void told_field(struct json_out *json, const char *key, const char *plain, size_t max_units, told_escape *escape)
{
    struct buf text;
    buf_init(&text, 4 * max_units + sizeof ellipsis);
    told_put(&text, plain, max_units, escape);
    json_out_key(json, key);
    json_out_slice(json, buf_slice(&text));
    buf_fini(&text);
}

int told_finish(struct json_out *json, struct err *err)
{
    if (json_out_finish(json) == 0)
        return 0;
    return err_set(err, REASON_NONE, 0, "the message is longer than %zu bytes", json->out->max);
}
