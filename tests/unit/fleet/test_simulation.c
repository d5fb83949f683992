/*
 * The promises of agent/fleet/min_ready.h and together.h under loss, delays, reordering, wrong clocks, partitions, cuts, restarts, drains and deaths,
 * played at random on a fleet on paper (simulator.h).
 *
 * test_simulation [SEED [RUNS [SECONDS]]]: RUNS fleets of SECONDS each from SEED on; SEED 0 takes a random one. The seed of each is printed when
 * it fails. Without arguments it takes a few seconds.
 */
#include <stdlib.h>

#include "agent/base/random.h"
#include "tests/unit/fleet/simulator.h"

static struct {
    uint64_t seed;
    unsigned runs, seconds;
} arguments = { 1, 12, 100 };

/* How long something that nobody can rule may be felt: see THE BOUND. */
enum { SLACK_MS = SIM_EXPIRE_MS + 3000, PATIENCE_MS = 60000, EVENTS = 4096 };

struct watch { /* what happened lately, and what must be true now */
    uint64_t events_ms[EVENTS];
    unsigned events;
    uint64_t split_ms, unsplit_ms; /* begin and end of the last partition */
    uint64_t *enough_since_ms;     /* for each: since when it fails while more than enough are well */
    uint64_t *shared_ms;           /* for each: when most of the fleet last shared its cause */
    unsigned least_spare, outs, helds, wides;
};

static void note_event(struct watch *watch, uint64_t now_ms)
{
    watch->events_ms[watch->events++ % EVENTS] = now_ms;
}

static unsigned recent_events(const struct watch *watch, uint64_t now_ms)
{
    unsigned recent = 0;

    for (unsigned i = watch->events; i-- > 0 && watch->events - i <= EVENTS;) {
        if (now_ms - watch->events_ms[i % EVENTS] > SLACK_MS)
            break;
        recent++;
    }
    return recent;
}

static void failed(const struct sim *sim, uint64_t seed, const char *what, const struct sim_agent *agent)
{
    for (unsigned i = 0; i < sim->count && i < 64; i++) {
        const struct sim_agent *each = &sim->agents[i];

        fprintf(stderr, "%s: %s%s%s%s%s stand %s mode %d counted %u needed %u of %u, fault for %lld\n", each->id,
                each->alive ? "" : "dead ", each->draining ? "draining " : "", each->cut ? "cut " : "",
                sim_in(sim, each) ? "in" : "out", each->wide ? " wide" : "", fleet_stand_name(each->min_ready.stand),
                (int)each->min_ready.mode, each->min_ready.counted, each->min_ready.needed, each->min_ready.members,
                each->fault_ms ? (long long)(sim->now_ms - each->fault_ms) : -1);
    }
    fail_msg("seed %llu, %u agents, min_ready %u%s, at %llu ms: %s %s", (unsigned long long)seed, sim->count, sim->min.count,
             sim->min.percent ? "%" : "", (unsigned long long)sim->now_ms, what, agent ? agent->id : "");
}

struct truth {
    unsigned in, able, well, members;
};

/* side -1: all. */
static struct truth truth_of(const struct sim *sim, int side)
{
    struct truth truth = { 0 };

    for (unsigned i = 0; i < sim->count; i++) {
        const struct sim_agent *agent = &sim->agents[i];
        bool able = sim_admitted(sim, agent) && !agent->draining;

        if (side >= 0 && agent->side != (unsigned)side)
            continue;
        truth.members += agent->alive && !agent->cut;
        truth.able += able;
        truth.in += sim_in(sim, agent);
        truth.well += able && !agent->fault_ms && !agent->cut;
    }
    return truth;
}

static unsigned wanted(const struct sim *sim, int side)
{
    struct truth truth = truth_of(sim, side);
    uint32_t needed = min_ready_needed(sim->min, truth.members);

    return needed < truth.able ? needed : truth.able;
}

/* Of those that could have the cause, and can say so, how many tenths do? */
static unsigned sharing_tenths(const struct sim *sim, const char *cause)
{
    unsigned able = 0, sharing = 0;

    for (unsigned i = 0; i < sim->count; i++) {
        const struct sim_agent *agent = &sim->agents[i];

        if (!sim_admitted(sim, agent) || agent->draining || agent->cut)
            continue;
        able++;
        sharing += agent->fault_ms && strcmp(agent->cause, cause) == 0;
    }
    return able ? sharing * 10 / able : 0;
}

static void check_each(struct sim *sim, struct watch *watch, uint64_t seed, const struct truth *truth, bool calm)
{
    uint32_t needed = min_ready_needed(sim->min, truth->members);

    for (unsigned i = 0; i < sim->count; i++) {
        struct sim_agent *agent = &sim->agents[i];
        bool able = sim_admitted(sim, agent) && !agent->draining;

        if (able && !agent->fault_ms && !sim_in(sim, agent))
            failed(sim, seed, "a healthy instance is kept out:", agent);
        if (agent->fault_ms && sharing_tenths(sim, agent->cause) >= 7)
            watch->shared_ms[i] = sim->now_ms;
        if (agent->alive && agent->wide && calm && sim->now_ms - watch->shared_ms[i] > SLACK_MS)
            failed(sim, seed, "a fault that is not the fleet's is called that at", agent);
        /* It must go out in the end, where more than enough others are well. */
        if (!able || !agent->fault_ms || agent->cut || agent->wide || truth->well < needed + 1 || !calm)
            watch->enough_since_ms[i] = sim->now_ms;
        if (sim_in(sim, agent) && sim->now_ms - watch->enough_since_ms[i] > PATIENCE_MS)
            failed(sim, seed, "a broken instance is held though enough are well:", agent);
        watch->outs += agent->min_ready.stand == FLEET_STAND_OUT;
        watch->helds += agent->min_ready.stand == FLEET_STAND_HELD;
        watch->wides += agent->wide;
    }
}

static void check(struct sim *sim, struct watch *watch, uint64_t seed)
{
    struct truth truth = truth_of(sim, -1);
    unsigned slack = recent_events(watch, sim->now_ms), want = wanted(sim, -1), apart = wanted(sim, 0) + wanted(sim, 1);
    bool settling = watch->split_ms && sim->now_ms - watch->split_ms <= SLACK_MS;
    bool calm = !sim->split && (!watch->unsplit_ms || sim->now_ms - watch->unsplit_ms > SLACK_MS);

    for (unsigned i = 0; i < sim->count; i++) /* who cannot ask acts by its own verdict */
        slack += sim->agents[i].alive && sim->agents[i].own_ms && sim->now_ms - sim->agents[i].own_ms <= SLACK_MS;
    if (!calm && apart < want) /* each side of a partition keeps N % of its own, or all that it has */
        want = apart;
    if (!settling && truth.in + slack < want)
        failed(sim, seed, "too few are in rotation", NULL);
    check_each(sim, watch, seed, &truth, calm);
}

/* --- what happens --- */

static const char *const causes[] = { "server_down", "server_hung", "messages_stuck", "server_detached_from_broker" };

static void break_server(struct sim *sim, struct sim_agent *agent, const char *cause)
{
    if (!sim_admitted(sim, agent) || agent->fault_ms)
        return;
    agent->fault_ms = sim->now_ms;
    agent->cause = cause;
    sim_decide(sim, agent);
}

static void trouble(struct sim *sim, struct watch *watch)
{
    struct sim_agent *agent = &sim->agents[sim_random(sim, sim->count)];
    unsigned what = sim_random(sim, 100);

    if (what < 40) {
        break_server(sim, agent, causes[sim_random(sim, 4)]);
    } else if (what < 60) { /* several in the same instant */
        for (unsigned i = 0, some = 2 + sim_random(sim, sim->count); i < some; i++)
            break_server(sim, &sim->agents[sim_random(sim, sim->count)], causes[sim_random(sim, 4)]);
    } else if (what < 80) {
        agent->fault_ms = 0;
    } else if (what < 85) { /* dies without a word, or comes back */
        if (agent->alive)
            agent->alive = false;
        else
            sim_boot(sim, agent);
        note_event(watch, sim->now_ms);
    } else if (what < 89) {
        sim_boot(sim, agent);
        note_event(watch, sim->now_ms);
    } else if (what < 94) {
        agent->draining = !agent->draining;
        note_event(watch, sim->now_ms);
    } else if (what < 97) {
        agent->cut = !agent->cut;
        agent->cut_ms = sim->now_ms;
        note_event(watch, sim->now_ms);
    } else {
        sim->split = !sim->split;
        for (unsigned i = 0; sim->split && i < sim->count; i++)
            sim->agents[i].side = sim_random(sim, 2);
        *(sim->split ? &watch->split_ms : &watch->unsplit_ms) = sim->now_ms;
    }
}

static void play(uint64_t seed, unsigned seconds)
{
    struct sim sim;
    struct watch watch = { 0 };
    unsigned count, changes = 0;

    sim_begin(&sim, seed, 1, 0);
    count = 3 + sim_random(&sim, sim_random(&sim, 3) ? 6 : 30);
    sim_end(&sim);
    sim_begin(&sim, seed, count, count);
    sim.loss_percent = sim_random(&sim, 2) ? 5 : 0;
    sim.min.percent = sim_random(&sim, 3) == 0;
    sim.min.count = sim.min.percent ? 10 * (1 + sim_random(&sim, 10)) : 1 + sim_random(&sim, count);
    watch.enough_since_ms = mem_alloc(count * sizeof(uint64_t));
    watch.shared_ms = mem_alloc(count * sizeof(uint64_t));
    while (sim.now_ms < 115000) /* all begin, and hear of each other */
        sim_step(&sim);
    for (unsigned i = 0; i < count; i++)
        watch.enough_since_ms[i] = sim.now_ms;
    for (uint64_t end_ms = sim.now_ms + seconds * 1000u; sim.now_ms < end_ms;) {
        sim_step(&sim);
        if (sim_random(&sim, 300) == 0)
            trouble(&sim, &watch);
        if (sim.now_ms % 50 == 0)
            check(&sim, &watch, seed);
    }
    for (unsigned i = 0; i < count; i++)
        changes += sim.agents[i].changes;
    if (getenv("VERBOSE"))
        printf("seed %llu: %u agents, min %u%s, loss %u %%: %u changes, out %u, held %u, wide %u\n", (unsigned long long)seed,
               count, sim.min.count, sim.min.percent ? "%" : "", sim.loss_percent, changes, watch.outs, watch.helds, watch.wides);
    mem_free(watch.enough_since_ms);
    mem_free(watch.shared_ms);
    sim_end(&sim);
}

static void test_trouble_at_random(void **state)
{
    (void)state;
    for (unsigned i = 0; i < arguments.runs; i++)
        play(arguments.seed + i, arguments.seconds);
}

/* --- many in the same moment ---------------------------------------------------------------------------------------------- */

struct moment {
    uint32_t between_ms; /* one way, between two regions */
    bool one_broker;     /* for both */
    uint64_t longest_ms; /* for so long fewer than min_ready were in rotation */
    unsigned outs, helds;
};

static void run_moment(struct sim *sim, struct moment *moment, uint64_t ms)
{
    uint64_t since_ms = 0;

    for (uint64_t end_ms = sim->now_ms + ms; sim->now_ms < end_ms;) {
        struct truth truth;

        sim_step(sim);
        truth = truth_of(sim, -1);
        for (unsigned i = 0; i < sim->count; i++) {
            moment->outs += sim->agents[i].min_ready.stand == FLEET_STAND_OUT;
            moment->helds += sim->agents[i].min_ready.stand == FLEET_STAND_HELD;
        }
        since_ms = truth.in >= sim->min.count ? 0 : since_ms ? since_ms : sim->now_ms - STEP_MS;
        if (since_ms && sim->now_ms - since_ms > moment->longest_ms)
            moment->longest_ms = sim->now_ms - since_ms;
    }
}

/* Each has just said that it is well, for whatever reason, and then several fail within a moment, while half of the messages are slow. */
static void play_moments(uint64_t seed, struct moment *moment)
{
    enum { MANY = 4, MOMENTS = 20, TOGETHER_MS = 100 };
    struct sim sim;

    sim_begin(&sim, seed, MANY, MANY);
    sim.min.count = 2;
    sim.slow_of = 2;
    sim.between_ms = moment->between_ms;
    sim.one_broker = moment->one_broker;
    for (unsigned i = 0; i < MANY; i++)
        sim.agents[i].side = i % 2;
    run_moment(&sim, moment, 20000);
    moment->longest_ms = 0; /* they have begun one after another */
    for (unsigned round = 0; round < MOMENTS; round++) {
        unsigned steps = (TOGETHER_MS + moment->between_ms) / STEP_MS, breaks[MANY];

        for (unsigned i = 0; i < MANY; i++)
            breaks[i] = sim_random(&sim, 4) ? 1 + sim_random(&sim, steps) : 0;
        for (unsigned step = 0; step <= steps; step++, run_moment(&sim, moment, STEP_MS))
            for (unsigned i = 0; i < MANY; i++) {
                if (breaks[i] == step + 1)
                    announce_change(&sim.agents[i].announce, sim.now_ms);
                if (breaks[i] && breaks[i] == step)
                    break_server(&sim, &sim.agents[i], causes[i]);
            }
        run_moment(&sim, moment, 7000);
        for (unsigned i = 0; i < MANY; i++)
            sim.agents[i].fault_ms = 0;
        run_moment(&sim, moment, 5000);
    }
    sim_end(&sim);
}

static void test_many_in_the_same_moment(void **state)
{
    static const struct {
        uint32_t between_ms;
        bool one_broker;
    } rows[] = { { 0, true }, { 80, false }, { 400, false }, { 400, true }, { 900, true } };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct moment moment = { .between_ms = rows[i].between_ms, .one_broker = rows[i].one_broker };

        for (unsigned j = 0; j < arguments.runs; j++)
            play_moments(arguments.seed + j, &moment);
        if (getenv("VERBOSE"))
            printf("%u ms, %s: out %u, held %u\n", rows[i].between_ms, rows[i].one_broker ? "one broker" : "a cluster", moment.outs,
                   moment.helds);
        assert_int_equal(moment.longest_ms, 0);
        assert_true(moment.outs && moment.helds);
    }
}

/* Two instances, of which one is to stay, say that they are well and fail, the second one up to two ways later. */
static void play_pair(uint32_t apart_ms, struct moment *moment)
{
    struct sim sim;

    sim_begin(&sim, 1, 2, 2);
    sim.min.count = 1;
    sim.delay_max_ms = 1;
    sim.decide_ms = STEP_MS;
    sim.between_ms = moment->between_ms;
    sim.one_broker = moment->one_broker;
    sim.agents[1].side = 1;
    run_moment(&sim, &(struct moment){ 0 }, 20000);
    for (uint32_t ms = 0; ms <= apart_ms + STEP_MS; ms += STEP_MS) {
        if (ms == 0 || ms == apart_ms)
            announce_change(&sim.agents[ms != 0].announce, sim.now_ms);
        if (ms == STEP_MS || ms == apart_ms + STEP_MS)
            break_server(&sim, &sim.agents[ms != STEP_MS], causes[0]);
        run_moment(&sim, moment, STEP_MS);
    }
    run_moment(&sim, moment, 8000);
    sim_end(&sim);
}

/* However far the regions are, where one broker serves both; up to the margin, where each has one of a cluster. Beyond that both may go, and one is
 * back as soon as it has heard of the other. */
static void test_how_far_two_regions_may_be(void **state)
{
    static const struct {
        uint32_t between_ms;
        bool one_broker, both_go;
    } rows[] = {
        { 670, false, false }, /* the margin, and ANNOUNCE_GAP_MS between the last word and the question */
        { 1000, true, false },
        { 900, false, true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct moment moment = { .between_ms = rows[i].between_ms, .one_broker = rows[i].one_broker };

        for (uint32_t apart_ms = STEP_MS; apart_ms <= 2 * rows[i].between_ms; apart_ms += STEP_MS)
            play_pair(apart_ms, &moment);
        assert_int_equal(moment.longest_ms != 0, rows[i].both_go);
        assert_true(moment.longest_ms <= 2 * rows[i].between_ms);
        assert_true(moment.outs);
    }
}

/* --- ten thousand ------------------------------------------------------------------------------------------------------------- */

/* Ten thousand, of whom a few have tables and the rest only speak; 5 % of all messages are lost. */
static void run_many(struct sim *sim, unsigned listeners, uint64_t ms, bool may_be_wide)
{
    for (uint64_t end_ms = sim->now_ms + ms; sim->now_ms < end_ms;) {
        sim_step(sim);
        for (unsigned i = 0; i < listeners; i++)
            if (sim->agents[i].together.wide && !may_be_wide)
                failed(sim, arguments.seed, "a fault that is not the fleet's is called that at", &sim->agents[i]);
    }
}

static void assert_stands(const struct sim *sim, unsigned listeners, enum fleet_stand want)
{
    for (unsigned i = 0; i < listeners; i++)
        if (sim->agents[i].min_ready.stand != want)
            failed(sim, arguments.seed, fleet_stand_name(want), &sim->agents[i]);
}

static void break_up_to(struct sim *sim, unsigned from, unsigned to, const char *cause)
{
    for (unsigned i = from; i < to; i++)
        break_server(sim, &sim->agents[i], cause);
}

static void test_ten_thousand_and_a_lossy_broker(void **state)
{
    enum { MANY = 10000, LISTENERS = 1 };
    struct sim sim;

    (void)state;
    sim_begin(&sim, arguments.seed, MANY, LISTENERS);
    sim.loss_percent = 5;
    sim.decide_ms = 1000;
    sim.min = (struct fleet_min){ 50, true };
    run_many(&sim, LISTENERS, 12000, false);
    for (unsigned i = 0; i < LISTENERS; i++)
        assert_in_range(members_count(sim.agents[i].members), MANY - 100, MANY);
    break_up_to(&sim, 0, 3000, "server_hung"); /* at once: enough are well */
    run_many(&sim, LISTENERS, 9000, false);
    assert_stands(&sim, LISTENERS, FLEET_STAND_OUT);
    assert_false(sim.agents[0].together.wide);
    break_up_to(&sim, 3000, 5100, "server_hung"); /* too many */
    run_many(&sim, LISTENERS, 8000, false);
    assert_stands(&sim, LISTENERS, FLEET_STAND_HELD);
    break_up_to(&sim, 5100, 8900, "server_hung"); /* not quite all */
    run_many(&sim, LISTENERS, 8000, false);
    break_up_to(&sim, 8900, 9900, "server_hung"); /* all but some */
    run_many(&sim, LISTENERS, 14000, true);
    for (unsigned i = 0; i < LISTENERS; i++)
        assert_true(sim.agents[i].wide && sim_in(&sim, &sim.agents[i]));
    sim_end(&sim);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trouble_at_random),
        cmocka_unit_test(test_many_in_the_same_moment),
        cmocka_unit_test(test_how_far_two_regions_may_be),
        cmocka_unit_test(test_ten_thousand_and_a_lossy_broker),
    };

    if (argc > 1)
        arguments.seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        arguments.runs = (unsigned)strtoul(argv[2], NULL, 10);
    if (argc > 3)
        arguments.seconds = (unsigned)strtoul(argv[3], NULL, 10);
    if (arguments.seed == 0)
        random_bytes(&arguments.seed, sizeof arguments.seed);
    printf("seed %llu, %u runs of %u s\n", (unsigned long long)arguments.seed, arguments.runs, arguments.seconds);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
