/*
 * The gRPC health service, grpc.health.v1.Health, over cleartext HTTP/2 with prior knowledge (h2c), as gRPC clients, Kubernetes' grpc
 * probes and load balancers ask it: Check, List and Watch. Called by agent/run/agent_listeners.c. Answers come from the view; nothing is
 * probed for them.
 *
 * Services: "" and "ready" are /ready, "live" is /live, "startup" is /startup, and each check has its own name, where that is none of these.
 * A check that is in fail is NOT_SERVING, one that has not been judged is UNKNOWN, others are SERVING.
 *
 * Bounds: GRPC_CONNECTIONS_MAX connections, each with what agent/proto/h2_serve.h allows. With more, the connection that has been quiet
 * longest gives way, one that watches nothing first. A client must ask within GRPC_REQUEST_MS; one that is quiet for GRPC_IDLE_MS is
 * closed, or where it watches is sent a PING that it must answer. A call whose request is not whole keeps no connection open. Answers
 * that are not read come to 64 KiB on a connection, and one more.
 */
#ifndef WSHEALTHD_HTTP_GRPC_H
#define WSHEALTHD_HTTP_GRPC_H

#include "agent/net/listen.h"
#include "agent/report/view.h"

enum { GRPC_CONNECTIONS_MAX = 128, GRPC_REQUEST_MS = 5000, GRPC_IDLE_MS = 60000, GRPC_PONG_MS = 20000 };

struct grpc_source {
    const struct agent_view *(*view)(void *user);
    void *user;
};
struct grpc;
/* Copies source; the object of source->user must outlive the listener. NULL: err says why, such as a libnghttp2 that is missing. */
struct grpc *grpc_open(struct loop *loop, const struct listen_address *address, int fd /* activated, or -1 */,
                       const struct grpc_source *source, struct err *err);
void grpc_close(struct grpc *grpc); /* says GOAWAY, and closes within half a second */
void grpc_wake(struct grpc *grpc);  /* the view has changed: who watches is told */
bool grpc_lost(const struct grpc *grpc);
uint16_t grpc_port(const struct grpc *grpc);

#endif
