/*
 * The plan of a payload round: which form and size is tried next, whether the round has room for it, and the message itself. Called by
 * probes/payload.c, which sends it and notes what becomes of it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/proto/template.h"
#include "probes/payload_round.h"

enum {
    SMALL_BYTES = 1024,
    SENT_MAX = 4 << 20, /* of a round, in bytes */
    SENT_MAX_ONCE = 32 << 20,
    BREAKS_MAX = 6, /* connections of a round that may be broken */
    BREAKS_MAX_ONCE = 40,
};

const struct payload_opts *payload_opts_of(const struct run *run)
{
    return run->opts;
}

size_t payload_max(const struct run *run)
{
    return (size_t)payload_opts_of(run)->max;
}

size_t payload_small(const struct run *run)
{
    return payload_max(run) < SMALL_BYTES ? payload_max(run) : SMALL_BYTES;
}

/* --- the message --- */

static int expand(struct run *run, struct slice payload, struct buf *out, struct err *err)
{
    struct payload_state *state = run->state;
    struct template_vars vars = {
        .id = run->conf->name, .seq = state->seq, .now_ms = clock_wall_ms(), .payload = payload, .json = true
    };

    if (template_expand(slice_str(payload_opts_of(run)->wrap), &vars, out, err) == 0)
        return 0;
    err->reason = REASON_AGENT_ERROR;
    return err_prefix(err, "wrap");
}

/* How many bytes stand around the payload. */
static size_t overhead_of(struct run *run)
{
    struct buf empty = BUF_INIT(PAYLOAD_SIZE_MAX);
    struct err err;
    size_t len = 0;

    if (payload_opts_of(run)->wrap && expand(run, slice_str(""), &empty, &err) == 0)
        len = empty.len;
    buf_fini(&empty);
    return len;
}

size_t payload_least(struct run *run)
{
    return overhead_of(run) + PAYLOAD_ID_LEN;
}

/* A message of so many bytes with all around it, where the envelope leaves room. */
int payload_build(struct run *run, unsigned form, size_t size, struct buf *message, struct err *err)
{
    struct payload_state *state = run->state;
    size_t around, len;
    uint64_t unique;
    uint8_t *at;

    state->seq++;
    around = overhead_of(run);
    len = size > around + PAYLOAD_ID_LEN ? size - around : PAYLOAD_ID_LEN;
    random_bytes(&unique, sizeof unique);
    snprintf(state->id, sizeof state->id, "%016" PRIx64, unique);
    buf_reset(&state->payload);
    at = buf_reserve(&state->payload, len);
    panic_if(!at);
    payload_fill(form, payload_opts_of(run)->wrap, state->id, (char *)at, len);
    state->payload.len = len;
    if (payload_opts_of(run)->wrap)
        return expand(run, buf_slice(&state->payload), message, err);
    return buf_append_slice(message, buf_slice(&state->payload));
}

/* --- which message is next --- */

unsigned payload_forms(const struct run *run)
{
    const struct payload_state *state = run->state;
    const struct payload_opts *opts = payload_opts_of(run);
    unsigned kinds = opts->kinds ? opts->kinds : opts->wrap ? KIND_TEXT : KIND_TEXT | KIND_BINARY, forms = 0;

    for (unsigned form = 0; form < FORM_COUNT; form++) {
        bool kind = kinds & (form & FORM_BINARY ? KIND_BINARY : KIND_TEXT);

        if (kind && (opts->fragments || !(form & FORM_PARTS)) && (state->report.deflate || !(form & FORM_PACKED)))
            forms |= 1U << form;
    }
    return forms;
}

unsigned payload_first_form(unsigned forms)
{
    unsigned form = 0;

    while (form < FORM_COUNT && !(forms & 1U << form))
        form++;
    return form;
}

static unsigned form_after(unsigned form, unsigned forms)
{
    do
        form = (form + 1) % FORM_COUNT;
    while (!(forms & 1U << form));
    return form;
}

/* All forms that have not passed yet; else the next in turn. What has failed is tried again, beside the simplest, which tells a limit from a server
 * that echoes nothing any more. */
void payload_choose(struct run *run)
{
    struct payload_state *state = run->state;
    unsigned usable = payload_forms(run), failing = 0;

    state->passed &= usable;
    for (unsigned form = 0; form < FORM_COUNT; form++) {
        struct payload_limit *limit = &state->limits[form];

        if (!(usable & 1U << form))
            memset(limit, 0, sizeof *limit); /* compression was negotiated once, and is not now */
        limit->confirmed = limit->confirmed && limit->breaks > payload_max(run);
        failing |= limit->breaks && limit->breaks <= payload_max(run) ? 1U << form : 0;
    }
    state->due = failing ? failing | 1U << payload_first_form(usable) : usable & ~state->passed;
    if (!state->due) {
        state->turn = form_after(state->turn, usable);
        state->due = 1U << state->turn;
    }
    if (!state->looking && payload_opts_of(run)->probe_to > payload_opts_of(run)->max && --state->rounds_to_look < 0) {
        state->looking = true;
        state->look_form = form_after(state->look_form, usable);
        state->look_again = state->limits[state->look_form].passes > payload_max(run);
        state->limits[state->look_form].confirmed = false;
    }
}

/* Of what must pass. False: all of it has, or it is known to break, and at which byte. */
bool payload_next_due(struct run *run)
{
    struct payload_state *state = run->state;

    for (; state->due; state->due &= ~(1U << state->form)) {
        struct payload_limit *limit;

        state->form = payload_first_form(state->due);
        limit = &state->limits[state->form];
        if (limit->breaks && limit->breaks <= payload_max(run))
            state->size = payload_next(limit, payload_least(run), payload_max(run));
        else
            state->size = !state->small_passed ? payload_small(run) : !state->large_passed ? payload_max(run) : 0;
        if (state->size)
            return true;
        if (limit->breaks && limit->breaks <= payload_max(run))
            return false;
        state->passed |= 1U << state->form;
        state->small_passed = state->large_passed = false;
    }
    return false;
}

bool payload_next_beyond(struct run *run)
{
    struct payload_state *state = run->state;
    struct payload_limit *limit = &state->limits[state->look_form];

    if (!state->looking)
        return false;
    state->form = state->look_form;
    if (limit->passes < payload_max(run))
        limit->passes = payload_max(run);
    state->size =
        state->look_again ? limit->passes : payload_next(limit, payload_least(run), (size_t)payload_opts_of(run)->probe_to);
    if (state->size)
        return true;
    state->looking = false;
    state->rounds_to_look = payload_opts_of(run)->every - 1;
    return false;
}

/* How long an echo is waited for: what must pass gets half of the round. */
uint64_t payload_patience_ms(const struct run *run)
{
    const struct payload_state *state = run->state;
    uint64_t timeout_ms = (uint64_t)run->conf->timeout_ms;

    return !state->due || state->limits[state->form].breaks ? timeout_ms / 4 : timeout_ms / 2;
}

bool payload_has_room(const struct run *run)
{
    const struct payload_state *state = run->state;
    uint64_t spent_ms = (clock_now_ns() - run->started_ns) / NS_PER_MS;
    size_t sent_max = run->once ? SENT_MAX_ONCE : SENT_MAX;
    unsigned breaks_max = run->once ? BREAKS_MAX_ONCE : BREAKS_MAX;

    if (!state->opened) /* the first message of a round */
        return true;
    return spent_ms + payload_patience_ms(run) <= (uint64_t)run->conf->timeout_ms && state->sent + state->size <= sent_max &&
           state->breaks < breaks_max;
}
