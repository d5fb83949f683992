/*
 * Rounds that only dial (agent/core/dialing.h). Called by probes; owns the dial of the round and the times in its report, and leaves the
 * judgement of a success to the probe.
 */
#include "agent/core/dialing.h"

#include "agent/core/run_report.h"

static void fill(struct run *run)
{
    const struct dialing *dialing = run->state;

    run_report_dial(run, &dialing->report, dialing->target.tls);
}

static void on_open(void *user, struct stream *stream)
{
    struct run *run = user;
    struct dialing *dialing = run->state;

    dialing->dial = NULL;
    if (stream_is_tls(stream))
        stream_tls_info(stream, &dialing->report.tls);
    stream_tcp(stream, &run->trace->tcp);
    stream_close_now(stream);
    fill(run);
    dialing->judge(run, &dialing->report);
}

static void fail(struct run *run, const struct err *err)
{
    fill(run);
    run->report.phase = reason_phase(err->reason);
    run_finish_err(run, err);
}

static void on_fail(void *user, const struct err *err)
{
    struct run *run = user;
    struct dialing *dialing = run->state;

    dialing->dial = NULL;
    fail(run, err);
}

static const struct dial_events dial_events = { on_open, on_fail };

void dialing_start(struct run *run, const struct dial_target *target,
                   void (*judge)(struct run *run, const struct dial_report *report))
{
    struct dialing *dialing = run->state;

    dialing->target = *target;
    dialing->target.each = run->each;
    dialing->target.trace = run->trace;
    dialing->target.trace_number = trace_connection(run->trace);
    dialing->judge = judge;
    run->report.phase = PHASE_RESOLVE;
    dialing->dial = dial_start(run->loop, &dialing->target, &dial_events, run, &dialing->report);
}

void dialing_on_deadline(struct run *run)
{
    struct dialing *dialing = run->state;
    struct err err;

    dial_timeout_err(&dialing->target, &dialing->report, (uint64_t)run->conf->timeout_ms, &err);
    fail(run, &err);
}

void dialing_stop(struct run *run)
{
    struct dialing *dialing = run->state;

    if (dialing->dial)
        dial_cancel(dialing->dial);
    dialing->dial = NULL;
}
