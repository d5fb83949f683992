/*
 * Lists and patterns of channels, and the rotation over them (agent/core/channels.h). Called by the probes that subscribe. Owns the names:
 * patterns are written out once, at most CHANNELS_MAX of at most CHANNEL_NAME_MAX bytes. The probes keep the results.
 */
#include "agent/core/channels.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/base/text.h"

enum { BRACES_MAX = 4, DIGITS_MAX = 10 };

struct channels {
    char **names;
    size_t count, sample;
    size_t next, step;                /* of the rotation: step has no divisor in common with count */
    size_t again[CHANNELS_AGAIN_MAX]; /* indexes of those that have failed, for the next round */
    size_t again_count;
    size_t *round; /* indexes of the round's; sample of them */
    size_t round_count;
};

/* --- patterns --- */

/* A pair of braces: a..b, or words between commas. */
struct brace {
    struct slice inside;
    bool range;
    int64_t from, to;
    int width; /* of a number written with leading zeros, or 0 */
    size_t count;
};

struct pattern { /* literal, brace, literal, brace, …, literal */
    struct slice literals[BRACES_MAX + 1];
    struct brace braces[BRACES_MAX];
    size_t brace_count;
    size_t count;
};

static bool parse_number(struct slice text, int64_t *value)
{
    char digits[DIGITS_MAX + 1];

    if (!text.len || text.len > DIGITS_MAX)
        return false;
    memcpy(digits, text.data, text.len);
    digits[text.len] = 0;
    return digits[0] != '-' && digits[0] != '+' && text_parse_int(digits, value) == 0;
}

static int parse_brace(struct brace *brace, struct err *err)
{
    ptrdiff_t dots = slice_find(brace->inside, slice_str(".."));
    struct slice from = brace->inside, to;

    if (dots < 0) {
        brace->count = 1;
        for (size_t i = 0; i < brace->inside.len; i++)
            brace->count += brace->inside.data[i] == ',';
        return brace->count > 1 ? 0 : err_set(err, REASON_NONE, 0, "braces hold neither a range nor words, want {1..500} or {a,b}");
    }
    from.len = (size_t)dots;
    to = slice_skip(brace->inside, from.len + 2);
    brace->range = true;
    if (!parse_number(from, &brace->from) || !parse_number(to, &brace->to))
        return err_set(err, REASON_NONE, 0, "a range wants two numbers, such as {1..500}");
    if (brace->to < brace->from)
        return err_set(err, REASON_NONE, 0, "range {%" PRId64 "..%" PRId64 "} runs backwards", brace->from, brace->to);
    brace->width = from.len > 1 && from.data[0] == '0' ? (int)from.len : 0;
    brace->count = (size_t)(brace->to - brace->from) + 1;
    return 0;
}

static int too_many(struct err *err)
{
    return err_set(err, REASON_NONE, 0, "more than %d channels", CHANNELS_MAX);
}

static int parse_pattern(const char *text, struct pattern *pattern, struct err *err)
{
    struct slice rest = slice_str(text);

    memset(pattern, 0, sizeof *pattern);
    pattern->count = 1;
    for (;;) {
        ptrdiff_t open = slice_find(rest, slice_str("{")), close = slice_find(rest, slice_str("}"));
        struct brace *brace = &pattern->braces[pattern->brace_count];

        if (open < 0 && close < 0)
            break;
        if (open < 0 || close < open)
            return err_set(err, REASON_NONE, 0, "a brace is not closed, or not opened");
        if (pattern->brace_count == BRACES_MAX)
            return err_set(err, REASON_NONE, 0, "more than %d pairs of braces", BRACES_MAX);
        pattern->literals[pattern->brace_count++] = slice_make(rest.data, (size_t)open);
        brace->inside = slice_make(rest.data + open + 1, (size_t)(close - open - 1));
        if (slice_find(brace->inside, slice_str("{")) >= 0)
            return err_set(err, REASON_NONE, 0, "braces inside braces");
        if (parse_brace(brace, err) < 0)
            return -1;
        if (brace->count > CHANNELS_MAX || pattern->count * brace->count > CHANNELS_MAX)
            return too_many(err);
        pattern->count *= brace->count;
        rest = slice_skip(rest, (size_t)close + 1);
    }
    pattern->literals[pattern->brace_count] = rest;
    return 0;
}

static void write_choice(const struct brace *brace, size_t choice, struct buf *out)
{
    struct slice rest = brace->inside;

    if (brace->range) {
        buf_printf(out, "%0*" PRId64, brace->width, brace->from + (int64_t)choice);
        return;
    }
    while (choice--)
        rest = slice_skip(rest, (size_t)slice_find(rest, slice_str(",")) + 1);
    ptrdiff_t comma = slice_find(rest, slice_str(","));
    buf_append(out, rest.data, comma < 0 ? rest.len : (size_t)comma);
}

/* The index-th name of the pattern, the last brace turning fastest. -1: too long, or empty. */
static int write_name(const struct pattern *pattern, size_t index, struct buf *out)
{
    size_t choices[BRACES_MAX];

    for (size_t i = pattern->brace_count; i-- > 0; index /= pattern->braces[i].count)
        choices[i] = index % pattern->braces[i].count;
    buf_reset(out);
    for (size_t i = 0; i < pattern->brace_count; i++) {
        buf_append_slice(out, pattern->literals[i]);
        write_choice(&pattern->braces[i], choices[i], out);
    }
    buf_append_slice(out, pattern->literals[pattern->brace_count]);
    return out->len && out->len <= CHANNEL_NAME_MAX ? 0 : -1;
}

static int check_entry(const char *text, size_t *count, struct err *err)
{
    struct buf name = BUF_INIT(8192);
    struct pattern pattern;
    int rc = 0;

    if (strlen(text) > 4096)
        return err_set(err, REASON_NONE, 0, "an entry is longer than 4096 bytes");
    if (parse_pattern(text, &pattern, err) < 0)
        return err_prefix(err, "%s", text);
    *count += pattern.count;
    if (*count > CHANNELS_MAX)
        return too_many(err);
    for (size_t i = 0; i < pattern.count && rc == 0; i++)
        rc = write_name(&pattern, i, &name);
    if (rc < 0)
        err_set(err, REASON_NONE, 0, "a channel's name is %s", name.len ? "longer than 255 bytes" : "empty");
    buf_fini(&name);
    return rc;
}

int channels_check(const char *channel, const struct opt_strings *list, struct err *err)
{
    size_t count = channel ? 1 : 0;

    if (channel && (!*channel || strlen(channel) > CHANNEL_NAME_MAX))
        return err_set(err, REASON_NONE, 0, "channel: want a name of 1 to %d bytes", CHANNEL_NAME_MAX);
    for (size_t i = 0; i < list->count; i++)
        if (check_entry(list->items[i], &count, err) < 0)
            return err_prefix(err, "channels");
    if (!count)
        return err_set(err, REASON_NONE, 0, "no channel, want channel or channels");
    return 0;
}

/* --- the rotation --- */

static size_t common_divisor(size_t a, size_t b)
{
    while (b) {
        size_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* Near the golden section of the circle, where steps scatter best. */
static size_t scatter(size_t count)
{
    size_t step = count * 618 / 1000;

    while (step < 1 || common_divisor(step, count) != 1)
        step++;
    return step;
}

static void add_pattern(struct channels *channels, const char *text)
{
    struct buf name = BUF_INIT(8192);
    struct pattern pattern;
    struct err err;

    panic_if(parse_pattern(text, &pattern, &err) < 0);
    for (size_t i = 0; i < pattern.count; i++) {
        panic_if(channels->count >= CHANNELS_MAX || write_name(&pattern, i, &name) < 0);
        channels->names[channels->count++] = mem_strndup(name.data, name.len);
    }
    buf_fini(&name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Entries may overlap: a channel is still tried only once in a round. */
static void drop_doubles(struct channels *channels)
{
    size_t kept = 1;

    qsort(channels->names, channels->count, sizeof *channels->names, by_name);
    for (size_t i = 1; i < channels->count; i++) {
        if (strcmp(channels->names[i], channels->names[kept - 1]) == 0)
            mem_free(channels->names[i]);
        else
            channels->names[kept++] = channels->names[i];
    }
    channels->count = kept;
}

struct channels *channels_new(const char *channel, const struct opt_strings *list, int64_t sample)
{
    struct channels *channels = mem_alloc(sizeof *channels);

    channels->names = mem_alloc(CHANNELS_MAX * sizeof *channels->names);
    if (channel)
        channels->names[channels->count++] = mem_strdup(channel);
    for (size_t i = 0; i < list->count; i++)
        add_pattern(channels, list->items[i]);
    panic_if(!channels->count);
    drop_doubles(channels);
    channels->names = mem_realloc(channels->names, channels->count * sizeof *channels->names);
    channels->sample = sample > 0 && sample < (int64_t)channels->count ? (size_t)sample : channels->count;
    if (channels->sample > CHANNELS_SAMPLE_MAX)
        channels->sample = CHANNELS_SAMPLE_MAX;
    channels->round = mem_alloc(channels->sample * sizeof *channels->round);
    channels->step = scatter(channels->count);
    channels->next = random_below((uint32_t)channels->count);
    return channels;
}

void channels_free(struct channels *channels)
{
    if (!channels)
        return;
    for (size_t i = 0; i < channels->count; i++)
        mem_free(channels->names[i]);
    mem_free(channels->names);
    mem_free(channels->round);
    mem_free(channels);
}

size_t channels_count(const struct channels *channels)
{
    return channels->count;
}

static bool in_again(const struct channels *channels, size_t index)
{
    for (size_t i = 0; i < channels->again_count; i++)
        if (channels->again[i] == index)
            return true;
    return false;
}

size_t channels_round(struct channels *channels)
{
    size_t again = channels->again_count;

    memcpy(channels->round, channels->again, again * sizeof *channels->again);
    channels->round_count = again;
    while (channels->round_count < channels->sample) {
        size_t index = channels->next;

        channels->next = (channels->next + channels->step) % channels->count;
        if (!in_again(channels, index))
            channels->round[channels->round_count++] = index;
    }
    channels->again_count = 0;
    return channels->round_count;
}

const char *channels_name(const struct channels *channels, size_t i)
{
    panic_if(i >= channels->round_count);
    return channels->names[channels->round[i]];
}

size_t channels_find(const struct channels *channels, const char *name)
{
    for (size_t i = 0; i < channels->round_count; i++)
        if (strcmp(channels->names[channels->round[i]], name) == 0)
            return i;
    return CHANNELS_NONE;
}

void channels_failed(struct channels *channels, size_t i)
{
    size_t most = channels->sample > CHANNELS_AGAIN_MAX ? CHANNELS_AGAIN_MAX : channels->sample;

    panic_if(i >= channels->round_count);
    if (channels->again_count < most && !in_again(channels, channels->round[i]))
        channels->again[channels->again_count++] = channels->round[i];
}
