/*
 * A conversation in a dialect (agent/client/dialogue.h): greeting, connect, subscriptions, keep-alive, goodbye, in this order, over one
 * connection. Called by probes and by the step runner. Owns the connection and what was asked of it; promises that every subscription is
 * answered once or lost with the connection, and that an owner may close or free it inside any callback. Deadlines are the owner's.
 */
#include "agent/client/dialogue.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/client/dialogue_impl.h"
#include "agent/client/share.h"
#include "agent/proto/words.h"

enum { ANSWERS_MAX = 16 };

static void free_subscriptions(struct list *head)
{
    list_each_safe (node, head)
        subscription_free(list_entry(node, struct subscription, node));
}

static void drop_stage(struct dialogue *dialogue)
{
    match_free(dialogue->expect);
    match_free(dialogue->reject);
    dialogue->expect = dialogue->reject = NULL;
}

static void forget_last(struct dialogue *dialogue)
{
    mem_free(dialogue->last);
    dialogue->last = NULL;
}

/* Back to idle; the connection is the caller's business. */
static void release(struct dialogue *dialogue)
{
    if (dialogue->stage == STAGE_IDLE)
        return;
    timer_stop(&dialogue->ping_timer);
    timer_stop(&dialogue->settle);
    free_subscriptions(&dialogue->pending);
    free_subscriptions(&dialogue->confirmed);
    dialogue->subscription_count = 0;
    drop_stage(dialogue);
    match_free(dialogue->keepalive);
    match_free(dialogue->message);
    mem_free(dialogue->prefix);
    mem_free(dialogue->id);
    secret_return(&dialogue->secrets);
    forget_last(dialogue);
    framing_fini(&dialogue->framing);
    dialogue->keepalive = dialogue->message = NULL;
    dialogue->prefix = dialogue->id = NULL;
    dialogue->stage = STAGE_IDLE;
}

static bool lost(struct dialogue *dialogue, const struct err *err)
{
    const struct dialogue_events *events = dialogue->events;
    void *user = dialogue->user;

    release(dialogue);
    events->on_lost(user, err);
    return false;
}

/* Ends the connection because of a fault that was found here. Always false: the dialogue is gone. */
static bool fail(struct dialogue *dialogue, uint16_t code, const struct err *err)
{
    conn_close(&dialogue->conn, code, "");
    return lost(dialogue, err);
}

/* --- greeting, connect --- */

static bool become_ready(struct dialogue *dialogue)
{
    const struct dialect *dialect = dialogue->speaker.dialect;
    struct dialogue_call call = dialogue_call_of(dialogue);

    drop_stage(dialogue);
    forget_last(dialogue);
    dialogue->stage = STAGE_READY;
    if (dialect->keepalive.ping.data && dialect->keepalive.every_ms > 0)
        timer_start(&dialogue->ping_timer, (uint64_t)dialect->keepalive.every_ms);
    dialogue->events->on_ready(dialogue->user);
    return dialogue_kept(call);
}

/* Begins a stage. 1: something is awaited; 0: nothing to wait for; -1: *err. */
static int begin_exchange(struct dialogue *dialogue, const struct dialect_exchange *exchange, struct err *err)
{
    bool said = false;

    drop_stage(dialogue);
    if (exchange->send.data) {
        dialogue->seq++;
        if (dialogue_say(dialogue, &exchange->send, "", &said, err) < 0)
            return -1;
        if (!said)
            return 0;
    }
    if (match_spec_empty(&exchange->expect))
        return 0;
    if (speaker_match(&dialogue->speaker, &exchange->expect, "", dialogue->seq, &dialogue->expect, err) < 0 ||
        speaker_match(&dialogue->speaker, &exchange->reject, "", dialogue->seq, &dialogue->reject, err) < 0)
        return -1;
    return 1;
}

/* On from `stage` to the first that awaits something, or to ready. False: the dialogue is gone. */
static bool go_on(struct dialogue *dialogue)
{
    const struct dialect *dialect = dialogue->speaker.dialect;
    struct err err;
    int rc = 0;

    while (rc == 0 && dialogue->stage < STAGE_CONNECTING) {
        dialogue->stage++;
        rc = begin_exchange(dialogue, dialogue->stage == STAGE_GREETING ? &dialect->greeting : &dialect->connect, &err);
    }
    if (rc < 0)
        return fail(dialogue, WS_CODE_NORMAL, &err);
    return rc > 0 || become_ready(dialogue);
}

/* --- messages --- */

static void note_last(struct dialogue *dialogue, struct slice unit)
{
    if (!dialogue->last)
        dialogue->last = mem_alloc(SHOWN_BYTES);
    text_excerpt(unit, SHOWN_CHARS, dialogue->last, SHOWN_BYTES);
}

static bool is_keepalive(struct dialogue *dialogue, struct effort *effort, struct slice unit)
{
    const struct opt_bytes *send = &dialogue->speaker.dialect->keepalive.send;
    struct err err;
    bool said;

    if (!effort_try(effort, dialogue->keepalive, unit))
        return false;
    if (send->data && dialogue->answers++ < ANSWERS_MAX)
        dialogue_say(dialogue, send, "", &said, &err); /* a connection that breaks says so itself */
    return true;
}

/* False: the dialogue is gone. */
static bool take_before_ready(struct dialogue *dialogue, struct slice unit)
{
    struct effort effort = { EFFORT_BYTES };
    char shown[WORDS_BYTES];
    struct err err;
    int code;

    if (effort_try(&effort, dialogue->reject, unit)) {
        words_of(unit, shown);
        code = words_code(unit);
        err_set(&err, REASON_LOGIN_REJECTED, code,
                code ? "the server refused the client: \"%s\" (%d)" : "the server refused the client: \"%s\"", shown, code);
        return fail(dialogue, WS_CODE_NORMAL, &err);
    }
    if (effort_try(&effort, dialogue->expect, unit))
        return go_on(dialogue);
    if (!is_keepalive(dialogue, &effort, unit))
        note_last(dialogue, unit);
    return true;
}

static bool tell_message(struct dialogue *dialogue, const struct ws_message *message, uint64_t received_ns)
{
    struct dialogue_call call = dialogue_call_of(dialogue);

    if (dialogue->events->on_message)
        dialogue->events->on_message(dialogue->user, message, received_ns);
    return dialogue_kept(call);
}

/* One unit of the dialect. False: the dialogue is gone. */
static bool take_unit(struct dialogue *dialogue, const struct ws_message *message, struct slice unit, uint64_t received_ns)
{
    struct ws_message part = *message;
    struct effort effort = { EFFORT_BYTES };
    int rc;

    if (dialogue->events->on_unit)
        dialogue->events->on_unit(dialogue->user, unit);
    if (dialogue->stage != STAGE_READY)
        return take_before_ready(dialogue, unit);
    if (is_keepalive(dialogue, &effort, unit))
        return true;
    rc = dialogue_confirmation(dialogue, &effort, unit);
    if (rc != 0)
        return rc > 0;
    if (!list_empty(&dialogue->pending))
        note_last(dialogue, unit);
    if (dialogue->events->on_payload && !dialogue_payload(dialogue, &effort, unit, received_ns))
        return false;
    part.body = unit;
    return tell_message(dialogue, &part, received_ns);
}

/* A message was too large to be kept, or there was no room. An answer may still come after it; but a framing that spans messages cannot
 * go on. */
static void take_skipped(struct dialogue *dialogue, const struct ws_message *message, uint64_t received_ns)
{
    char text[80];
    struct err err;

    snprintf(text, sizeof text, "a message of %" PRIu64 " bytes, which is more than is kept", message->size);
    if (framing_is_stream(&dialogue->framing)) {
        err_set(&err, REASON_MESSAGE_TOO_BIG, 1009, "%s (at most %d)", text, CONN_MESSAGE_MAX);
        fail(dialogue, 1009, &err);
        return;
    }
    if (dialogue->stage != STAGE_READY || !list_empty(&dialogue->pending))
        note_last(dialogue, slice_str(text));
    if (dialogue->stage == STAGE_READY)
        tell_message(dialogue, message, received_ns);
}

static void on_message(void *user, const struct ws_message *message, uint64_t received_ns)
{
    struct dialogue *dialogue = user;
    struct slice unit;
    struct err err;
    int rc;

    if (message->opcode != WS_TEXT && message->opcode != WS_BINARY) {
        if (dialogue->stage == STAGE_READY)
            tell_message(dialogue, message, received_ns);
        return;
    }
    if (message->skipped) {
        take_skipped(dialogue, message, received_ns);
        return;
    }
    dialogue->answers = 0;
    framing_feed(&dialogue->framing, message->body);
    while ((rc = framing_next(&dialogue->framing, &unit, &err)) > 0)
        if (!take_unit(dialogue, message, unit, received_ns))
            return;
    if (rc < 0)
        fail(dialogue, (uint16_t)err.code, &err);
}

/* --- life --- */

static void on_open(void *user)
{
    struct dialogue *dialogue = user;

    dialogue->opened_ns = clock_now_ns();
    go_on(dialogue);
}

static void on_conn_lost(void *user, const struct err *cause)
{
    static const char *const before[] = {
        [STAGE_GREETING] = "before its greeting", [STAGE_CONNECTING] = "before connect was confirmed"
    };
    struct dialogue *dialogue = user;
    struct err err = *cause;

    if (dialogue->stage == STAGE_GREETING || dialogue->stage == STAGE_CONNECTING)
        err_prefix(&err, "%s", before[dialogue->stage]);
    lost(dialogue, &err);
}

static const struct conn_events conn_events = { .on_open = on_open, .on_message = on_message, .on_lost = on_conn_lost };

static void on_ping_due(struct timer *timer, void *user)
{
    struct dialogue *dialogue = user;
    const struct dialect *dialect = dialogue->speaker.dialect;
    struct err err;
    bool said;

    timer_start(timer, (uint64_t)dialect->keepalive.every_ms);
    dialogue_say(dialogue, &dialect->keepalive.ping, "", &said, &err); /* a connection that breaks says so itself */
}

struct dialogue *dialogue_new(void *user, const struct dialogue_events *events)
{
    struct dialogue *dialogue = mem_alloc(sizeof *dialogue);

    dialogue->user = user;
    dialogue->events = events;
    list_init(&dialogue->pending);
    list_init(&dialogue->confirmed);
    return dialogue;
}

void dialogue_free(struct dialogue *dialogue)
{
    if (!dialogue)
        return;
    if (dialogue->guest)
        guest_leave(dialogue->guest);
    dialogue_drop(dialogue);
    mem_free(dialogue);
}

/* What holds for the whole connection. */
static int prepare(struct dialogue *dialogue, struct err *err)
{
    const struct dialect *dialect = dialogue->speaker.dialect;
    const struct match_spec *message = &dialect->message.match;

    dialogue->per_channel = opt_spec_mentions(message, "channel") || opt_spec_mentions(message, "seq");
    if (!dialogue->per_channel && speaker_match(&dialogue->speaker, message, "", 0, &dialogue->message, err) < 0)
        return -1;
    if (dialect->message.prefix)
        dialogue->prefix = mem_strdup(dialect->message.prefix);
    return speaker_match(&dialogue->speaker, &dialect->keepalive.match, "", 0, &dialogue->keepalive, err);
}

int dialogue_adopt(struct dialogue *dialogue, const struct dialect *dialect, struct err *err)
{
    const struct dialect *old = dialogue->speaker.dialect;
    struct match *message = dialogue->message, *keepalive = dialogue->keepalive;
    char *prefix = dialogue->prefix;

    if (dialect == old)
        return 0;
    dialogue->message = dialogue->keepalive = NULL;
    dialogue->prefix = NULL;
    dialogue->speaker.dialect = dialect;
    if (prepare(dialogue, err) == 0) {
        match_free(message);
        match_free(keepalive);
        mem_free(prefix);
        return 0;
    }
    match_free(dialogue->message);
    match_free(dialogue->keepalive);
    mem_free(dialogue->prefix);
    dialogue->message = message;
    dialogue->keepalive = keepalive;
    dialogue->prefix = prefix;
    dialogue->speaker.dialect = old;
    return -1;
}

int dialogue_open(struct dialogue *dialogue, const struct conn_options *options, const struct dialect *dialect, const char *id,
                  struct conn_report *report, struct err *err)
{
    panic_if(dialogue_busy(dialogue));
    panic_if(options->share && options->override);
    if (options->share) {
        dialogue->opened_ns = 0;
        dialogue->guest = guest_join(options, dialogue, dialect, id, report);
        return 0;
    }
    dialogue->id = mem_strdup(id ? id : "");
    template_make_uuid(dialogue->uuid);
    dialogue->speaker = (struct speaker){ dialect,        options->target, dialogue->id,         options->override,
                                          dialogue->uuid, dialogue->names, dialogue->name_count, &dialogue->secrets };
    dialogue->seq = dialogue->opened_ns = 0;
    dialogue->stage = STAGE_OPENING;
    dialogue->group = options->group;
    timer_init(&dialogue->ping_timer, options->group->loop, on_ping_due, dialogue);
    timer_init(&dialogue->settle, options->group->loop, dialogue_on_settle, dialogue);
    framing_init(&dialogue->framing, (enum dialect_framing)dialect->framing);
    dialogue->framing.budget = &options->group->budget;
    if (prepare(dialogue, err) == 0 && conn_open(&dialogue->conn, options, &conn_events, dialogue, report, err) == 0)
        return 0;
    release(dialogue);
    return -1;
}

bool dialogue_is_ready(const struct dialogue *dialogue)
{
    return dialogue->guest ? guest_is_ready(dialogue->guest) : dialogue->stage == STAGE_READY;
}

bool dialogue_busy(const struct dialogue *dialogue)
{
    return dialogue->guest || dialogue->stage != STAGE_IDLE;
}

struct conn *dialogue_conn(struct dialogue *dialogue)
{
    return dialogue->guest ? &guest_host(dialogue->guest)->conn : &dialogue->conn;
}

int dialogue_send(struct dialogue *dialogue, enum ws_opcode opcode, struct slice payload)
{
    return dialogue->guest ? guest_send(dialogue->guest, opcode, payload) : conn_send(&dialogue->conn, opcode, payload);
}

int dialogue_send_parts(struct dialogue *dialogue, enum ws_opcode opcode, struct slice payload, unsigned parts, bool compress)
{
    if (dialogue->guest && !guest_is_ready(dialogue->guest))
        return -1;
    return conn_send_parts(dialogue_conn(dialogue), opcode, payload, parts, compress);
}

int dialogue_send_text(struct dialogue *dialogue, const struct opt_bytes *text, struct err *err)
{
    bool said;

    panic_if(dialogue->guest || dialogue->stage != STAGE_READY);
    return dialogue_say(dialogue, text, "", &said, err);
}

void dialogue_set_names(struct dialogue *dialogue, const struct template_name *names, size_t count)
{
    dialogue->names = names;
    dialogue->name_count = count;
}

uint64_t dialogue_opened_ns(const struct dialogue *dialogue)
{
    return dialogue->guest ? guest_opened_ns(dialogue->guest) : dialogue->opened_ns;
}

const char *dialogue_last(const struct dialogue *dialogue)
{
    if (dialogue->guest)
        dialogue = guest_host(dialogue->guest);
    return dialogue->last ? dialogue->last : "";
}

void dialogue_close(struct dialogue *dialogue, uint16_t code)
{
    const struct opt_bytes *goodbye;
    struct err err;
    bool said;

    if (dialogue->guest)
        guest_end(dialogue->guest, code, false);
    if (dialogue->stage == STAGE_IDLE) /* perhaps never opened: there is no dialect then */
        return;
    goodbye = &dialogue->speaker.dialect->goodbye.send;
    if (dialogue->stage == STAGE_READY && goodbye->data)
        dialogue_say(dialogue, goodbye, "", &said, &err);
    release(dialogue);
    conn_close(&dialogue->conn, code, "");
}

void dialogue_leave(struct dialogue *dialogue)
{
    if (dialogue->guest)
        guest_leave(dialogue->guest);
    else
        dialogue_close(dialogue, WS_CODE_NORMAL);
}

void dialogue_drop(struct dialogue *dialogue)
{
    if (dialogue->guest)
        guest_end(dialogue->guest, WS_CODE_NORMAL, true);
    if (dialogue->stage == STAGE_IDLE)
        return;
    release(dialogue);
    conn_drop(&dialogue->conn);
}

int dialogue_timeout_err(const struct dialogue *dialogue, uint64_t timeout_ms, struct err *err)
{
    const struct dialect *dialect = dialogue->speaker.dialect;
    const char *what = dialogue->stage == STAGE_GREETING ? "greeting" : "confirmation of connect";
    enum reason reason = dialogue->last ? REASON_ECHO_MISMATCH : REASON_ECHO_TIMEOUT;
    char limit[32], want[SHOWN_BYTES];

    if (dialogue->guest)
        return guest_timeout_err(dialogue->guest, timeout_ms, err);
    panic_if(dialogue->stage == STAGE_IDLE);
    if (dialogue->stage == STAGE_OPENING)
        return conn_timeout_err(&dialogue->conn, timeout_ms, err);
    text_format_duration((int64_t)timeout_ms, limit, sizeof limit);
    if (dialogue->stage == STAGE_READY)
        return err_set(err, reason, 0, "no answer within %s", limit);
    speaker_describe(&dialogue->speaker, dialogue->stage == STAGE_GREETING ? &dialect->greeting.expect : &dialect->connect.expect,
                     "", dialogue->seq, want, sizeof want);
    return err_set(err, reason, 0, "no %s (dialect %s: %s) within %s%s%s%s", what, dialect->name ? dialect->name : "", want, limit,
                   dialogue->last ? "; the last message was \"" : ", and nothing else either", dialogue_last(dialogue),
                   dialogue->last ? "\"" : "");
}

static bool exchange_empty(const struct dialect_exchange *exchange)
{
    return !exchange->send.data && match_spec_empty(&exchange->expect);
}

bool dialogue_needed(const struct target_conf *target)
{
    const struct dialect *dialect = target->dialect;

    return dialect && (!exchange_empty(&dialect->greeting) || !exchange_empty(&dialect->connect) ||
                       !match_spec_empty(&dialect->keepalive.match) || dialect->keepalive.ping.data || dialect->goodbye.send.data);
}
