/*
 * What an answer must look like: equals, contains, regex, json (JSON pointer: value). All parts that are there must hold.
 * Compiled once with the configuration, tried on every message. Regular expressions run under PCRE2's match and depth limits,
 * JSON under a size ceiling: a hostile answer costs a bounded time.
 */
#ifndef WSHEALTHD_PROTO_MATCH_H
#define WSHEALTHD_PROTO_MATCH_H

#include <stdbool.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"

enum { MATCH_POINTERS_MAX = 16, MATCH_JSON_MAX = 1 << 20 };

/* As configured; every part may be NULL. Values of `json` are JSON texts ("\"pong\"", "1", "null", "{\"a\":1}"). */
struct match_spec {
    char *equals, *contains, *regex;
    struct match_pointer {
        char *pointer; /* RFC 6901: "/op", "/data/0/id", "" for the whole document */
        char *value;   /* JSON text */
    } json[MATCH_POINTERS_MAX];
    size_t json_count;
    bool dropped;      /* said to be nothing, so that a check can take away what its dialect awaits. Otherwise empty */
    unsigned any_type; /* bit i: json[i] is a string, and a number that is written alike matches as well ("1" and 1) */
};

struct match; /* compiled */

/* NULL and *err (text names the part: "regex: missing ) at offset 4") when a part cannot be compiled. */
struct match *match_new(const struct match_spec *spec, struct err *err);
void match_free(struct match *match);
/* true, or false with *why (may be NULL) saying what is missing: "json /op is \"nack\", want \"pong\"". */
bool match_try(struct match *match, struct slice message, struct err *why);
/* Does the sentence of match_try show the message itself? Then its reader need not see it twice. */
bool match_shows_message(const struct err *why);
/* Appends the value at the pointer (RFC 6901; "-" is an array's last element, where the RFC has the one behind it): a string as it is,
 * anything else as JSON. -1: `message` is no JSON or larger than
 * MATCH_JSON_MAX, nothing is there, the pointer is none, or past out's ceiling; out is then unchanged. */
int match_extract(struct slice message, const char *pointer, struct buf *out);
/* The same, where a string or a number is wanted: null, true, false, an array or an object is nothing. */
int match_extract_word(struct slice message, const char *pointer, struct buf *out);
/* Appends what the first group of the regular expression takes of the message. 1, or 0: it does not match, or past out's ceiling; out is then
 * unchanged. -1 and *err: the expression is broken or has no group. */
int match_group(const char *regex, struct slice message, struct buf *out, struct err *err);
/* What is wanted, for a sentence: `equal to "pong"`, `JSON with /op = "pong"`. Cut to size. */
void match_describe(const struct match_spec *spec, char *out, size_t size);
/* Is the JSON text a string that is one hole and nothing else ("\"{{seq}}\"")? YAML cannot say whether a number or a text is meant. */
bool match_value_is_hole(const char *value);
void match_spec_fini(struct match_spec *spec);
bool match_spec_empty(const struct match_spec *spec);

#endif
