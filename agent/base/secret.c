/*
 * The register of secrets and the scrubber. Configuration and token files add, err and log scrub. Values are copied and wiped when
 * they are forgotten. For the loop's thread only.
 */
#include "agent/base/secret.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "agent/base/mem.h"

/* Oldest first, so that rotated tokens push out those that are long dead. */
static struct entry {
    char *value;
    size_t len;
    unsigned lent; /* by so many loans; 0: for good */
} entries[SECRET_COUNT_MAX];
static size_t entry_count;
static uint16_t starts[256]; /* how many values begin with this byte: most positions of a text need no comparison */

static void drop(struct entry *entry)
{
    starts[(uint8_t)entry->value[0]]--;
    explicit_bzero(entry->value, entry->len);
    mem_free(entry->value);
}

static void remove_at(size_t index)
{
    drop(&entries[index]);
    entry_count--;
    memmove(entries + index, entries + index + 1, (entry_count - index) * sizeof entries[0]);
}

static struct entry *find(const char *value, size_t len)
{
    for (size_t i = 0; i < entry_count; i++)
        if (entries[i].len == len && memcmp(entries[i].value, value, len) == 0)
            return &entries[i];
    return NULL;
}

static void add(const char *value, size_t len, unsigned lent)
{
    if (entry_count == SECRET_COUNT_MAX)
        remove_at(0);
    entries[entry_count++] = (struct entry){ mem_strdup(value), len, lent };
    starts[(uint8_t)value[0]]++;
}

void secret_add(const char *value)
{
    size_t len = value ? strlen(value) : 0;
    struct entry *entry = len < SECRET_MIN ? NULL : find(value, len);
    if (entry)
        entry->lent = 0;
    else if (len >= SECRET_MIN)
        add(value, len, 0);
}

static void give_back(char *value)
{
    struct entry *entry = find(value, strlen(value));
    if (entry && entry->lent && --entry->lent == 0)
        remove_at((size_t)(entry - entries));
    mem_free_secret(value);
}

void secret_lend(struct secret_loan *loan, const char *value)
{
    size_t len = strlen(value);
    struct entry *entry = find(value, len);
    if (len < SECRET_MIN || (entry && !entry->lent))
        return;
    if (loan->count == SECRET_LOAN_MAX) {
        give_back(loan->values[0]);
        memmove(loan->values, loan->values + 1, --loan->count * sizeof loan->values[0]);
    }
    loan->values[loan->count++] = mem_strdup(value);
    entry = find(value, len); /* it may have been the oldest */
    if (entry)
        entry->lent++;
    else
        add(value, len, 1);
}

void secret_return(struct secret_loan *loan)
{
    while (loan->count)
        give_back(loan->values[--loan->count]);
}

static int hex_value(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that two hexadecimal digits stand for, or -1. */
static int hex_byte(struct slice s)
{
    return s.len >= 2 && hex_value(s.data[0]) >= 0 && hex_value(s.data[1]) >= 0 ? hex_value(s.data[0]) * 16 + hex_value(s.data[1])
                                                                                : -1;
}

/* Bytes at the front of s that stand for c in an encoding: %2B and + of URLs, \u002b, \x2b and \/ of JSON and other quoted strings, &quot; and
 * the like of HTML. 0: none do. */
static size_t encoded(uint8_t c, struct slice s)
{
    static const struct {
        char c;
        const char *entity;
    } entities[] = { { '&', "&amp;" }, { '<', "&lt;" }, { '>', "&gt;" }, { '"', "&quot;" }, { '"', "&#34;" }, { '\'', "&#39;" } };
    if (s.data[0] == '%' && hex_byte(slice_skip(s, 1)) == c)
        return 3;
    if (s.data[0] == '+' && c == ' ')
        return 1;
    if (s.data[0] == '\\' && s.len > 1) {
        uint8_t kind = s.data[1];
        if (kind == 'u' && s.len >= 6 && s.data[2] == '0' && s.data[3] == '0' && hex_byte(slice_skip(s, 4)) == c)
            return 6;
        if (kind == 'x' && hex_byte(slice_skip(s, 2)) == c)
            return 4;
        return kind == c && !isalnum(c) ? 2 : 0;
    }
    for (size_t i = 0; s.data[0] == '&' && i < sizeof entities / sizeof entities[0]; i++) {
        size_t len = strlen(entities[i].entity);
        if ((uint8_t)entities[i].c == c && s.len >= len && memcmp(s.data, entities[i].entity, len) == 0)
            return len;
    }
    return 0;
}

/* Where a text was cut: at its end, in the middle of an escape, or with an ellipsis. */
static bool is_cut(struct slice rest)
{
    static const char *const marks[] = { "\xe2\x80\xa6", "..." };
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (rest.len >= 3 && memcmp(rest.data, marks[i], 3) == 0)
            return true;
    return rest.len == 0 || (rest.data[0] == '%' && rest.len < 3) || (rest.data[0] == '\\' && rest.len < 6);
}

/* How much of s the secret takes at the front: all of it, or enough of its beginning where the text was cut. 0: neither. */
static size_t taken_by(const struct entry *entry, struct slice s, bool decode)
{
    struct slice rest = s;
    size_t known = 0;
    while (known < entry->len && rest.len) {
        uint8_t c = (uint8_t)entry->value[known];
        size_t n = decode ? encoded(c, rest) : 0;
        if (n == 0 && rest.data[0] != c)
            break;
        rest = slice_skip(rest, n ? n : 1);
        known++;
    }
    if (known == entry->len)
        return s.len - rest.len;
    if (known < SECRET_PREFIX_MIN)
        return 0;
    if (is_cut(rest))
        return s.len - rest.len + (rest.len < 6 && rest.len > 0 && (rest.data[0] == '%' || rest.data[0] == '\\') ? rest.len : 0);
    return 0; /* elsewhere the beginning of a secret may be any word: `sentinel` of `sentinel-password` */
}

/* Length of the longest secret at the front, or 0. */
static size_t longest(struct slice s)
{
    size_t best = 0;
    if (s.len == 0 || entry_count == 0)
        return 0;
    bool escape = s.data[0] == '%' || s.data[0] == '\\' || s.data[0] == '&' || s.data[0] == '+';
    if (!starts[s.data[0]] && !escape)
        return 0;
    for (size_t i = 0; i < entry_count; i++) {
        if (!escape && entries[i].value[0] != (char)s.data[0])
            continue;
        /* As it is, and decoded: a secret that holds a % of its own may be found either way. */
        size_t plain = taken_by(&entries[i], s, false), decoded = taken_by(&entries[i], s, true);
        size_t taken = plain > decoded ? plain : decoded;
        best = taken > best ? taken : best;
    }
    return best;
}

/* Overlapping secrets are masked as one: what is left of either would be a part of a secret. */
size_t secret_span(struct slice s)
{
    size_t end = longest(s);
    for (size_t i = 1; i < end; i++) {
        size_t further = i + longest(slice_skip(s, i));
        if (further > end)
            end = further;
    }
    return end;
}

/* In place, since a mask is shorter than any secret. */
void secret_scrub(char *text)
{
    static const char mask[] = "***";
    struct slice rest = slice_str(text);
    if (entry_count == 0)
        return;
    char *out = text;
    while (rest.len) {
        size_t span = secret_span(rest);
        if (span) {
            memcpy(out, mask, sizeof mask - 1);
            out += sizeof mask - 1;
        } else {
            *out++ = (char)rest.data[0];
        }
        rest = slice_skip(rest, span ? span : 1);
    }
    *out = '\0';
}

void secret_forget_all(void)
{
    for (size_t i = 0; i < entry_count; i++)
        drop(&entries[i]);
    entry_count = 0;
}
