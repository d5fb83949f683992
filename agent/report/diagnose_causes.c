/*
 * Owns the names of the causes, the order of the sets of rules, and what is said of causes that no fault of a check leads to. Called by
 * diagnose.c, explain.c and metric.c. The rules themselves are in diagnose_rules*.c.
 */
#include "agent/base/mem.h"
#include "agent/report/diagnose_rules.h"

static const struct {
    const char *name, *help;
} causes[CAUSE_COUNT] = {
#define CAUSE_ROW(id, name_, help_) [CAUSE_##id] = { name_, help_ },
    CAUSE_LIST(CAUSE_ROW)
#undef CAUSE_ROW
};

/* Their sentences may go on: with the names of checks, with rounds that have failed. */
static const struct rule own_rules[] = {
    { .cause = CAUSE_HEALTHY, .plain = "All checks pass", .advice = { "Nothing is to be done" } },
    { .cause = CAUSE_STARTING,
      .plain = "Waiting for the first pass of every check that gates readiness",
      .advice = { "Wait: a server that comes up passes within an interval or two" } },
    { .cause = CAUSE_DRAINING,
      .plain = "The instance is drained: it takes no new connections, on purpose",
      .advice = { "`wshealthd resume` puts it back into rotation" } },
    { .cause = CAUSE_NOTHING_CHECKED,
      .plain = "No check is enabled, so nothing is known about the server",
      .advice = { "Leave checks: out of the configuration to get handshake, ping and hold" } },
    { .cause = CAUSE_ONE_INSTANCE_STALE,
      .plain = "No check has failed for good, and rounds through the public address fail again and again, while this server is "
               "well: one of the instances behind it is broken or out of date",
      .advice = { "Ask the other instances' agents (/ready?verbose), and drain the one that fails",
                  "Compare the versions of the instances: one that was left out of a deploy answers as before",
                  "Set fall: 3/5 on the check of the public path: it then fails where two rounds in a row never do" } },
    { .cause = CAUSE_HELD_IN_ROTATION,
      .plain =
          "The fault is this instance's own, and it stays in rotation, degraded: without it fewer instances of its fleet would "
          "be ready than readiness.min_ready wants",
      .advice = { "Look at the other instances too (`wshealthd fleet`): once enough of them are well, this one leaves the rotation "
                  "by "
                  "itself",
                  "Mend this one as the own fault in the sentence asks for" } },
    { .cause = CAUSE_FLEET_WIDE_FAULT,
      .plain = "Nearly all instances of the fleet have the same fault, and it began at all of them within a minute: it is shared, "
               "and they stay in rotation, degraded",
      .advice = { "Look for what came to all at the same time: a release, a certificate, a configuration of the checks, or a load "
                  "that one after the other cannot bear; `wshealthd fleet` shows the instances and their versions",
                  "Restarting instances one by one does not mend what they share" } },
    { .cause = CAUSE_INSTANCE_RECEIVES_NOTHING,
      .plain =
          "One instance of the fleet receives nothing that the others publish, and others do: its server has lost its subscription "
          "to the broker",
      .advice = { "Make its server subscribe again: it must do so after each reconnect to the broker; a restart helps for now" } },
    { .cause = CAUSE_INSTANCE_PUBLISHES_NOTHING,
      .plain = "Nothing that one instance of the fleet publishes reaches the others, though its broker takes it",
      .advice = { "Compare its broker's address, database and channels with those of the others" } },
    { .cause = CAUSE_REGIONS_CUT,
      .plain = "Nothing that one region publishes reaches the instances of another, which receive from others",
      .advice = { "Look at what connects the regions' brokers: a link, a bridge, a gateway" } },
    { .cause = CAUSE_SHARD_LOST,
      .plain = "Messages on some channels are lost, while those on others are delivered",
      .advice = { "Several instances: look at the broker's shard that has these channels; one: make its server subscribe again" } },
    { .cause = CAUSE_ONE_REGION_FAILS,
      .plain = "The public path fails for all who look from one region, while at least two who look from others get in",
      .advice = { "Look at that region's way in: its DNS answer, CDN, load balancer, or a stale server that only it reaches" } },
    { .cause = CAUSE_PUBLIC_PATH_DOWN,
      .plain = "The public path fails for all who look, in every region: it is no fault of one region",
      .advice = { "Look at what all regions share: the name, the certificate, the balancer or CDN in front, the servers" } },
    { .cause = CAUSE_AGENT_STALLED,
      .reasons = { REASON_AGENT_STALLED },
      .plain = "The agent itself is too late to judge anything: this says nothing about the server",
      .advice = { "Give the agent CPU: remove its CPU limit, or raise it; a request of a few millicores is enough",
                  "Look at wshealthd_loop_lag_seconds, and at the load of the host" } },
    { .cause = CAUSE_AGENT_ERROR,
      .reasons = { REASON_AGENT_ERROR },
      .plain = "The agent could not run its checks: this says nothing about the server",
      .advice = { "Read what the check says: a file that cannot be read, a value that cannot be used, or descriptors or memory run "
                  "out" } },
};

const struct rule_set diagnose_rule_sets[] = {
    { diagnose_address_rules, &diagnose_address_rule_count },
    { diagnose_http_rules, &diagnose_http_rule_count },
    { diagnose_pair_rules, &diagnose_pair_rule_count },
    { diagnose_server_rules, &diagnose_server_rule_count },
    { diagnose_broker_rules, &diagnose_broker_rule_count },
    { diagnose_path_rules, &diagnose_path_rule_count },
    { diagnose_rules, &diagnose_rule_count },
    { 0 },
};

const char *cause_name(enum cause cause)
{
    panic_if((unsigned)cause >= CAUSE_COUNT);
    return causes[cause].name;
}

const char *cause_help(enum cause cause)
{
    panic_if((unsigned)cause >= CAUSE_COUNT);
    return causes[cause].help;
}

const struct rule *cause_own_rule(enum cause cause)
{
    for (size_t i = 0; i < sizeof own_rules / sizeof own_rules[0]; i++)
        if (own_rules[i].cause == cause)
            return &own_rules[i];
    return NULL;
}
