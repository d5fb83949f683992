/* JSON for a person's eyes. */
#ifndef WSHEALTHD_PROTO_JSON_PRETTY_H
#define WSHEALTHD_PROTO_JSON_PRETTY_H

#include <stdbool.h>

#include "agent/base/buf.h"

/* Appends a valid JSON text (RFC 8259) with two blanks of indentation for each level, and a line break behind it. Only the whitespace between
 * tokens is changed: numbers and strings stay as they are written. ascii: characters that are not ASCII become \uXXXX, which means the
 * same. -1: it does not fit. */
int json_pretty(struct slice json, bool ascii, struct buf *out);

#endif
