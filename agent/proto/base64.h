/* RFC 4648 base64 with padding, strict on reading. */
#ifndef WSHEALTHD_PROTO_BASE64_H
#define WSHEALTHD_PROTO_BASE64_H

#include "agent/base/buf.h"

#define BASE64_LEN(n) (((n) + 2) / 3 * 4)
void base64_encode(struct slice in, char *out); /* BASE64_LEN(in.len) + 1 bytes, terminated */
int base64_decode(struct slice in, struct buf *out);

#endif
