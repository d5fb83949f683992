/*
 * `broker`: one exists for each broker by itself. A round asks the broker whether it is up, writable and delivering; that it goes down is
 * an event, judged at once. What it means is said by the reason's scope: shared.
 */
#include <string.h>

#include "agent/core/broker.h"
#include "agent/core/probe.h"
#include "probes/registry.h"

struct broker_opts {
    char *broker;
};

struct broker_check_state {
    struct broker *broker;
    bool watching;
    struct broker_watcher watch;
    struct broker_request request;
};

static void on_change(void *user, bool up, const struct err *err)
{
    if (!up)
        run_event(user, err);
}

static void note_dropped(struct run *run)
{
    const struct broker_check_state *state = run->state;

    run->stats->dropped = broker_unread_count(state->broker);
}

static void on_answer(void *user, const struct err *err, uint64_t rtt_ns)
{
    struct run *run = user;

    note_dropped(run);
    if (err) {
        run_finish_err(run, err);
        return;
    }
    run->report.have_rtt = true;
    run->report.rtt_ns = rtt_ns;
    run_pass(run, NULL);
}

static void broker_check_start(struct run *run)
{
    const struct broker_opts *opts = run->opts;
    struct broker_check_state *state = run->state;
    struct broker *broker = run_broker(run, opts->broker);

    state->broker = broker;
    note_dropped(run);
    if (!state->watching) {
        state->watching = true;
        state->watch.on_change = on_change;
        state->watch.user = run;
        broker_watch(broker, &state->watch);
    }
    memset(&state->request, 0, sizeof state->request);
    state->request.on_answer = on_answer;
    state->request.user = run;
    broker_probe(broker, &state->request, (uint64_t)run->conf->timeout_ms);
}

/* The request has the same deadline, and either timer may be first. Giving up the connection is an event, which ends the round. */
static void broker_check_on_deadline(struct run *run)
{
    struct broker_check_state *state = run->state;

    if (broker_probe_late(&state->request))
        return;
    broker_request_cancel(&state->request);
    run_finish(run, REASON_BROKER_TIMEOUT, "the broker has not answered in time");
}

static void broker_check_stop(struct run *run)
{
    struct broker_check_state *state = run->state;

    broker_request_cancel(&state->request);
    if (state->watching)
        broker_unwatch(&state->watch);
    state->watching = false;
}

static const struct opt broker_check_rows[] = {
    { .name = "broker", .kind = OPT_STRING, .offset = offsetof(struct broker_opts, broker), .help = "the broker's name" },
    { 0 },
};

const struct probe_type probe_broker = {
    .name = "broker",
    .summary = "A broker is up, writable and delivering; one such check exists for each broker by itself",
    .kind = PROBE_BROKER,
    .rank = 7,
    .opts = broker_check_rows,
    .opts_size = sizeof(struct broker_opts),
    .state_size = sizeof(struct broker_check_state),
    .gates = GATE_READY,
    .session = true,
    .uses_brokers = true,
    .series = SERIES_RTT,
    .timeout_reason = REASON_BROKER_TIMEOUT,
    .start = broker_check_start,
    .on_deadline = broker_check_on_deadline,
    .stop = broker_check_stop,
};
