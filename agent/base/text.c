/*
 * Durations, sizes, numbers, near names and excerpts. The configuration, the command line and every sentence for people use it;
 * pure functions that never allocate. Which unit a value needs, and what its limits are, is the caller's knowledge.
 */
#include "agent/base/text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/secret.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* Largest first: the order in which they may be written. */
static const struct unit duration_units[] = {
    { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};
static const struct unit size_units[] = {
    { "GiB", INT64_C(1) << 30 },
    { "MiB", INT64_C(1) << 20 },
    { "KiB", INT64_C(1) << 10 },
    { "B", 1 },
};

#define COUNT(array) (sizeof array / sizeof array[0])

/* Digits at *text, which is moved behind them. -1 without any, or past int64_t. */
static int read_digits(const char **text, int64_t *value)
{
    const char *p = *text;
    int64_t n = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *p - '0', &n))
            return -1;
    if (p == *text)
        return -1;
    *text = p;
    *value = n;
    return 0;
}

/* The unit at *text: all letters up to the next digit, so that "m" is not found in "ms". NULL when there is no such one from `first` on. */
static const struct unit *read_unit(const char **text, const struct unit *first, const struct unit *end)
{
    size_t len = strcspn(*text, "0123456789");
    for (const struct unit *unit = first; unit < end; unit++)
        if (strlen(unit->name) == len && strncmp(*text, unit->name, len) == 0) {
            *text += len;
            return unit;
        }
    return NULL;
}

int text_parse_duration(const char *text, int64_t *ms)
{
    const struct unit *next = duration_units, *end = duration_units + COUNT(duration_units);
    int64_t sum = 0, n;
    do {
        const struct unit *unit;
        if (read_digits(&text, &n) || !(unit = read_unit(&text, next, end)))
            return -1;
        if (__builtin_mul_overflow(n, unit->factor, &n) || __builtin_add_overflow(sum, n, &sum))
            return -1;
        next = unit + 1;
    } while (*text);
    *ms = sum;
    return 0;
}

int text_parse_size(const char *text, int64_t *bytes)
{
    int64_t n;
    if (read_digits(&text, &n))
        return -1;
    const struct unit *unit = read_unit(&text, size_units, size_units + COUNT(size_units));
    if (!unit || *text || __builtin_mul_overflow(n, unit->factor, &n))
        return -1;
    *bytes = n;
    return 0;
}

int text_parse_int(const char *text, int64_t *value)
{
    bool negative = *text == '-';
    int64_t n;
    if (negative)
        text++;
    if (read_digits(&text, &n) || *text)
        return -1;
    *value = negative ? -n : n;
    return 0;
}

void text_format_duration(int64_t ms, char *out, size_t size)
{
    uint64_t left = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    size_t len = 0;
    if (ms < 0 && size > 1)
        out[len++] = '-';
    if (left == 0) {
        snprintf(out, size, "0s");
        return;
    }
    /* "1500ms" reads better than "1s500ms"; from ten seconds on the seconds matter more. */
    if (left < 10000 && left % 1000 != 0) {
        snprintf(out + len, size - len, "%ums", (unsigned)left);
        return;
    }
    for (size_t i = 0; i < COUNT(duration_units) && len < size; i++) {
        uint64_t factor = (uint64_t)duration_units[i].factor;
        if (left >= factor) {
            int n = snprintf(out + len, size - len, "%llu%s", (unsigned long long)(left / factor), duration_units[i].name);
            len += n > 0 ? (size_t)n : 0;
            left %= factor;
        }
    }
}

void text_format_size(int64_t bytes, char *out, size_t size)
{
    const struct unit *unit = size_units;
    while (unit->factor > 1 && (bytes == 0 || bytes % unit->factor != 0))
        unit++;
    snprintf(out, size, "%lld%s", (long long)(bytes / unit->factor), unit->name);
}

/* The limits lie half a last digit below 10, 100 and 1000, so that rounding never adds a fourth digit. */
void text_format_elapsed(uint64_t ns, char *out, size_t size)
{
    double value = (double)ns / 1e6;
    const char *unit = "ms";
    if (value >= 999.5) {
        value /= 1e3;
        unit = "s";
    }
    int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(out, size, "%.*f%s", decimals, value, unit);
}

/* --- near names --- */

enum { NEAR_MAX = 64, NEAR_EDITS = 2 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits (insert, drop, change, swap neighbours) from a to b, in three rolling rows; both at most NEAR_MAX long. */
static size_t edits(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][NEAR_MAX + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_len; j++)
        above[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[b_len];
}

const char *text_nearest(const char *word, const char *const *candidates, size_t count)
{
    size_t len = strlen(word), best_edits = NEAR_EDITS + 1;
    const char *best = NULL;
    if (len > NEAR_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t candidate_len = strlen(candidates[i]);
        if (candidate_len > NEAR_MAX || candidate_len > len + NEAR_EDITS || len > candidate_len + NEAR_EDITS)
            continue;
        size_t n = edits(word, len, candidates[i], candidate_len);
        if (n < best_edits && (n == 0 || n * 2 < len)) {
            best = candidates[i];
            best_edits = n;
        }
    }
    return best;
}

/* --- characters --- */

size_t text_char_len(struct slice s)
{
    if (s.len == 0)
        return 0;
    const uint8_t *c = s.data;
    if (c[0] < 0x80)
        return 1;
    size_t len = c[0] >= 0xc2 && c[0] <= 0xdf ? 2 : (c[0] & 0xf0) == 0xe0 ? 3 : c[0] >= 0xf0 && c[0] <= 0xf4 ? 4 : 0;
    if (len == 0 || s.len < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    /* No overlong forms, no surrogates, nothing past U+10FFFF (RFC 3629, 3 and 4). */
    if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) || (c[0] == 0xf0 && c[1] < 0x90) ||
        (c[0] == 0xf4 && c[1] > 0x8f))
        return 0;
    return len;
}

/* May this character stand in a line for people? Not C0, DEL and C1, nor what breaks lines or turns the direction of writing. */
static bool harmless(const uint8_t *c, size_t len)
{
    if (len == 1)
        return c[0] >= 0x20 && c[0] != 0x7f;
    if (len == 2)
        return !(c[0] == 0xc2 && c[1] < 0xa0);
    if (len == 3 && c[0] == 0xe2)
        return !(c[1] == 0x80 && c[2] >= 0xa8 && c[2] <= 0xae) && !(c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9);
    return true;
}

static const char ellipsis[] = "…";

void text_excerpt(struct slice bytes, size_t max_chars, char *out, size_t size)
{
    size_t len = 0, chars = 0, cut_at = 0; /* cut_at: the last place where an ellipsis still fits */
    while (bytes.len) {
        char unit[8];
        size_t taken = secret_span(bytes), unit_len, unit_chars;
        if (taken) {
            unit_len = unit_chars = (size_t)snprintf(unit, sizeof unit, "***");
        } else if ((taken = text_char_len(bytes)) && harmless(bytes.data, taken)) {
            for (size_t i = 0; i < taken; i++)
                unit[i] = (char)bytes.data[i];
            unit_len = taken;
            unit_chars = 1;
        } else {
            snprintf(unit, sizeof unit, "\\x%02x", bytes.data[0]);
            taken = 1;
            unit_len = unit_chars = 4;
        }
        if (chars + 1 <= max_chars && len + sizeof ellipsis <= size)
            cut_at = len;
        if (chars + unit_chars > max_chars || len + unit_len >= size) {
            memcpy(out + cut_at, ellipsis, sizeof ellipsis);
            return;
        }
        if (unit_len == 1)
            out[len] = unit[0];
        else
            memcpy(out + len, unit, unit_len);
        len += unit_len;
        chars += unit_chars;
        bytes = slice_skip(bytes, taken);
    }
    out[len] = '\0';
}
