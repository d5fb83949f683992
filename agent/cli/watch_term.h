/*
 * The terminal of `status --watch`: on the alternate screen without echo, and back as it was. Owns the terminal's settings while it is on. Called
 * by agent/cli/cli_watch.c.
 */
#ifndef WSHEALTHD_CLI_WATCH_TERM_H
#define WSHEALTHD_CLI_WATCH_TERM_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/slice.h"

/* Is stdout a terminal that can be drawn on? */
bool watch_term_can(void);
bool watch_term_on(void);     /* false: it is another's at the moment, as this process is in the background */
void watch_term_off(void);    /* harmless where it is off; also done when the process exits */
void watch_term_forget(void); /* somebody else may have changed it meanwhile: it counts as off */
bool watch_term_is_on(void);
void watch_term_size(unsigned *rows, unsigned *columns);
void watch_term_write(struct slice bytes); /* as one, as far as the kernel takes it so */

enum watch_key { KEY_NONE, KEY_QUIT, KEY_UP, KEY_DOWN, KEY_PAGE_UP, KEY_PAGE_DOWN, KEY_HOME, KEY_END, KEY_REDRAW };
/* The first key of what has been typed, and how many bytes it is. A sequence that is not whole yet is KEY_NONE with 0 bytes. */
enum watch_key watch_key_of(struct slice typed, size_t *len);
/* Reads what has been typed, without waiting: at most size bytes. 0: nothing. Nothing is read in the background, where it would stop us. */
size_t watch_term_read(void *out, size_t size);

#endif
