/* The date of an HTTP field (RFC 9110, 5.6.7), such as Date and Retry-After. */
#ifndef WSHEALTHD_PROTO_HTTP_DATE_H
#define WSHEALTHD_PROTO_HTTP_DATE_H

#include <stdint.h>

#include "agent/base/slice.h"

/* "Sun, 06 Nov 1994 08:49:37 GMT", the one form that is still written, in seconds since 1970. -1: something else. */
int64_t http_date_s(struct slice text);

#endif
