/*
 * A fleet on paper: agents with the real table, rule and summaries, servers that fail, drain, die and start anew, and a broker that loses, delays and
 * reorders. Seeded: the same seed plays the same. Time goes in steps of STEP_MS; nothing sleeps. Owned by test_simulation.c.
 */
#ifndef WSHEALTHD_TESTS_FLEET_SIMULATOR_H
#define WSHEALTHD_TESTS_FLEET_SIMULATOR_H

#include "agent/base/mem.h"
#include "agent/fleet/announce.h"
#include "agent/fleet/min_ready.h"
#include "agent/fleet/together.h"
#include "tests/unit/fleet/group.h"

enum {
    STEP_MS = 10,
    SIM_EVERY_MS = 5000,
    SIM_EXPIRE_MS = 20000,
    DELAY_MAX_MS = 450, /* below MIN_READY_MARGIN_MS: what is slower belongs to the bound */
    BETWEEN_MAX_MS = 2000,
    BUCKETS = (DELAY_MAX_MS + BETWEEN_MAX_MS) / STEP_MS + 2,
    START_MS = 2000,  /* a server that begins is not ready for so long */
    NOTICE_MS = 1000, /* the broker's loss is noticed after so long */
};

struct line {
    unsigned users;
    size_t len;
    uint8_t bytes[];
};

struct flight {
    unsigned to, run; /* the agent's run: a message to one that has begun anew is lost */
    struct line *line;
};

struct bucket {
    struct flight *flights;
    size_t count, capacity;
};

struct sim_agent {
    char id[24];
    bool alive, draining, listens; /* listens: it has a table. Those that do not only speak */
    bool cut;                      /* from the broker */
    uint64_t cut_ms;
    unsigned side, run; /* side of a partition */
    int64_t skew_ms;
    uint64_t ready_at_ms, fault_ms; /* fault_ms 0: none */
    const char *cause;
    uint64_t seq, run_ms, word_ms, decide_ms;
    enum fleet_word word;
    bool wide;
    struct members *members;
    struct min_ready min_ready;
    struct announce announce;
    struct together together;
    unsigned changes; /* of the stand */
    uint64_t own_ms;  /* last acted by its own verdict, for want of the fleet */
};

struct sim {
    uint64_t random, now_ms, decide_ms;
    unsigned count, loss_percent;
    bool split;
    uint32_t slow_of, delay_max_ms; /* one message of slow_of takes up to delay_max_ms */
    uint32_t between_ms;            /* from side to side each takes so much more: a broker on each side, or … */
    bool one_broker;                /* … one for both on side 0, over which agents of side 1 hear each other as well */
    struct fleet_min min;
    struct sim_agent *agents;
    struct bucket buckets[BUCKETS];
    uint64_t messages;
};

static inline uint32_t sim_random(struct sim *sim, uint32_t bound)
{
    sim->random ^= sim->random << 13;
    sim->random ^= sim->random >> 7;
    sim->random ^= sim->random << 17;
    return bound ? (uint32_t)(sim->random >> 32) % bound : 0;
}

static inline bool sim_admitted(const struct sim *sim, const struct sim_agent *agent)
{
    return agent->alive && sim->now_ms >= agent->ready_at_ms;
}

/* Does the load balancer send connections there? */
static inline bool sim_in(const struct sim *sim, const struct sim_agent *agent)
{
    bool kept = agent->min_ready.stand == FLEET_STAND_ASKS || agent->min_ready.stand == FLEET_STAND_HELD || agent->wide;

    return sim_admitted(sim, agent) && !agent->draining && (!agent->fault_ms || kept);
}

static inline void sim_boot(struct sim *sim, struct sim_agent *agent)
{
    agent->alive = true;
    agent->draining = agent->cut = agent->wide = false;
    agent->run++;
    agent->run_ms = 1000000 + (uint64_t)agent->run * 100000;
    agent->seq = 0;
    agent->fault_ms = agent->own_ms = 0;
    agent->ready_at_ms = sim->now_ms + START_MS + sim_random(sim, 2000);
    agent->min_ready = (struct min_ready){ 0 };
    agent->announce = (struct announce){ .due_ms = sim->now_ms + sim_random(sim, SIM_EVERY_MS) };
    agent->together = (struct together){ 0 };
    agent->word = FLEET_STARTING;
    agent->word_ms = sim->now_ms;
    members_free(agent->members);
    agent->members = NULL;
    if (agent->listens)
        agent->members = members_new(&(struct members_conf){ .id = agent->id,
                                                             .group = "chat",
                                                             .run_ms = agent->run_ms,
                                                             .nonce = 1,
                                                             .expire_ms = SIM_EXPIRE_MS,
                                                             .seed = sim->random });
}

static inline void sim_begin(struct sim *sim, uint64_t seed, unsigned count, unsigned listeners)
{
    *sim = (struct sim){ .random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1,
                         .now_ms = 100000,
                         .decide_ms = 200,
                         .count = count,
                         .slow_of = 8,
                         .delay_max_ms = DELAY_MAX_MS };
    sim->agents = mem_alloc(count * sizeof *sim->agents);
    for (unsigned i = 0; i < count; i++) {
        struct sim_agent *agent = &sim->agents[i];

        snprintf(agent->id, sizeof agent->id, "chat-%u", i);
        agent->listens = i < listeners;
        agent->skew_ms = (int64_t)sim_random(sim, 200000000) - 100000000;
        sim_boot(sim, agent);
    }
}

static inline void sim_drop_line(struct line *line)
{
    if (--line->users == 0)
        mem_free(line);
}

static inline void sim_end(struct sim *sim)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (size_t j = 0; j < sim->buckets[i].count; j++)
            sim_drop_line(sim->buckets[i].flights[j].line);
        mem_free(sim->buckets[i].flights);
    }
    for (unsigned i = 0; i < sim->count; i++)
        members_free(sim->agents[i].members);
    mem_free(sim->agents);
}

static inline struct summary sim_summary(const struct sim *sim, const struct sim_agent *agent)
{
    struct summary summary = group_summary(agent->id, agent->seq);

    summary.run_ms = agent->run_ms;
    summary.nonce = 1;
    summary.sent_ms = WALL + (int64_t)sim->now_ms + agent->skew_ms;
    summary.every_ms = SIM_EVERY_MS;
    summary.word = agent->word;
    summary.since_ms = sim->now_ms - agent->word_ms;
    summary.stand = agent->min_ready.stand;
    summary.min = sim->min;
    summary.fault = agent->fault_ms && !agent->draining && sim_admitted(sim, agent);
    if (summary.fault) {
        summary.fault_key_ms = WALL + (int64_t)agent->fault_ms + agent->skew_ms;
        summary.fault_for_ms = sim->now_ms - agent->fault_ms;
        summary.scope = SCOPE_LOCAL;
        snprintf(summary.cause, sizeof summary.cause, "%s", agent->cause);
    }
    return summary;
}

static inline void sim_send(struct sim *sim, const struct sim_agent *from, unsigned to, struct line *line)
{
    const struct sim_agent *agent = &sim->agents[to];
    struct bucket *bucket;
    uint32_t delay_ms = 1 + sim_random(sim, sim_random(sim, sim->slow_of) ? 20 : sim->delay_max_ms);

    if (sim->one_broker)
        delay_ms += (from->side + agent->side) * sim->between_ms;
    else if (agent->side != from->side)
        delay_ms += sim->between_ms;

    if (!agent->alive || !agent->listens || agent->cut || (sim->split && agent->side != from->side))
        return;
    if (sim_random(sim, 100) < sim->loss_percent)
        return;
    bucket = &sim->buckets[((sim->now_ms + delay_ms) / STEP_MS + 1) % BUCKETS];
    if (bucket->count == bucket->capacity) {
        bucket->capacity = bucket->capacity ? 2 * bucket->capacity : 64;
        bucket->flights = mem_realloc(bucket->flights, bucket->capacity * sizeof *bucket->flights);
    }
    bucket->flights[bucket->count++] = (struct flight){ .to = to, .run = agent->run, .line = line };
    line->users++;
}

static inline void sim_publish(struct sim *sim, struct sim_agent *agent)
{
    struct summary summary;
    struct buf text = BUF_INIT(SUMMARY_WIRE_MAX);
    struct line *line;

    agent->seq++;
    announce_sent(&agent->announce, SIM_EVERY_MS, sim_random(sim, UINT32_MAX), sim->now_ms);
    if (agent->cut)
        return;
    summary = sim_summary(sim, agent);
    assert_int_equal(summary_write(&summary, NO_KEY, &text), 0);
    line = mem_alloc(sizeof *line + text.len);
    line->users = 1;
    line->len = text.len;
    memcpy(line->bytes, text.data, text.len);
    buf_fini(&text);
    for (unsigned i = 0; i < sim->count; i++)
        if (sim->agents[i].listens)
            sim_send(sim, agent, i, line);
    sim_drop_line(line);
}

static inline enum fleet_word sim_word(const struct sim *sim, const struct sim_agent *agent)
{
    if (agent->draining)
        return FLEET_DRAINING;
    if (!sim_admitted(sim, agent))
        return FLEET_STARTING;
    if (!agent->fault_ms)
        return FLEET_READY;
    return sim_in(sim, agent) ? FLEET_DEGRADED : FLEET_NOT_READY;
}

/* What the agent does after a message, a change or a moment: judge, decide, and say so. */
static inline void sim_decide(struct sim *sim, struct sim_agent *agent)
{
    bool fault = agent->fault_ms && sim_admitted(sim, agent) && !agent->draining;
    enum fleet_stand before = agent->min_ready.stand;
    struct together_own own = { .settled = min_ready_is_settled(&agent->min_ready, SIM_EVERY_MS, sim->now_ms),
                                .counts = sim_admitted(sim, agent) && !agent->draining,
                                .fault = fault,
                                .cause = fault ? agent->cause : "",
                                .fault_since_ms = agent->fault_ms };
    struct min_ready_input input = { .now_ms = sim->now_ms,
                                     .linked = !agent->cut || sim->now_ms - agent->cut_ms < NOTICE_MS,
                                     .every_ms = SIM_EVERY_MS,
                                     .min = sim->min,
                                     .id = agent->id,
                                     .fault_key_ms = WALL + (int64_t)agent->fault_ms + agent->skew_ms,
                                     .last_seq = agent->seq };

    agent->decide_ms = sim->now_ms + sim->decide_ms;
    if (agent->listens) {
        members_sweep(agent->members, sim->now_ms);
        agent->wide = together_judge(&agent->together, agent->members, &own, sim->now_ms);
        input.fault = fault && !agent->wide;
        min_ready_decide(&agent->min_ready, agent->members, &input);
    }
    if (agent->listens)
        announce_unheard(&agent->announce, agent->members, agent->seq, sim->now_ms);
    if (agent->min_ready.mode == MIN_READY_UNLINKED || agent->min_ready.mode == MIN_READY_ALONE)
        agent->own_ms = sim->now_ms;
    agent->changes += agent->min_ready.stand != before;
    if (agent->min_ready.publish)
        announce_change(&agent->announce, sim->now_ms);
    if (sim_word(sim, agent) != agent->word) {
        agent->word = sim_word(sim, agent);
        agent->word_ms = sim->now_ms;
        announce_change(&agent->announce, sim->now_ms);
    }
}

static inline void sim_deliver(struct sim *sim)
{
    struct bucket *bucket = &sim->buckets[sim->now_ms / STEP_MS % BUCKETS];

    for (size_t i = 0; i < bucket->count; i++) {
        struct flight *flight = &bucket->flights[i];
        struct sim_agent *agent = &sim->agents[flight->to];
        const struct member *who;
        enum members_news news;

        if (agent->alive && agent->run == flight->run && !agent->cut) {
            news = members_take(agent->members, slice_make(flight->line->bytes, flight->line->len), NO_KEY, sim->now_ms,
                                WALL + (int64_t)sim->now_ms + agent->skew_ms, &who, NULL);
            announce_heard(&agent->announce, news, who, members_count(agent->members), sim->now_ms);
            sim->messages++;
        }
        sim_drop_line(flight->line);
    }
    bucket->count = 0;
}

static inline void sim_step(struct sim *sim)
{
    sim->now_ms += STEP_MS;
    sim_deliver(sim);
    for (unsigned i = 0; i < sim->count; i++) {
        struct sim_agent *agent = &sim->agents[i];

        if (!agent->alive)
            continue;
        if (sim->now_ms >= agent->decide_ms || sim_word(sim, agent) != agent->word)
            sim_decide(sim, agent);
        if (announce_is_due(&agent->announce, sim->now_ms))
            sim_publish(sim, agent);
    }
}

#endif
