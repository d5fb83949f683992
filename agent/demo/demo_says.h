/*
 * What the demo says to the person in front of it, on stdout. A terminal that is stopped (Ctrl-S) and a pipe that nobody reads stop neither
 * the server nor the agent: what finds no room waits, up to a limit, and what does not fit there either is left out and counted.
 */
#ifndef WSHEALTHD_DEMO_DEMO_SAYS_H
#define WSHEALTHD_DEMO_DEMO_SAYS_H

#include "agent/base/buf.h"
#include "agent/net/loop.h"

enum { DEMO_SAYS_MAX = 256 << 10 }; /* bytes that may wait */

/* Before process_hide: gives stdout a description of its own where it can be had (agent/base/sink.h). */
void demo_says_open(void);
void demo_says_begin(struct loop *loop);
/* Makes the text fit for the screen, and frees it. demo_says_page leaves it as it is: its lines have been broken already. */
void demo_says(struct buf *text);
void demo_says_page(struct buf *text);
/* Waits for a moment for what is left to be read; before loop_fini. */
void demo_says_end(void);

#endif
