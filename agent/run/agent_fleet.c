/*
 * Owns the agent's part in its fleet: the link (agent/fleet/link.h) over the generations of the configuration, what it is asked, and what it is told
 * of this instance. Called by agent/run/agent_verdict.c around each verdict, and by agent.c and agent_checks.c. Promises that the fleet can only
 * keep an instance in rotation that has been there, or name a refusal as the instance's own, and never touches /live. What is to be done is
 * decided in agent/fleet, and what it does to the verdict in agent/core/health.c.
 */
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/version.h"
#include "agent/client/backoff.h"
#include "agent/core/server_stats.h"
#include "agent/fleet/link.h"
#include "agent/http/events.h"
#include "agent/report/report.h"
#include "agent/run/agent_impl.h"

enum { HEAR_MS = 900 };

struct refusal { /* of one check */
    struct witness witness;
    uint64_t since_ms; /* monotonic; 0: it is not refused */
};

struct agent_fleet {
    struct agent *agent;
    struct fleet_link *link;
    uint64_t heard_ms;        /* when the link was told last what delivery checks heard */
    struct refusal *refusals; /* one for each check; NULL: none yet */
    /* of the last verdict */
    struct fleet_own own;
    struct fleet_judgement judgement;
};

/* --- the link --- */

static void on_news(void *user);

static void end_link(struct agent *agent)
{
    struct agent_fleet *fleet = agent->fleet;

    if (!fleet)
        return;
    fleet_link_leave(fleet->link);
    fleet_link_free(fleet->link);
    mem_free(fleet->refusals);
    mem_free(fleet);
    agent->fleet = NULL;
    agent->view.fleet = NULL;
}

void agent_fleet_configure(struct agent *agent, const struct conf *conf)
{
    struct broker *broker = conf->fleet_on ? agent_brokers_find(agent, conf->fleet.broker) : NULL;
    struct fleet_link_options options = {
        .loop = agent->loop,
        .broker = broker,
        .conf = &conf->fleet,
        .id = conf->agent_id,
        .region = conf->region,
        .version = WSHEALTHD_VERSION,
        .release = conf->server_version,
        .min = { conf->min_ready_count, conf->min_ready_percent },
        .watcher = conf_is_watcher(conf),
        .on_news = on_news,
        .user = agent->fleet,
    };

    if (!agent->options.serve || !broker) {
        end_link(agent);
        return;
    }
    if (agent->fleet && fleet_link_change(agent->fleet->link, &options))
        return;
    end_link(agent);
    agent->fleet = mem_alloc(sizeof *agent->fleet);
    agent->fleet->agent = agent;
    options.user = agent->fleet;
    agent->fleet->link = fleet_link_new(&options);
    agent->view.fleet = fleet_link_view(agent->fleet->link);
}

void agent_fleet_forget_checks(struct agent *agent)
{
    if (!agent->fleet)
        return;
    mem_free(agent->fleet->refusals);
    agent->fleet->refusals = NULL;
}

void agent_fleet_leave(struct agent *agent)
{
    if (agent->fleet)
        fleet_link_leave(agent->fleet->link);
}

bool agent_fleet_busy(const struct agent *agent)
{
    return agent->fleet && fleet_link_busy(agent->fleet->link);
}

void agent_fleet_fini(struct agent *agent)
{
    end_link(agent);
}

/* --- the witness --- */

/* Refused by the server itself, and not for something that the agent knows to be its own doing. */
static bool asks(const struct check_view *view, enum reason reason)
{
    return !view->health.own_doing && reason_scope(reason) == SCOPE_PROBE && witness_asks_for(reason);
}

static bool is_last_round_refused(const struct check_view *view)
{
    return view->judged && view->status == RESULT_FAIL && asks(view, view->reason);
}

/* After the check was let in once. */
static bool is_refused(const struct check_view *view)
{
    return view->health.state == STATE_FAIL && view->health.passed_once && view->last_fault_scope != SCOPE_SHARED &&
           asks(view, view->last_fault);
}

/* So long another agent may take until it has tried its own server again. */
static uint64_t round_ms(const struct check_conf *conf)
{
    return (uint64_t)(conf->interval_ms + conf->interval_ms * conf->jitter_percent / 100 + conf->timeout_ms);
}

bool agent_fleet_witness(struct agent *agent)
{
    struct agent_fleet *fleet = agent->fleet;
    bool changed = false;

    if (!fleet)
        return false;
    if (!fleet->refusals)
        fleet->refusals = mem_alloc((agent->check_count + 1) * sizeof *fleet->refusals);
    for (size_t i = 0; i < agent->check_count; i++) {
        const struct check_view *view = agent->views[i];
        struct refusal *refusal = &fleet->refusals[i];
        unsigned kind = check_is_public(view) ? 0 : fleet_kind_bit(view->type);
        bool refused = is_refused(view), local = refusal->witness.local;

        if (!refused && !is_last_round_refused(view))
            refusal->since_ms = 0;
        else if (!refusal->since_ms)
            refusal->since_ms = clock_now_ms();
        if (kind)
            check_set_witnessed(agent->checks[i],
                                fleet_link_witness(fleet->link, &refusal->witness, kind, refused,
                                                   refusal->since_ms + round_ms(check_get_conf(agent->checks[i]))));
        changed = changed || local != refusal->witness.local;
    }
    return changed;
}

/* --- the verdict --- */

/* What the checks alone say, before the fleet's part in it. The diagnosis reads the view, which gets the own verdict for that moment. */
static const char *own_cause_of(struct agent *agent, const struct verdict *own)
{
    struct diagnosis diagnosis;
    const struct verdict now = agent->view.verdict;

    agent->view.verdict = *own;
    diagnose(&agent->view, &diagnosis);
    agent->view.verdict = now;
    return diagnosis.own_cause; /* of a closed list */
}

void agent_fleet_judge(struct agent *agent, const struct verdict_policy *policy, const struct verdict *old, struct verdict *verdict)
{
    struct verdict_policy lenient = *policy;
    struct agent_fleet *fleet = agent->fleet;
    struct verdict held;

    if (!fleet)
        return;
    lenient.local_faults_degrade = true;
    held = verdict_of(agent->inputs, agent->check_count, &lenient, agent->draining, old);
    const bool watcher = conf_is_watcher(agent->generation->conf), fault = !watcher && !verdict->ready && held.ready;
    fleet->own = (struct fleet_own){ .counts = !watcher && verdict->admitted && !verdict->draining,
                                     .fault = fault,
                                     .cause = fault ? own_cause_of(agent, verdict) : "" };
    fleet_link_judge(fleet->link, &fleet->own, &fleet->judgement);
    if (fault &&
        (fleet->judgement.wide || fleet->judgement.stand == FLEET_STAND_ASKS || fleet->judgement.stand == FLEET_STAND_HELD))
        *verdict = held;
    agent->view.fleet = fleet_link_view(agent->fleet->link);
}

/* --- the delivery matrix --- */

static void add_cell(struct fleet_heard *heard, const struct heard_source *source, uint64_t now_ms)
{
    const struct heard_sum sum = heard_sum(source, now_ms);
    uint64_t quiet_ms = now_ms > source->last_ms ? now_ms - source->last_ms : 0;
    size_t i = 0;

    while (i < heard->count && heard->cells[i].who != source->who)
        i++;
    if (i == ROW_HEARD_MAX) {
        heard->whole = false;
        return;
    }
    if (i == heard->count) {
        heard->cells[heard->count++].who = source->who;
        heard->cells[i].late_ms = SUMMARY_UNKNOWN;
        heard->cells[i].quiet_ms = UINT64_MAX;
    }
    heard->cells[i].got += sum.got;
    heard->cells[i].lost += sum.lost;
    if (sum.late_ms != HEARD_UNKNOWN && (heard->cells[i].late_ms == SUMMARY_UNKNOWN || sum.late_ms < heard->cells[i].late_ms))
        heard->cells[i].late_ms = sum.late_ms;
    if (quiet_ms < heard->cells[i].quiet_ms)
        heard->cells[i].quiet_ms = quiet_ms;
}

/* One delivery check more. */
static void add_heard(struct fleet_heard *all, struct heard *heard, bool first, uint64_t now_ms)
{
    const struct heard_sum own = heard_sum(&heard->own, now_ms);
    uint64_t able_ms = heard->able_ms && now_ms > heard->able_ms ? now_ms - heard->able_ms : 0;

    heard_sweep(heard, now_ms);
    for (unsigned i = 0; i < heard->count; i++)
        add_cell(all, &heard->sources[i], now_ms);
    all->whole = all->whole && heard_is_whole(heard, now_ms);
    all->able_ms = first || able_ms < all->able_ms ? able_ms : all->able_ms;
    all->beats.count += own.got;
    if (own.window_ms > all->beats.window_ms)
        all->beats.window_ms = (uint32_t)own.window_ms;
    all->beats.channels += heard->channels;
    all->beats.all = (first || all->beats.all) && heard->all;
    for (unsigned i = 0; i < heard->shard_count && all->beats.shard_count < SUMMARY_SHARDS_MAX; i++) {
        all->shard_names[all->beats.shard_count] = heard->shards[i].name;
        all->beats.shards[all->beats.shard_count++] = heard->shards[i].hash;
    }
}

/* Once a second. Checks of the public path are of whichever server answers there. */
static void hear(struct agent_fleet *fleet)
{
    struct agent *agent = fleet->agent;
    struct fleet_heard heard = { .whole = true, .region = agent->generation->conf->region };
    uint64_t now_ms = clock_now_ms();
    bool first = true;

    if (now_ms - fleet->heard_ms < HEAR_MS)
        return;
    fleet->heard_ms = now_ms;
    for (size_t i = 0; i < agent->check_count; i++) {
        const struct check_view *view = agent->views[i];

        if (!view->stats.delivery || check_is_public(view))
            continue;
        add_heard(&heard, &view->stats.delivery->heard, first, now_ms);
        first = false;
    }
    fleet_link_hear(fleet->link, &heard);
}

/* Another look at the group, with what the last verdict was made from: a new verdict is made only where the answer is another one. */
static void on_news(void *user)
{
    struct agent_fleet *fleet = user;
    struct agent *agent = fleet->agent;
    const struct fleet_judgement before = fleet->judgement;
    bool witnessed;
    const struct fleet_view *view = agent->view.fleet;
    const struct fleet_rollout_view rollout = view->rollout;
    const bool alone = view->outside_alone, outside = view->outside[0];

    if (agent->on_stopped)
        return;
    hear(fleet);
    witnessed = agent_fleet_witness(agent);
    fleet_link_judge(fleet->link, &fleet->own, &fleet->judgement);
    agent->view.fleet = fleet_link_view(fleet->link);
    if (witnessed || fleet->judgement.stand != before.stand || fleet->judgement.wide != before.wide)
        agent_verdict_update(agent, NULL);
    else if (fleet->own.fault || alone != view->outside_alone || outside != (view->outside[0] != 0) ||
             rollout.announced != view->rollout.announced || rollout.changed != view->rollout.changed)
        agent->stale = true; /* the sentence has figures of the group in it */
    agent->view.generation++;
    if (agent->events)
        events_note(agent->events);
}

/* --- what the others are told --- */

static enum fleet_word word_of(const struct agent_view *view)
{
    const struct verdict *verdict = &view->verdict;

    if (verdict->draining)
        return FLEET_DRAINING;
    if (!verdict->admitted)
        return FLEET_STARTING;
    return !verdict->ready ? FLEET_NOT_READY : verdict->degraded ? FLEET_DEGRADED : FLEET_READY;
}

/* Of what is wrong: that of the first check which the diagnosis names. */
static enum scope scope_of(const struct agent_view *view)
{
    struct check_fault fault;

    for (size_t i = 0; i < view->diagnosis.because_count; i++) {
        const struct check_view *check = report_find_check(view, view->diagnosis.because[i]);

        if (check && check_fault_of(check, &fault) && fault.scope != SCOPE_NONE)
            return fault.scope;
    }
    return SCOPE_LOCAL;
}

static bool is_well(const char *cause)
{
    static const char *const words[] = { "healthy", "starting", "draining", "nothing_checked" };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(cause, words[i]) == 0)
            return true;
    return false;
}

/* An oldest pass of several is said, so that nobody takes one that is older than a fault for word that there is none. What only the agent's own means
 * (its token, its authorities) keep from getting in says nothing of the way, but for the name. */
static void note_public(const struct check_view *view, uint64_t *at_ms, enum fleet_public *seen)
{
    uint64_t now_ms = clock_now_ms();
    int64_t ago_ms = clock_wall_ms() - view->last_ms;
    bool fails = view->health.state == STATE_FAIL;

    if (!check_is_public(view) || (view->kind != PROBE_FRESH && view->kind != PROBE_SESSION) || !view->judged ||
        view->health.state == STATE_UNKNOWN)
        return;
    if (fails && view->last_fault_scope == SCOPE_PROBE && reason_phase(view->last_fault) != PHASE_RESOLVE)
        return;
    if (!fails && view->status == RESULT_FAIL)
        ago_ms = INT64_MAX; /* in doubt */
    ago_ms = ago_ms < 0 ? 0 : ago_ms;
    if (*seen == FLEET_PUBLIC_UNSEEN || fails || (uint64_t)ago_ms > now_ms - *at_ms)
        *at_ms = (uint64_t)ago_ms < now_ms ? now_ms - (uint64_t)ago_ms : 1;
    if (*seen != FLEET_PUBLIC_FAIL)
        *seen = fails ? FLEET_PUBLIC_FAIL : FLEET_PUBLIC_PASS;
}

static void note_checks(const struct agent *agent, struct fleet_say *say)
{
    struct witness_own own = { 0 };

    for (size_t i = 0; i < agent->check_count; i++) {
        const struct check_view *view = agent->views[i];
        const struct server_stats *server = view->stats.server;

        note_public(view, &say->public_at_ms, &say->public_path);
        if (!check_is_public(view) && !check_is_broker(view))
            witness_note(&own, fleet_kind_bit(view->type), view->health.state == STATE_PASS || view->health.state == STATE_WARN,
                         is_refused(view) || is_last_round_refused(view),
                         view->judged && view->status == RESULT_FAIL && backoff_is_refusal(view->reason, view->close_code));
        if (server && server->have_connections && !say->have_connections) {
            uint64_t count = server->connections[SERVER_ESTABLISHED];

            say->have_connections = true;
            say->connections = count < UINT32_MAX ? (uint32_t)count : UINT32_MAX;
        }
    }
    say->taken = (uint16_t)witness_taken(&own);
    say->refused = (uint16_t)witness_refused(&own);
}

void agent_fleet_tell(struct agent *agent)
{
    const struct agent_view *view = &agent->view;
    const char *cause = view->diagnosis.own_cause;
    struct fleet_say say = { .word = word_of(view), .cause = "" };

    if (!agent->fleet || agent->on_stopped)
        return;
    if (cause && !is_well(cause)) {
        say.cause = cause;
        say.scope = scope_of(view);
    }
    note_checks(agent, &say);
    fleet_link_tell(agent->fleet->link, &say);
    agent->view.fleet = fleet_link_view(agent->fleet->link);
}
