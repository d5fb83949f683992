/*
 * The screen of the user: is it a terminal, how wide is it, has it colours, does it show more than ASCII? And texts fitted to it.
 */
#ifndef WSHEALTHD_REPORT_SCREEN_H
#define WSHEALTHD_REPORT_SCREEN_H

#include <stdbool.h>

#include "agent/base/buf.h"

enum { SCREEN_WIDTH_MIN = 40, SCREEN_WIDTH_MAX = 200 };

struct screen {
    bool terminal; /* stdout is one */
    bool colour;
    bool ascii;     /* the locale's encoding is not UTF-8: nothing but ASCII is printed */
    bool fixed;     /* the width is known: lines are broken there */
    unsigned width; /* columns, from SCREEN_WIDTH_MIN to SCREEN_WIDTH_MAX */
};
/* Of stdout, as it is now: a window may have changed. */
struct screen screen_look(void);

/* Colour only on a terminal that has some, never with NO_COLOR (no-color.org: set and not empty). */
bool screen_wants_colour(bool terminal, const char *no_color, const char *term);
/* The terminal's columns if not 0, else the number in COLUMNS, which may be NULL or no number. 0: the width is not known. */
unsigned screen_width(unsigned columns, const char *variable);
/* LC_ALL, LC_CTYPE or LANG (POSIX, XBD 8.2) name an encoding that is not UTF-8, or a locale that this system does not have. Nothing of the
 * process's own locale is changed: how numbers are written, and what a letter is, stays as in the C locale. */
bool screen_is_ascii(void);

/* Appends the lines of the text, each broken between words where it is longer than that; what is behind the break begins where the last
 * column of the line does ("  --flag   says"), or where the line does. Longer words are left whole, and so are lines that hold a
 * command of this program's or of curl's, so that they can be copied. */
void screen_wrap(const char *text, unsigned width, struct buf *out);
/* Fits the text to this screen: on an ASCII screen other bytes become \xNN; on one with a known width lines are broken. */
void screen_fit(const struct screen *screen, struct buf *text);
/* Prints the text on stderr, fitted to it; in systemd's journal with the priority of an error. */
void screen_tell(const char *text);

#endif
