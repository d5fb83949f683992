/*
 * Numbers in forms of their own: a change within a time ("50% in 10s"), a factor ("1.5x"), ranges of whole numbers ("4000-4999").
 * Called by agent/conf/opt_parse.c and by the reader of lists. An error leaves the field as it was.
 */
#include "agent/conf/opt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"

enum { NUMBER_MAX = 32, PART_MAX = 48, HUNDRED = 100 };

static const char digits[] = "0123456789";

/* "50% in 10s", or the time without the blanks around "in". */
int opt_parse_rate(const struct opt *row, struct opt_rate *field, const char *text, const char *shown, struct err *err)
{
    struct opt_rate value = { 0, 0 };
    char number[NUMBER_MAX];
    size_t len = strspn(text, digits);
    const char *rest = text + len;
    if (!len || len >= sizeof number || strncmp(rest, "% in ", 5) != 0)
        return opt_bad_value(row, shown, err);
    memcpy(number, text, len);
    number[len] = 0;
    rest += 5 + strspn(rest + 5, " ");
    if (text_parse_int(number, &value.percent) || text_parse_duration(rest, &value.in_ms) || !value.in_ms || !value.percent)
        return opt_bad_value(row, shown, err);
    if (opt_validate_range(row, value.percent, shown, err))
        return -1;
    *field = value;
    return 0;
}

void opt_format_rate(const struct opt_rate *rate, char *out, size_t size)
{
    char time[NUMBER_MAX];
    text_format_duration(rate->in_ms, time, sizeof time);
    snprintf(out, size, "%" PRId64 "%% in %s", rate->percent, time);
}

int opt_parse_factor(const char *text, int64_t *hundredths)
{
    char whole[NUMBER_MAX], part[3] = "00";
    int64_t value, fraction;
    size_t len = strspn(text, digits);
    if (!len || len >= sizeof whole)
        return -1;
    memcpy(whole, text, len);
    whole[len] = 0;
    text += len;
    if (*text == '.') {
        size_t count = strspn(++text, digits);
        if (!count || count > 2)
            return -1;
        memcpy(part, text, count);
        text += count;
    }
    if (strcmp(text, "x") != 0 || text_parse_int(whole, &value) || text_parse_int(part, &fraction) ||
        __builtin_mul_overflow(value, HUNDRED, &value) || __builtin_add_overflow(value, fraction, hundredths))
        return -1;
    return 0;
}

/* A whole number, or -1: no number, or one too long to be meant. */
static int read_end(const char *text, size_t len, int64_t *value)
{
    char number[NUMBER_MAX];
    if (!len || len >= sizeof number)
        return -1;
    memcpy(number, text, len);
    number[len] = 0;
    return text_parse_int(number, value);
}

int opt_add_range(const struct opt *row, struct opt_ranges *ranges, const char *text, const char *shown, struct err *err)
{
    size_t len = strspn(text, digits);
    struct opt_range value = { 0, 0 };
    bool single = !text[len];
    if (ranges->count >= OPT_RANGES_MAX)
        return err_set(err, REASON_NONE, 0, "more than %d entries", OPT_RANGES_MAX);
    if (read_end(text, len, &value.low) || (!single && text[len] != '-'))
        return opt_bad_value(row, shown, err);
    value.high = value.low;
    if (!single && read_end(text + len + 1, strlen(text + len + 1), &value.high))
        return opt_bad_value(row, shown, err);
    if (opt_validate_range(row, value.low, shown, err) || opt_validate_range(row, value.high, shown, err))
        return -1;
    if (value.low > value.high)
        return err_set(err, REASON_NONE, 0, "%" PRId64 "-%" PRId64 " ends before it begins, want such as 4000-4999", value.low,
                       value.high);
    ranges->items = mem_realloc(ranges->items, (ranges->count + 1) * sizeof *ranges->items);
    ranges->items[ranges->count++] = value;
    return 0;
}

/* "401, 403, 4000-4999" takes the place of what was there. */
int opt_parse_ranges(const struct opt *row, struct opt_ranges *field, const char *text, const char *shown, struct err *err)
{
    struct opt_ranges ranges = { 0 };
    while (*text) {
        char part[PART_MAX];
        size_t len = strcspn(text, ", ");
        snprintf(part, sizeof part, "%.*s", (int)(len < sizeof part ? len : sizeof part), text);
        if (len && opt_add_range(row, &ranges, part, shown ? part : NULL, err)) {
            mem_free(ranges.items);
            return -1;
        }
        text += len + strspn(text + len, ", ");
    }
    mem_free(field->items);
    *field = ranges;
    return 0;
}

bool opt_in_ranges(const struct opt_ranges *ranges, int64_t value)
{
    for (size_t i = 0; i < ranges->count; i++)
        if (value >= ranges->items[i].low && value <= ranges->items[i].high)
            return true;
    return false;
}

void opt_format_range(const struct opt_range *range, char *out, size_t size)
{
    if (range->low == range->high)
        snprintf(out, size, "%" PRId64, range->low);
    else
        snprintf(out, size, "%" PRId64 "-%" PRId64, range->low, range->high);
}

void opt_format_ranges(const struct opt_ranges *ranges, char *out, size_t size)
{
    size_t len = 0;
    out[0] = 0;
    for (size_t i = 0; i < ranges->count && len < size; i++) {
        char text[2 * NUMBER_MAX];
        opt_format_range(&ranges->items[i], text, sizeof text);
        int n = snprintf(out + len, size - len, "%s%s", i ? ", " : "", text);
        len += n > 0 ? (size_t)n : 0;
    }
}
