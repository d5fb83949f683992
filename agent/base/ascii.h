/* Text for a terminal that has no more than ASCII. */
#ifndef WSHEALTHD_BASE_ASCII_H
#define WSHEALTHD_BASE_ASCII_H

#include "agent/base/buf.h"

/* Appends the text with every byte that is not ASCII as \xNN; the ellipsis, by which this program shows that it has cut something, becomes
 * three dots. -1: it does not fit, and the beginning that does is there. */
int ascii_put(struct buf *out, struct slice text);

#endif
