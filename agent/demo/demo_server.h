/*
 * The WebSocket server of the demo: it echoes, passes on what comes from a broker, and on a target that holds "push" it also says something
 * every second. Faults are switched while it runs. Bounded like everything that listens: connections, the size of messages, the time for a
 * request, what waits for a client that does not read.
 */
#ifndef WSHEALTHD_DEMO_DEMO_SERVER_H
#define WSHEALTHD_DEMO_DEMO_SERVER_H

#include "agent/base/err.h"
#include "agent/demo/demo_faults.h"
#include "agent/net/loop.h"

struct demo_server;
/* Listens on 127.0.0.1; port 0: any free one. */
struct demo_server *demo_server_open(struct loop *loop, uint16_t port, struct err *err);
void demo_server_close(struct demo_server *server); /* drops everybody; frees */
uint16_t demo_server_port(const struct demo_server *server);
void demo_server_say(struct demo_server *server, struct slice body); /* to all its open connections */
/* In force at once, for open connections too. */
void demo_server_set_faults(struct demo_server *server, demo_fault_set faults);
demo_fault_set demo_server_faults(const struct demo_server *server);

#endif
