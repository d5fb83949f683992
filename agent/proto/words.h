/*
 * The words in what a server says when it refuses: the body of a response, or a message of its protocol. JSON says them in a field of a
 * usual name, HTML in a title or between its tags, anything else as it is. For sentences: one line, printable, cut, scrubbed of secrets.
 */
#ifndef WSHEALTHD_PROTO_WORDS_H
#define WSHEALTHD_PROTO_WORDS_H

#include <stdbool.h>

#include "agent/base/slice.h"
#include "agent/base/text.h"
#include "agent/proto/http1.h"

enum { WORDS_CHARS = 160, WORDS_BYTES = TEXT_EXCERPT_BYTES(WORDS_CHARS) };

/* "" where it says nothing. */
void words_of(struct slice text, char out[WORDS_BYTES]);
/* The words of a response's body; "" as well where it only repeats its status ("404 Not Found", "Bad Request"). */
void words_of_response(const struct http_head *head, struct slice body, char out[WORDS_BYTES]);
/* `code` of a JSON message ({"code":4100}, {"data":{"code":4100}}), or 0. */
int words_code(struct slice text);
bool words_mention(struct slice text, const char *word); /* in any case */

#endif
