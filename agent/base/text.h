/* Reading and writing what people write: durations, sizes, numbers, names that are nearly right. */
#ifndef WSHEALTHD_BASE_TEXT_H
#define WSHEALTHD_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "agent/base/slice.h"

/* "250ms", "2s", "1m30s", "24h", "14d"; units ms s m h d, descending, each once. 0 or -1 ("0" alone is an error: no unit; "0s" is fine). */
int text_parse_duration(const char *text, int64_t *ms);
/* "64KiB", "1MiB", "512B", "1GiB". */
int text_parse_size(const char *text, int64_t *bytes);
int text_parse_int(const char *text, int64_t *value); /* decimal, whole text, no blanks */
/* The shortest form that reads back as the same: "1m30s", "64KiB". size is at least 32. */
void text_format_duration(int64_t ms, char *out, size_t size);
void text_format_size(int64_t bytes, char *out, size_t size);
/* For people, three significant digits: "0.05ms", "1.23ms", "45.6ms", "2.00s". size is at least 32. */
void text_format_elapsed(uint64_t ns, char *out, size_t size);
/* The candidate nearest to word if it is near enough to be meant (Damerau-Levenshtein at most 2 and less than half its length), or NULL. */
const char *text_nearest(const char *word, const char *const *candidates, size_t count);
/* Room for an excerpt of so many characters, of up to four bytes each. */
#define TEXT_EXCERPT_BYTES(chars) ((chars) * 4 + 16)
/* The peer's bytes made fit for a sentence: at most max_chars characters, control characters and invalid UTF-8 as \xNN, cut with "…".
 * Secrets are masked before anything is cut, so that no part of one is left. Always terminated; size is at least 16. */
void text_excerpt(struct slice bytes, size_t max_chars, char *out, size_t size);
/* Bytes of the valid UTF-8 character at the front, or 0 where there is none. */
size_t text_char_len(struct slice s);

#endif
