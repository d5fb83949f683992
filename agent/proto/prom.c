/*
 * The writer of metrics. agent/report/metric.c says which families there are; this file knows how the two formats want them. It
 * promises text that a strict parser takes, or -1 from prom_finish; the caller writes each series once.
 */
#include "agent/proto/prom.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"

const double prom_bounds[PROM_BUCKETS] = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 };

enum { NUMBER_MAX = 32 };

/* The sum is a counter: what is less than nothing counts as nothing. */
void prom_observe(struct prom_histogram *histogram, double seconds)
{
    if (isnan(seconds))
        return;
    size_t i = 0;
    while (i < PROM_BUCKETS && seconds > prom_bounds[i])
        i++;
    histogram->counts[i]++;
    histogram->sum += seconds > 0 ? seconds : 0;
}

void prom_merge(struct prom_histogram *histogram, const struct prom_histogram *other)
{
    for (size_t i = 0; i <= PROM_BUCKETS; i++)
        histogram->counts[i] += other->counts[i];
    histogram->sum += other->sum;
}

void prom_begin(struct prom *prom, struct buf *out, bool openmetrics)
{
    *prom = (struct prom){ .out = out, .openmetrics = openmetrics, .buckets = PROM_ALL };
}

static void put(struct prom *prom, const void *data, size_t len)
{
    if (!prom->failed && buf_append(prom->out, data, len))
        prom->failed = true;
}

static void put_str(struct prom *prom, const char *text)
{
    put(prom, text, strlen(text));
}

int prom_finish(struct prom *prom)
{
    if (prom->openmetrics)
        put_str(prom, "# EOF\n");
    return prom->failed ? -1 : 0;
}

/* As it is in nearly every label: nothing to escape. */
static bool is_plain(const char *text)
{
    for (; *text; text++)
        if (*text < 0x20 || *text >= 0x7f || *text == '\\' || *text == '"')
            return false;
    return true;
}

/* Backslash and newline, quotes where they would end the value, and U+FFFD for what is not UTF-8. */
static void put_escaped(struct prom *prom, const char *text, bool quotes)
{
    if (is_plain(text)) {
        put_str(prom, text);
        return;
    }
    struct slice rest = slice_str(text);
    while (rest.len) {
        size_t len = text_char_len(rest);
        if (len == 0)
            put_str(prom, "\xef\xbf\xbd");
        else if (rest.data[0] == '\\')
            put_str(prom, "\\\\");
        else if (rest.data[0] == '\n')
            put_str(prom, "\\n");
        else if (rest.data[0] == '"' && quotes)
            put_str(prom, "\\\"");
        else
            put(prom, rest.data, len);
        rest = slice_skip(rest, len ? len : 1);
    }
}

/* What stands behind the family's name in its samples. */
static const char *sample_suffix(const struct prom *prom)
{
    return prom->type == PROM_COUNTER ? "_total" : prom->type == PROM_INFO ? "_info" : "";
}

static const char *type_name(const struct prom *prom)
{
    switch (prom->type) {
    case PROM_COUNTER:
        return "counter";
    case PROM_HISTOGRAM:
        return "histogram";
    case PROM_INFO:
        return prom->openmetrics ? "info" : "gauge"; /* 0.0.4 has no such type */
    case PROM_GAUGE:
        break;
    }
    return "gauge";
}

static void put_comment(struct prom *prom, const char *word)
{
    put_str(prom, word);
    put_str(prom, prom->name);
    put_str(prom, prom->openmetrics ? "" : sample_suffix(prom));
    put_str(prom, " ");
}

void prom_family(struct prom *prom, enum prom_type type, const char *name, const char *help)
{
    prom->name = name;
    prom->type = type;
    put_comment(prom, "# HELP ");
    put_escaped(prom, help, prom->openmetrics);
    put_str(prom, "\n");
    put_comment(prom, "# TYPE ");
    put_str(prom, type_name(prom));
    put_str(prom, "\n");
}

/* Digits from the end of out; where they begin. */
static const char *format_count(uint64_t count, char out[NUMBER_MAX])
{
    char *at = out + NUMBER_MAX;
    *--at = '\0';
    do
        *--at = (char)('0' + count % 10);
    while ((count /= 10) != 0);
    return at;
}

/* The shortest form that reads back as the same number; most are counts, and cheap. */
static const char *format_number(double value, char out[NUMBER_MAX])
{
    if (value >= 0 && value < 1e15 && (double)(uint64_t)value == value)
        return format_count((uint64_t)value, out);
    if (isnan(value))
        return "NaN";
    if (isinf(value))
        return value > 0 ? "+Inf" : "-Inf";
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, NUMBER_MAX, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            break;
    }
    return out;
}

/* check="echo",type="echo" - without the braces. */
static void put_labels(struct prom *prom, va_list labels)
{
    const char *separator = "";
    for (const char *name; (name = va_arg(labels, const char *)); separator = ",") {
        const char *value = va_arg(labels, const char *);
        put_str(prom, separator);
        put_str(prom, name);
        put_str(prom, "=\"");
        put_escaped(prom, value ? value : "", true);
        put_str(prom, "\"");
    }
}

void prom_sample(struct prom *prom, double value, ...)
{
    char number[NUMBER_MAX];
    panic_if(!prom->name || prom->type == PROM_HISTOGRAM);
    put_str(prom, prom->name);
    put_str(prom, sample_suffix(prom));
    put_str(prom, "{");
    size_t before = prom->out->len;
    va_list labels;
    va_start(labels, value);
    put_labels(prom, labels);
    va_end(labels);
    if (prom->out->len > before)
        put_str(prom, "} ");
    else if (!prom->failed)
        prom->out->data[before - 1] = ' '; /* no labels, no braces */
    put_str(prom, format_number(value, number));
    put_str(prom, "\n");
}

/* One line of a histogram; the labels stand in the buffer already, where the first bucket put them. */
static void put_line(struct prom *prom, const char *suffix, size_t labels_at, size_t labels_len, const char *bound)
{
    put_str(prom, prom->name);
    put_str(prom, suffix);
    if (labels_len || bound)
        put_str(prom, "{");
    if (labels_len && !prom->failed && buf_reserve(prom->out, labels_len))
        put(prom, prom->out->data + labels_at, labels_len); /* reserved: appending will not move them */
    else if (labels_len)
        prom->failed = true;
    if (bound) {
        put_str(prom, labels_len ? ",le=\"" : "le=\"");
        put_str(prom, bound);
        put_str(prom, "\"");
    }
    put_str(prom, labels_len || bound ? "} " : " ");
}

/* OpenMetrics wants a point in a bound (1.0), 0.0.4 writes it as Prometheus' own libraries do (1). */
static const char *format_bound(const struct prom *prom, size_t i, char out[NUMBER_MAX])
{
    if (i == PROM_BUCKETS)
        return "+Inf";
    bool whole = (double)(int)prom_bounds[i] == prom_bounds[i];
    snprintf(out, NUMBER_MAX, whole && prom->openmetrics ? "%.1f" : "%g", prom_bounds[i]);
    return out;
}

static void put_count(struct prom *prom, uint64_t count)
{
    char number[NUMBER_MAX];
    put_str(prom, format_count(count, number));
    put_str(prom, "\n");
}

void prom_buckets(struct prom *prom, unsigned buckets)
{
    prom->buckets = buckets;
}

void prom_sample_histogram(struct prom *prom, const struct prom_histogram *histogram, ...)
{
    char number[NUMBER_MAX];
    uint64_t count = 0;
    panic_if(!prom->name || prom->type != PROM_HISTOGRAM);
    /* The first line is begun by hand, to learn where the labels are. */
    put_str(prom, prom->name);
    put_str(prom, "_bucket{");
    size_t labels_at = prom->out->len;
    va_list labels;
    va_start(labels, histogram);
    put_labels(prom, labels);
    va_end(labels);
    size_t labels_len = prom->out->len - labels_at;
    put_str(prom, labels_len ? ",le=\"" : "le=\"");
    bool first = true;
    for (size_t i = 0; i <= PROM_BUCKETS; i++) {
        count += histogram->counts[i];
        if (i < PROM_BUCKETS && !(prom->buckets >> i & 1))
            continue;
        if (!first) {
            put_line(prom, "_bucket", labels_at, labels_len, format_bound(prom, i, number));
        } else {
            put_str(prom, format_bound(prom, i, number));
            put_str(prom, "\"} ");
            first = false;
        }
        put_count(prom, count);
    }
    put_line(prom, "_sum", labels_at, labels_len, NULL);
    put_str(prom, format_number(histogram->sum, number));
    put_str(prom, "\n");
    put_line(prom, "_count", labels_at, labels_len, NULL);
    put_count(prom, count);
}
