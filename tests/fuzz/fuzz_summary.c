/*
 * Summaries of the fleet, as anybody may send them. What is taken must be written again as it was meant, within the bounds of its form; and a table that is
 * given the same lines, cut at line breaks, keeps its promises whatever they are.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/fleet/members.h"
#include "agent/fleet/min_ready.h"
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

static void check_table(struct members *members, uint64_t now_ms)
{
    struct min_ready min_ready = { 0 };
    struct together together = { 0 };
    struct min_ready_input input = {
        .now_ms = now_ms, .linked = true, .every_ms = 5000, .min = { 50, true }, .id = "own", .fault = true, .last_seq = 1
    };
    struct together_own own = { .settled = true, .counts = true, .fault = true, .cause = "x", .fault_since_ms = now_ms };

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
    uint64_t now_ms = 1000;

    for (size_t from = 0; from <= len; now_ms += 3000) {
        const uint8_t *end = memchr(data + from, '\n', len - from);
        size_t n = end ? (size_t)(end - data) - from : len - from;
        struct slice line = slice_make(data + from, n);

        check_line(line);
        members_take(members, line, slice_make(NULL, 0), now_ms, 1000, NULL, NULL);
        check_table(members, now_ms);
        from += n + 1;
    }
    members_sweep(members, now_ms + 20000);
    members_free(members);
    return 0;
}
