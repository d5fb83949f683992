/*
 * The delivery matrix on paper: agents with the real windows, rows, judgement and findings; servers and agents that begin anew, freeze and are late; brokers that
 * lose messages and go away. Without a fault nothing is ever found; a fault is found by all agents alike, in the time that the guide states. Seeded: the same
 * seed plays the same.
 */
#include "tests/unit/fleet/group.h"

#include <stdlib.h>

#include "agent/core/heard.h"
#include "agent/fleet/findings.h"
#include "agent/fleet/matrix.h"
#include "agent/fleet/row.h"

enum {
    STEP_MS = 50,
    AGENTS_MAX = 7,
    FLIGHTS_MAX = 4096,
    WITHIN_MS = 500,
    WAIT_MS = 1000,
    STARTING_MS = 2000,
    QUIET_MS = 90000,
    TROUBLE_MS = 300000,
    SETTLE_MS = 100000,
    SEEDS = 40,
};

enum fault { NO_FAULT, FAULT_ROW, FAULT_COLUMN, FAULT_CUT, FAULT_COUNT };

struct one {
    char id[24], region[8];
    unsigned broker, back; /* back: the broker that it has when nothing is wrong */
    uint32_t interval_ms, ws_delay_ms;
    bool alive, deaf; /* deaf: the server has lost its subscription */
    uint64_t begun_ms, up_ms, thawed_ms, beat_ms, heard_ms, say_ms, seq, beats, run;
    uint64_t server_up_ms; /* the WebSocket, and the server's subscription */
    struct heard heard;
    struct members *members;
    struct findings_kept kept;
    struct summary_beats own_beats;
    struct summary_source row[SUMMARY_ROW_MAX];
    size_t row_count, turn;
    unsigned told, over;
};

struct flight {
    enum { FLIGHT_CONTROL, FLIGHT_WEBSOCKET, FLIGHT_SUMMARY } kind;
    unsigned to;
    uint64_t run, due_ms, sent_ms, key;
    uint32_t who;
    struct summary *summary;
};

static struct play {
    uint64_t random, now_ms;
    struct one all[AGENTS_MAX];
    unsigned count, brokers, loss_percent;
    uint64_t broker_up_ms[3];
    bool cut; /* the second region has nothing of the first */
    struct flight flights[FLIGHTS_MAX];
    size_t flying;
} play;

static uint64_t random_below(uint64_t limit)
{
    play.random ^= play.random << 13;
    play.random ^= play.random >> 7;
    play.random ^= play.random << 17;
    return play.random % limit;
}

static bool is_lost(void)
{
    return random_below(100) < play.loss_percent;
}

/* --- on the way --- */

static void fly(struct flight flight, uint64_t delay_ms)
{
    assert_true(play.flying < FLIGHTS_MAX);
    flight.due_ms = play.now_ms + delay_ms;
    flight.sent_ms = play.now_ms;
    flight.run = play.all[flight.to].run;
    play.flights[play.flying++] = flight;
}

static bool is_up(const struct one *one)
{
    return one->alive && play.now_ms >= one->thawed_ms;
}

static bool has_broker(const struct one *one)
{
    return play.now_ms >= play.broker_up_ms[one->broker];
}

/* Since when both subscriptions are there. */
static uint64_t able_since(const struct one *one)
{
    uint64_t broker_ms = play.broker_up_ms[one->broker];

    return broker_ms > one->up_ms ? broker_ms : one->up_ms;
}

static void land(struct flight *flight)
{
    struct one *one = &play.all[flight->to];
    uint64_t server_ms = one->server_up_ms > able_since(one) ? one->server_up_ms : able_since(one);
    bool settled = play.now_ms >= server_ms + WITHIN_MS;
    const struct heard_beat beat = { .who = flight->who,
                                     .key = flight->key,
                                     .now_ms = play.now_ms,
                                     .late_ms = (int32_t)(play.now_ms - flight->sent_ms),
                                     .wait_ms = settled || flight->kind == FLIGHT_WEBSOCKET ? WAIT_MS : 0 };

    if (!one->alive || flight->run != one->run)
        return;
    if (flight->kind == FLIGHT_SUMMARY)
        group_hear(one->members, flight->summary, play.now_ms);
    else if (flight->kind == FLIGHT_CONTROL && flight->sent_ms >= server_ms) /* else an end of the connection came behind it */
        heard_control(&one->heard, &beat);
    else if (flight->kind == FLIGHT_WEBSOCKET && flight->sent_ms >= one->server_up_ms)
        heard_websocket(&one->heard, &beat);
}

static void land_all(void)
{
    size_t kept = 0, count = play.flying;

    for (size_t i = 0; i < count; i++) {
        struct flight *flight = &play.flights[i];

        if (flight->due_ms > play.now_ms || (play.all[flight->to].alive && !is_up(&play.all[flight->to]))) {
            play.flights[kept++] = *flight;
            continue;
        }
        land(flight);
        free(flight->summary);
    }
    play.flying = kept;
}

/* --- an agent --- */

static void begin_agent(struct one *one)
{
    one->alive = true;
    one->run++;
    one->begun_ms = one->up_ms = play.now_ms;
    one->beat_ms = play.now_ms + random_below(one->interval_ms);
    one->say_ms = one->heard_ms = play.now_ms + random_below(1000);
    one->row_count = one->turn = 0;
    memset(&one->heard, 0, sizeof one->heard);
    memset(&one->kept, 0, sizeof one->kept);
    memset(&one->own_beats, 0, sizeof one->own_beats);
    members_free(one->members);
    one->members = group_table(one->id);
}

static enum fleet_word word_of(const struct one *one)
{
    return play.now_ms - one->begun_ms < STARTING_MS ? FLEET_STARTING : FLEET_READY;
}

static void say(const struct one *from, enum fleet_word word)
{
    struct summary summary = group_summary(from->id, play.all[from - play.all].seq += 1);

    memcpy(summary.region, from->region, sizeof from->region);
    summary.run_ms += from->begun_ms;
    summary.word = word;
    summary.beats = from->own_beats;
    memcpy(summary.row, from->row, sizeof from->row);
    summary.row_count = from->row_count;
    for (unsigned i = 0; i < play.count; i++)
        if (&play.all[i] != from && !is_lost()) {
            struct summary *copy = malloc(sizeof *copy);

            assert_non_null(copy);
            *copy = summary;
            fly((struct flight){ .kind = FLIGHT_SUMMARY, .to = i, .summary = copy }, 1 + random_below(100));
        }
}

static void publish(struct one *from)
{
    struct flight beat = { .who = fleet_hash(from->id), .key = heard_key(from->id, "", from->run << 32 | ++from->beats) };

    heard_published(&from->heard, play.now_ms);
    for (unsigned i = 0; i < play.count; i++) {
        const struct one *to = &play.all[i];

        beat.to = i;
        if (to == from || to->broker != from->broker || (play.cut && to->region[0] == 'u' && from->region[0] == 'e'))
            continue;
        beat.kind = FLIGHT_CONTROL;
        if (!is_lost())
            fly(beat, 1 + random_below(60));
        beat.kind = FLIGHT_WEBSOCKET;
        if (!is_lost() && !to->deaf && play.now_ms >= to->server_up_ms)
            fly(beat, to->ws_delay_ms + random_below(60));
    }
}

static void round_of(struct one *one)
{
    one->beat_ms = play.now_ms + one->interval_ms * (90 + random_below(20)) / 100;
    if (play.now_ms < one->server_up_ms)
        return;
    one->heard.proved_ms = play.now_ms;
    if (has_broker(one))
        publish(one);
}

static void on_change(void *user, const struct finding *finding, bool begins)
{
    struct one *one = user;

    (void)finding;
    one->told += begins;
    one->over += !begins;
}

/* As agent/run/agent_fleet.c does it, for one delivery check. */
static void hear(struct one *one)
{
    const struct heard_sum own = heard_sum(&one->heard.own, play.now_ms);
    struct fleet_heard heard = { .whole = heard_is_whole(&one->heard, play.now_ms), .region = one->region };
    struct matrix_finding found[FINDINGS_MAX];
    size_t count;

    heard_sweep(&one->heard, play.now_ms);
    heard.able_ms = has_broker(one) ? play.now_ms - able_since(one) : 0;
    heard.beats = (struct summary_beats){ .count = own.got, .window_ms = (uint32_t)own.window_ms, .channels = 7, .all = true };
    for (; heard.count < one->heard.count; heard.count++) {
        const struct heard_source *source = &one->heard.sources[heard.count];
        const struct heard_sum sum = heard_sum(source, play.now_ms);

        heard.cells[heard.count].who = source->who;
        heard.cells[heard.count].got = sum.got;
        heard.cells[heard.count].lost = sum.lost;
        heard.cells[heard.count].late_ms = sum.late_ms;
        heard.cells[heard.count].quiet_ms = play.now_ms - source->last_ms;
    }
    one->own_beats = heard.beats;
    members_sweep(one->members, play.now_ms);
    one->row_count = row_make(&heard, one->members, play.now_ms, &one->turn, one->row);
    count = matrix_judge(&(struct matrix_own){ .id = one->id,
                                               .region = one->region,
                                               .counts = word_of(one) == FLEET_READY,
                                               .row = one->row,
                                               .row_count = one->row_count,
                                               .beats = &one->own_beats },
                         one->members, play.now_ms, found, FINDINGS_MAX);
    findings_note(&one->kept, found, count, play.now_ms, on_change, one);
}

static void step(void)
{
    play.now_ms += STEP_MS;
    land_all();
    for (unsigned i = 0; i < play.count; i++) {
        struct one *one = &play.all[i];

        if (!is_up(one))
            continue;
        if (play.now_ms >= one->beat_ms)
            round_of(one);
        if (play.now_ms >= one->heard_ms) {
            one->heard_ms = play.now_ms + 1000;
            hear(one);
        }
        if (play.now_ms >= one->say_ms) {
            one->say_ms = play.now_ms + EVERY_MS;
            say(one, word_of(one));
        }
    }
}

/* --- troubles that are no fault --- */

static void trouble(void)
{
    struct one *one = &play.all[random_below(play.count)];
    uint64_t ms = 500 + random_below(30000);
    unsigned broker = (unsigned)random_below(play.brokers);

    if (!is_up(one))
        return;
    switch (random_below(4)) {
    case 0: /* the agent begins anew; it says goodbye, or was killed */
        if (random_below(2))
            say(one, FLEET_LEFT);
        one->alive = false;
        one->up_ms = play.now_ms + ms; /* run_for begins it */
        break;
    case 1: /* the server does, and cuts its clients */
        one->server_up_ms = play.now_ms + ms / 4;
        heard_break(&one->heard);
        break;
    case 2:
        one->thawed_ms = play.now_ms + ms;
        break;
    default: /* a broker does; servers subscribe anew a moment after the agents */
        play.broker_up_ms[broker] = play.now_ms + ms;
        for (unsigned i = 0; i < play.count; i++)
            if (play.all[i].broker == broker) {
                heard_break(&play.all[i].heard);
                if (play.all[i].server_up_ms < play.now_ms + ms)
                    play.all[i].server_up_ms = play.now_ms + ms + random_below(800);
            }
        break;
    }
}

static void run_for(uint64_t ms, bool troubled)
{
    for (uint64_t end_ms = play.now_ms + ms; play.now_ms < end_ms;) {
        step();
        for (unsigned i = 0; i < play.count; i++)
            if (!play.all[i].alive && play.now_ms >= play.all[i].up_ms)
                begin_agent(&play.all[i]);
        if (troubled && random_below(8000 / STEP_MS) == 0)
            trouble();
    }
}

/* --- a play --- */

/* Regions e and u; u may be one instance. With `apart` each region has a broker of its own. */
static void begin_play(uint64_t seed, bool apart)
{
    memset(&play, 0, sizeof play);
    play.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    play.now_ms = 1000;
    for (int i = 0; i < 8; i++)
        random_below(2);
    play.count = 3 + (unsigned)random_below(AGENTS_MAX - 2);
    play.brokers = 1 + apart;
    play.loss_percent = (unsigned)random_below(6);
    const unsigned first = 2 + (unsigned)random_below(play.count - 2);
    const uint32_t pace_ms = (uint32_t[]){ 300, 1000, 5000, 10000 }[random_below(4)];

    for (unsigned i = 0; i < play.count; i++) {
        struct one *one = &play.all[i];

        snprintf(one->id, sizeof one->id, "chat-%u", i);
        snprintf(one->region, sizeof one->region, i < first ? "e" : "u");
        one->broker = one->back = apart && i >= first;
        one->interval_ms = random_below(4) ? pace_ms : 10 * pace_ms / (1 + pace_ms / 1000);
        one->ws_delay_ms = random_below(6) ? 1 : 2000;
        begin_agent(one);
    }
}

static void end_play(void)
{
    for (size_t i = 0; i < play.flying; i++)
        free(play.flights[i].summary);
    for (unsigned i = 0; i < play.count; i++)
        members_free(play.all[i].members);
}

static void nothing_is_found(uint64_t seed)
{
    for (unsigned i = 0; i < play.count; i++)
        if (play.all[i].told)
            fail_msg("seed %u: %s was told %u times of a fault that is none", (unsigned)seed, play.all[i].id, play.all[i].told);
}

static void test_no_finding_without_a_fault(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        begin_play(seed, seed % 2);
        run_for(TROUBLE_MS, true);
        nothing_is_found(seed);
        end_play();
    }
}

/* About four intervals, at least ten seconds; then the summary that tells what was published, the one that tells what was missed, and what a finding must last. */
static uint64_t stated_ms(void)
{
    uint64_t interval_ms = 2500;

    for (unsigned i = 0; i < play.count; i++)
        if (play.all[i].interval_ms > interval_ms)
            interval_ms = play.all[i].interval_ms;
    return 5 * interval_ms * 11 / 10 + ROW_SLACK_MS + 2 * EVERY_MS + FINDINGS_SETTLE_MS + 2000;
}

static void set_fault(enum fault fault, bool on)
{
    struct one *one = &play.all[1];

    if (fault == FAULT_ROW) {
        one->deaf = on;
    } else if (fault == FAULT_COLUMN) {
        one->broker = on ? 2 : one->back;
        one->up_ms = play.now_ms; /* it subscribes anew */
        heard_break(&one->heard);
    } else {
        play.cut = on;
    }
}

static bool is_the_one(const struct finding *finding, enum fault fault)
{
    if (!finding->told)
        return false;
    if (fault == FAULT_ROW)
        return finding->cause == MATRIX_RECEIVES_NOTHING && strcmp(finding->who, "chat-1") == 0;
    if (fault == FAULT_COLUMN)
        return finding->cause == MATRIX_PUBLISHES_NOTHING && strcmp(finding->who, "chat-1") == 0;
    return finding->cause == MATRIX_REGIONS_CUT && finding->who[0] == 'u' && finding->from[0] == 'e';
}

static void test_a_fault_is_found_by_all(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        const enum fault fault = (enum fault)(1 + seed % (FAULT_COUNT - 1));

        begin_play(seed, false);
        if (fault == FAULT_CUT && play.all[play.count - 2].region[0] != 'u') {
            end_play(); /* the only one of its region receives nothing then */
            continue;
        }
        play.loss_percent = 0;
        for (unsigned i = 0; i < play.count; i++)
            play.all[i].ws_delay_ms = 1;
        run_for(QUIET_MS, false);
        nothing_is_found(seed);
        set_fault(fault, true);
        run_for(stated_ms(), false);
        for (unsigned i = 0; i < play.count; i++)
            if (play.all[i].told != 1 || play.all[i].kept.count != 1 || !is_the_one(&play.all[i].kept.rows[0], fault))
                fail_msg("seed %u, fault %d: %s was told %u times, and has %zu findings, the first of %s", (unsigned)seed,
                         (int)fault, play.all[i].id, play.all[i].told, play.all[i].kept.count, play.all[i].kept.rows[0].who);
        run_for(SETTLE_MS, false);
        set_fault(fault, false);
        run_for(stated_ms(), false);
        for (unsigned i = 0; i < play.count; i++)
            if (play.all[i].told != 1 || play.all[i].over != 1)
                fail_msg("seed %u, fault %d: %s was told %u times, and %u times that it is over", (unsigned)seed, (int)fault,
                         play.all[i].id, play.all[i].told, play.all[i].over);
        end_play();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_finding_without_a_fault),
        cmocka_unit_test(test_a_fault_is_found_by_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
