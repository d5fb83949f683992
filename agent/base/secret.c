/*
 * The register of secrets and the scrubber. Configuration and token files add, err and log scrub. Values are copied and wiped when
 * they are forgotten. For the loop's thread only.
 */
#include "agent/base/secret.h"

#include <stdint.h>
#include <string.h>

#include "agent/base/mem.h"

/* Oldest first, so that rotated tokens push out those that are long dead. */
static struct entry {
    char *value;
    size_t len;
} entries[SECRET_COUNT_MAX];
static size_t entry_count;
static uint16_t starts[256]; /* how many values begin with this byte: most positions of a text need no comparison */

static void drop(struct entry *entry)
{
    starts[(uint8_t)entry->value[0]]--;
    explicit_bzero(entry->value, entry->len);
    mem_free(entry->value);
}

void secret_add(const char *value)
{
    size_t len = value ? strlen(value) : 0;
    if (len < SECRET_MIN)
        return;
    for (size_t i = 0; i < entry_count; i++)
        if (entries[i].len == len && memcmp(entries[i].value, value, len) == 0)
            return;
    if (entry_count == SECRET_COUNT_MAX) {
        drop(&entries[0]);
        entry_count--;
        memmove(entries, entries + 1, entry_count * sizeof entries[0]);
    }
    entries[entry_count++] = (struct entry){ mem_strdup(value), len };
    starts[(uint8_t)value[0]]++;
}

/* Length of the longest secret at the front, or 0. */
static size_t longest(struct slice s)
{
    size_t best = 0;
    if (s.len == 0 || !starts[s.data[0]])
        return 0;
    for (size_t i = 0; i < entry_count; i++)
        if (entries[i].len > best && entries[i].len <= s.len && memcmp(s.data, entries[i].value, entries[i].len) == 0)
            best = entries[i].len;
    return best;
}

/* What overlaps is one: a rest of either would be a part of a secret. */
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
