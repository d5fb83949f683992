/*
 * Runs a probe's steps over one fresh connection (agent/core/talk.h), behind the dialect's connect where it has one. It is the
 * `start`, `on_deadline` and `stop` of the types that have steps; it turns the connection's events into steps, and deadlines into the
 * sentence of the step that was waiting. What a result means is not its business.
 */
#include "agent/core/talk.h"

#include <stdarg.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/client/session.h"
#include "agent/core/run_report.h"

/*
 * A server that ends new connections by itself does so at once, with a code of its own, which echoes nothing: it gets a moment before our
 * close frame. Where `timeout` leaves no more than PART_MIN_MS, whoever is merely slow could not be told from who breaks a rule.
 */
enum { QUIET_MS = 10, PART_MAX_MS = 500, PART_MIN_MS = 100, PART_SHARE = 4 };
/* To look at the goodbye keeps a round waiting, and how a server says it changes with its release: once it was well, a round looks again after
 * this, and the first one that passes after a failure. The others close in the same way, and do not wait for the answer. */
enum { PART_AGAIN_MS = 60000 };

struct talk {
    struct run *run;
    struct session session;
    struct conn_report report;
    size_t step;
    const struct ws_message *current; /* not taken yet; only inside on_message */
    uint64_t received_ns;             /* of the message taken last */
    uint64_t sent_ns;
    uint64_t opened_ns;
    bool in_message, passed; /* the steps are done, and the rest of what came is being looked at */
    bool parting;            /* it has passed, and the goodbye is being said */
    uint16_t part_code;
    uint64_t part_ms; /* the server's close frame is waited for */
    struct timer quiet, within;
    uint64_t parted_ns; /* when its goodbye was found to be well; 0: the next one is looked at */
    int64_t within_ms;  /* of the step that waits; 0: the round's deadline alone counts */
    enum turn (*lost)(struct talk *talk, struct err *err);
    unsigned frames; /* that came since it opened */
    bool timed_out;
    struct err explained; /* for a deadline; text: "" where the step's name must do */
};

static void talk_open_phase(struct talk *talk)
{
    if (talk->opened_ns)
        run_report_phase(talk->run, PHASE_OPEN, true, clock_now_ns() - talk->opened_ns);
}

/* The connection did what it was for. A remark is on what no client minds, though a rule forbids it; NULL: there is none. */
static void end_well(struct talk *talk, enum reason reason, const char *remark)
{
    const struct run *run = talk->run;

    if (!remark)
        run_pass(talk->run, NULL);
    else if (run->type->ignores_remarks && run->type->ignores_remarks(talk_opts(talk)))
        run_pass(talk->run, "%s", remark);
    else
        run_warn(talk->run, reason, "%s", remark);
}

/* The verdict is known and nothing can make it a failure any more. */
static void part_end(struct talk *talk, const char *remark)
{
    timer_stop(&talk->quiet);
    talk->parting = false;
    end_well(talk, REASON_PROTOCOL_ERROR, remark);
}

/* How long the server's close frame is waited for. */
static uint64_t parting_ms(const struct talk *talk)
{
    uint64_t share_ms = (uint64_t)talk->run->conf->timeout_ms / PART_SHARE;

    return share_ms < PART_MAX_MS ? share_ms : PART_MAX_MS;
}

static void on_parted(void *user, const char *remark)
{
    struct talk *talk = user;

    talk->parted_ns = remark ? 0 : clock_now_ns();
    part_end(talk, remark);
}

static void on_quiet(struct timer *timer, void *user)
{
    struct talk *talk = user;

    (void)timer;
    if (conn_part(session_conn(&talk->session), talk->part_code, talk->part_ms) < 0)
        part_end(talk, NULL);
}

static void part(struct talk *talk, uint16_t code, uint64_t wait_ms)
{
    talk->run->report.settled_ns = clock_now_ns();
    talk->part_code = code;
    talk->part_ms = wait_ms;
    talk->parting = true;
    timer_start(&talk->quiet, QUIET_MS);
}

/* Is the round to go on, to see how the server says goodbye? */
static bool talk_parts(struct talk *talk)
{
    struct run *run = talk->run;

    if (!run->type->judges_parting || run->conf->timeout_ms < PART_MIN_MS * PART_SHARE || !session_is_open(&talk->session))
        return false;
    if (talk->parted_ns && clock_now_ns() - talk->parted_ns < PART_AGAIN_MS * NS_PER_MS)
        return false;
    part(talk, WS_CODE_NORMAL, parting_ms(talk));
    return true;
}

static void talk_finish(struct talk *talk)
{
    const char *remark = talk->run->type->steps->name ? NULL : talk->report.remark; /* the handshake's business alone */

    talk_open_phase(talk);
    if (!remark && talk_parts(talk))
        return;
    if (remark)
        talk->run->report.phase = PHASE_UPGRADE;
    end_well(talk, REASON_UPGRADE_INVALID, remark);
}

/* The answer has come. What came with it is looked at first: a frame behind it that breaks a rule is the same server's. */
static void talk_pass(struct talk *talk)
{
    if (talk->in_message)
        talk->passed = true; /* until on_taken, which follows before anything else */
    else
        talk_finish(talk);
}

/* Runs steps until one waits or the round is over. After a finish nothing of the talk is touched: the connection is gone. */
static void talk_advance(struct talk *talk)
{
    const struct step *steps = talk->run->type->steps;

    while (talk->run->active) {
        const struct step *step = &steps[talk->step];

        if (!step->name) {
            talk_pass(talk);
            return;
        }
        switch (step->run(talk)) {
        case TURN_NEXT:
            talk->step++;
            break;
        case TURN_WAIT:
            return;
        case TURN_DONE:
            talk_pass(talk);
            return;
        case TURN_FAIL:
            panic_if(talk->run->active); /* talk_fail and talk_send have told why */
            return;
        }
    }
}

static void on_open(void *user)
{
    struct talk *talk = user;

    run_report_conn(talk->run, &talk->report, talk->run->url->tls);
    talk->run->report.phase = PHASE_OPEN;
    talk->opened_ns = session_opened_ns(&talk->session);
    if (!talk->opened_ns)
        talk->opened_ns = clock_now_ns();
    talk_advance(talk);
}

static void on_message(void *user, const struct ws_message *message, uint64_t received_ns)
{
    struct talk *talk = user;

    if (talk->passed || talk->parting)
        return;
    talk->frames++;
    talk->run->report.spoke = true;
    talk->current = message;
    talk->received_ns = received_ns;
    talk->in_message = !talk->session.speaks; /* a dialogue does not tell what was taken */
    talk_advance(talk);
    talk->in_message = false;
    talk->current = NULL;
}

static void on_taken(void *user)
{
    struct talk *talk = user;

    if (talk->passed)
        talk_finish(talk);
}

static void on_lost(void *user, const struct err *err)
{
    struct talk *talk = user;
    struct run *run = talk->run;

    struct err told = *err;

    if (talk->parting) { /* before our close frame: it ends connections by itself */
        part_end(talk, NULL);
        return;
    }
    if (talk->opened_ns && talk->lost && !talk->passed && talk->lost(talk, &told) == TURN_DONE) {
        if (err->reason == REASON_CLOSED_BY_SERVER)
            run->report.close_code = err->code;
        talk_finish(talk);
        return;
    }
    if (talk->passed && err->reason != REASON_PROTOCOL_ERROR) { /* it may end when it has answered */
        talk_finish(talk);
        return;
    }
    if (!talk->opened_ns && session_opened_ns(&talk->session)) { /* lost before the dialect's connect was confirmed */
        talk->opened_ns = session_opened_ns(&talk->session);
        run_report_conn(run, &talk->report, run->url->tls);
        run->report.phase = PHASE_OPEN;
    }
    if (talk->opened_ns) {
        talk_open_phase(talk);
    } else {
        run_report_conn(run, &talk->report, run->url->tls);
        run->report.phase = reason_phase(err->reason);
    }
    if (err->reason == REASON_CLOSED_BY_SERVER || err->reason == REASON_CLOSED_ABNORMAL)
        run->report.close_code = err->code;
    run_finish_err(run, &told);
}

static const struct session_events events = {
    .conn = { .on_open = on_open, .on_message = on_message, .on_taken = on_taken, .on_lost = on_lost, .on_parted = on_parted },
    .dialogue = { .on_ready = on_open, .on_message = on_message, .on_lost = on_lost },
};

static void on_within(struct timer *timer, void *user);

static struct talk *talk_new(struct run *run)
{
    struct talk *talk = mem_alloc(sizeof *talk);

    talk->run = run;
    timer_init(&talk->quiet, run->loop, on_quiet, talk);
    timer_init(&talk->within, run->loop, on_within, talk);
    /* A type without a step judges the handshake, and nothing that a dialect says behind it. */
    session_init(&talk->session, run->type->steps->name && session_must_speak(run->target, run->share));
    return talk;
}

void talk_start(struct run *run)
{
    struct talk *talk = run->talk ? run->talk : (run->talk = talk_new(run));
    struct conn_options options = run_conn_options(run);
    struct err err;

    options.ignores_messages = run->type->ignores_messages;
    memset(&talk->report, 0, sizeof talk->report);
    talk->step = 0;
    talk->current = NULL;
    talk->sent_ns = talk->received_ns = talk->opened_ns = 0;
    talk->frames = 0;
    talk->passed = talk->in_message = talk->parting = talk->timed_out = false;
    talk->explained.text[0] = 0;
    talk->lost = NULL;
    if (run->failed)
        talk->parted_ns = 0;
    run->report.phase = PHASE_RESOLVE;
    if (session_open(&talk->session, &options, run->conf->name, &events, talk, &talk->report, &err) < 0)
        run_finish_err(run, &err);
}

/* The deadline has passed before the steps had their turn. */
static void opening_timed_out(struct talk *talk)
{
    struct run *run = talk->run;
    uint64_t timeout_ms = (uint64_t)run->conf->timeout_ms;
    struct err err;

    if (!conn_flooded(session_conn(&talk->session), &err)) /* a dialect's greeting or confirmation may be somewhere in a flood */
        session_timeout_err(&talk->session, timeout_ms, &err);
    run_report_conn(run, &talk->report, run->url->tls);
    talk->opened_ns = session_opened_ns(&talk->session);
    talk_open_phase(talk);
    run->report.phase = reason_phase(err.reason);
    run_finish_err(run, &err);
}

/* The time of the step that waits is over: its own, or the round's. */
static void talk_late(struct talk *talk, int64_t limit_ms)
{
    struct run *run = talk->run;
    struct err flood;
    char limit[32], h2[CONN_H2_WORDS];

    talk->timed_out = true;
    talk_open_phase(talk);
    if (conn_flooded(session_conn(&talk->session), &flood)) {
        run_finish_err(run, &flood);
        return;
    }
    conn_say_h2(session_conn(&talk->session), h2, sizeof h2);
    text_format_duration(limit_ms, limit, sizeof limit);
    if (talk->explained.text[0])
        run_finish(run, talk->explained.reason, "%s within %s%s", talk->explained.text, limit, h2);
    else
        run_finish(run, run->type->timeout_reason, "no %s within %s%s%s", run->type->steps[talk->step].name, limit,
                   talk->frames ? ", though other frames came" : ", and nothing else either", h2);
}

static void on_within(struct timer *timer, void *user)
{
    struct talk *talk = user;

    (void)timer;
    if (!talk->parting && !talk->passed)
        talk_late(talk, talk->within_ms);
}

void talk_on_deadline(struct run *run)
{
    struct talk *talk = run->talk;

    talk->timed_out = true;
    if (talk->parting)
        part_end(talk, NULL);
    else if (!session_is_open(&talk->session))
        opening_timed_out(talk);
    else
        talk_late(talk, run->conf->timeout_ms);
}

void talk_stop(struct run *run)
{
    struct talk *talk = run->talk;
    bool silent = talk->timed_out && !talk->frames;

    timer_stop(&talk->quiet);
    timer_stop(&talk->within);
    talk->parting = false;
    /* After a failed round no check uses a shared connection any more: a new one tells whether the connection was the fault. */
    if (!run->failed)
        session_leave(&talk->session, WS_CODE_NORMAL);
    else if (run->share && silent)
        session_drop(&talk->session);
    else
        session_close(&talk->session, WS_CODE_NORMAL);
}

void talk_clean(struct run *run)
{
    struct talk *talk = run->talk;

    if (!talk)
        return;
    session_fini(&talk->session);
    mem_free(talk);
    run->talk = NULL;
}

void talk_within(struct talk *talk, int64_t ms)
{
    talk->within_ms = ms;
    timer_stop(&talk->within);
    if (ms > 0)
        timer_start(&talk->within, (uint64_t)ms);
}

void talk_on_lost(struct talk *talk, enum turn (*lost)(struct talk *talk, struct err *err))
{
    talk->lost = lost;
}

enum turn talk_part(struct talk *talk, uint16_t code, int64_t wait_ms)
{
    talk_within(talk, 0);
    talk_open_phase(talk);
    if (talk->session.speaks) {
        session_close(&talk->session, code);
        return TURN_DONE;
    }
    part(talk, code, wait_ms > 0 ? (uint64_t)wait_ms : parting_ms(talk));
    return TURN_WAIT;
}

const struct run *talk_run(const struct talk *talk)
{
    return talk->run;
}

void *talk_state(struct talk *talk)
{
    return talk->run->state;
}

const void *talk_opts(const struct talk *talk)
{
    return talk->run->opts;
}

/*
 * Over a shared connection, others may have sent something just before, to a server that had closed it: then its reset is here before its close
 * frame has been read, and that frame says why. on_lost brings it.
 */
static enum turn talk_unsent(struct talk *talk)
{
    static const char text[] = "the connection broke while a message was sent";

    if (!talk->run->share)
        return talk_fail(talk, REASON_CLOSED_ABNORMAL, "%s", text);
    talk_explain_timeout(talk, REASON_CLOSED_ABNORMAL, "%s", text);
    return TURN_NEXT;
}

enum turn talk_send(struct talk *talk, enum ws_opcode opcode, struct slice payload)
{
    talk->sent_ns = clock_now_ns();
    if (session_send(&talk->session, opcode, payload) < 0)
        return talk_unsent(talk);
    return TURN_NEXT;
}

bool talk_receive(struct talk *talk, struct ws_message *message)
{
    if (!talk->current)
        return false;
    *message = *talk->current;
    talk->current = NULL;
    return true;
}

void talk_answered(struct talk *talk)
{
    talk->run->report.have_rtt = true;
    talk->run->report.rtt_ns = talk->received_ns - talk->sent_ns;
}

enum turn talk_fail(struct talk *talk, enum reason reason, const char *fmt, ...)
{
    struct err err;
    va_list args;

    va_start(args, fmt);
    err_vset(&err, reason, 0, fmt, args);
    va_end(args);
    talk_open_phase(talk);
    run_finish_err(talk->run, &err);
    return TURN_FAIL;
}

void talk_explain_timeout(struct talk *talk, enum reason reason, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    err_vset(&talk->explained, reason, 0, fmt, args);
    va_end(args);
}
