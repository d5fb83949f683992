/*
 * What a payload check knows of the limits of each form of message, and what it tries next: powers of two, then the places where limits tend to
 * be, then halves. Pure; called by probes/payload.c, which sends and judges.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/random.h"
#include "probes/payload.h"

static bool is_power(size_t n)
{
    return n && (n & (n - 1)) == 0;
}

/* The largest power of two below n; 0: there is none. */
static size_t power_below(size_t n)
{
    size_t power = 1;

    if (n < 2)
        return 0;
    while (power * 2 < n)
        power *= 2;
    return power;
}

/* Nothing has broken yet: the next power of two. */
static size_t next_up(const struct payload_limit *limit, size_t least, size_t most)
{
    size_t power;

    if (!limit->passes)
        return least;
    if (limit->passes >= most)
        return 0;
    power = power_below(limit->passes + 1) * 2;
    return power > most ? most : power;
}

size_t payload_next(const struct payload_limit *limit, size_t least, size_t most)
{
    size_t power;

    if (!limit->breaks)
        return next_up(limit, least, most);
    if (!limit->confirmed)
        return limit->breaks;
    if (payload_is_exact(limit, least))
        return 0;
    if (!limit->passes)
        return least;
    power = power_below(limit->breaks);
    if (power > limit->passes)
        return power;
    if (is_power(limit->passes)) /* most limits are a power of two: one more byte shows it */
        return limit->passes + 1;
    if (is_power(limit->breaks))
        return limit->breaks - 1;
    return limit->passes + (limit->breaks - limit->passes) / 2;
}

bool payload_is_exact(const struct payload_limit *limit, size_t least)
{
    if (!limit->breaks || !limit->confirmed)
        return false;
    return limit->passes ? limit->breaks - limit->passes == 1 : limit->breaks <= least;
}

void payload_passed(struct payload_limit *limit, size_t size)
{
    if (size > limit->passes)
        limit->passes = size;
    if (limit->breaks && size >= limit->breaks) { /* it was by chance, or is over */
        limit->breaks = 0;
        limit->confirmed = false;
    }
}

void payload_broke(struct payload_limit *limit, size_t size, const struct err *err)
{
    if (limit->breaks && size > limit->breaks) /* nothing new */
        return;
    if (limit->passes >= size) /* less passes than before */
        limit->passes = 0;
    limit->confirmed = limit->breaks != 0; /* twice the same, or a smaller one on the way down */
    limit->breaks = size;
    limit->reason = err->reason;
    snprintf(limit->how, sizeof limit->how, "%.*s", PAYLOAD_HOW_MAX - 1, err->text);
}

/* --- sentences --- */

static void grouped(size_t n, char *out, size_t size)
{
    char digits[24];
    size_t len, at = 0;

    snprintf(digits, sizeof digits, "%zu", n);
    len = strlen(digits);
    for (size_t i = 0; i < len && at + 2 < size; i++) {
        if (i && (len - i) % 3 == 0)
            out[at++] = ',';
        if (at + 1 < size)
            out[at++] = digits[i];
    }
    out[at] = '\0';
}

void payload_bytes_text(size_t bytes, char *out, size_t size)
{
    char number[32];

    grouped(bytes, number, sizeof number);
    snprintf(out, size, "%s byte%s", number, bytes == 1 ? "" : "s");
}

void payload_form_text(unsigned form, size_t bytes, char *out, size_t size)
{
    char length[40], parts[24] = "";

    payload_bytes_text(bytes, length, sizeof length);
    if (form & FORM_PARTS)
        snprintf(parts, sizeof parts, " in %d fragments", PAYLOAD_PARTS);
    snprintf(out, size, "a %s message of %s%s%s", form & FORM_BINARY ? "binary" : "text", length, parts,
             form & FORM_PACKED ? ", compressed" : "");
}

void payload_limit_text(unsigned form, const struct payload_limit *limit, size_t least, char *out, size_t size)
{
    char what[PAYLOAD_FORM_MAX], passes[64] = "";

    payload_form_text(form, limit->breaks, what, sizeof what);
    if (limit->passes)
        payload_bytes_text(limit->passes, passes, sizeof passes);
    if (payload_is_exact(limit, least) && !limit->passes)
        snprintf(out, size, "%s, and any larger one: %s", what, limit->how);
    else if (!limit->passes)
        snprintf(out, size, "%s: %s", what, limit->how);
    else if (payload_is_exact(limit, least))
        snprintf(out, size, "%s: %s; %s pass", what, limit->how, passes);
    else
        snprintf(out, size, "%s: %s; %s pass, the limit is in between", what, limit->how, passes);
}

/* Adds ", " or " and " where something has been said. */
static void add_word(struct buf *out, bool *said, const char *word)
{
    buf_printf(out, "%s%s", *said ? " and " : "", word);
    *said = true;
}

/* Does one of the forms have, or not have, that bit? */
static bool any(unsigned passed, unsigned bit, bool set)
{
    for (unsigned form = 0; form < FORM_COUNT; form++)
        if (passed & 1U << form && !(form & bit) == !set)
            return true;
    return false;
}

static void add_pair(struct buf *out, unsigned passed, unsigned bit, const char *without, const char *with)
{
    bool said = false;

    if (any(passed, bit, false))
        add_word(out, &said, without);
    if (any(passed, bit, true))
        add_word(out, &said, with);
}

void payload_passed_text(unsigned passed, size_t bytes, char *out, size_t size)
{
    struct buf text = BUF_INIT(512);
    char length[40], parts[24];

    payload_bytes_text(bytes, length, sizeof length);
    snprintf(parts, sizeof parts, "in %d fragments", PAYLOAD_PARTS);
    buf_printf(&text, "%s pass as ", length);
    add_pair(&text, passed, FORM_BINARY, "text", "binary");
    if (any(passed, FORM_PARTS, true)) {
        buf_append_str(&text, ", ");
        add_pair(&text, passed, FORM_PARTS, "whole", parts);
    }
    if (any(passed, FORM_PACKED, true)) {
        buf_append_str(&text, ", ");
        add_pair(&text, passed, FORM_PACKED, "plain", "compressed");
    }
    snprintf(out, size, "%s", buf_str(&text));
    buf_fini(&text);
}

/* --- the message itself --- */

/* A character of so many bytes (2 to 4) over what is there. */
static void put_wide(char *at, unsigned len)
{
    static const char *const wide[] = { "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x8c\x8a" };

    memcpy(at, wide[len - 2], len);
}

static void put_wide_all(char *out, size_t size)
{
    enum { EVERY = 61, APART = 8 };
    size_t first = size / PAYLOAD_PARTS, second = first + (size - first) / (PAYLOAD_PARTS - 1);
    unsigned len = 2;

    if (size < 2 * EVERY)
        return;
    for (size_t at = PAYLOAD_ID_LEN + APART; at + APART < size; at += EVERY) {
        bool near = (at + APART > first && at < first + APART) || (at + APART > second && at < second + APART);

        if (!near)
            put_wide(out + at, len);
        len = len == 4 ? 2 : len + 1;
    }
    put_wide(out + first - 2, 4); /* across the edges of fragments */
    put_wide(out + second - 1, 3);
}

void payload_fill(unsigned form, bool plain, const char id[PAYLOAD_ID_LEN], char *out, size_t size)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    bool binary = (form & FORM_BINARY) && !plain;

    random_bytes(out, size);
    for (size_t i = 0; i < size && !binary; i++)
        out[i] = letters[(uint8_t)out[i] % 64];
    memcpy(out, id, size < PAYLOAD_ID_LEN ? size : PAYLOAD_ID_LEN);
    if (!binary && !plain)
        put_wide_all(out, size);
}
