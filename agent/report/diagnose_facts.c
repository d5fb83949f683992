/*
 * Owns what the rules of the diagnosis ask for: what holds of the main fault, and around it. Called by diagnose.c. Pure. Checks are compared
 * by what their types declare (agent/conf/probe_type.h) and by the reasons of their faults: no type is known here by its name.
 */
#include <string.h>

#include "agent/base/clock.h"
#include "agent/core/broker.h"
#include "agent/report/diagnose_impl.h"

/* A pass that is older than a fault by more than this says nothing against it. Rounds of one time start together. */
enum { EVIDENCE_SLACK_MS = 500 };
/* So many of the newest rounds say whether a check fails now and then; so often must it have come back, and failed. */
enum { MIXED_ROUNDS = 12, MIXED_TURNS = 2 };
/* One cut is chance. */
enum { CUTS_MIN = 2 };
/* A deploy or a restart is over by then. */
enum { GOODBYE_MS = 120000 };

bool check_speaks_websocket(const struct check_view *check)
{
    return check->kind == PROBE_FRESH || check->kind == PROBE_SESSION;
}

unsigned check_failed_rounds(const struct check_view *check)
{
    unsigned failed = 0;
    for (const char *mark = strchr(check->health.history, '.'); mark; mark = strchr(mark + 1, '.'))
        failed++;
    return failed;
}

const struct check_view *broker_check_of(const struct agent_view *view, const struct check_view *check)
{
    const struct check_view *only = NULL;
    size_t count = 0;
    if (check_is_broker(check))
        return check;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *other = view->checks[i];
        if (!check_is_broker(other))
            continue;
        if (check->broker && strcmp(check->broker, other->name) == 0)
            return other;
        only = other;
        count++;
    }
    return count == 1 && !check->broker ? only : NULL;
}

static bool good(const struct check_view *check)
{
    bool state_good = check->health.state == STATE_PASS || check->health.state == STATE_WARN;
    return state_good && check->judged && check->status != RESULT_FAIL;
}

static int64_t began_ms(const struct check_view *main_check)
{
    return main_check->since_ms - (int64_t)(main_check->total_ns / NS_PER_MS) - EVIDENCE_SLACK_MS;
}

/* A pass is evidence against the main fault only if it came after that began: of a server that has just died, every other
 * check's last round was still a pass. */
static bool works(const struct check_view *check, const struct check_view *main_check)
{
    return check != main_check && good(check) && check->last_ms >= began_ms(main_check);
}

/* Has one of its open connections answered since the main fault began? One that sends nothing cannot know. */
static bool lives(const struct check_view *check, const struct check_view *main_check)
{
    struct check_fault fault;
    if (check->kind != PROBE_SESSION || check->last_ms < began_ms(main_check))
        return false;
    if (check->stats.delivery)
        return works(check, main_check);
    if (!check->stats.held || !check->have_rtt)
        return false;
    return works(check, main_check) ||
           (check_fault_of(check, &fault) && reason_phase(fault.reason) < PHASE_OPEN && reason_phase(fault.reason) != PHASE_NONE);
}

/* Passes and failures alternate: an outage that is over has failed once, and one that lasts has not come back. */
static bool is_mixed(const struct check_view *check)
{
    const char *history = check->health.history;
    size_t len = strlen(history), from = len > MIXED_ROUNDS ? len - MIXED_ROUNDS : 0;
    unsigned falls = 0, returns = 0;
    for (size_t i = from + 1; i < len; i++) {
        bool failed = history[i] == '.', before = history[i - 1] == '.';
        falls += failed && !before;
        returns += !failed && before;
    }
    return falls >= MIXED_TURNS && returns >= MIXED_TURNS;
}

static bool said_goodbye(const struct check_view *check, const struct check_view *main_check)
{
    struct check_fault fault;
    int code = check->close_code, lost = check->stats.lost_code;
    bool now = check_fault_of(check, &fault) && fault.reason == REASON_CLOSED_BY_SERVER && (code == 1001 || code == 1012);
    bool before = (lost == 1001 || lost == 1012) && main_check->last_ms - check->stats.lost_ms < GOODBYE_MS;
    return check->kind == PROBE_SESSION && (now || before);
}

/* The control leg of the same heartbeat, or the broker's own check. */
static bool broker_late(const struct agent_view *view, const struct check_view *main_check)
{
    const struct delivery_stats *delivery = main_check->stats.delivery;
    const struct check_view *broker = delivery ? broker_check_of(view, main_check) : NULL;
    struct check_fault fault;
    if (!delivery)
        return false;
    if (broker && check_fault_of(broker, &fault) && fault.reason == REASON_SLOW)
        return true;
    return delivery->last_ns[LEG_CONTROL] && delivery->last_ns[LEG_CONTROL] >= delivery->last_ns[LEG_WEBSOCKET] / 2;
}

/* Another check whose connections speak has not lost one for longer than the silent ones live. */
static bool outlives(const struct check_view *check, const struct check_view *main_check)
{
    const struct hold_figures *cut = &main_check->stats.lives;
    if (!check->stats.holds || check->stats.lives.idle || check->stats.lives.cut || !works(check, main_check))
        return false;
    return check->last_ms - check->since_ms > (int64_t)(cut->longest_ns / NS_PER_MS);
}

/* Of a check that holds silent connections: what cuts them? */
static uint64_t facts_of_silence(const struct agent_view *view, const struct check_view *main_check)
{
    const struct hold_figures *lives = &main_check->stats.lives;
    if (!lives->idle || lives->cut < CUTS_MIN)
        return 0;
    if (lives->control != HOLD_CONTROL_UNKNOWN)
        return lives->control == HOLD_CONTROL_LIVES ? IDLE_CUT : AGE_CUT;
    for (size_t i = 0; i < view->check_count; i++)
        if (check_is_public(view->checks[i]) == check_is_public(main_check) && outlives(view->checks[i], main_check))
            return IDLE_CUT;
    return 0;
}

/* --- versions of HTTP --- */

const char *check_http_of(const struct check_view *check)
{
    return check->http ? check->http : "1.1";
}

static bool is_over(const struct check_view *check, const char *version)
{
    return strcmp(check_http_of(check), version) == 0;
}

/* Does it come through over that version? One of `http: both` that says what clients use instead has not been over HTTP/2, and
 * connections that it holds may all be over HTTP/1.1. */
static bool works_over(const char *version, const struct check_view *check, const struct check_view *main_check)
{
    if (!works(check, main_check))
        return false;
    if (!is_over(check, "both"))
        return is_over(check, version);
    return strcmp(version, "1.1") == 0 || (check->h2_gap == H2_GAP_NONE && check->kind != PROBE_SESSION);
}

/* Both versions go through the same names, addresses and certificates: what fails there is not of one version. */
static bool depends_on_version(enum reason reason)
{
    enum phase phase = reason_phase(reason);
    return phase == PHASE_UPGRADE || phase == PHASE_OPEN || reason == REASON_TLS_HANDSHAKE_FAILED;
}

/* Does it fail over `mine` only? A round of `http: both` that says so, or another check over `other` that does as much and works. Not where a
 * check over `other` fails as well, another over `mine` comes through, or rounds pass and fail by turns: then it is not the version. */
static bool fails_over(const char *mine, const char *other, enum http_split split, const struct agent_view *view,
                       const struct check_view *main_check, const struct check_fault *fault)
{
    struct check_fault its;
    bool works_over_other = fault->split == split, early = reason_phase(fault->reason) != PHASE_OPEN;
    if (!depends_on_version(fault->reason) || !check_speaks_websocket(main_check) || is_mixed(main_check))
        return false;
    if (!is_over(main_check, mine) && !works_over_other)
        return false;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        bool alike = early ? check->kind == PROBE_FRESH : strcmp(check->type, main_check->type) == 0;
        if (check == main_check || !check_speaks_websocket(check) || check_is_public(check) != check_is_public(main_check) ||
            !alike)
            continue;
        if (is_over(check, other) && check_fault_of(check, &its) && check->health.state == STATE_FAIL &&
            reason_phase(its.reason) <= reason_phase(fault->reason))
            return false;
        if (works_over(mine, check, main_check))
            return false;
        works_over_other = works_over_other || (is_over(check, other) && works(check, main_check));
    }
    return works_over_other;
}

/* Does another check come through over HTTP/2 on that path? Then there are several servers, and not all of them are alike. */
static bool h2_works(const struct agent_view *view, const struct check_view *main_check)
{
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        if (check_is_public(check) == check_is_public(main_check) && check_speaks_websocket(check) &&
            works_over("2", check, main_check))
            return true;
    }
    return false;
}

static uint64_t facts_of_http(const struct agent_view *view, const struct check_view *main_check, const struct check_fault *fault)
{
    uint64_t facts = 0;
    if (main_check->health.state == STATE_WARN && fault->gap == H2_GAP_NONE)
        return 0;
    facts |= fails_over("2", "1.1", HTTP_SPLIT_ONLY_2_FAILS, view, main_check, fault) ? HTTP2_ONLY : 0;
    facts |= fails_over("1.1", "2", HTTP_SPLIT_ONLY_1_1_FAILS, view, main_check, fault) ? HTTP1_ONLY : 0;
    if (h2_works(view, main_check))
        return facts;
    facts |= fault->gap == H2_GAP_NOT_ALLOWED ? H2_NOT_ALLOWED : 0;
    facts |= fault->gap == H2_GAP_NOT_SPOKEN ? H2_NOT_SPOKEN : 0;
    return facts;
}

/* --- the network --- */

/* The kernel's figures are those of the last round: of one that passed they say nothing of the fault. A connection that is kept may have lost
 * a segment an hour ago, so of one only counts what is still not acknowledged. */
static uint64_t facts_of_network(const struct check_view *main_check)
{
    const struct trace_tcp *tcp = &main_check->tcp;
    uint64_t facts = 0, trips = 0;
    if (!tcp->known || !main_check->judged || main_check->status == RESULT_PASS || !check_speaks_websocket(main_check))
        return 0;
    facts |= tcp->retransmits && main_check->kind == PROBE_FRESH ? RESENT : 0;
    facts |= tcp->retransmits && tcp->unacked ? UNACKNOWLEDGED : 0;
    for (unsigned phase = PHASE_CONNECT; phase <= PHASE_OPEN; phase++)
        trips += main_check->have_phase[phase];
    /* The smallest round trip is that of the handshake of TCP, which the server's kernel answers without the server. */
    facts |= main_check->kind == PROBE_FRESH && tcp->min_rtt_ns * trips * 2 >= main_check->total_ns ? FAR : 0;
    return facts;
}

/* --- what the server is connected to --- */

static bool is_of(const struct server_peer_stats *peer, const struct check_view *main_check)
{
    return !main_check->broker || strcmp(peer->name, main_check->broker) == 0;
}

static unsigned badness(const struct server_peer_stats *peer)
{
    return peer->missing ? 3 : peer->state == SERVER_PEER_UNREAD ? 2 : peer->state == SERVER_PEER_UNREACHED ? 1 : 0;
}

const struct server_peer_stats *bad_peer_of(const struct agent_view *view, const struct check_view *main_check,
                                            const struct check_view **by)
{
    const struct server_peer_stats *worst = NULL;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct server_stats *server = view->checks[i]->stats.server;
        for (unsigned k = 0; server && view->checks[i]->judged && k < server->peer_count; k++)
            if (is_of(&server->peers[k], main_check) && badness(&server->peers[k]) > (worst ? badness(worst) : 0)) {
                worst = &server->peers[k];
                *by = view->checks[i];
            }
    }
    return worst;
}

/* Has the server been seen connected to its broker since the main fault began? */
static bool holds_broker(const struct agent_view *view, const struct check_view *main_check)
{
    for (size_t i = 0; i < view->check_count; i++) {
        const struct server_stats *server = view->checks[i]->stats.server;
        bool since = view->checks[i]->judged && view->checks[i]->last_ms >= main_check->since_ms;
        for (unsigned k = 0; server && since && k < server->peer_count; k++)
            if (main_check->broker && is_of(&server->peers[k], main_check) &&
                (server->peers[k].state == SERVER_PEER_CONNECTED || server->peers[k].state == SERVER_PEER_UNREAD))
                return true;
    }
    return false;
}

static uint64_t facts_of_peers(const struct agent_view *view, const struct check_view *main_check)
{
    const struct check_view *by;
    const struct server_peer_stats *peer = bad_peer_of(view, main_check, &by);
    uint64_t facts = holds_broker(view, main_check) ? PEER_HOLDS : 0;
    bool answers = false, delivers = false;
    if (!peer)
        return facts;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        bool same = check->broker && strcmp(check->broker, peer->name) == 0;
        answers = answers || (same && check_is_broker(check) && good(check));
        delivers = delivers || (same && check->stats.delivery && good(check));
    }
    facts |= peer->missing && delivers ? PEER_ELSEWHERE : 0;
    facts |= peer->missing && answers && !delivers ? PEER_LOST : 0;
    facts |= peer->missing && !peer->once ? PEER_NEVER : 0;
    facts |= !peer->missing && peer->state == SERVER_PEER_UNREACHED ? PEER_UNREACHED : 0;
    facts |= !peer->missing && peer->state == SERVER_PEER_UNREAD ? PEER_UNREAD : 0;
    return facts;
}

static uint64_t facts_of_main(const struct agent_view *view, const struct check_view *main_check, const struct check_fault *fault)
{
    uint64_t facts = 0;
    facts |= check_speaks_websocket(main_check) || main_check->kind == PROBE_TRIAL ? ON_WEBSOCKET : 0;
    facts |= main_check->kind == PROBE_SESSION ? ON_SESSION : 0;
    facts |= main_check->kind == PROBE_TRIAL ? ON_TRIAL : 0;
    facts |= main_check->proves & PROVES_PONG ? ON_PING : 0;
    facts |= main_check->proves & PROVES_HTTP ? ON_HTTP : 0;
    facts |= main_check->proves & PROVES_PORT ? ON_TCP : 0;
    facts |= check_is_broker(main_check) ? ON_BROKER : 0;
    facts |= fault->scope == SCOPE_SHARED ? IS_SHARED : 0;
    facts |= main_check->health.state == STATE_WARN ? IS_WARNING : 0;
    facts |= main_check->stats.delivery && delivery_never_arrived(main_check->stats.delivery) ? NEVER_ARRIVED : 0;
    facts |= fault->hint == BROKER_HINT_NEVER_CAME ? NEVER_ARRIVED : 0;
    facts |= fault->addresses.bad ? SOME_ADDRESSES : 0;
    facts |= check_is_public(main_check) && is_mixed(main_check) ? PUBLIC_MIXED : 0;
    facts |= main_check->health.own_doing ? TOKEN_OVER : 0;
    facts |= facts_of_silence(view, main_check) | facts_of_http(view, main_check, fault) | facts_of_network(main_check);
    facts |= facts_of_peers(view, main_check);
    facts |= broker_late(view, main_check) ? BROKER_LATE : 0;
    facts |= view->late_ms && view->late_ms * 2 >= main_check->total_ns / NS_PER_MS ? AGENT_LATE : 0;
    return facts;
}

static uint64_t facts_of_path(const struct check_view *check, const struct check_view *main_check)
{
    uint64_t facts = lives(check, main_check) ? HELD_LIVES : 0;
    if (!works(check, main_check))
        return facts;
    facts |= check->kind == PROBE_FRESH ? FRESH_WORKS : 0;
    facts |= check->proves & PROVES_PONG ? PING_WORKS : 0;
    facts |= check->proves & PROVES_ANSWER ? ECHO_WORKS : 0;
    facts |= check->proves & PROVES_SUBSCRIPTION ? SUBSCRIBE_WORKS : 0;
    facts |= check->proves & PROVES_HTTP ? HTTP_WORKS : 0;
    return facts;
}

uint64_t facts_of(const struct agent_view *view, const struct check_view *main_check, const struct check_fault *fault)
{
    uint64_t facts = facts_of_main(view, main_check, fault);
    bool local_works = false, local_fails = false;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        if (check_is_public(check) == check_is_public(main_check)) {
            facts |= facts_of_path(check, main_check);
            facts |= said_goodbye(check, main_check) ? SAID_GOODBYE : 0;
        } else {
            local_works = local_works || (check->kind == PROBE_FRESH && works(check, main_check));
            local_fails = local_fails || (check_speaks_websocket(check) && check->health.state == STATE_FAIL);
            /* What comes in there may come to this instance: it is a witness only of what fails here. */
            bool same = strcmp(check->type, main_check->type) == 0 ||
                        (reason_phase(fault->reason) != PHASE_OPEN && reason_phase(fault->reason) != PHASE_NONE);
            if (check_is_public(check) && check->kind == PROBE_FRESH && same && works(check, main_check))
                facts |= PUBLIC_WORKS;
            if (!check_is_public(check) && strcmp(check->type, main_check->type) == 0 && works(check, main_check))
                facts |= LOCAL_SAME_WORKS;
        }
    }
    return check_is_public(main_check) && local_works && !local_fails ? facts | LOCAL_WORKS : facts;
}

const struct check_view *check_beside(const struct agent_view *view, const struct check_view *main_check,
                                      const enum reason *reasons)
{
    struct check_fault fault;
    for (size_t i = 0; i < view->check_count; i++)
        for (size_t j = 0; j < RULE_BESIDE && reasons[j] != REASON_NONE; j++)
            if (view->checks[i] != main_check && check_fault_of(view->checks[i], &fault) && fault.reason == reasons[j])
                return view->checks[i];
    return NULL;
}

const struct check_view *mixed_public_check(const struct agent_view *view)
{
    const struct check_view *mixed = NULL;
    bool local_works = false;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        if (!check_speaks_websocket(check))
            continue;
        if (!check_is_public(check) && (!good(check) || check_failed_rounds(check)))
            return NULL;
        local_works = local_works || (!check_is_public(check) && check->kind == PROBE_FRESH);
        if (!mixed && check_is_public(check) && is_mixed(check))
            mixed = check;
    }
    return local_works ? mixed : NULL;
}
