/*
 * What must never be shown. Every secret that the agent reads (tokens, passwords in URLs, ${file:…} contents) is registered here;
 * everything that leaves the agent in a text from outside (a close reason, a body, a YAML error) is scrubbed. Values shorter than
 * SECRET_MIN bytes are not registered: they would mask half of every text.
 *
 * A secret is found in every form in which it is sent or quoted: as it is, percent-encoded, escaped as in JSON, Go and C strings, escaped
 * as in HTML, in whole or in part; and in base64 of either alphabet, alone or between other bytes, as in `Authorization: Basic`. Of one
 * that was cut (a close reason ends after 123 bytes) the beginning is masked from SECRET_PREFIX_MIN bytes on, at the end of a text or
 * before an ellipsis; elsewhere it may be any word, and stays readable.
 */
#ifndef WSHEALTHD_BASE_SECRET_H
#define WSHEALTHD_BASE_SECRET_H

#include "agent/base/slice.h"

enum { SECRET_MIN = 4, SECRET_COUNT_MAX = 256, SECRET_PREFIX_MIN = 8 };

void secret_add(const char *value); /* copies; adding twice is once; past the maximum the one unused for longest is forgotten */
/*
 * For what is derived from a secret and changes with every round, such as the response to a challenge: masked until it is returned, so that
 * it does not push out the others. Of the values of one loan the newest SECRET_LOAN_MAX are kept. Zero a loan before its first use.
 */
enum { SECRET_LOAN_MAX = 16 };
struct secret_loan {
    char *values[SECRET_LOAN_MAX];
    size_t count;
};
void secret_lend(struct secret_loan *loan, const char *value);
void secret_return(struct secret_loan *loan); /* all of it; the loan may be used again */
/* For who would scrub a text later. Has it to be now, since one is lent, or the register is full? And how often was one forgotten so far that was not
 * returned: what is older than that can no longer be scrubbed. */
bool secret_scrub_is_urgent(void);
unsigned secret_forgotten(void);
void secret_scrub(char *text); /* each occurrence becomes *** in place */
/* How many bytes at the front belong to a secret, or to several that overlap; 0 where none begins. For code that cuts a text. */
size_t secret_span(struct slice s);
/* How many bytes at the front of s belong to a secret that begins at the end of `before`, the text ahead of it; 0: none does. Of s no
 * more than SECRET_LOOK_MAX bytes are looked at, and as many of `before`. */
enum { SECRET_LOOK_MAX = 2 << 10 };
size_t secret_rest(struct slice before, struct slice s);
void secret_forget_all(void);

#endif
