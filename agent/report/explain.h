/* What the words of a verdict mean: causes and reasons, each with what is seen, what it means and what to do. The rules of the diagnosis
 * are the one source. */
#ifndef WSHEALTHD_REPORT_EXPLAIN_H
#define WSHEALTHD_REPORT_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/buf.h"

/* Appends the row of that cause or reason, or of both where one word is both. false: there is no such word. */
bool explain_write(const char *word, struct buf *out);
const char *explain_advice(const char *cause); /* what to do first; NULL: not known */
void explain_write_list(struct buf *out);      /* all words, one a line */
void explain_write_causes(struct buf *out);    /* the causes alone, as roff: `wshealthd help causes` */
void explain_write_roff(struct buf *out);      /* the manual's table of causes */
/* All words there are. Returns how many, at most max. */
size_t explain_words(const char **words, size_t max);

#endif
