/*
 * What a reconnect check comes back with, and what it missed (probes/reconnect_resume.h). Called by probes/reconnect.c.
 *
 * A round: one heartbeat is published and awaited, so that delivery works and the server's newest token and offset are known. Then the
 * connection is dropped, three more are published, and the client comes back with the token. The agent's own subscription to the broker
 * tells a broker that loses messages from a server that does.
 */
#include "probes/reconnect_resume.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/base/trace.h"
#include "agent/client/holes.h"
#include "agent/core/broker.h"
#include "agent/proto/heartbeat.h"
#include "agent/proto/match.h"
#include "agent/proto/words.h"

enum {
    BEATS = 1 + RESUME_BEATS, /* the first is published before the drop */
    NOTICE_MS = 100,          /* the server has seen the drop by then */
    READ_MS = 250,            /* a stream or a list was read by then: nobody says when */
    SETTLE_MS = 250,          /* so long after the last heartbeat one that comes twice is awaited */
    WORD_MAX = 4096,
};

enum stage { STAGE_IDLE, STAGE_PRIMING, STAGE_NOTICED, STAGE_PUBLISHING, STAGE_AWAY, STAGE_BACK };

struct beat {
    struct resume *resume;
    struct broker_request request;
    bool sent, taken, heard /* on the agent's own subscription */;
    unsigned came;
};

struct resume {
    struct run *run;
    struct resume_wishes wishes;
    const struct resume_events *events;
    struct dialogue *dialogue;
    const struct dialect *dialect;
    struct broker *broker; /* NULL: no heartbeats are asked for */
    struct broker_listener listener;
    struct broker_watcher watch;
    struct timer timer;
    enum stage stage;
    bool began; /* a return: what was given out is used on this connection */
    char *token, *offset;
    char *said; /* the token that this return has said */
    struct template_name names[2];
    struct secret_loan secrets;
    struct match *expect, *reject; /* of this return */
    struct match *message;         /* of the channel; NULL: any */
    bool restored;                 /* expect has matched */
    char refusal[WORDS_BYTES];
    struct heartbeat self;
    uint64_t first_seq, next_seq;
    struct beat beats[BEATS];
    size_t beat_count; /* those of the round; the first is beats[0] */
    bool arrived;      /* has ever a heartbeat come through the server? */
};

/* Does the broker's side leave the agent something to listen to? */
static bool has_control(const struct resume *resume)
{
    return resume->broker && !resume->dialect->publish.command.count;
}

static void tell(struct resume *resume, const struct err *err)
{
    resume_end(resume);
    if (resume->run->active)
        resume->events->on_judged(resume->run, err);
}

/* --- what the server gives out --- */

/* The JSON of a unit: some protocols put a few characters before it. */
static struct slice json_of(struct slice unit)
{
    size_t at = 0;

    while (at < unit.len && at < 16 && unit.data[at] != '{' && unit.data[at] != '[')
        at++;
    return slice_skip(unit, at);
}

static void put_word(char **word, const char *text)
{
    char *copy = mem_strdup(text);

    mem_free_secret(*word);
    *word = copy;
}

/* Is it there? */
static bool take_word(const char *pointer, struct slice json, char **word)
{
    struct buf out = BUF_INIT(WORD_MAX);
    bool found = pointer && match_extract_word(json, pointer, &out) == 0 && out.len && !memchr(out.data, 0, out.len);

    if (found)
        put_word(word, buf_str(&out));
    buf_wipe(&out);
    return found;
}

/* With `start`, an offset is of one channel, and other channels of the connection have their own. */
static bool moves_offset(struct resume *resume, struct slice unit)
{
    return !resume->dialect->resume.start || !resume->message || match_try(resume->message, unit, NULL);
}

static void take_words(struct resume *resume, struct slice unit)
{
    const struct dialect *dialect = resume->dialect;
    struct slice json = json_of(unit);

    if (take_word(dialect->resume.token, json, &resume->token)) {
        secret_lend(&resume->secrets, resume->token);
        trace_mask(resume->run->trace);
        if (dialect->resume.start && !take_word(dialect->resume.start, json, &resume->offset))
            put_word(&resume->offset, "0");
    }
    if (moves_offset(resume, unit))
        take_word(dialect->resume.offset, json, &resume->offset);
    resume->names[0] =
        (struct template_name){ .name = "resume", .value = slice_str(resume->token ? resume->token : ""), .secret = true };
    resume->names[1] =
        (struct template_name){ .name = "offset", .value = slice_str(resume->offset ? resume->offset : ""), .secret = false };
    dialogue_set_names(resume->dialogue, resume->names, 2);
}

/* The pointer whose value has not come yet; NULL: all is known. */
static const char *unknown_pointer(const struct resume *resume)
{
    if (resume->dialect->resume.token && !resume->token)
        return resume->dialect->resume.token;
    return resume->dialect->resume.offset && !resume->offset ? resume->dialect->resume.offset : NULL;
}

static void drop_matches(struct resume *resume)
{
    match_free(resume->expect);
    match_free(resume->reject);
    match_free(resume->message);
    resume->expect = resume->reject = resume->message = NULL;
}

int resume_prepare(struct resume *resume, struct dialect *out, bool back, struct err *err)
{
    const struct dialect *base = resume->dialect;
    const struct holes holes = { .target = resume->run->target,
                                 .channel = resume->wishes.channel,
                                 .json = base->json_holes,
                                 .names = resume->names,
                                 .name_count = 2,
                                 .secrets = &resume->secrets };

    *out = *base;
    memset(&out->goodbye, 0, sizeof out->goodbye); /* who comes back does not say goodbye */
    resume->began = back && !unknown_pointer(resume);
    resume->restored = false;
    resume->refusal[0] = '\0';
    drop_matches(resume);
    if (base->resume.start && resume->wishes.channel && opt_spec_mentions(&base->message.match, "channel") &&
        holes_match(&holes, &base->message.match, &resume->message, err) < 0)
        return -1;
    if (!resume->began)
        return 0;
    put_word(&resume->said, resume->token ? resume->token : "");
    if (base->resume.connect.data)
        out->connect.send = base->resume.connect;
    if (base->resume.subscribe.data)
        out->subscribe.send = base->resume.subscribe;
    if (holes_match(&holes, &base->resume.expect, &resume->expect, err) < 0 ||
        holes_match(&holes, &base->resume.reject, &resume->reject, err) < 0)
        return err_prefix(err, "resume");
    return 0;
}

int resume_ready(struct resume *resume, struct err *err)
{
    const struct opt_bytes *send = &resume->dialect->resume.send;

    return resume->began && send->data ? dialogue_send_text(resume->dialogue, send, err) : 0;
}

/* --- heartbeats --- */

static int expand(const char *template, const char *usual, const struct template_vars *vars, struct buf *out, struct err *err)
{
    if (template_expand(slice_str(template ? template : usual), vars, out, err) == 0)
        return 0;
    err->reason = REASON_AGENT_ERROR;
    return err_prefix(err, "publish");
}

static int send_command(struct beat *beat, struct template_vars *vars, struct err *err)
{
    const struct opt_strings *command = &beat->resume->dialect->publish.command;
    struct slice args[BROKER_ARGS_MAX] = { 0 };
    size_t ends[BROKER_ARGS_MAX] = { 0 }, start = 0;
    struct buf text = BUF_INIT(BROKER_BODY_MAX);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < command->count; i++) {
        vars->json = i > 1; /* the key is a name, the others are bodies */
        rc = expand(command->items[i], "", vars, &text, err);
        ends[i] = text.len;
    }
    for (size_t i = 0; rc == 0 && i < command->count; start = ends[i++])
        args[i] = slice_make(buf_str(&text) + start, ends[i] - start);
    if (rc == 0)
        broker_command(beat->resume->broker, &beat->request, args, command->count, (uint64_t)beat->resume->run->conf->timeout_ms);
    buf_fini(&text);
    return rc;
}

static int publish(struct beat *beat, struct template_vars *vars, struct err *err)
{
    struct resume *resume = beat->resume;
    const struct dialect *dialect = resume->dialect;
    struct buf topic = BUF_INIT(BROKER_TOPIC_MAX - 1), body = BUF_INIT(BROKER_BODY_MAX);
    int rc = expand(dialect->publish.topic, "{{channel}}", &(struct template_vars){ .channel = vars->channel }, &topic, err);

    if (rc == 0)
        rc = expand(dialect->publish.body, "{{payload}}", vars, &body, err);
    if (rc == 0)
        broker_publish(resume->broker, &beat->request, buf_slice(&topic), buf_slice(&body),
                       (uint64_t)resume->run->conf->timeout_ms);
    buf_fini(&topic);
    buf_fini(&body);
    return rc;
}

static void on_taken(void *user, const struct err *err, uint64_t rtt_ns);

/* False: the round is over. */
static bool send_beat(struct resume *resume)
{
    struct beat *beat = &resume->beats[resume->beat_count++];
    struct template_vars vars = { .channel = resume->wishes.channel, .id = resume->self.agent, .json = true };
    char text[HEARTBEAT_MAX];
    struct err err;

    *beat = (struct beat){ .resume = resume, .sent = true };
    beat->request.on_answer = on_taken;
    beat->request.user = beat;
    vars.seq = resume->self.seq = resume->next_seq++;
    vars.now_ms = resume->self.sent_ms = clock_wall_ms();
    heartbeat_write(&resume->self, text);
    vars.payload = slice_str(text);
    if ((has_control(resume) ? publish(beat, &vars, &err) : send_command(beat, &vars, &err)) == 0)
        return true;
    tell(resume, &err);
    return false;
}

static void go_on(struct resume *resume);

static void on_taken(void *user, const struct err *err, uint64_t rtt_ns)
{
    struct beat *beat = user;

    (void)rtt_ns;
    beat->taken = true;
    if (err)
        tell(beat->resume, err); /* the broker's own reason */
    else
        go_on(beat->resume);
}

/* The beat of the round whose heartbeat this is, or NULL. */
static struct beat *beat_of(struct resume *resume, const struct heartbeat *heartbeat)
{
    uint64_t index = heartbeat->seq - resume->first_seq;

    if (!heartbeat_same_source(heartbeat, &resume->self) || heartbeat->seq < resume->first_seq || index >= resume->beat_count)
        return NULL;
    return &resume->beats[index];
}

/* All heartbeats of a unit: an answer may carry several. One that is in a unit twice has come once. */
static void take_beats(struct resume *resume, struct slice unit)
{
    static const char mark[] = "wshb1.";
    bool seen[BEATS] = { false };
    struct heartbeat heartbeat;
    ptrdiff_t at;

    while (resume->beat_count && (at = slice_find(unit, slice_str(mark))) >= 0) {
        unit = slice_skip(unit, (size_t)at);
        struct beat *beat = heartbeat_find(unit, &heartbeat) ? beat_of(resume, &heartbeat) : NULL;

        if (beat && !seen[beat - resume->beats]) {
            seen[beat - resume->beats] = true;
            beat->came++;
            resume->arrived = true;
        }
        unit = slice_skip(unit, sizeof mark - 1);
    }
}

static void on_control(void *user, struct slice body, uint64_t received_ns)
{
    struct resume *resume = user;
    struct heartbeat heartbeat;
    struct beat *beat = heartbeat_find(body, &heartbeat) ? beat_of(resume, &heartbeat) : NULL;

    (void)received_ns;
    if (beat)
        beat->heard = true;
}

/* --- the course --- */

static bool all_came(const struct resume *resume)
{
    for (size_t i = 0; i < resume->beat_count; i++)
        if (!resume->beats[i].came)
            return false;
    return true;
}

static bool all_taken(const struct resume *resume)
{
    for (size_t i = 0; i < resume->beat_count; i++)
        if (!resume->beats[i].taken)
            return false;
    return true;
}

static bool is_complete(const struct resume *resume)
{
    return resume->refusal[0] || (all_came(resume) && (!resume->expect || resume->restored));
}

/* Goes on where nothing has to be awaited; what calls the owner back waits for the timer. */
static void go_on(struct resume *resume)
{
    if (resume->stage == STAGE_PRIMING && resume->broker && !resume->beat_count) {
        if (broker_is_up(resume->broker) && (!has_control(resume) || resume->listener.confirmed))
            send_beat(resume);
    } else if (resume->stage == STAGE_PRIMING && all_came(resume) && all_taken(resume) && !unknown_pointer(resume)) {
        timer_start(&resume->timer, 0);
    } else if (resume->stage == STAGE_PUBLISHING && all_taken(resume)) {
        timer_start(&resume->timer, resume->broker && !has_control(resume) ? READ_MS : 0);
    }
}

/* Has the server given out another token than the one that was said? */
static bool began_anew(const struct resume *resume)
{
    return resume->said && resume->said[0] && resume->token && strcmp(resume->said, resume->token) != 0;
}

/* The refusal tells why, to who can read it; what was given out tells it too. */
static void describe_refusal(const struct resume *resume, struct err *err)
{
    char why[256] = "";

    if (began_anew(resume))
        snprintf(why, sizeof why, " (%s is another one now, so what the server had kept is gone)", resume->dialect->resume.token);
    else if (resume->dialect->resume.start)
        snprintf(why, sizeof why, " (%s is the same, so the history of the channel no longer reaches back to where the client was)",
                 resume->dialect->resume.token);
    err_set(err, REASON_RESUME_FAILED, 0, "after the reconnect, the server did not take the session up again%s: \"%s\"", why,
            resume->refusal);
}

static void judge(struct resume *resume)
{
    unsigned missing = 0, unheard = 0, twice = 0;
    char within[32], anew[160] = "";
    struct err err;

    for (size_t i = resume->beat_count; i-- > 1;) {
        const struct beat *beat = &resume->beats[i];

        missing += !beat->came;
        unheard += !beat->came && !beat->heard && has_control(resume);
        if (beat->came > 1)
            twice = (unsigned)i;
    }
    text_format_duration((int64_t)resume->wishes.within_ms, within, sizeof within);
    if (began_anew(resume))
        snprintf(anew, sizeof anew, ", and %s is another one now: the session is a new one", resume->dialect->resume.token);
    if (resume->refusal[0])
        describe_refusal(resume, &err);
    else if (missing && missing == unheard)
        err_set(&err, REASON_BROKER_NOT_DELIVERING, 0,
                "%u of %d heartbeats published during the gap did not reach the agent's own subscription either", missing,
                RESUME_BEATS);
    else if (missing)
        err_set(&err, REASON_RESUME_FAILED, 0,
                "after the reconnect, %u of %d heartbeats published during the gap did not arrive within %s%s", missing,
                RESUME_BEATS, within, anew);
    else if (twice)
        err_set(&err, REASON_RESUME_FAILED, 0,
                "after the reconnect, heartbeat %u of %d published during the gap came twice (want once)", twice, RESUME_BEATS);
    else if (resume->expect && !resume->restored)
        err_set(&err, REASON_RESUME_FAILED, 0,
                "after the reconnect, the server did not say within %s that the session goes on (see resume.expect)%s", within,
                anew);
    else
        err_clear(&err);
    tell(resume, err.reason == REASON_NONE ? NULL : &err);
}

static void on_timer(struct timer *timer, void *user)
{
    struct resume *resume = user;

    (void)timer;
    if (!resume->run->active) {
        resume_end(resume);
        return;
    }
    switch (resume->stage) {
    case STAGE_PRIMING:
        resume->stage = STAGE_IDLE;
        resume->events->on_primed(resume->run);
        break;
    case STAGE_NOTICED:
        resume->stage = STAGE_PUBLISHING;
        for (int i = 0; resume->broker && i < RESUME_BEATS; i++)
            if (!send_beat(resume))
                return;
        go_on(resume);
        break;
    case STAGE_PUBLISHING:
        resume->stage = STAGE_AWAY;
        resume->events->on_away(resume->run);
        break;
    case STAGE_BACK:
        judge(resume);
        break;
    case STAGE_IDLE:
    case STAGE_AWAY:
        break;
    }
}

void resume_unit(struct resume *resume, struct slice unit)
{
    bool complete = is_complete(resume);

    if (resume->reject && match_try(resume->reject, unit, NULL)) {
        words_of(unit, resume->refusal);
        if (!resume->refusal[0])
            snprintf(resume->refusal, sizeof resume->refusal, "%s", "no");
    }
    if (resume->expect && match_try(resume->expect, unit, NULL))
        resume->restored = true;
    take_words(resume, unit);
    take_beats(resume, unit);
    if (resume->stage == STAGE_BACK && !complete && is_complete(resume))
        timer_start(&resume->timer, SETTLE_MS);
    else
        go_on(resume);
}

void resume_prime(struct resume *resume)
{
    resume_end(resume);
    resume->stage = STAGE_PRIMING;
    resume->first_seq = resume->next_seq;
    if (resume->broker && has_control(resume) && !resume->listener.confirmed)
        broker_listen_again(&resume->listener);
    go_on(resume);
}

void resume_away(struct resume *resume)
{
    resume->stage = STAGE_NOTICED;
    timer_start(&resume->timer, NOTICE_MS);
}

void resume_back(struct resume *resume)
{
    resume->stage = STAGE_BACK;
    timer_start(&resume->timer, is_complete(resume) ? SETTLE_MS : resume->wishes.within_ms);
}

bool resume_taken(struct resume *resume)
{
    if (!resume->began || (!resume->expect && !resume->reject))
        return false;
    resume_end(resume);
    resume_back(resume);
    return true;
}

void resume_end(struct resume *resume)
{
    timer_stop(&resume->timer);
    for (size_t i = 0; i < resume->beat_count; i++)
        broker_request_cancel(&resume->beats[i].request);
    resume->beat_count = 0;
    resume->stage = STAGE_IDLE;
}

/* What the round has waited for in vain before the drop. */
static void describe_priming(const struct resume *resume, const char *limit, struct err *err)
{
    const struct beat *first = resume->beat_count ? &resume->beats[0] : NULL;

    if (resume->broker && !broker_is_up(resume->broker))
        *err = *broker_why(resume->broker);
    else if (resume->broker && (!first || !first->taken))
        err_set(err, REASON_BROKER_TIMEOUT, 0, "the broker has not confirmed %s within %s",
                first ? "the heartbeat" : "the agent's own subscription", limit);
    else if (first && !first->came && !first->heard && has_control(resume))
        err_set(err, REASON_BROKER_NOT_DELIVERING, 0, "the heartbeat before the drop did not reach the agent's own subscription");
    else if (first && !first->came && !has_control(resume))
        err_set(err, REASON_DELIVERY_LOST, BROKER_HINT_UNHEARD,
                "the heartbeat before the drop was taken by the broker and did not arrive within %s, so nothing was dropped",
                limit);
    else if (first && !first->came && !resume->arrived)
        err_set(err, REASON_DELIVERY_LOST, BROKER_HINT_NEVER_CAME,
                "no heartbeat has ever arrived through this server, though the broker delivers them to the agent, so nothing was "
                "dropped: compare topic and form (publish, message) with what the server itself uses");
    else if (first && !first->came)
        err_set(err, REASON_DELIVERY_LOST, 0, "the heartbeat before the drop did not arrive within %s, so nothing was dropped",
                limit);
    else
        err_set(err, REASON_RESUME_FAILED, 0,
                "no message had %s, which resume needs, within %s, so nothing was dropped: does the server keep sessions?",
                unknown_pointer(resume) ? unknown_pointer(resume) : "", limit);
}

bool resume_timeout(struct resume *resume, struct err *err)
{
    char limit[32];

    text_format_duration(resume->run->conf->timeout_ms, limit, sizeof limit);
    err_clear(err);
    if (resume->stage == STAGE_BACK && is_complete(resume)) {
        judge(resume);
        return true;
    }
    if (resume->stage == STAGE_PRIMING)
        describe_priming(resume, limit, err);
    else if (resume->stage == STAGE_NOTICED || resume->stage == STAGE_PUBLISHING)
        err_set(err, REASON_BROKER_TIMEOUT, 0, "the broker has not confirmed the heartbeats within %s", limit);
    else if (resume->stage == STAGE_BACK)
        err_set(err, REASON_RESUME_FAILED, 0,
                "the round ended after %s, before the session had `within` to be restored: want a longer timeout", limit);
    else
        return false;
    resume_end(resume);
    return true;
}

/* --- life --- */

static void on_control_state(void *user, bool confirmed, const struct err *err)
{
    (void)err;
    if (confirmed)
        go_on(user);
}

static void on_broker_change(void *user, bool up, const struct err *err)
{
    (void)err; /* requests under way are answered with it */
    if (up)
        go_on(user);
}

static void listen_to_broker(struct resume *resume)
{
    const struct template_vars vars = { .channel = resume->wishes.channel };
    struct buf topic = BUF_INIT(BROKER_TOPIC_MAX - 1);
    struct err err;

    resume->watch.on_change = on_broker_change;
    resume->watch.user = resume;
    broker_watch(resume->broker, &resume->watch);
    resume->listener.on_state = on_control_state;
    resume->listener.on_message = on_control;
    resume->listener.user = resume;
    if (has_control(resume) && expand(resume->dialect->publish.topic, "{{channel}}", &vars, &topic, &err) == 0)
        broker_listen(resume->broker, &resume->listener, buf_str(&topic));
    buf_fini(&topic);
}

struct resume *resume_new(struct run *run, struct dialogue *dialogue, const struct dialect *dialect,
                          const struct resume_wishes *wishes, const struct resume_events *events)
{
    struct resume *resume = mem_alloc(sizeof *resume);
    char agent[HEARTBEAT_WORD_MAX + 1];

    resume->run = run;
    resume->dialogue = dialogue;
    resume->dialect = dialect;
    resume->wishes = *wishes;
    resume->events = events;
    resume->next_seq = 1;
    timer_init(&resume->timer, run->loop, on_timer, resume);
    /* With `http: both` another one of this check is beside it. */
    snprintf(agent, sizeof agent, "%s%.*s-%s", run_versions(run) > 1 && run->http2 ? "2-" : "", HEARTBEAT_WORD_MAX - 11,
             run->agent_id, run->nonce);
    heartbeat_word(agent, resume->self.agent);
    heartbeat_word(run->region, resume->self.region);
    heartbeat_word(run->conf->name, resume->self.check);
    if (wishes->missed)
        resume->broker = run_broker(run, wishes->broker);
    if (resume->broker)
        listen_to_broker(resume);
    return resume;
}

void resume_free(struct resume *resume)
{
    if (!resume)
        return;
    resume_end(resume);
    if (resume->broker) {
        if (has_control(resume))
            broker_unlisten(&resume->listener);
        broker_unwatch(&resume->watch);
    }
    drop_matches(resume);
    dialogue_set_names(resume->dialogue, NULL, 0);
    mem_free_secret(resume->token);
    mem_free_secret(resume->offset);
    mem_free_secret(resume->said);
    secret_return(&resume->secrets);
    mem_free(resume);
}
