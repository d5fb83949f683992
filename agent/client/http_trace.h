/*
 * Heads of HTTP messages in a trace (agent/base/trace.h), a line for each header. Whatever is registered or not: credentials, cookies and
 * values whose name is that of a secret are left out.
 */
#ifndef WSHEALTHD_CLIENT_HTTP_TRACE_H
#define WSHEALTHD_CLIENT_HTTP_TRACE_H

#include "agent/base/trace.h"
#include "agent/proto/h2.h"
#include "agent/proto/http1.h"

void http_trace_request(struct trace *trace, unsigned number,
                        struct slice text); /* as it was sent; a body behind the head is not shown */
void http_trace_fields(struct trace *trace, unsigned number, const struct h2_header *fields,
                       size_t count); /* a request of HTTP/2 */
void http_trace_response(struct trace *trace, unsigned number, const struct http_head *head);
void http_trace_body(struct trace *trace, unsigned number, struct slice body); /* its beginning; nothing where it is empty */

#endif
