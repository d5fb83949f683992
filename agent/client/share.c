/*
 * A connection that several checks use (agent/client/share.h). Called by agent/client/dialogue.c for guests, and by agent/core/check.c. It owns the
 * dialogue that has the connection, and hands on what comes: messages to every guest, subscriptions and payloads to the one guest that
 * subscribes (the configuration allows one), a pong to whoever asked for it. Judges nothing and owns no deadline.
 */
#include "agent/client/share.h"

#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/client/conn_trace.h"
#include "agent/client/dialogue_impl.h"

enum { LOOK_MS = 10, LATE_SHARE = 4 };

struct share {
    struct share *next, **list;
    unsigned users, keepers;
    int path;
    bool http2;
    struct generation *generation, *tls_from; /* tls_from: the newest, over reloads */
    struct conn_group *group;
    struct dialogue *host;
    struct conn_report report;
    struct list guests;
    struct timer tick;    /* what guests want and must not get inside their call: a connection, or word that there is one */
    uint64_t begun_ns;    /* when the connection began to be opened */
    uint64_t turn, pings; /* turn: of telling all guests something */
    const struct share_turn *talker;
    struct list talkers;  /* those that wait for it */
    bool condemned, drop; /* it ends as soon as nobody asks anything on it, and whether without a goodbye */
    uint16_t code;        /* of the goodbye */
    uint64_t patience_ns; /* with drop: rounds that may last longer than that are cut short, where they gate no more than */
    unsigned gates;
};

struct guest {
    struct list node;
    struct share *share;
    struct dialogue *dialogue;
    const struct dialect *dialect;
    const char *id;
    const struct asker *asker;  /* the owner's */
    struct trace *trace;        /* likewise: what concerns it; the connection itself is nobody's */
    struct conn_report *report; /* the owner's; until it is ready */
    uint64_t joined_ns, ready_ns;
    uint64_t told;      /* the turn of the share's that it was told in */
    uint64_t ping_turn; /* 0: it owes nobody a pong */
    uint8_t ping[WS_CONTROL_MAX];
    size_t ping_len;
    bool attached; /* it has the connection: that has begun to be opened for it, or before it came. Else it waits for the next */
    bool late;     /* it has joined one that was open already */
    bool ready;
};

/* --- guests --- */

static bool subscribes(const struct guest *guest)
{
    return guest->dialogue->events->on_payload;
}

static struct guest *subscriber(const struct share *share)
{
    list_each (node, &share->guests)
        if (subscribes(list_entry(node, struct guest, node)))
            return list_entry(node, struct guest, node);
    return NULL;
}

/* The next guest that has not been told yet. Between two of them any may leave, and others join, which count as told. */
static struct guest *untold(const struct share *share, uint64_t turn)
{
    list_each (node, &share->guests) {
        struct guest *guest = list_entry(node, struct guest, node);

        if (guest->told < turn) {
            guest->told = turn;
            return guest;
        }
    }
    return NULL;
}

static void note_report(const struct guest *guest)
{
    if (guest->attached && !guest->late && !guest->ready)
        *guest->report = guest->share->report;
}

static void guest_free(struct guest *guest)
{
    guest->dialogue->opened_ns = guest_opened_ns(guest);
    guest->dialogue->confirms |= guest->share->host->confirms;
    guest->dialogue->guest = NULL;
    list_remove(&guest->node);
    mem_free(guest);
}

static void tick_in(struct share *share, uint64_t delay_ms)
{
    if (!timer_active(&share->tick))
        timer_start(&share->tick, delay_ms);
}

struct guest *guest_join(const struct conn_options *options, struct dialogue *dialogue, const struct dialect *dialect,
                         const char *id, struct conn_report *report)
{
    struct share *share = options->share;
    struct guest *guest = mem_alloc(sizeof *guest);

    guest->share = share;
    guest->asker = options->asker;
    guest->trace = options->trace;
    guest->dialogue = dialogue;
    guest->dialect = dialect;
    guest->id = id;
    guest->report = report;
    guest->joined_ns = clock_now_ns();
    guest->told = share->turn;
    guest->attached = !share->condemned && dialogue_busy(share->host);
    guest->late = guest->attached && dialogue_is_ready(share->host);
    memset(report, 0, sizeof *report);
    report->joined = guest->late;
    trace_note(guest->trace, TRACE_NOTE, "uses the connection that checks share, which %s",
               guest->late ? "is open" : "is to be opened");
    list_push(&share->guests, &guest->node);
    tick_in(share, 0);
    return guest;
}

static bool is_held(const struct share *share, bool by_asking)
{
    list_each (node, &share->guests) {
        const struct guest *guest = list_entry(node, struct guest, node);

        if (guest->attached && (!by_asking || *guest->asker->asks))
            return true;
    }
    return false;
}

static void end_host(struct share *share)
{
    if (share->drop)
        dialogue_drop(share->host);
    else
        dialogue_close(share->host, share->condemned ? share->code : WS_CODE_NORMAL);
    share->condemned = share->drop = false;
    if (!list_empty(&share->guests))
        tick_in(share, 0);
}

/* The connection is gone. Who had come a moment before, and has heard nothing of it yet, waits for the next one. */
static bool goes_on_waiting(struct guest *guest)
{
    if (guest->ready || !guest->late)
        return false;
    guest->attached = guest->late = guest->report->joined = false;
    tick_in(guest->share, 0);
    return true;
}

/* Frees the next guest that had the connection and has not been told in this turn. Its events, and whom they go to; NULL: no more. */
static const struct dialogue_events *next_without(struct share *share, uint64_t turn, void **user)
{
    struct guest *guest;

    while ((guest = untold(share, turn))) {
        const struct dialogue_events *events = guest->dialogue->events;

        if (!guest->attached || goes_on_waiting(guest))
            continue;
        *user = guest->dialogue->user;
        note_report(guest);
        guest_free(guest);
        return events;
    }
    return NULL;
}

static void tell_lost(struct share *share, const struct err *err)
{
    uint64_t turn = ++share->turn;
    const struct dialogue_events *events;
    void *user;

    share->condemned = share->drop = false;
    if (!list_empty(&share->guests))
        tick_in(share, 0);
    while ((events = next_without(share, turn, &user)))
        events->on_lost(user, err);
}

/* A guest goes, and the connection may stay: without the parts of the dialect that were the guest's. */
static void guest_go(struct guest *guest)
{
    struct share *share = guest->share;
    bool subscribed = subscribes(guest) && guest->ready;
    struct err err;

    guest_free(guest);
    if (!subscribed || dialogue_adopt(share->host, share->generation->conf->target.dialect, &err) == 0)
        return;
    dialogue_drop(share->host);
    tell_lost(share, &err);
}

/* Ends the connection unless somebody still asks something on it. Who has it and is silent is told. */
static void end_if_free(struct share *share)
{
    uint64_t turn = ++share->turn;
    const struct dialogue_events *events;
    void *user;

    if (is_held(share, true)) {
        tick_in(share, LOOK_MS);
        return;
    }
    end_host(share);
    while ((events = next_without(share, turn, &user)))
        events->on_ended(user);
}

void guest_leave(struct guest *guest)
{
    struct share *share = guest->share;

    guest_go(guest);
    if (dialogue_busy(share->host) && !is_held(share, false) && (!share->keepers || share->condemned))
        end_host(share);
}

void guest_end(struct guest *guest, uint16_t code, bool drop)
{
    struct share *share = guest->share;
    const struct asker *asker = guest->asker;
    bool attached = guest->attached;

    guest_go(guest);
    if (!attached || !dialogue_busy(share->host)) /* those who wait for a connection go on waiting */
        return;
    if (drop && !share->drop) {
        share->patience_ns = clock_now_ns() + asker->timeout_ms * NS_PER_MS;
        share->gates = asker->gates;
    }
    share->drop |= drop;
    share->code = share->condemned ? share->code : code;
    share->condemned = true;
    end_if_free(share);
}

bool guest_is_ready(const struct guest *guest)
{
    return guest->ready;
}

struct dialogue *guest_host(const struct guest *guest)
{
    return guest->share->host;
}

/* For a guest, the connection begins when it joins. */
uint64_t guest_opened_ns(const struct guest *guest)
{
    uint64_t opened_ns = guest->attached ? dialogue_opened_ns(guest->share->host) : 0;

    if (guest->late)
        return guest->ready_ns;
    return opened_ns && opened_ns < guest->joined_ns ? guest->joined_ns : opened_ns;
}

int guest_send(struct guest *guest, enum ws_opcode opcode, struct slice payload)
{
    if (!guest->ready)
        return -1;
    if (opcode == WS_PING && payload.len <= sizeof guest->ping) {
        guest->ping_turn = ++guest->share->pings;
        guest->ping_len = payload.len;
        memcpy(guest->ping, payload.data, payload.len);
    }
    conn_trace_shared(guest->trace, TRACE_SENT, opcode, payload);
    return conn_send(&guest->share->host->conn, opcode, payload);
}

/* What kept a guest waiting for its connection may be the agent's own order of things: then the server is not to blame. */
int guest_timeout_err(const struct guest *guest, uint64_t timeout_ms, struct err *err)
{
    const struct share *share = guest->share;
    uint64_t waited_ns = share->begun_ns > guest->joined_ns ? share->begun_ns - guest->joined_ns : 0;
    char waited[32];

    note_report(guest);
    if (!guest->attached)
        return err_set(err, REASON_AGENT_ERROR, 0, "the shared connection was not opened in time: the one before it had not ended");
    if (waited_ns <= timeout_ms * NS_PER_MS / LATE_SHARE)
        return dialogue_timeout_err(share->host, timeout_ms, err);
    text_format_elapsed(waited_ns, waited, sizeof waited);
    return err_set(err, REASON_AGENT_ERROR, 0, "the shared connection was opened %s late: the one before it had not ended", waited);
}

/* --- what the connection says --- */

/* Who subscribes may have put parts of its own over the dialect: those for channels. */
static bool adopt(struct guest *guest)
{
    const struct dialogue_events *events = guest->dialogue->events;
    void *user = guest->dialogue->user;
    struct err err;

    if (!subscribes(guest) || dialogue_adopt(guest->share->host, guest->dialect, &err) == 0)
        return true;
    guest_free(guest);
    events->on_lost(user, &err);
    return false;
}

static void tell_ready(struct share *share)
{
    uint64_t turn = ++share->turn;
    struct guest *guest;

    while (dialogue_is_ready(share->host) && (guest = untold(share, turn))) {
        if (guest->ready || !guest->attached || !adopt(guest))
            continue;
        guest->ready = true;
        guest->ready_ns = clock_now_ns();
        guest->dialogue->events->on_ready(guest->dialogue->user);
    }
}

static void on_ready(void *user)
{
    struct share *share = user;

    list_each (node, &share->guests)
        note_report(list_entry(node, struct guest, node));
    tell_ready(share);
}

static void on_subscribed(void *user, const char *channel, const struct err *err)
{
    struct guest *guest = subscriber(user);

    if (guest && guest->ready)
        guest->dialogue->events->on_subscribed(guest->dialogue->user, channel, err);
}

static void on_payload(void *user, const char *channel, struct slice payload, uint64_t received_ns)
{
    struct guest *guest = subscriber(user);

    if (guest && guest->ready)
        conn_trace_shared(guest->trace, TRACE_RECEIVED, WS_TEXT, payload);
    if (guest && guest->ready)
        guest->dialogue->events->on_payload(guest->dialogue->user, channel, payload, received_ns);
}

/* The ping that a pong answers; 0: none of ours. */
static uint64_t ping_of(const struct share *share, struct slice body)
{
    list_each (node, &share->guests) {
        const struct guest *guest = list_entry(node, struct guest, node);

        if (guest->ping_turn && slice_equal(body, slice_make(guest->ping, guest->ping_len)))
            return guest->ping_turn;
    }
    return 0;
}

/*
 * A pong for the guest that asked, and for those that had asked before it: a server may answer the newest ping only (RFC 6455, 5.5.3). Each gets it
 * with the data of its own ping. The others are not told.
 */
static void tell_pong(struct share *share, uint64_t ping, const struct ws_message *pong, uint64_t received_ns)
{
    uint64_t turn = ++share->turn;
    struct ws_message own = *pong;
    uint8_t body[WS_CONTROL_MAX];
    struct guest *guest;

    while ((guest = untold(share, turn))) {
        if (!guest->ping_turn || guest->ping_turn > ping)
            continue;
        guest->ping_turn = 0;
        memcpy(body, guest->ping, guest->ping_len);
        own.body = slice_make(body, guest->ping_len);
        conn_trace_shared(guest->trace, TRACE_RECEIVED, own.opcode, own.body);
        if (guest->dialogue->events->on_message)
            guest->dialogue->events->on_message(guest->dialogue->user, &own, received_ns);
    }
}

static void on_message(void *user, const struct ws_message *message, uint64_t received_ns)
{
    struct share *share = user;
    uint64_t turn, ping = message->opcode == WS_PONG ? ping_of(share, message->body) : 0;
    struct guest *guest;

    if (ping) {
        tell_pong(share, ping, message, received_ns);
        return;
    }
    turn = ++share->turn;
    while ((guest = untold(share, turn))) {
        if (guest->ready && *guest->asker->asks)
            conn_trace_shared(guest->trace, TRACE_RECEIVED, message->opcode, message->body);
        if (guest->ready && guest->dialogue->events->on_message)
            guest->dialogue->events->on_message(guest->dialogue->user, message, received_ns);
    }
}

static void on_lost(void *user, const struct err *err)
{
    tell_lost(user, err);
}

static const struct dialogue_events host_events = {
    .on_ready = on_ready, .on_subscribed = on_subscribed, .on_payload = on_payload, .on_message = on_message, .on_lost = on_lost
};

/* --- the connection --- */

static void open_host(struct share *share)
{
    const struct target_conf *target = &share->generation->conf->target;
    const struct guest *first = list_entry(share->guests.next, struct guest, node), *who = subscriber(share);
    struct conn_options options = { .group = share->group,
                                    .target = target,
                                    .url = share->path == PATH_PUBLIC ? &target->public : &target->local,
                                    .tls = share->tls_from->tls,
                                    .offer_deflate = true,
                                    .http2 = share->http2,
                                    .shared = true };
    struct err err;

    share->begun_ns = clock_now_ns();
    list_each (node, &share->guests)
        list_entry(node, struct guest, node)->attached = true;
    if (dialogue_open(share->host, &options, target->dialect, (who ? who : first)->id, &share->report, &err) < 0)
        tell_lost(share, &err);
}

static bool is_patient(const struct share *share, const struct asker *asker)
{
    return *asker->asks && asker->cut && *asker->began_ns + asker->timeout_ms * NS_PER_MS > share->patience_ns &&
           !(asker->gates & ~share->gates);
}

/* A dead connection goes, whoever would wait for it much longer than the check that has found it dead. */
static void cut_short(struct share *share)
{
    uint64_t turn = ++share->turn;
    struct guest *guest;

    while (share->condemned && (guest = untold(share, turn)))
        if (guest->attached && is_patient(share, guest->asker))
            guest->asker->cut(guest->asker->user);
}

static void on_tick(struct timer *timer, void *user)
{
    struct share *share = user;

    if (share->condemned && share->drop)
        cut_short(share);
    if (share->condemned)
        end_if_free(share);
    if (share->condemned || list_empty(&share->guests))
        return;
    if (dialogue_is_ready(share->host))
        tell_ready(share);
    else if (dialogue_busy(share->host))
        return; /* on_ready follows */
    else if (share->group->shared_farewells)
        timer_start(timer, LOOK_MS);
    else
        open_host(share);
}

bool share_is_open(const struct share *share)
{
    return dialogue_is_ready(share->host) && !share->condemned;
}

bool share_is_between(const struct share *share)
{
    return share->condemned || (!dialogue_busy(share->host) && share->group->shared_farewells);
}

/* --- life --- */

struct share *share_ref(struct share **list, struct conn_group *group, struct generation *generation, int path, bool http2,
                        bool keeps)
{
    struct share *share;

    for (share = *list; share; share = share->next)
        if (share->path == path && share->http2 == http2 && conf_same_target(share->generation->conf, generation->conf)) {
            break;
        }
    if (share) {
        share_use_tls(share, generation);
        share->users++;
        share->keepers += keeps;
        return share;
    }
    share = mem_alloc(sizeof *share);
    share->users = 1;
    share->keepers = keeps;
    share->path = path;
    share->http2 = http2;
    share->generation = generation_ref(generation);
    share->tls_from = generation_ref(generation);
    share->group = group;
    share->host = dialogue_new(share, &host_events);
    list_init(&share->guests);
    list_init(&share->talkers);
    timer_init(&share->tick, group->loop, on_tick, share);
    share->list = list;
    share->next = *list;
    *list = share;
    return share;
}

void share_use_tls(struct share *share, struct generation *generation)
{
    struct generation *old = share->tls_from;

    share->tls_from = generation_ref(generation);
    generation_unref(old);
}

void share_unref(struct share *share, bool keeps)
{
    struct share **at;

    if (!share)
        return;
    share->keepers -= keeps;
    if (!share->keepers && list_empty(&share->guests))
        end_host(share);
    if (--share->users)
        return;
    panic_if(!list_empty(&share->guests));
    for (at = share->list; *at != share; at = &(*at)->next)
        ;
    *at = share->next;
    timer_stop(&share->tick);
    dialogue_free(share->host);
    generation_unref(share->generation);
    generation_unref(share->tls_from);
    mem_free(share);
}

static struct share_turn *next_talker(const struct share *share)
{
    struct share_turn *first = NULL;

    list_each (node, &share->talkers) {
        struct share_turn *turn = list_entry(node, struct share_turn, node);

        if (!first || (turn->urgent && !first->urgent))
            first = turn;
    }
    return first;
}

bool share_claim(struct share *share, struct share_turn *turn, bool urgent)
{
    if (share->talker == turn)
        return true;
    turn->urgent = urgent;
    if (list_empty(&turn->node))
        list_push(&share->talkers, &turn->node);
    if (share->talker || next_talker(share) != turn)
        return false;
    list_remove(&turn->node);
    share->talker = turn;
    return true;
}

void share_yield(struct share *share, struct share_turn *turn)
{
    if (!share)
        return;
    list_remove(&turn->node);
    if (share->talker == turn)
        share->talker = NULL;
}
