/*
 * The history's file. The first byte says how: 0, the bytes as they are; else the rest is a body that gets a head and a checksum that
 * fits. What is taken can be read, goes on, is written, and read again the same.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/core/view.h"
#include "agent/proto/digest.h"
#include "agent/report/history_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char head[] = "wshealthd history 1\n";
enum { HEAD = sizeof head - 1, SUM = 32 };

static void seal(const uint8_t *data, size_t len, struct buf *out)
{
    uint8_t sum[DIGEST_MAX];

    digest_hash(DIGEST_SHA256, slice_make(data, len), sum);
    buf_append_str(out, head);
    buf_append(out, sum, SUM);
    buf_append(out, data, len);
}

static void check_readers(const struct history *history, int64_t now_ms)
{
    struct history_incident incidents[HISTORY_INCIDENTS_MAX];
    size_t count = history_incidents(history, 0, incidents, HISTORY_INCIDENTS_MAX);
    const struct history_check *check = history_find(history, "ping");
    struct history_bucket bucket;
    struct history_quantiles hour;

    panic_if(history_change_count(history) > HISTORY_CHANGES_MAX);
    for (size_t i = 0; i < count; i++)
        panic_if(!incidents[i].cause || !incidents[i].worst || !incidents[i].sentence || !incidents[i].plain);
    if (!check)
        return;
    for (unsigned ago = 0; ago <= HISTORY_BUCKETS; ago++)
        if (history_bucket_at(check, ago, now_ms, &bucket))
            panic_if(bucket.failures + bucket.warnings > bucket.rounds);
    (void)history_hour(check, now_ms, &hour);
}

static void go_on(struct history *history, int64_t now_ms)
{
    struct check_view view = {
        .name = "ping", .type = "ping", .path = "local", .judged = true, .have_rtt = true, .rtt_ns = 100000
    };
    const struct history_change change = { now_ms, "not ready", true, "server_down", "x", "" };

    view.last_ms = now_ms + 1;
    history_note_round(history, &view, now_ms);
    history_note_change(history, &change);
}

static void check_same(const struct history *history, int64_t saved_ms)
{
    struct buf first = BUF_INIT(HISTORY_FILE_MAX), second = BUF_INIT(HISTORY_FILE_MAX);
    struct history *again;
    int64_t again_ms;

    history_encode(history, saved_ms, &first);
    again = history_decode(buf_slice(&first), &again_ms, NULL);
    panic_if(!again || again_ms != saved_ms);
    history_encode(again, again_ms, &second);
    panic_if(first.len != second.len || memcmp(first.data, second.data, first.len) != 0);
    history_free(again);
    buf_fini(&first);
    buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf bytes = BUF_INIT(HISTORY_FILE_MAX);
    struct history *history, *now;
    int64_t saved_ms;

    if (len && data[0])
        seal(data + 1, len - 1, &bytes);
    else
        buf_append(&bytes, data, len);
    history = history_decode(slice_make(bytes.data, bytes.len), &saved_ms, NULL);
    buf_fini(&bytes);
    if (!history)
        return 0;
    check_readers(history, saved_ms);
    check_same(history, saved_ms);
    now = history_new();
    go_on(now, saved_ms);
    history_prepend(now, history, saved_ms);
    go_on(now, saved_ms + 1000000);
    check_readers(now, saved_ms);
    history_free(now);
    return 0;
}
