/*
 * One picture of `status --watch`: the report's lines, fitted to a terminal's height. Pure: a text in, the bytes for the terminal out. Called by
 * agent/cli/cli_watch.c. Promises that each line stays in its row, and that no byte of the text moves the cursor or changes more than colours,
 * whatever the agent has sent.
 */
#ifndef WSHEALTHD_CLI_WATCH_PAGE_H
#define WSHEALTHD_CLI_WATCH_PAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/buf.h"

struct watch_page {
    unsigned rows, columns;
    bool colour, ascii;
    size_t first;        /* the line of the report to begin with; cut to what is there */
    const char *text;    /* the report, lines ended by \n */
    const char *lost;    /* what is said above it while there is no agent, lines ended by \n; NULL: there is one */
    const char *footer;  /* at the lower left: since when this is so, and what the keys do */
    const char *no_keys; /* the same where there is no room for it */
};
/* Appends the picture, drawn over the last one in place. Returns the largest `first` that shows something new. */
size_t watch_page_draw(const struct watch_page *page, struct buf *out);
/* How many lines of the report there is room for. */
size_t watch_page_room(const struct watch_page *page);

#endif
