/* Between http1.c and http1_head.c only: what one complete start line and one complete set of header fields mean. */
#ifndef WSHEALTHD_PROTO_HTTP1_HEAD_H
#define WSHEALTHD_PROTO_HTTP1_HEAD_H

#include "agent/proto/http1.h"

enum http_framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_EOF };

/* http_malformed, with the status that a server answers. Is -1. */
#define http_bad(err, status, ...) err_set((err), REASON_HTTP_MALFORMED, (status), __VA_ARGS__)

/* Do the bytes that have come so far (perhaps only a part of the first line) begin a response at all? */
int http_validate_response_start(struct slice bytes, struct err *err);
/* Reads a whole start line, without its CRLF, into the head; slices point into line. */
int http_parse_start(enum http_kind kind, struct slice line, struct http_head *head, struct err *err);
/* Judges the fields of a complete head and says how long the body is. no_body: the answer to a HEAD. */
int http_judge_fields(enum http_kind kind, const struct http_head *head, bool no_body, enum http_framing *framing, uint64_t *length,
                      struct err *err);
bool http_is_token(struct slice s); /* RFC 9110, 5.6.2 */

#endif
