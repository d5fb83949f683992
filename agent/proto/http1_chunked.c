/*
 * The reader of chunked bodies, one byte of structure at a time, so that it stops anywhere. Called by http1.c, which keeps the data and
 * words the refusal. Strict where readers have differed and requests were smuggled: a size is hexadecimal digits and nothing else, every
 * line ends with CRLF, data ends where its size says, trailers are fields. Blanks around a size are taken, as old servers pad it; any
 * number of extensions is passed over (7.1.1).
 */
#include "agent/proto/http1_chunked.h"

#include "agent/proto/http1_head.h"

enum {
    SIZE,
    SIZE_BLANK,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    OVER
};
enum { DIGITS_MAX = 64 }; /* with leading zeros */

void chunked_init(struct chunked *chunked, size_t max_extra)
{
    *chunked = (struct chunked){ .state = SIZE, .max_extra = max_extra };
}

static int digit_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_text(uint8_t c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static const char *eat_size(struct chunked *chunked, uint8_t c)
{
    int digit = digit_value(c);
    if (digit >= 0) {
        if (chunked->left >> 60 || chunked->digits++ == DIGITS_MAX)
            return "a chunk's size is too large";
        chunked->left = chunked->left << 4 | (uint64_t)digit;
        return NULL;
    }
    if (chunked->digits == 0)
        return "a chunk's size is missing";
    chunked->state = c == ';' ? EXTENSION : c == ' ' || c == '\t' ? SIZE_BLANK : c == '\r' ? SIZE_LF : SIZE;
    return chunked->state == SIZE ? "a chunk's size is not hexadecimal" : NULL;
}

static const char *eat_behind_size(struct chunked *chunked, uint8_t c)
{
    if (c == '\r')
        chunked->state = SIZE_LF;
    else if (chunked->state == SIZE_BLANK && c == ';')
        chunked->state = EXTENSION;
    else if (chunked->state == SIZE_BLANK && c != ' ' && c != '\t')
        return "behind a chunk's size comes neither an extension nor CRLF";
    else if (!is_text(c))
        return "a chunk's extension holds a control character";
    return NULL;
}

static const char *eat_trailer(struct chunked *chunked, uint8_t c)
{
    if (chunked->state == TRAILER_VALUE) {
        if (c == '\r')
            chunked->state = TRAILER_LF;
        return c == '\r' || is_text(c) ? NULL : "a trailer holds a control character";
    }
    if (chunked->state == TRAILER && c == '\r')
        chunked->state = LAST_LF;
    else if (chunked->state == TRAILER_NAME && c == ':')
        chunked->state = TRAILER_VALUE;
    else if (http_is_token(slice_make(&c, 1)))
        chunked->state = TRAILER_NAME;
    else
        return "a trailer is not \"name: value\"";
    return NULL;
}

static const char *eat_lf(struct chunked *chunked, uint8_t c)
{
    if (c != '\n')
        return "a CR is not followed by LF";
    switch (chunked->state) {
    case SIZE_LF:
        chunked->state = chunked->left ? DATA : TRAILER;
        break;
    case DATA_LF:
        chunked->state = SIZE;
        chunked->digits = 0;
        break;
    case TRAILER_LF:
        chunked->state = TRAILER;
        break;
    default:
        chunked->state = OVER;
    }
    return NULL;
}

static const char *eat(struct chunked *chunked, uint8_t c)
{
    switch (chunked->state) {
    case SIZE:
        return eat_size(chunked, c);
    case SIZE_BLANK:
    case EXTENSION:
        chunked->extra++;
        return eat_behind_size(chunked, c);
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        chunked->extra++;
        return eat_trailer(chunked, c);
    case DATA_CR:
        chunked->state = DATA_LF;
        return c == '\r' ? NULL : "a chunk's data is not followed by CRLF";
    default:
        return eat_lf(chunked, c);
    }
}

enum chunked_progress chunked_feed(struct chunked *chunked, struct slice *input, struct slice *data, const char **why)
{
    while (input->len && chunked->state != OVER) {
        if (chunked->state == DATA) {
            *data = slice_make(input->data, chunked->left < input->len ? (size_t)chunked->left : input->len);
            *input = slice_skip(*input, data->len);
            chunked->left -= data->len;
            if (chunked->left == 0)
                chunked->state = DATA_CR;
            return CHUNKED_DATA;
        }
        *why = eat(chunked, input->data[0]);
        if (*why)
            return CHUNKED_BAD;
        if (chunked->extra > chunked->max_extra)
            return CHUNKED_LARGE;
        *input = slice_skip(*input, 1);
    }
    return chunked->state == OVER ? CHUNKED_DONE : CHUNKED_MORE;
}
