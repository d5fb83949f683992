/*
 * HTTP/2 (RFC 9113) for a client: bytes in, bytes out, callbacks; no sockets. The framing is libnghttp2's, which is opened at run time.
 * One struct h2 is one connection; a struct h2_stream is one exchange on it, and lives as long as that.
 *
 * A request with a body that does not end at once, as the extended CONNECT of RFC 8441, is h2_request and then h2_write. Callbacks come
 * inside h2_feed and h2_output only, and none of them may free the h2. Nothing that the peer sends is held without a bound: a head has
 * H2_HEAD_BYTES_MAX, bodies are handed on, and what must be answered is counted. A peer that sends frames without any content, or
 * padding, faster than anybody has use for is cut off (flood).
 */
#ifndef WSHEALTHD_PROTO_H2_H
#define WSHEALTHD_PROTO_H2_H

#include "agent/proto/http1.h"

enum {
    H2_HEAD_BYTES_MAX = 16384,
    H2_EMPTY_FRAMES_MAX = 10000,  /* in a second */
    H2_WASTE_BYTES_MAX = 1 << 20, /* in a second, of all but the bodies */
    H2_REQUEST_HEADERS_MAX = 64,
};

struct h2;
struct h2_stream;

struct h2_events {
    void (*on_settings)(void *user); /* the peer's first SETTINGS are here: h2_allows_connect can be asked */
    /* The final response. Its `major` is 2, its headers have names in lower case and no pseudo-headers; valid until h2_drop_head. */
    void (*on_head)(void *user, struct h2_stream *stream, const struct http_head *head);
    void (*on_body)(void *user, struct h2_stream *stream, struct slice data);
    /* Once: the peer has ended its side (REASON_NONE), or the exchange is over: connection_reset with the HTTP/2 error's name in the text
     * and its code; upgrade_refused where it says HTTP_1_1_REQUIRED; rate_limited where it says ENHANCE_YOUR_CALM; http_malformed where
     * its answer broke a rule or a limit. */
    void (*on_end)(void *user, struct h2_stream *stream, const struct err *err);
};

/* 0 when libnghttp2 is open, or -1 with agent_error. */
int h2_available(struct err *err);
struct h2 *h2_client_new(const struct h2_events *events, void *user, struct err *err); /* NULL: as h2_available */
void h2_free(struct h2 *h2);
/* Bytes of the peer. -1: the connection is over; err is http_malformed or flood. */
int h2_feed(struct h2 *h2, struct slice data, struct err *err);
/* Is the connection over, by a broken rule (http_malformed) or the peer's GOAWAY (connection_reset)? Ask when h2_output has nothing more. */
bool h2_over(const struct h2 *h2, struct err *err);
/* The next bytes to send, valid until the next call. False: there are none now. */
bool h2_output(struct h2 *h2, struct slice *out);
/* May a request have :protocol (SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441)? Known from on_settings on. */
bool h2_allows_connect(const struct h2 *h2);

struct h2_header {
    const char *name, *value; /* names in lower case; pseudo-headers first */
};
void h2_drop_head(struct h2_stream *stream);
/* Its body stays open. Never NULL; a request that cannot be sent ends with on_end. */
struct h2_stream *h2_request(struct h2 *h2, const struct h2_header *headers, size_t count);
/* Appends to the body. The caller bounds it by h2_pending. */
void h2_write(struct h2_stream *stream, struct slice data);
size_t h2_pending(const struct h2_stream *stream); /* bytes that wait for the peer's flow-control window or for h2_output */
/* Says goodbye: GOAWAY with NO_ERROR, to be sent by h2_output. */
void h2_end(struct h2 *h2);
/* Why the connection may have ended: the peer's GOAWAY, as "after GOAWAY NO_ERROR"; "" where none came. */
const char *h2_goaway_text(const struct h2 *h2);

#endif
