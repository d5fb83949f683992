/* Text for the manual pages. */
#ifndef WSHEALTHD_PROTO_ROFF_H
#define WSHEALTHD_PROTO_ROFF_H

#include "agent/base/buf.h"

/* As roff takes it literally: no escapes, no hyphens out of dashes, no requests, no line breaks. */
void roff_text(struct buf *out, const char *text);

#endif
