/*
 * `wshealthd demo`: a WebSocket server with a message broker, and the agent that checks it, on one loop. The user switches faults
 * of the server on and off by name, on stdin or with --fault. The faults are one table (agent/demo/demo_faults.h).
 */
#ifndef WSHEALTHD_DEMO_DEMO_H
#define WSHEALTHD_DEMO_DEMO_H

#include <stdint.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"

struct demo_options {
    uint16_t port;      /* the WebSocket server's; 0: any free one */
    const char *fault;  /* switched on from the start; NULL: none. An unknown name is an error with a suggestion */
    const char *broker; /* URL of the broker that both use; NULL: one inside the process */
    const char *listen; /* of the health listener; NULL: 127.0.0.1:9717, or any free port when that is taken */
};
/* Runs until SIGINT or SIGTERM, or "quit" on stdin; the end of stdin does not end it. Exit code of the process, or -1 and err. */
int demo_run(const struct demo_options *options, struct err *err);

#endif
