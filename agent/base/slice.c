/* Looking at borrowed bytes. Pure functions for every layer; nothing is copied, nothing is owned. */
#include "agent/base/slice.h"

#include <string.h>

struct slice slice_make(const void *data, size_t len)
{
    return (struct slice){ data, len };
}

struct slice slice_str(const char *text)
{
    return slice_make(text, text ? strlen(text) : 0);
}

bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool slice_equal_str(struct slice a, const char *text)
{
    return slice_equal(a, slice_str(text));
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* By hand: strncasecmp would follow the locale and stop at a zero byte. */
bool slice_equal_nocase(struct slice a, const char *text)
{
    struct slice b = slice_str(text);
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    return true;
}

ptrdiff_t slice_find(struct slice haystack, struct slice needle)
{
    if (needle.len == 0)
        return 0;
    if (haystack.len < needle.len)
        return -1;
    const uint8_t *at = memmem(haystack.data, haystack.len, needle.data, needle.len);
    return at ? at - haystack.data : -1;
}

struct slice slice_skip(struct slice s, size_t n)
{
    if (n > s.len)
        n = s.len;
    return n ? slice_make(s.data + n, s.len - n) : s;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s)
{
    while (s.len && is_blank(s.data[0]))
        s = slice_skip(s, 1);
    while (s.len && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}
