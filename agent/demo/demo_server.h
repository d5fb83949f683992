/*
 * The WebSocket server of the demo. It echoes messages and sends what comes from a broker to all clients. A client whose request
 * target holds "push" gets a message every second. Faults are switched while it runs. Bounded: the number of connections, the size
 * of messages, the time for a request, the bytes that wait for a slow client.
 */
#ifndef WSHEALTHD_DEMO_DEMO_SERVER_H
#define WSHEALTHD_DEMO_DEMO_SERVER_H

#include "agent/base/err.h"
#include "agent/demo/demo_faults.h"
#include "agent/net/loop.h"

struct demo_server;
/* Listens on 127.0.0.1; port 0: any free one. */
struct demo_server *demo_server_open(struct loop *loop, uint16_t port, struct err *err);
void demo_server_close(struct demo_server *server); /* drops all clients; frees */
uint16_t demo_server_port(const struct demo_server *server);
void demo_server_say(struct demo_server *server, struct slice body); /* to all its open connections */
/* In force at once, for open connections too. */
void demo_server_set_faults(struct demo_server *server, demo_fault_set faults);
demo_fault_set demo_server_faults(const struct demo_server *server);

#endif
