/*
 * The policy of probes/hold_ages.h. Called by probes/hold.c for each loss and once a round.
 *
 *     one loss                                                        warn, for five minutes or until it is outlived
 *     again, the replacement, at a similar age                        fail
 *     the same with the server down each time                         fail at the fifth: it crashes at that age
 *     again and again, the replacements, at any age                   fail: five generations in five minutes, a tenth of the connections.
 *                                                                     Those that went with the whole server do not count: that fault was
 *                                                                     judged when it happened, and is over when the server is back.
 *                                                                     A minute without a loss ends it
 *     the server says goodbye (1000, 1001, 1012) after a minute       warn, however often: it recycles its clients
 *     any cut after more than ten minutes                             warn, however often
 *     a close code just after a new connection of the agent's own     warn: the agent has done it
 *
 * The last three could be failures, as clients do lose their connections. But all replicas behave alike there, and an answer of 503 would
 * take all of them out at once, for something that costs a client one reconnect in many minutes.
 */
#include "probes/hold_ages.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/text.h"

enum {
    MOMENT_S = 1,     /* losses so close are one */
    WARN_S = 300,     /* how long a single loss is a warning */
    CHURN_S = 300,    /* the window of losses at any age */
    CHURN_CHAIN = 5,  /* generations that were lost in it */
    CHURN_SHARE = 10, /* one in so many connections */
    POLITE_S = 60,    /* the server says goodbye to connections that are older: it recycles them */
    LONG_S = 600,     /* a cut after more than this never fails */
    MEMORY_S = 3600,  /* one loss in an hour is a warning */
    SLACK_MS = 100,   /* beyond the age of a lost connection, to outlive it */
    SIMILAR_MS = 250,
    SELF_KICKS_MIN = 2,
    CALM_S = 60,     /* without a loss for so long, what was lost at different ages is over */
    CRASHES_MIN = 5, /* outages at a similar age that are a pattern and not chance */
};

static bool is_polite(const struct err *err)
{
    return err->reason == REASON_CLOSED_BY_SERVER && (err->code == 1000 || err->code == 1001 || err->code == 1012);
}

static void note_last(struct hold_ages *ages, const struct err *err)
{
    ages->reason = err->reason;
    ages->code = err->code;
    snprintf(ages->why, sizeof ages->why, "%.*s", HOLD_WHY_MAX - 1, err->text);
}

void hold_ages_lost(struct hold_ages *ages, uint64_t now_ns, uint64_t opened_ns, bool kicked, const struct err *err)
{
    struct hold_loss *last = ages->count ? &ages->losses[ages->count - 1] : NULL;
    uint64_t age_ns = now_ns - opened_ns;

    ages->lost++;
    note_last(ages, err);
    if (last && opened_ns <= last->first_ns && now_ns - last->last_ns <= MOMENT_S * NS_PER_S && !last->outlived) {
        last->last_ns = now_ns;
        last->count++;
        last->polite = last->polite && is_polite(err);
        last->kicked = last->kicked && kicked;
        last->opened_ns = opened_ns > last->opened_ns ? opened_ns : last->opened_ns;
        last->age_ns = age_ns > last->age_ns ? age_ns : last->age_ns;
        last->shortest_ns = age_ns < last->shortest_ns ? age_ns : last->shortest_ns;
        return;
    }
    if (ages->count == HOLD_LOSSES_MAX)
        memmove(ages->losses, ages->losses + 1, --ages->count * sizeof ages->losses[0]);
    ages->losses[ages->count++] = (struct hold_loss){ .first_ns = now_ns,
                                                      .last_ns = now_ns,
                                                      .opened_ns = opened_ns,
                                                      .age_ns = age_ns,
                                                      .shortest_ns = age_ns,
                                                      .count = 1,
                                                      .polite = is_polite(err),
                                                      .kicked = kicked };
}

void hold_ages_outage(struct hold_ages *ages)
{
    if (ages->count && !ages->losses[ages->count - 1].outlived)
        ages->losses[ages->count - 1].outage = true;
}

void hold_ages_lived(struct hold_ages *ages, uint64_t now_ns, uint64_t opened_ns, bool to_the_end)
{
    uint64_t age_ns = now_ns - opened_ns;

    for (size_t i = 0; i < ages->count; i++) {
        struct hold_loss *loss = &ages->losses[i];

        if (opened_ns >= loss->last_ns && (to_the_end || age_ns > loss->age_ns + loss->age_ns / 20 + SLACK_MS * NS_PER_MS))
            loss->outlived = true;
    }
}

static bool similar(uint64_t a_ns, uint64_t b_ns)
{
    uint64_t more_ns = a_ns > b_ns ? a_ns : b_ns, less_ns = a_ns > b_ns ? b_ns : a_ns;

    return more_ns - less_ns <= more_ns / 5 + SIMILAR_MS * NS_PER_MS;
}

struct chain {
    uint32_t length; /* each loss of it is of a connection that was opened after the one before */
    uint64_t shortest_ns, longest_ns;
    uint32_t kicked, polite, outages;
};

static void chain_add(struct chain *chain, const struct hold_loss *loss)
{
    chain->shortest_ns = chain->length && chain->shortest_ns < loss->shortest_ns ? chain->shortest_ns : loss->shortest_ns;
    chain->longest_ns = chain->longest_ns > loss->age_ns ? chain->longest_ns : loss->age_ns;
    chain->length++;
    chain->kicked += loss->kicked;
    chain->polite += loss->polite;
    chain->outages += loss->outage;
}

/* The newest loss and those before it that nothing has outlived, at similar ages. */
static struct chain pattern_of(const struct hold_ages *ages, uint64_t now_ns)
{
    const struct hold_loss *newest = &ages->losses[ages->count - 1];
    struct chain chain = { 0 };
    uint64_t after_ns = 0;

    for (size_t i = 0; i < ages->count; i++) {
        const struct hold_loss *loss = &ages->losses[i];

        if (loss->outlived || now_ns - loss->last_ns > MEMORY_S * NS_PER_S || loss->opened_ns < after_ns)
            continue;
        if (!similar(loss->age_ns, newest->age_ns) || !similar(loss->shortest_ns, loss->age_ns))
            continue;
        chain_add(&chain, loss);
        after_ns = loss->first_ns;
    }
    return chain;
}

/*
 * Generations lost within the window, at any age, without a goodbye. A minute of calm begins a new count, and what is lost within one second
 * counts once: else two bad seconds would turn each single loss of the next five minutes into a fault.
 */
static struct chain churn_of(const struct hold_ages *ages, uint64_t now_ns, uint64_t connections)
{
    const struct hold_loss *newest = &ages->losses[ages->count - 1];
    struct chain chain = { 0 };
    uint64_t after_ns = 0, before_ns = 0, lost = 0;

    if (newest->outage || now_ns - newest->last_ns > CALM_S * NS_PER_S)
        return chain;
    for (size_t i = 0; i < ages->count; i++) {
        const struct hold_loss *loss = &ages->losses[i];

        if (loss->polite || loss->outage || loss->age_ns > LONG_S * NS_PER_S || now_ns - loss->last_ns > CHURN_S * NS_PER_S)
            continue;
        if (before_ns && loss->first_ns - before_ns > CALM_S * NS_PER_S) {
            chain = (struct chain){ 0 };
            lost = 0;
        }
        before_ns = loss->last_ns;
        lost += loss->count;
        if (loss->opened_ns < after_ns || (chain.length && loss->first_ns - after_ns < MOMENT_S * NS_PER_S))
            continue;
        chain_add(&chain, loss);
        after_ns = loss->first_ns;
    }
    if (lost * CHURN_SHARE < connections)
        chain.length = 0;
    return chain;
}

/* Has the agent itself ended its sessions, one by the other? */
static bool is_self_kick(const struct hold_ages *ages, uint64_t now_ns, uint32_t *times)
{
    uint32_t kicked = 0, all = 0;

    for (size_t i = 0; i < ages->count; i++) {
        const struct hold_loss *loss = &ages->losses[i];

        if (now_ns - loss->last_ns > CHURN_S * NS_PER_S)
            continue;
        all++;
        kicked += loss->kicked;
    }
    *times = kicked;
    return kicked >= SELF_KICKS_MIN && kicked * 4 >= all * 3;
}

static const char *ages_text(const struct chain *chain, char *out, size_t size)
{
    char shortest[32], longest[32];

    text_format_elapsed(chain->shortest_ns, shortest, sizeof shortest);
    text_format_elapsed(chain->longest_ns, longest, sizeof longest);
    if (similar(chain->shortest_ns, chain->longest_ns))
        snprintf(out, size, "%s", longest);
    else
        snprintf(out, size, "%s to %s", shortest, longest);
    return out;
}

enum hold_level hold_ages_judge(const struct hold_ages *ages, uint64_t now_ns, const struct hold_policy *policy, struct err *err)
{
    const struct hold_loss *newest = ages->count ? &ages->losses[ages->count - 1] : NULL;
    const char *silence = policy->idle ? " of silence" : "";
    struct chain pattern, churn;
    uint32_t kicked;
    char age[80];

    if (!newest || newest->outlived || now_ns - newest->last_ns > MEMORY_S * NS_PER_S)
        return HOLD_WELL;
    if (is_self_kick(ages, now_ns, &kicked)) {
        err_set(
            err, ages->reason, ages->code,
            "each new connection of the agent's own ends an older one, %u times: %s. The server seems to allow one session for the "
            "same token: set connections: 1 here, share_connection: true here and on the other checks that can (ping, echo, "
            "delivery), and remove those that connect anew (handshake, subscribe); or remove this one",
            kicked, ages->why);
        return HOLD_WARN;
    }
    pattern = pattern_of(ages, now_ns);
    churn = churn_of(ages, now_ns, policy->connections);
    /* One cut at the age of an earlier outage is chance: the outage had a reason of its own. */
    if ((!newest->outage && pattern.length - pattern.outages >= 2) || pattern.length >= CRASHES_MIN) {
        bool recycled = pattern.polite == pattern.length && newest->age_ns >= POLITE_S * NS_PER_S;
        bool mild = recycled || newest->age_ns > LONG_S * NS_PER_S;

        ages_text(&(struct chain){ .shortest_ns = newest->age_ns, .longest_ns = newest->age_ns }, age, sizeof age);
        const char *meant = mild ? "; if that is meant, set max_age" : "";
        if (policy->pattern)
            err_set(err, ages->reason, ages->code, "%s; %s%s", policy->pattern, ages->why, meant);
        else
            err_set(err, ages->reason, ages->code, "cut after %s%s, %u times: %s%s", age, silence, pattern.length, ages->why,
                    meant);
        return mild ? HOLD_WARN : HOLD_FAIL;
    }
    if (churn.length >= CHURN_CHAIN) {
        err_set(err, ages->reason, ages->code, "cut after %s%s, %u times in 5m: %s", ages_text(&churn, age, sizeof age), silence,
                churn.length, ages->why);
        return HOLD_FAIL;
    }
    if (now_ns - newest->last_ns > WARN_S * NS_PER_S)
        return HOLD_WELL;
    ages_text(&(struct chain){ .shortest_ns = newest->shortest_ns, .longest_ns = newest->age_ns }, age, sizeof age);
    if (newest->count > 1)
        err_set(err, ages->reason, ages->code, "%u held connections were lost after %s%s: %s", newest->count, age, silence,
                ages->why);
    else
        err_set(err, ages->reason, ages->code, "a held connection was lost after %s%s: %s", age, silence, ages->why);
    return HOLD_WARN;
}
