/*
 * The register of secrets and the scrubber. Configuration and token files add, err and log scrub. Values are copied and wiped when
 * they are forgotten. For the loop's thread only.
 */
#include "agent/base/secret.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "agent/base/mem.h"

/* As it is, and in base64: the six bits of a character lie differently in a value that follows other bytes, as a password follows its user's
 * name. `skip` is how many of the value's first bits lie in a character that they share with what is before them. */
enum form { FORM_PLAIN, FORM_BASE64, FORM_BASE64_BEHIND_1, FORM_BASE64_BEHIND_2, FORM_COUNT };
static const size_t skip_bits[FORM_COUNT] = { 0, 0, 4, 2 };

enum { NONE = -1, ALL_FORMS = (1 << FORM_COUNT) - 1 };

/* Oldest first, so that rotated tokens push out those that are long dead. */
static struct entry {
    char *value;
    size_t len;
    unsigned lent;            /* by so many loans; 0: for good */
    int16_t next[FORM_COUNT]; /* the next entry whose form begins with the same character; NONE: there is none */
} entries[SECRET_COUNT_MAX];
static size_t entry_count;
static unsigned loan_count; /* values that are lent */
static unsigned forgotten;
static int16_t firsts[FORM_COUNT][256]; /* by the character that a form begins with */
/* Does a form begin with these three characters? A hash of them, so that most positions of a text need no comparison at all. Of each form one bit:
 * those behind a character that is shared are looked for one further on. */
enum { TRIPLES = 4096, TRIPLE_MIN = 3 };
static uint8_t triples[TRIPLES], begins[256]; /* and the first of them alone, which is asked first */

static size_t form_len(const struct entry *entry, enum form form)
{
    return form == FORM_PLAIN ? entry->len : (entry->len * 8 - skip_bits[form]) / 6;
}

static uint8_t form_char(const struct entry *entry, enum form form, size_t at)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *value = (const uint8_t *)entry->value;
    if (form == FORM_PLAIN)
        return value[at];
    size_t bit = skip_bits[form] + at * 6;
    unsigned two = (unsigned)value[bit / 8] << 8 | value[bit / 8 + 1]; /* behind the last byte is the terminator */
    return (uint8_t)alphabet[two >> (10 - bit % 8) & 63];
}

/* Either alphabet of base64 gives the same. */
static unsigned triple_of(const uint8_t *c)
{
    unsigned sum = 0;
    for (int i = 0; i < TRIPLE_MIN; i++)
        sum = sum * 37 + (c[i] == '-' ? '+' : c[i] == '_' ? '/' : c[i]);
    return (sum ^ sum >> 12) % TRIPLES;
}

static void add_to_index(size_t at)
{
    for (int form = 0; form < FORM_COUNT; form++) {
        uint8_t begin[TRIPLE_MIN] = { 0 };
        for (size_t i = 0; i < sizeof begin; i++)
            begin[i] = form_char(&entries[at], (enum form)form, i);
        triples[triple_of(begin)] |= (uint8_t)(1 << form);
        begins[begin[0]] |= (uint8_t)(1 << form);
        if (form != FORM_PLAIN && (begin[0] == '+' || begin[0] == '/'))
            begins[begin[0] == '+' ? '-' : '_'] |= (uint8_t)(1 << form);
        entries[at].next[form] = firsts[form][begin[0]];
        firsts[form][begin[0]] = (int16_t)at;
    }
}

static void rebuild_index(void)
{
    memset(firsts, 0xff, sizeof firsts);
    memset(triples, 0, sizeof triples);
    memset(begins, 0, sizeof begins);
    begins['%'] = begins['\\'] = begins['&'] = begins['+'] = ALL_FORMS; /* anything may be encoded behind them */
    for (size_t i = 0; i < entry_count; i++)
        add_to_index(i);
}

static void drop(struct entry *entry)
{
    explicit_bzero(entry->value, entry->len);
    mem_free(entry->value);
}

static void remove_at(size_t at)
{
    drop(&entries[at]);
    entry_count--;
    memmove(entries + at, entries + at + 1, (entry_count - at) * sizeof entries[0]);
    rebuild_index();
}

static struct entry *find(const char *value, size_t len)
{
    for (size_t i = entry_count; i > 0; i--)
        if (entries[i - 1].len == len && memcmp(entries[i - 1].value, value, len) == 0)
            return &entries[i - 1];
    return NULL;
}

static void add(const char *value, size_t len, unsigned lent)
{
    forgotten += entry_count == SECRET_COUNT_MAX;
    if (entry_count == SECRET_COUNT_MAX)
        remove_at(0);
    else if (entry_count == 0)
        rebuild_index();
    entries[entry_count] = (struct entry){ .value = mem_strdup(value), .len = len, .lent = lent };
    add_to_index(entry_count++);
}

/* One that is used again is new again, or a crowd of tokens that are minted for one connection each would push out those that last. Only where
 * it could be pushed out soon. */
static void renew(struct entry *entry)
{
    struct entry copy = *entry;
    size_t at = (size_t)(entry - entries);
    if (at >= SECRET_COUNT_MAX / 2 || entry_count <= SECRET_COUNT_MAX / 2)
        return;
    memmove(entries + at, entries + at + 1, (entry_count - 1 - at) * sizeof entries[0]);
    entries[entry_count - 1] = copy;
    rebuild_index();
}

void secret_add(const char *value)
{
    size_t len = value ? strlen(value) : 0;
    struct entry *entry = len < SECRET_MIN ? NULL : find(value, len);
    if (entry) {
        entry->lent = 0;
        renew(entry);
    } else if (len >= SECRET_MIN) {
        add(value, len, 0);
    }
}

static void give_back(char *value)
{
    struct entry *entry = find(value, strlen(value));
    bool lent = entry && entry->lent; /* it may have become known for good */
    if (lent)
        entry->lent--;
    if (lent && !entry->lent)
        remove_at((size_t)(entry - entries));
    mem_free_secret(value);
    loan_count--;
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
    loan_count++;
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

bool secret_scrub_is_urgent(void)
{
    return loan_count > 0 || entry_count == SECRET_COUNT_MAX;
}

unsigned secret_forgotten(void)
{
    return forgotten;
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

/* Is c the character of base64, in either alphabet of RFC 4648? */
static bool is_base64(uint8_t c)
{
    return isalnum(c) || c == '+' || c == '/' || c == '-' || c == '_';
}

static uint8_t base64_twin(uint8_t c)
{
    return c == '-' ? '+' : c == '_' ? '/' : c;
}

/* Bytes at the front of s that stand for c. 0: none do. */
static size_t stands_for(uint8_t c, enum form form, struct slice s, bool decode)
{
    size_t n = decode ? encoded(c, s) : 0;
    if (n)
        return n;
    return s.data[0] == c || (form != FORM_PLAIN && base64_twin(s.data[0]) == c);
}

/* What base64 has around a value's own characters: one that it shares with its neighbour, and the padding. */
static size_t base64_end(const struct entry *entry, enum form form, struct slice s)
{
    size_t n = 0;
    if ((entry->len * 8 - skip_bits[form]) % 6 && s.len && is_base64(s.data[0]))
        n++;
    while (n < s.len && s.data[n] == '=')
        n++;
    return n;
}

/* How much of s the secret takes at the front: all of it, or enough of its beginning where the text was cut. 0: neither. */
static size_t taken_by(const struct entry *entry, enum form form, struct slice s, bool decode)
{
    struct slice rest = s;
    size_t known = 0, len = form_len(entry, form);
    if (skip_bits[form])
        rest = slice_skip(rest, 1);
    while (known < len && rest.len) {
        size_t n = stands_for(form_char(entry, form, known), form, rest, decode);
        if (n == 0)
            break;
        rest = slice_skip(rest, n);
        known++;
    }
    if (known == len)
        return s.len - rest.len + (form == FORM_PLAIN ? 0 : base64_end(entry, form, rest));
    if (known < SECRET_PREFIX_MIN)
        return 0;
    if (is_cut(rest))
        return s.len - rest.len + (rest.len < 6 && rest.len > 0 && (rest.data[0] == '%' || rest.data[0] == '\\') ? rest.len : 0);
    return 0; /* elsewhere the beginning of a secret may be any word: `sentinel` of `sentinel-password` */
}

static bool is_escape(uint8_t c)
{
    return c == '%' || c == '\\' || c == '&' || c == '+';
}

/* Which forms may begin at the front of s, as bits? Where a character may be encoded, any. */
static unsigned forms_at(struct slice s)
{
    enum { BEHIND = 1 << FORM_BASE64_BEHIND_1 | 1 << FORM_BASE64_BEHIND_2 };
    if (s.len < TRIPLE_MIN || !((begins[s.data[0]] & ~BEHIND) | (begins[s.data[1]] & BEHIND)))
        return 0;
    if (is_escape(s.data[0]) || is_escape(s.data[1]) || is_escape(s.data[2]))
        return ALL_FORMS;
    unsigned forms = triples[triple_of(s.data)] & ~(unsigned)BEHIND;
    if (s.len > TRIPLE_MIN)
        forms |= is_escape(s.data[TRIPLE_MIN]) ? BEHIND : triples[triple_of(s.data + 1)] & (unsigned)BEHIND;
    return forms;
}

/* The longest secret in that form at the front of s, or 0. Where the first character may be encoded, all are compared. */
static size_t longest_in(enum form form, struct slice s)
{
    size_t best = 0, lead = skip_bits[form] ? 1 : 0;
    if (s.len <= lead || (lead && !is_base64(s.data[0])))
        return 0;
    uint8_t c = s.data[lead];
    bool escape = is_escape(c) && (form == FORM_PLAIN || c != '+');
    int16_t i = escape ? (int16_t)(entry_count - 1) : firsts[form][form == FORM_PLAIN ? c : base64_twin(c)];
    while (i != NONE) {
        /* As it is, and decoded: a secret that holds a % of its own may be found either way. */
        size_t plain = taken_by(&entries[i], form, s, false), decoded = taken_by(&entries[i], form, s, true);
        size_t taken = plain > decoded ? plain : decoded;
        best = taken > best ? taken : best;
        i = escape ? (int16_t)(i - 1) : entries[i].next[form];
    }
    return best;
}

/* Length of the longest secret at the front, or 0. */
static size_t longest(struct slice s)
{
    size_t best = 0;
    if (entry_count == 0)
        return 0;
    unsigned forms = forms_at(s);
    for (int form = 0; forms >> form; form++) {
        size_t taken = forms >> form & 1 ? longest_in((enum form)form, s) : 0;
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

size_t secret_rest(struct slice before, struct slice s)
{
    uint8_t both[2 * SECRET_LOOK_MAX];
    size_t rest = 0;
    if (entry_count == 0 || !before.len || !s.len)
        return 0;
    if (before.len > SECRET_LOOK_MAX)
        before = slice_skip(before, before.len - SECRET_LOOK_MAX);
    s = slice_make(s.data, s.len < SECRET_LOOK_MAX ? s.len : SECRET_LOOK_MAX);
    memcpy(both, before.data, before.len);
    memcpy(both + before.len, s.data, s.len);
    for (size_t i = 0; i < before.len; i++) {
        size_t end = i + longest(slice_make(both + i, before.len + s.len - i));
        if (end > before.len + rest)
            rest = end - before.len;
    }
    explicit_bzero(both, before.len + s.len);
    return rest;
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
    forgotten++;
    for (size_t i = 0; i < entry_count; i++)
        drop(&entries[i]);
    entry_count = 0;
}
