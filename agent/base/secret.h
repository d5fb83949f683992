/*
 * What must never be shown. Every secret that the agent reads (tokens, passwords in URLs, ${file:…} contents) is registered here;
 * everything that leaves the agent in a text from outside (a close reason, a body, a YAML error) is scrubbed. Values shorter than
 * SECRET_MIN bytes are not registered: they would mask half of every text.
 *
 * A secret is found in every form in which it is sent or quoted: as it is, percent-encoded, escaped as in JSON, Go and C strings, escaped
 * as in HTML, in whole or in part. Of one that was cut (a close reason ends after 123 bytes) the beginning is masked from SECRET_PREFIX_MIN
 * bytes on, at the end of a text or before an ellipsis; elsewhere it may be any word, and stays readable.
 */
#ifndef WSHEALTHD_BASE_SECRET_H
#define WSHEALTHD_BASE_SECRET_H

#include "agent/base/slice.h"

enum { SECRET_MIN = 4, SECRET_COUNT_MAX = 256, SECRET_PREFIX_MIN = 8 };

void secret_add(const char *value); /* copies; adding twice is once; past the maximum the oldest is forgotten */
void secret_scrub(char *text);      /* each occurrence becomes *** in place */
/* How many bytes at the front belong to a secret, or to several that overlap; 0 where none begins. For code that cuts a text. */
size_t secret_span(struct slice s);
void secret_forget_all(void);

#endif
