/*
 * The closed lists of the fleet, and a summary as text (agent/fleet/summary.h). Called by the link for each summary that it publishes, and by
 * the tests. Owns nothing. Reading is agent/fleet/summary_read.c.
 */
#include "agent/fleet/summary.h"

#include <inttypes.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/fleet/summary_impl.h"
#include "agent/proto/digest.h"
#include "agent/proto/heartbeat.h"

const char *fleet_word_name(enum fleet_word word)
{
#define ROW(id, name) [FLEET_##id] = name,
    static const char *const names[FLEET_WORD_COUNT] = { FLEET_WORD_LIST(ROW) };
#undef ROW
    panic_if((unsigned)word >= FLEET_WORD_COUNT);
    return names[word];
}

const char *fleet_stand_name(enum fleet_stand stand)
{
#define ROW(id, name) [FLEET_STAND_##id] = name,
    static const char *const names[FLEET_STAND_COUNT] = { FLEET_STAND_LIST(ROW) };
#undef ROW
    panic_if((unsigned)stand >= FLEET_STAND_COUNT);
    return names[stand];
}

const char *fleet_kind_name(enum fleet_kind kind)
{
#define ROW(id, name) [FLEET_KIND_##id] = name,
    static const char *const names[FLEET_KIND_COUNT] = { FLEET_KIND_LIST(ROW) };
#undef ROW
    panic_if((unsigned)kind >= FLEET_KIND_COUNT);
    return names[kind];
}

unsigned fleet_kind_bit(const char *check_type)
{
    for (unsigned kind = 0; kind < FLEET_KIND_COUNT; kind++)
        if (strcmp(fleet_kind_name((enum fleet_kind)kind), check_type) == 0)
            return 1u << kind;
    return 0;
}

static const struct {
    const char *name, *help;
} refusals[FLEET_REFUSAL_COUNT] = {
#define ROW(id, name, help) [FLEET_REFUSED_##id] = { name, help },
    FLEET_REFUSAL_LIST(ROW)
#undef ROW
};

const char *fleet_refusal_name(enum fleet_refusal refusal)
{
    panic_if((unsigned)refusal >= FLEET_REFUSAL_COUNT);
    return refusals[refusal].name;
}

const char *fleet_refusal_help(enum fleet_refusal refusal)
{
    panic_if((unsigned)refusal >= FLEET_REFUSAL_COUNT);
    return refusals[refusal].help;
}

uint32_t fleet_hash(const char *id)
{
    return heartbeat_who(id);
}

void summary_mac(struct slice text, struct slice key, char out[SUMMARY_MAC_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t mac[DIGEST_MAX];
    size_t len = digest_hmac(DIGEST_SHA256, key, text, mac);

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[mac[i] >> 4];
        out[2 * i + 1] = digits[mac[i] & 15];
    }
    out[2 * len] = 0;
}

static void put_kinds(struct buf *out, const char *key, unsigned bits)
{
    const char *before = key;

    for (unsigned kind = 0; kind < FLEET_KIND_COUNT; kind++)
        if (bits & 1u << kind) {
            buf_printf(out, "%s%s", before, fleet_kind_name((enum fleet_kind)kind));
            before = ",";
        }
}

static void put_maybe(struct buf *out, int32_t value)
{
    if (value != SUMMARY_UNKNOWN)
        buf_printf(out, ":%" PRId32, value);
    else
        buf_append_str(out, ":");
}

static void put_row(struct buf *out, const struct summary *summary)
{
    for (size_t i = 0; i < summary->row_count; i++) {
        const struct summary_source *source = &summary->row[i];

        buf_printf(out, "%s%08" PRIx32 ":%u:%u", i ? "," : " row=", source->who, source->got, source->lost);
        put_maybe(out, source->late_ms);
        put_maybe(out, source->gap_ms);
    }
}

static void put_beats(struct buf *out, const struct summary_beats *beats)
{
    if (!beats->window_ms)
        return;
    buf_printf(out, " beats=%" PRIu32 ":%" PRIu32 ":%08" PRIx32 ":%d", beats->count, beats->window_ms, beats->channels, beats->all);
    for (size_t i = 0; i < beats->shard_count; i++)
        buf_printf(out, "%s%08" PRIx32, i ? "," : " shards=", beats->shards[i]);
}

static void put_verdict(struct buf *out, const struct summary *summary)
{
    buf_printf(out, " word=%s since=%" PRIu64 " stand=%s min=%" PRIu32 "%s", fleet_word_name(summary->word), summary->since_ms,
               fleet_stand_name(summary->stand), summary->min.count, summary->min.percent ? "%" : "");
    if (summary->fault)
        buf_printf(out, " fault=%" PRId64 " for=%" PRIu64, summary->fault_key_ms, summary->fault_for_ms);
    if (summary->cause[0])
        buf_printf(out, " cause=%s scope=%s", summary->cause, scope_name(summary->scope));
    if (summary->have_connections)
        buf_printf(out, " conns=%" PRIu32, summary->connections);
    put_kinds(out, " taken=", summary->taken);
    put_kinds(out, " refused=", summary->refused);
    if (summary->release[0])
        buf_printf(out, " release=%s", summary->release);
    if (summary->public_path != FLEET_PUBLIC_UNSEEN)
        buf_printf(out, " public=%s:%" PRIu64, summary->public_path == FLEET_PUBLIC_FAIL ? "fail" : "pass", summary->public_age_ms);
}

int summary_write(const struct summary *summary, struct slice key, struct buf *out)
{
    struct buf line = BUF_INIT(SUMMARY_WIRE_MAX);
    char mac[SUMMARY_MAC_HEX + 1];
    int rc;

    panic_if(summary->row_count > SUMMARY_ROW_MAX || summary->beats.shard_count > SUMMARY_SHARDS_MAX);
    buf_printf(&line, SUMMARY_FORM " id=%s region=%s group=%s version=%s role=%s run=%" PRIu64 ".%08" PRIx32, summary->id,
               summary->region, summary->group, summary->version, summary->watcher ? "watcher" : "server", summary->run_ms,
               summary->nonce);
    buf_printf(&line, " seq=%" PRIu64 " sent=%" PRId64 " every=%" PRIu32, summary->seq, summary->sent_ms, summary->every_ms);
    put_verdict(&line, summary);
    put_beats(&line, &summary->beats);
    panic_if(line.len > SUMMARY_MAX);
    put_row(&line, summary);
    if (key.len) {
        summary_mac(buf_slice(&line), key, mac);
        buf_printf(&line, SUMMARY_MAC_WORD "%s", mac);
    }
    rc = buf_append_slice(out, buf_slice(&line));
    buf_fini(&line);
    return rc;
}
