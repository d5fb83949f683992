/*
 * Owns the format of the history's file (agent/report/history_file.h). Called by agent/run/agent_history.c and by its fuzz target. Bytes that
 * were read are foreign: each count, time and bin is looked at before it is kept.
 */
#include "agent/report/history_file.h"

#include <string.h>

#include "agent/base/mem.h"
#include "agent/conf/conf.h"
#include "agent/proto/digest.h"
#include "agent/report/diagnose_rules.h"
#include "agent/report/history_impl.h"

static const char head[] = "wshealthd history ", version[] = "1\n";
enum {
    VERSION_AT = sizeof head - 1,
    SUM_AT = VERSION_AT + sizeof version - 1,
    SUM_BYTES = 32,
    BODY_AT = SUM_AT + SUM_BYTES,
    FLAG_PUBLIC = 1,
    FLAG_RTT = 2,
    FLAG_CONNECTIONS = 4,
    FLAG_BEGUN = 8,
};
/* A time has a year of four digits, or it cannot be printed. */
#define TIME_MAX INT64_C(253402300799999)

static const char *const words[] = { "ready", "degraded", "not ready", "draining", "starting" };
static const char *const worsts[] = { "degraded", "not ready", "not live" };
enum { WORDS = sizeof words / sizeof *words, WORSTS = sizeof worsts / sizeof *worsts };

/* --- writing ------------------------------------------------------------------------------------------------------------ */

static void put_number(struct buf *out, uint64_t value, size_t bytes)
{
    uint8_t *at = buf_reserve(out, bytes);

    if (!at)
        return;
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
    out->len += bytes;
}

static void put_text(struct buf *out, const char *text)
{
    size_t len = strlen(text);

    put_number(out, len, 2);
    buf_append(out, text, len);
}

static uint64_t index_of(const char *const *list, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], word) == 0)
            return i;
    return count;
}

static void put_changes(const struct history *history, struct buf *out)
{
    put_number(out, history->change_count, 2);
    for (size_t i = 0; i < history->change_count; i++) {
        const struct history_change *change = &history->changes[i];

        put_number(out, (uint64_t)change->at_ms, 8);
        put_number(out, index_of(words, WORDS, change->word), 1);
        put_number(out, change->live, 1);
        put_text(out, change->cause);
        put_text(out, change->sentence);
        put_text(out, change->plain);
    }
}

static void put_incidents(const struct history *history, struct buf *out)
{
    put_number(out, history->incident_count, 2);
    for (size_t i = 0; i < history->incident_count; i++) {
        const struct history_incident *incident = &history->incidents[i];

        put_number(out, (uint64_t)incident->begin_ms, 8);
        put_number(out, (uint64_t)incident->end_ms, 8);
        put_number(out, index_of(worsts, WORSTS, incident->worst), 1);
        put_text(out, incident->cause);
        put_text(out, incident->sentence);
        put_text(out, incident->plain);
        put_number(out, incident->changes, 4);
        put_number(out, incident->cut, 1);
    }
}

static void put_bins(const uint16_t bins[HISTORY_BINS], struct buf *out)
{
    size_t count_at = out->len, count = 0;

    put_number(out, 0, 1);
    for (unsigned bin = 0; bin < HISTORY_BINS; bin++) {
        if (!bins[bin])
            continue;
        put_number(out, bin, 1);
        put_number(out, bins[bin], 2);
        count++;
    }
    if (count_at < out->len)
        out->data[count_at] = (uint8_t)count;
}

static void put_bucket(const struct history_check *check, size_t place, struct buf *out)
{
    put_number(out, place, 2);
    put_number(out, check->rounds[place], 2);
    put_number(out, check->failures[place], 2);
    put_number(out, check->warnings[place], 2);
    buf_append(out, check->quantiles[place], HISTORY_QUANTILES);
    if (check->connections)
        put_number(out, check->connections[place], 4);
}

static void put_check(const struct history_check *check, struct buf *out)
{
    size_t count = 0;

    put_text(out, check->name);
    put_text(out, check->type);
    put_number(out,
               (check->is_public ? FLAG_PUBLIC : 0) | (check->rtt ? FLAG_RTT : 0) | (check->connections ? FLAG_CONNECTIONS : 0) |
                   (check->begun ? FLAG_BEGUN : 0),
               1);
    put_number(out, (uint64_t)check->newest, 8);
    for (size_t place = 0; place < HISTORY_BUCKETS; place++)
        count += check->rounds[place] != 0;
    put_number(out, count, 2);
    for (size_t place = 0; place < HISTORY_BUCKETS; place++)
        if (check->rounds[place])
            put_bucket(check, place, out);
    for (int i = 0; i < HISTORY_HOUR; i++)
        put_bins(check->bins[i], out);
}

void history_encode(const struct history *history, int64_t saved_ms, struct buf *out)
{
    static const uint8_t no_sum[SUM_BYTES];
    size_t start = out->len;
    uint8_t sum[DIGEST_MAX];

    buf_append_str(out, head);
    buf_append_str(out, version);
    buf_append(out, no_sum, SUM_BYTES);
    put_number(out, (uint64_t)saved_ms, 8);
    put_number(out, (uint64_t)history->seen_ms, 8);
    put_number(out, history->open, 1);
    put_changes(history, out);
    put_incidents(history, out);
    put_number(out, history->check_count, 2);
    for (size_t i = 0; i < history->check_count; i++)
        put_check(history->checks[i], out);
    digest_hash(DIGEST_SHA256, slice_skip(buf_slice(out), start + BODY_AT), sum);
    memcpy(out->data + start + SUM_AT, sum, SUM_BYTES);
}

/* --- reading ------------------------------------------------------------------------------------------------------------ */

struct reader {
    struct slice rest;
    bool failed;   /* too short, or a value that cannot be */
    bool left_out; /* the last incident: its cause is not known */
};

static uint64_t get_number(struct reader *in, size_t bytes)
{
    uint64_t value = 0;

    if (in->rest.len < bytes) {
        in->failed = true;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)in->rest.data[i] << (8 * i);
    in->rest = slice_skip(in->rest, bytes);
    return value;
}

static uint64_t get_below(struct reader *in, size_t bytes, uint64_t limit)
{
    uint64_t value = get_number(in, bytes);

    if (value < limit)
        return value;
    in->failed = true;
    return 0;
}

static int64_t get_time(struct reader *in)
{
    return (int64_t)get_below(in, 8, (uint64_t)TIME_MAX + 1);
}

/* Of less than size bytes, its end included. */
static void get_text(struct reader *in, char *out, size_t size)
{
    size_t len = (size_t)get_below(in, 2, size);

    if (in->rest.len < len) {
        in->failed = true;
        len = 0;
    }
    if (len)
        memcpy(out, in->rest.data, len);
    out[len] = 0;
    in->rest = slice_skip(in->rest, len);
}

/* NULL: this version does not know it. */
static const char *get_cause(struct reader *in)
{
    char name[64];

    get_text(in, name, sizeof name);
    for (unsigned i = 0; i < CAUSE_COUNT; i++)
        if (strcmp(cause_name((enum cause)i), name) == 0)
            return cause_name((enum cause)i);
    return NULL;
}

static void get_change(struct reader *in, struct history *history)
{
    char sentence[HISTORY_TEXT_MAX], plain[HISTORY_TEXT_MAX];
    struct history_change change = { .sentence = sentence, .plain = plain };

    change.at_ms = get_time(in);
    change.word = words[get_below(in, 1, WORDS)];
    change.live = get_below(in, 1, 2);
    change.cause = get_cause(in);
    get_text(in, sentence, sizeof sentence);
    get_text(in, plain, sizeof plain);
    if (!in->failed && change.cause)
        history_put_change(history, &change);
}

static void get_incident(struct reader *in, struct history *history)
{
    char sentence[HISTORY_TEXT_MAX], plain[HISTORY_TEXT_MAX];
    struct history_incident incident = { .sentence = sentence, .plain = plain };

    incident.begin_ms = get_time(in);
    incident.end_ms = get_time(in);
    incident.worst = worsts[get_below(in, 1, WORSTS)];
    incident.cause = get_cause(in);
    get_text(in, sentence, sizeof sentence);
    get_text(in, plain, sizeof plain);
    incident.changes = (unsigned)get_number(in, 4);
    incident.cut = get_below(in, 1, 2);
    in->left_out = !incident.cause;
    if (!in->failed && incident.cause)
        history_put_incident(history, &incident);
}

static void get_bins(struct reader *in, uint16_t bins[HISTORY_BINS])
{
    for (uint64_t count = get_below(in, 1, HISTORY_BINS + 1); count > 0 && !in->failed; count--) {
        uint64_t bin = get_below(in, 1, HISTORY_BINS);

        bins[bin] = (uint16_t)get_number(in, 2);
    }
}

static void get_bucket(struct reader *in, struct history_check *check)
{
    size_t place = (size_t)get_below(in, 2, HISTORY_BUCKETS);

    check->rounds[place] = (uint16_t)get_number(in, 2);
    check->failures[place] = (uint16_t)get_number(in, 2);
    check->warnings[place] = (uint16_t)get_number(in, 2);
    in->failed = in->failed || check->failures[place] + check->warnings[place] > check->rounds[place];
    for (int i = 0; i < HISTORY_QUANTILES; i++) {
        uint8_t bin = (uint8_t)get_number(in, 1);

        in->failed = in->failed || (bin >= HISTORY_BINS && bin != HISTORY_NO_BIN);
        /* all three are there, or none */
        in->failed = in->failed || (i && (bin == HISTORY_NO_BIN) != (check->quantiles[place][0] == HISTORY_NO_BIN));
        check->quantiles[place][i] = bin;
    }
    if (check->connections)
        check->connections[place] = (uint32_t)get_number(in, 4);
}

static void get_check(struct reader *in, struct history *history)
{
    char name[HISTORY_NAME_BYTES], type[HISTORY_TYPE_BYTES];
    struct history_check *check;

    get_text(in, name, sizeof name);
    get_text(in, type, sizeof type);
    uint64_t flags = get_below(in, 1, 16);
    int64_t newest = (int64_t)get_below(in, 8, TIME_MAX / HISTORY_BUCKET_MS);

    if (in->failed)
        return;
    if (history_knows(history, name, type, flags & FLAG_PUBLIC)) {
        in->failed = true;
        return;
    }
    check = history_find_or_add(history, name, type, flags & FLAG_PUBLIC);
    check->begun = flags & FLAG_BEGUN;
    check->rtt = flags & FLAG_RTT;
    check->newest = newest;
    if (flags & FLAG_CONNECTIONS)
        check->connections = mem_alloc(HISTORY_BUCKETS * sizeof *check->connections);
    for (uint64_t count = get_below(in, 2, check->begun ? HISTORY_BUCKETS + 1 : 1); count > 0 && !in->failed; count--)
        get_bucket(in, check);
    for (int i = 0; i < HISTORY_HOUR; i++)
        get_bins(in, check->bins[i]);
}

static void get_body(struct reader *in, struct history *history, int64_t *saved_ms)
{
    bool open;

    *saved_ms = get_time(in);
    history->seen_ms = get_time(in);
    open = get_below(in, 1, 2);
    for (uint64_t count = get_below(in, 2, HISTORY_CHANGES_MAX + 1); count > 0 && !in->failed; count--)
        get_change(in, history);
    for (uint64_t count = get_below(in, 2, HISTORY_INCIDENTS_MAX + 1); count > 0 && !in->failed; count--)
        get_incident(in, history);
    for (uint64_t count = get_below(in, 2, CONF_CHECKS_MAX + 1); count > 0 && !in->failed; count--)
        get_check(in, history);
    in->failed = in->failed || in->rest.len;
    history_settle_incidents(history, open && !in->left_out);
}

static int check_head(struct slice bytes, struct err *err)
{
    uint8_t sum[DIGEST_MAX] = { 0 };

    if (bytes.len == 0)
        return err_set(err, REASON_NONE, 0, "is empty");
    if (bytes.len < VERSION_AT || memcmp(bytes.data, head, VERSION_AT) != 0)
        return err_set(err, REASON_NONE, 0, "is no history: it does not begin with '%.*s'", (int)VERSION_AT - 1, head);
    if (bytes.len >= SUM_AT && memcmp(bytes.data + VERSION_AT, version, sizeof version - 1) != 0)
        return err_set(err, REASON_NONE, 0, "is of another version, want version %.*s", (int)sizeof version - 2, version);
    if (bytes.len >= BODY_AT)
        digest_hash(DIGEST_SHA256, slice_skip(bytes, BODY_AT), sum);
    if (bytes.len < BODY_AT || memcmp(bytes.data + SUM_AT, sum, SUM_BYTES) != 0)
        return err_set(err, REASON_NONE, 0, "is cut short or was changed: its checksum does not fit");
    return 0;
}

struct history *history_decode(struct slice bytes, int64_t *saved_ms, struct err *err)
{
    struct reader in = { slice_skip(bytes, bytes.len < BODY_AT ? bytes.len : BODY_AT), false, false };
    struct history *history;

    if (check_head(bytes, err) < 0)
        return NULL;
    history = history_new();
    get_body(&in, history, saved_ms);
    if (in.failed) {
        history_free(history);
        err_set(err, REASON_NONE, 0, "holds what no agent writes, though its checksum fits");
        return NULL;
    }
    return history;
}
