/*
 * What the demo prints on stdout. Printing never blocks: a stopped terminal (Ctrl-S) or a pipe without a reader must not stop the
 * server and the agent. Text that stdout does not take waits, up to DEMO_SAYS_MAX; further texts are dropped and counted.
 */
#ifndef WSHEALTHD_DEMO_DEMO_SAYS_H
#define WSHEALTHD_DEMO_DEMO_SAYS_H

#include "agent/base/buf.h"
#include "agent/net/loop.h"

enum { DEMO_SAYS_MAX = 256 << 10 }; /* bytes that may wait */

/* Opens stdout anew where that is possible, so that O_NONBLOCK does not reach other processes (agent/base/sink.h). Call it before
 * process_hide. */
void demo_says_open(void);
void demo_says_begin(struct loop *loop);
/* Prints the text, with lines broken for the screen, and frees it. demo_says_page prints it as it is. */
void demo_says(struct buf *text);
void demo_says_page(struct buf *text);
/* Waits up to 250 ms until everything is read. Call it before loop_fini. */
void demo_says_end(void);

#endif
