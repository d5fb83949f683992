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

/* Length of the longest secret that begins here, or 0. */
static size_t longest_at(const char *text)
{
    size_t best = 0;
    if (!starts[(uint8_t)text[0]])
        return 0;
    for (size_t i = 0; i < entry_count; i++)
        if (entries[i].len > best && strncmp(text, entries[i].value, entries[i].len) == 0)
            best = entries[i].len;
    return best;
}

/* Occurrences that overlap become one ***: a rest of either would be a part of a secret. A mask is shorter than any secret. */
void secret_scrub(char *text)
{
    if (entry_count == 0)
        return;
    char *out = text;
    for (const char *in = text; *in;) {
        const char *end = in + longest_at(in);
        if (end == in) {
            *out++ = *in++;
            continue;
        }
        for (; in < end; in++) {
            const char *further = in + longest_at(in);
            if (further > end)
                end = further;
        }
        for (int i = 0; i < 3; i++)
            *out++ = '*';
    }
    *out = '\0';
}

void secret_forget_all(void)
{
    for (size_t i = 0; i < entry_count; i++)
        drop(&entries[i]);
    entry_count = 0;
}
