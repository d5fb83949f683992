/*
 * The demo server's own connection to the broker, beside the agent's: what is published on its channels comes out here. The fault
 * detach-broker takes its subscriptions away and nothing else.
 */
#ifndef WSHEALTHD_DEMO_DEMO_BUS_H
#define WSHEALTHD_DEMO_DEMO_BUS_H

#include "agent/core/broker.h"
#include "agent/demo/demo_faults.h"

#define DEMO_CHANNEL "healthcheck" /* heartbeats of the agent beside it */
#define DEMO_NEWS "news"           /* for messages that the user publishes */

struct demo_bus;
/* conf outlives it. */
struct demo_bus *demo_bus_open(struct loop *loop, const struct broker_conf *conf, struct tls_context *tls,
                               void (*on_message)(void *user, struct slice body), void *user);
void demo_bus_set_faults(struct demo_bus *bus, demo_fault_set faults);                /* those that concern it */
void demo_bus_close(struct demo_bus *bus, void (*on_closed)(void *user), void *user); /* frees; then on_closed, from the loop */

#endif
