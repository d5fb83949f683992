/*
 * Owns the encodings of mail (agent/notify/mail.h). Called by email.c, which decides what is in a mail. Promises that no text can end a field or
 * a line, and that no line is longer than RFC 2045 and RFC 2047 allow.
 */
#include "agent/notify/mail.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#include "agent/base/text.h"
#include "agent/proto/base64.h"

enum {
    LINE_MAX_CHARS = 76,
    WORD_BYTES = 42, /* of text in one encoded word: 56 characters of base64, and 12 around them */
    ADDRESS_MAX = 254,
};

static const char word_begin[] = "=?UTF-8?B?", word_end[] = "?=";

/* Printable ASCII, and nothing that looks encoded. */
static bool is_plain(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c < ' ' || *c > '~')
            return false;
    return !strstr(text, "=?");
}

/* Words at blanks; a word of its own that is too long for a line stands in one all the same: RFC 5322 allows 998. */
static bool has_long_word(const char *text)
{
    size_t len = 0;

    for (; *text; text++) {
        len = *text == ' ' ? 0 : len + 1;
        if (len > LINE_MAX_CHARS / 2)
            return true;
    }
    return false;
}

static int put_folded(struct buf *out, const char *text, size_t at)
{
    int rc = 0;

    while (*text) {
        size_t len = 1 + strcspn(text + 1, " ");

        if (at + len > LINE_MAX_CHARS) {
            /* The blank begins the next line: unfolded, it is what it was. */
            rc |= buf_append_char(out, '\n');
            at = 0;
        }
        rc |= buf_append(out, text, len);
        at += len;
        text += len;
    }
    return rc;
}

/* As many whole characters as fit into an encoded word; of what is no UTF-8 a byte counts as a character. */
static size_t word_len(struct slice text)
{
    size_t len = 0;

    while (len < text.len) {
        size_t more = text_char_len(slice_skip(text, len));

        more = more ? more : 1;
        if (len + more > WORD_BYTES)
            break;
        len += more;
    }
    return len;
}

static int put_encoded(struct buf *out, struct slice text)
{
    char word[BASE64_LEN(WORD_BYTES) + 1];
    const char *before = "";
    int rc = 0;

    while (text.len) {
        size_t len = word_len(text);

        base64_encode(slice_make(text.data, len), word);
        rc |= buf_printf(out, "%s%s%s%s", before, word_begin, word, word_end);
        before = "\n ";
        text = slice_skip(text, len);
    }
    return rc;
}

/* A blank line in a fold would end the head: a text that begins with a blank, or has two in a row, is encoded. */
static int put_words(struct buf *out, const char *text, size_t at)
{
    if (is_plain(text) && !has_long_word(text) && *text != ' ' && !strstr(text, "  "))
        return put_folded(out, text, at);
    return buf_append_str(out, "\n ") | put_encoded(out, slice_str(text));
}

int mail_field(struct buf *out, const char *name, const char *text)
{
    int rc = buf_printf(out, "%s: ", name);

    rc |= put_words(out, text, strlen(name) + 2);
    rc |= buf_append_char(out, '\n');
    return rc;
}

int mail_from(struct buf *out, const char *text, const char *address)
{
    /* Dots and brackets would need quotes (RFC 5322, 3.2.3): what is more than words is encoded. */
    bool is_words = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -") == strlen(text);
    int rc = buf_append_str(out, "From: ");

    rc |= is_words ? put_words(out, text, strlen("From: ")) : put_encoded(out, slice_str(text));
    return rc | buf_printf(out, "\n <%s>\n", address);
}

/* By hand: strftime speaks the language of the locale. */
int mail_date(struct buf *out, int64_t wall_ms)
{
    static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;

    if (!gmtime_r(&seconds, &utc))
        return -1;
    return buf_printf(out, "Date: %s, %02d %s %04d %02d:%02d:%02d +0000\n", days[utc.tm_wday], utc.tm_mday, months[utc.tm_mon],
                      utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

/* Does the byte stand for itself in quoted-printable at this place of the line? Not at its beginning where mailers would take it for
 * something else ("From ", a dot), and not a blank at its end. */
static bool is_literal(struct slice rest, size_t at)
{
    uint8_t c = rest.data[0];
    bool last = rest.len == 1 || rest.data[1] == '\n';

    if (c == ' ' || c == '\t')
        return !last;
    if (at == 0 && (c == '.' || c == 'F'))
        return false;
    return c > ' ' && c <= '~' && c != '=';
}

int mail_text(struct buf *out, struct slice text)
{
    size_t at = 0;
    int rc = 0;

    for (; text.len; text = slice_skip(text, 1)) {
        size_t len;

        if (text.data[0] == '\n') {
            rc |= buf_append_char(out, '\n');
            at = 0;
            continue;
        }
        len = is_literal(text, at) ? 1 : 3;
        if (at + len > LINE_MAX_CHARS - 1) { /* room for the = of a soft line break */
            rc |= buf_append_str(out, "=\n");
            at = 0;
            len = is_literal(text, at) ? 1 : 3;
        }
        rc |= len == 1 ? buf_append_char(out, (char)text.data[0]) : buf_printf(out, "=%02X", text.data[0]);
        at += len;
    }
    return rc | (at ? buf_append_char(out, '\n') : 0);
}

bool mail_is_address(const char *text)
{
    size_t ats = 0, len = strlen(text);

    if (len == 0 || len > ADDRESS_MAX || text[0] == '-' || text[0] == '@' || text[0] == '.' || text[len - 1] == '@' ||
        text[len - 1] == '.')
        return false;
    for (const char *c = text; *c; c++) {
        ats += *c == '@';
        if (!isascii((unsigned char)*c) || !(isalnum((unsigned char)*c) || strchr("!#$%&'*+-/=?^_{}~.@", *c)))
            return false;
    }
    return ats <= 1;
}
