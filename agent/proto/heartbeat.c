/* Heartbeats as text, and the books of what came (agent/proto/heartbeat.h). Called by the delivery check. Pure. */
#include "agent/proto/heartbeat.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char prefix[] = "wshb1.";
enum { NONCE_TAIL = 9, ID_MAX = HEARTBEAT_WORD_MAX - NONCE_TAIL, ID_KEPT = ID_MAX - NONCE_TAIL };

static bool is_word(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

void heartbeat_write(const struct heartbeat *heartbeat, char out[HEARTBEAT_MAX])
{
    snprintf(out, HEARTBEAT_MAX, "%s%s.%s.%s.%" PRIu64 ".%" PRId64, prefix, heartbeat->agent, heartbeat->region, heartbeat->check,
             heartbeat->seq, heartbeat->sent_ms);
}

void heartbeat_word(const char *text, char out[HEARTBEAT_WORD_MAX + 1])
{
    size_t n = 0;

    for (; text && text[n] && n < HEARTBEAT_WORD_MAX; n++)
        out[n] = (char)(is_word((uint8_t)text[n]) ? text[n] : '_');
    if (n == 0)
        out[n++] = '_';
    out[n] = 0;
}

static uint32_t hash_of(const char *text, size_t len)
{
    uint32_t hash = UINT32_C(2166136261);

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)text[i]) * UINT32_C(16777619);
    return hash;
}

/* The id as a heartbeat has it: short enough for the nonce behind it. */
static void short_id(const char *id, char out[HEARTBEAT_WORD_MAX + 1])
{
    heartbeat_word(id, out);
    if (strlen(out) > ID_MAX)
        snprintf(out + ID_KEPT, HEARTBEAT_WORD_MAX + 1 - ID_KEPT, "-%08" PRIx32, hash_of(id, strlen(id)));
}

void heartbeat_agent(const char *id, const char *nonce, char out[HEARTBEAT_WORD_MAX + 1])
{
    size_t len;

    short_id(id, out);
    len = strlen(out);
    snprintf(out + len, HEARTBEAT_WORD_MAX + 1 - len, "-%s", nonce);
}

uint32_t heartbeat_who(const char *id)
{
    char text[HEARTBEAT_WORD_MAX + 1];

    short_id(id, text);
    return hash_of(text, strlen(text));
}

uint32_t heartbeat_who_of(const char *agent)
{
    size_t len = strlen(agent);

    return hash_of(agent, len > NONCE_TAIL ? len - NONCE_TAIL : len);
}

/* A word and the dot behind it. */
static bool take_word(struct slice *rest, char out[HEARTBEAT_WORD_MAX + 1])
{
    size_t n = 0;

    while (n < rest->len && n <= HEARTBEAT_WORD_MAX && is_word(rest->data[n]))
        n++;
    if (n == 0 || n > HEARTBEAT_WORD_MAX || n >= rest->len || rest->data[n] != '.')
        return false;
    memcpy(out, rest->data, n);
    out[n] = 0;
    *rest = slice_skip(*rest, n + 1);
    return true;
}

static bool take_number(struct slice *rest, uint64_t *value)
{
    size_t n = 0;

    for (*value = 0; n < rest->len && rest->data[n] >= '0' && rest->data[n] <= '9'; n++) {
        if (n >= 18)
            return false;
        *value = *value * 10 + (uint64_t)(rest->data[n] - '0');
    }
    *rest = slice_skip(*rest, n);
    return n > 0;
}

static bool parse(struct slice rest, struct heartbeat *out)
{
    uint64_t sent;

    memset(out, 0, sizeof *out);
    if (!take_word(&rest, out->agent) || !take_word(&rest, out->region) || !take_word(&rest, out->check) ||
        !take_number(&rest, &out->seq))
        return false;
    if (rest.len == 0 || rest.data[0] != '.')
        return false;
    rest = slice_skip(rest, 1);
    if (!take_number(&rest, &sent))
        return false;
    out->sent_ms = (int64_t)sent;
    return true;
}

bool heartbeat_find(struct slice payload, struct heartbeat *out)
{
    for (;;) {
        ptrdiff_t at = slice_find(payload, slice_str(prefix));

        if (at < 0)
            return false;
        payload = slice_skip(payload, (size_t)at + sizeof prefix - 1);
        if (parse(payload, out))
            return true;
    }
}

bool heartbeat_same_source(const struct heartbeat *a, const struct heartbeat *b)
{
    return strcmp(a->agent, b->agent) == 0 && strcmp(a->region, b->region) == 0 && strcmp(a->check, b->check) == 0;
}

static struct heartbeat_source *find_source(struct heartbeat_book *book, const struct heartbeat *heartbeat)
{
    char name[sizeof book->sources[0].name];
    struct heartbeat_source *quiet = &book->sources[0];

    snprintf(name, sizeof name, "%s.%s.%s", heartbeat->agent, heartbeat->region, heartbeat->check);
    for (unsigned i = 0; i < book->count; i++) {
        if (strcmp(book->sources[i].name, name) == 0)
            return &book->sources[i];
        if (book->sources[i].last_ms < quiet->last_ms)
            quiet = &book->sources[i];
    }
    if (book->count < HEARTBEAT_SOURCES_MAX)
        quiet = &book->sources[book->count++];
    memset(quiet, 0, sizeof *quiet);
    memcpy(quiet->name, name, sizeof name);
    return quiet;
}

enum heartbeat_news heartbeat_note(struct heartbeat_book *book, const struct heartbeat *heartbeat, uint64_t now_ms)
{
    struct heartbeat_source *source = find_source(book, heartbeat);
    uint64_t seq = heartbeat->seq, behind;

    source->last_ms = now_ms;
    if (source->received == 0 || seq > source->highest) {
        uint64_t step = source->received ? seq - source->highest : 1;

        source->gaps += step - 1;
        source->seen_bits = step < HEARTBEAT_WINDOW ? source->seen_bits << step | 1 : 1;
        source->highest = seq;
        source->received++;
        return HEARTBEAT_NEW;
    }
    behind = source->highest - seq;
    if (behind >= HEARTBEAT_WINDOW || source->seen_bits >> behind & 1) {
        source->duplicates++;
        return HEARTBEAT_DUPLICATE;
    }
    source->seen_bits |= 1ull << behind;
    source->received++;
    source->reordered++;
    source->gaps -= source->gaps > 0;
    return HEARTBEAT_REORDERED;
}
