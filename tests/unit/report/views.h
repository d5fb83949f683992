/* Hand-made views for the tests of diagnose, report and metric: a world of up to eight checks that begins healthy. */
#ifndef TESTS_CORE_VIEWS_H
#define TESTS_CORE_VIEWS_H

#include <stdio.h>
#include <string.h>

#include "agent/conf/conf.h"
#include "agent/report/view.h"

enum { WORLD_CHECKS = 32 };
#define WORLD_MS INT64_C(1795687200000) /* 2026-11-26T10:00:00Z */

struct world {
    struct check_view checks[WORLD_CHECKS];
    const struct check_view *list[WORLD_CHECKS];
    struct agent_view view;
};

static inline void world_init(struct world *world)
{
    memset(world, 0, sizeof *world);
    world->view.version = "9.8.7";
    world->view.region = "north";
    world->view.service_id = "ws://192.0.2.7:8080/secret-path";
    world->view.config_file = "";
    world->view.started_ms = WORLD_MS;
    world->view.checks = world->list;
}

/* What the types of these checks declare of themselves; test_probe_types.c compares it with the registry. A type that is not listed declares
 * nothing. */
struct world_type {
    const char *name;
    enum probe_kind kind;
    int rank;
    unsigned proves;
};

static const struct world_type world_types[] = {
    { "handshake", PROBE_FRESH, -2, 0 },
    { "ping", PROBE_FRESH, -1, PROVES_PONG },
    { "echo", PROBE_FRESH, 0, PROVES_ANSWER },
    { "subscribe", PROBE_FRESH, 1, PROVES_SUBSCRIPTION },
    { "hold", PROBE_SESSION, 2, 0 },
    { "delivery", PROBE_SESSION, 3, 0 },
    { "tls", PROBE_PLAIN, 4, 0 },
    { "tcp", PROBE_PLAIN, 5, PROVES_PORT },
    { "http", PROBE_PLAIN, 6, PROVES_HTTP },
    { "broker", PROBE_BROKER, 7, 0 },
    { "origin", PROBE_TRIAL, 8, 0 },
    { "auth", PROBE_TRIAL, 9, 0 },
    { "payload", PROBE_FRESH, 11, PROVES_ANSWER },
    { "reconnect", PROBE_SESSION, 13, 0 },
    { "script", PROBE_FRESH, 12, PROVES_ANSWER },
    { "server", PROBE_PLAIN, 10, 0 },
};
enum { WORLD_TYPES = sizeof world_types / sizeof world_types[0] };

static inline void check_set_type(struct check_view *check, const char *type)
{
    struct world_type declared = { .name = type };
    for (size_t i = 0; i < WORLD_TYPES; i++)
        if (strcmp(world_types[i].name, type) == 0)
            declared = world_types[i];
    check->type = type;
    check->kind = declared.kind;
    check->rank = declared.rank;
    check->proves = declared.proves;
}

/* One more check, which passes. */
static inline struct check_view *world_add(struct world *world, const char *name, const char *type, const char *path,
                                           unsigned gates)
{
    size_t at = world->view.check_count++;
    struct check_view *check = &world->checks[at];
    world->list[at] = check;
    check->name = name;
    check_set_type(check, type);
    check->path = path;
    check->summary = "";
    check->gates = gates;
    check->judged = true;
    check->status = RESULT_PASS;
    check->health.state = STATE_PASS;
    check->health.passed_once = true;
    strcpy(check->health.history, "####");
    check->since_ms = WORLD_MS;
    check->last_ms = WORLD_MS + 5000;
    check->total_ns = 1200000;
    check->timeout_ms = 2000;
    return check;
}

/* The check that a broker has by itself; it only reports. */
static inline struct check_view *world_add_broker(struct world *world, const char *name, const char *type)
{
    struct check_view *check = world_add(world, name, "broker", "local", 0);
    check->broker = name;
    check->broker_type = type;
    check->have_rtt = true;
    check->rtt_ns = 200000;
    return check;
}

/* A delivery check over that broker, with its books. */
static inline struct check_view *world_add_delivery(struct world *world, const char *name, const char *broker,
                                                    struct delivery_stats *stats)
{
    struct check_view *check = world_add(world, name, "delivery", "local", GATE_READY);
    check->broker = broker;
    check->stats.delivery = stats;
    return check;
}

static inline void check_set_fault(struct check_view *check, enum state state, enum reason reason, const char *message)
{
    check->health.state = state;
    check->status = state == STATE_WARN ? RESULT_WARN : RESULT_FAIL;
    check->reason = check->last_fault = reason;
    check->phase = reason_phase(reason);
    bool front =
        check_is_public(check) && reason_scope(reason) == SCOPE_LOCAL; /* as the engine has it (scope_of in agent/core/check.c) */
    check->scope = check->last_fault_scope = front ? SCOPE_SHARED : reason_scope(reason);
    snprintf(check->message, sizeof check->message, "%s", message);
    snprintf(check->last_fault_message, sizeof check->last_fault_message, "%s", message);
    strcpy(check->health.history, state == STATE_WARN ? "##~~" : "##..");
}

/* In state fail, by two rounds that failed. */
static inline struct check_view *check_fail(struct check_view *check, enum reason reason, const char *message)
{
    check_set_fault(check, STATE_FAIL, reason, message);
    return check;
}

static inline struct check_view *check_warn(struct check_view *check, enum reason reason, const char *message)
{
    check_set_fault(check, STATE_WARN, reason, message);
    return check;
}

/* Has never been judged. */
static inline struct check_view *check_blank(struct check_view *check)
{
    check->judged = false;
    check->health.state = STATE_UNKNOWN;
    check->health.passed_once = false;
    check->health.history[0] = '\0';
    check->since_ms = check->last_ms = 0;
    check->total_ns = 0;
    return check;
}

/* The verdict and the diagnosis that the agent would come to. */
static inline void world_judge_by(struct world *world, bool shared_faults_fail, bool draining, bool started)
{
    struct health_input inputs[WORLD_CHECKS];
    const struct verdict_policy policy = { shared_faults_fail || world->view.once, world->view.once, 30000, world->view.once,
                                           false };
    const struct verdict before = { .started = started, .admitted = started };
    for (size_t i = 0; i < world->view.check_count; i++)
        inputs[i] = (struct health_input){ &world->checks[i].health, world->checks[i].last_fault_scope, world->checks[i].gates,
                                           true, check_is_public(&world->checks[i]) };
    world->view.verdict = verdict_of(inputs, world->view.check_count, &policy, draining, &before);
    diagnose(&world->view, &world->view.diagnosis);
}

static inline void world_judge(struct world *world, bool draining, bool started)
{
    world_judge_by(world, false, draining, started);
}

/* A fleet of members that a function makes up, this agent first; regions are those that the caller fills in. */
struct world_fleet {
    struct fleet_view view;
    void (*make)(size_t i, struct fleet_member_view *out);
};

static inline void world_member_at(const void *fleet, size_t i, struct fleet_member_view *out)
{
    *out = (struct fleet_member_view){ .region = "north",
                                       .version = "9.8.7",
                                       .word = "ready",
                                       .stand = "own",
                                       .cause = "",
                                       .scope = "",
                                       .self = i == 0,
                                       .since_at_ms = WORLD_MS };
    ((const struct world_fleet *)fleet)->make(i, out);
}

static inline void world_set_fleet(struct world *world, struct world_fleet *fleet, size_t members,
                                   void (*make)(size_t i, struct fleet_member_view *out))
{
    *fleet = (struct world_fleet){ .view = { .group = "chat",
                                             .broker = "bus",
                                             .linked = true,
                                             .every_ms = 5000,
                                             .expire_ms = 20000,
                                             .min_ready = "2",
                                             .mode = "rules",
                                             .wide_cause = "",
                                             .regions = { { .region = "north", .ready = 1 } },
                                             .region_count = 1,
                                             .member_count = members,
                                             .member_at = world_member_at,
                                             .fleet = fleet },
                                   .make = make };
    world->view.fleet = &fleet->view;
}

#endif
