/*
 * Summaries of the fleet, as anybody may send them. What is taken must be written again as it was meant, within the bounds of its form; and a table that is
 * given the same lines, cut at line breaks, keeps its promises whatever they are.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/fleet/delays.h"
#include "agent/fleet/findings.h"
#include "agent/fleet/members.h"
#include "agent/fleet/min_ready.h"
#include "agent/fleet/outside.h"
#include "agent/fleet/rollout.h"
#include "agent/fleet/row.h"
#include "agent/fleet/together.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_line(struct slice line)
{
    static struct summary first, again;
    struct buf text = BUF_INIT(SUMMARY_WIRE_MAX), twice = BUF_INIT(SUMMARY_WIRE_MAX);

    if (summary_read(line, slice_make(NULL, 0), &first) != FLEET_REFUSED_NONE)
        return;
    panic_if(summary_write(&first, slice_str("key"), &text) < 0);
    panic_if(summary_read(buf_slice(&text), slice_str("key"), &again) != FLEET_REFUSED_NONE);
    panic_if(summary_write(&again, slice_str("key"), &twice) < 0);
    panic_if(!slice_equal(buf_slice(&text), buf_slice(&twice)));
    buf_fini(&text);
    buf_fini(&twice);
}

/* Rows and published heartbeats of anybody, with one that has heard some of them. */
static void check_matrix(const struct members *members, uint64_t now_ms)
{
    static const char *const regions[] = { "eu-west", "us" };
    static struct fleet_heard heard;
    static struct findings_kept kept;
    struct summary_source row[SUMMARY_ROW_MAX];
    struct fleet_delay_view delays[FLEET_VIEW_DELAYS_MAX];
    struct matrix_finding found[FINDINGS_MAX];
    size_t turn = 0, count;

    heard.count = 1;
    heard.region = "us";
    heard.cells[0].who = members_count(members) ? members_at(members, 0)->who : 1;
    heard.cells[0].lost = 3;
    heard.whole = true;
    heard.able_ms = UINT32_MAX;
    heard.beats = (struct summary_beats){ .count = 1, .window_ms = 1, .channels = 0x5b0c91e4 };
    count = row_make(&heard, members, now_ms, &turn, row);
    panic_if(count > SUMMARY_ROW_MAX);
    const struct matrix_own own = { "own", "us", true, row, count, &heard.beats };
    count = matrix_judge(&own, members, now_ms, found, FINDINGS_MAX);
    for (size_t i = 0; i < count && i < FINDINGS_MAX; i++)
        panic_if(!found[i].who && found[i].cause != MATRIX_SHARD_LOST);
    findings_note(&kept, found, count < FINDINGS_MAX ? count : FINDINGS_MAX, now_ms, NULL, NULL);
    panic_if(kept.count > FINDINGS_MAX);
    panic_if(delays_by_region(&own, members, regions, 2, delays) > FLEET_VIEW_DELAYS_MAX);
}

static void check_findings(struct members *members, struct rollout *rollout, uint64_t now_ms)
{
    const struct outside_own outside_own = { "own", FLEET_PUBLIC_FAIL, 1000, now_ms, 5000 };
    const struct rollout_own rollout_own = { .id = "own", .version = "1", .begun_ms = 1000, .version_ms = 1000 };
    struct outside outside;
    struct rollout_found found;
    char text[224];

    outside_judge(&outside_own, members, now_ms, &outside);
    panic_if(outside.failing > outside.looking || outside.count > OUTSIDE_REGIONS_MAX);
    for (size_t i = 0; i < outside.count; i++)
        panic_if(outside.regions[i].alone && (outside.down || outside.regions[i].getting_in < OUTSIDE_OTHERS_MIN));
    for (size_t i = 0; i < members_count(members); i++)
        rollout_note(rollout, members_at(members, i), now_ms);
    rollout_judge(rollout, members, &rollout_own, now_ms, &found);
    panic_if(found.changed > found.of || (found.announced && !found.under_way) || (found.versions > 1 && !found.from));
    rollout_say(&found, text, sizeof text);
}

static void check_table(struct members *members, uint64_t now_ms)
{
    struct min_ready min_ready = { 0 };
    struct together together = { 0 };
    struct min_ready_input input = {
        .now_ms = now_ms, .linked = true, .every_ms = 5000, .min = { 50, true }, .id = "own", .fault = true, .last_seq = 1
    };
    struct together_own own = { .settled = true, .counts = true, .fault = true, .cause = "x", .fault_since_ms = now_ms };

    check_matrix(members, now_ms);
    together_judge(&together, members, &own, now_ms);
    min_ready_decide(&min_ready, members, &input);
    for (size_t i = 0; i < members_count(members); i++) {
        const struct member *member = members_at(members, i);
        int32_t ahead_ms, error_ms;

        panic_if(members_find(members, member->id) != member);
        panic_if(member->heard_ms > now_ms || member->since_ms > now_ms || member->fault_since_ms > now_ms);
        member_clock(member, fleet_hash("own"), &ahead_ms, &error_ms);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct members *members =
        members_new(&(struct members_conf){ .id = "own", .group = "chat", .run_ms = 5, .expire_ms = 20000, .max = 8, .seed = 1 });
    struct rollout rollout = { 0 };
    uint64_t now_ms = 1000;

    for (size_t from = 0; from <= len; now_ms += 3000) {
        const uint8_t *end = memchr(data + from, '\n', len - from);
        size_t n = end ? (size_t)(end - data) - from : len - from;
        struct slice line = slice_make(data + from, n);

        check_line(line);
        members_take(members, line, slice_make(NULL, 0), now_ms, 1000, NULL, NULL);
        check_table(members, now_ms);
        check_findings(members, &rollout, now_ms);
        from += n + 1;
    }
    members_sweep(members, now_ms + 20000);
    members_free(members);
    return 0;
}
