/*
 * The messages of gRPC's health protocol, grpc.health.v1 (grpc/grpc, doc/health-checking.md; grpc/grpc-proto,
 * grpc/health/v1/health.proto), and the frame that gRPC puts around each (doc/PROTOCOL-HTTP2.md: a byte that says whether it is
 * compressed, and four of length). No sockets, no HTTP/2.
 */
#ifndef WSHEALTHD_PROTO_GRPC_H
#define WSHEALTHD_PROTO_GRPC_H

#include "agent/base/buf.h"
#include "agent/base/slice.h"

enum grpc_health { GRPC_UNKNOWN = 0, GRPC_SERVING = 1, GRPC_NOT_SERVING = 2, GRPC_SERVICE_UNKNOWN = 3 /* Watch only */ };
/* Status codes of a call (doc/statuscodes.md), as the trailer grpc-status has them. */
enum grpc_status {
    GRPC_OK = 0,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_NOT_FOUND = 5,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_UNIMPLEMENTED = 12,
};

/* The service of a HealthCheckRequest: the last field 1, "" where there is none; other fields are passed over. It points into body.
 * GRPC_OK, or the status to answer with. A HealthListRequest, which has no fields, is read in the same way. */
enum grpc_status grpc_read_request(struct slice body, struct slice *service);
/* Appends a framed HealthCheckResponse. */
void grpc_put_health(struct buf *out, enum grpc_health health);
/* A framed HealthListResponse: begin, each service, end. at: what begin returned. */
size_t grpc_list_begin(struct buf *out);
void grpc_list_put(struct buf *out, const char *service, enum grpc_health health);
void grpc_list_end(struct buf *out, size_t at);

#endif
