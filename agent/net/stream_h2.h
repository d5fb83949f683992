/*
 * A stream that rides in HTTP/2: from stream_h2_begin on, what it writes and reads is the body of one request and of its response, and
 * everything else of agent/net/stream.h holds as before. END_STREAM is the peer's end; RST_STREAM, a broken rule and a lost connection are
 * ends with a reason.
 */
#ifndef WSHEALTHD_NET_STREAM_H2_H
#define WSHEALTHD_NET_STREAM_H2_H

#include "agent/net/stream.h"
#include "agent/proto/h2.h"

/* For whoever has begun it; later owners of the stream are not told. */
struct stream_h2_events {
    /* The peer's SETTINGS have come: stream_h2_request may be called. connects: :protocol is allowed (RFC 8441). */
    void (*on_ready)(void *user, bool connects);
    /* Valid until stream_h2_drop_head. What follows is on_data and on_end. */
    void (*on_response)(void *user, const struct http_head *head);
};

/* On a started stream that nothing was written to. -1: there is no libnghttp2. Further errors are on_end's. */
int stream_h2_begin(struct stream *stream, const struct stream_h2_events *events, void *user, struct err *err);
void stream_h2_request(struct stream *stream, const struct h2_header *headers, size_t count); /* once */
void stream_h2_drop_head(struct stream *stream);
bool stream_is_h2(const struct stream *stream);
bool stream_h2_is_http1(const struct stream *stream);      /* the peer answers the preface with a response of HTTP/1 */
const char *stream_h2_goaway(const struct stream *stream); /* "after GOAWAY NO_ERROR"; "": none came */
/* Bytes that were written and wait for the peer to open its flow-control window. */
size_t stream_h2_withheld(const struct stream *stream);

#endif
