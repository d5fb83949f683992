/*
 * HTTP/1.x heads and bodies, for both sides. Bytes in, head and body out; no sockets.
 *
 * Strict: lines end with CRLF (a bare CR or LF, a NUL or another control character, and folded headers are refused), names are
 * tokens directly followed by the colon, Content-Length comes once and never beside Transfer-Encoding, a request of HTTP/1.1 has
 * one Host, and a valid one. The same verdict whole, byte by byte and in any split.
 *
 * Errors: err->reason is http_malformed, or connection_reset where the peer closed before the head was complete. For requests
 * err->code is the status to answer with (400, 413, 431, 501, 505).
 */
#ifndef WSHEALTHD_PROTO_HTTP1_H
#define WSHEALTHD_PROTO_HTTP1_H

#include <stdbool.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"

enum { HTTP_HEADERS_MAX = 64, HTTP_INTERIM_MAX = 8 /* 1xx responses passed over before the one that counts */ };

struct http_header {
    struct slice name, value; /* point into http_head.text; values are trimmed */
};

struct http_head {
    int major, minor;
    int status;                  /* responses */
    struct slice reason;         /* responses */
    struct slice method, target; /* requests; target as sent: path?query */
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t header_count;
    struct buf text;
};

/* The first header of that name (ASCII, any case), or NULL; `nth` counts from 0. */
const struct slice *http_header_get(const struct http_head *head, const char *name);
const struct slice *http_header_nth(const struct http_head *head, const char *name, size_t nth);
/* Is the token in the comma-separated list of any header of that name (RFC 9110, 5.6.1; any case)? */
bool http_header_has_token(const struct http_head *head, const char *name, const char *token);

/* Is this a host, perhaps with a port, as Host and an absolute target have it (RFC 9110, 7.2)? Empty is. */
bool http_is_authority(struct slice s);

enum http_kind { HTTP_KIND_REQUEST, HTTP_KIND_RESPONSE };
struct http_limits {
    size_t max_head_bytes; /* start line and headers; over it: HTTP_TOO_LARGE */
    size_t max_body_bytes; /* body bytes kept; for responses the rest is counted and dropped, for requests it is HTTP_TOO_LARGE */
};

enum http_progress {
    HTTP_MORE, /* everything eaten, feed more */
    HTTP_HEAD, /* the head is complete; *input stands at the first byte behind it. Responses: 1xx other than 101 are passed over */
    HTTP_DONE, /* the message is complete; *input stands behind it (pipelining) */
    HTTP_BAD,  /* not HTTP/1.x: *err says what and where */
    HTTP_TOO_LARGE, /* over a limit: *err says which */
};

struct http_reader; /* heap; holds the head and the body */
struct http_reader *http_reader_new(enum http_kind kind, const struct http_limits *limits);
void http_reader_free(struct http_reader *reader);
void http_reader_reset(struct http_reader *reader); /* for the next message on a kept connection; keeps the memory */
/* Eats from *input and advances it. HTTP_HEAD comes once for each message, then feed on for the body. A 101, or no_body (the answer
 * to a HEAD), ends with HTTP_HEAD: what follows is not HTTP's. */
enum http_progress http_reader_feed(struct http_reader *reader, struct slice *input, struct err *err);
/* The peer has closed: HTTP_DONE if that ends the message (a response without length), else HTTP_BAD. */
enum http_progress http_reader_eof(struct http_reader *reader, struct err *err);
void http_reader_no_body(struct http_reader *reader);
const struct http_head *http_reader_head(const struct http_reader *reader);
struct slice http_reader_body(const struct http_reader *reader);
uint64_t http_reader_body_total(const struct http_reader *reader); /* with what was dropped */
bool http_reader_keep_alive(const struct http_reader *reader);     /* by version and Connection; valid from HTTP_HEAD on */
bool http_reader_is_head(
    const struct http_reader *reader); /* a request whose method is HEAD, also one that was refused: no body may answer it */
/* From HTTP_HEAD on: the client waits for a 100 before it sends the body (Expect: 100-continue, RFC 9110, 10.1.1). */
bool http_reader_wants_continue(const struct http_reader *reader);
bool http_reader_started(const struct http_reader *reader); /* has a byte of the current message come? */

#endif
