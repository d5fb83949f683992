/*
 * What a notice says to people, in plain text: the title, how long it lasts, the facts. Texts of the server, of brokers and of the
 * configuration come out of here as one line of valid UTF-8 without control characters and secrets, cut with "…". What is markup in a
 * receiver's format is still in them: told_put writes them so that they are text there as well. Pure.
 */
#ifndef WSHEALTHD_NOTIFY_TOLD_H
#define WSHEALTHD_NOTIFY_TOLD_H

#include "agent/base/text.h"
#include "agent/notify/notice.h"
#include "agent/proto/json_out.h"

enum {
    TOLD_TITLE_CHARS = 140,
    TOLD_TITLE_BYTES = TEXT_EXCERPT_BYTES(TOLD_TITLE_CHARS),
    TOLD_SENTENCE_CHARS = 700,
    TOLD_SENTENCE_BYTES = TEXT_EXCERPT_BYTES(TOLD_SENTENCE_CHARS),
    TOLD_ADVICE_CHARS = 300,
    TOLD_ADVICE_BYTES = TEXT_EXCERPT_BYTES(TOLD_ADVICE_CHARS),
    TOLD_ADVICE_MAX = 4, /* pieces of advice that are told */
    TOLD_VALUE_CHARS = 160,
    TOLD_VALUE_BYTES = TEXT_EXCERPT_BYTES(TOLD_VALUE_CHARS),
    TOLD_LINK_MAX = 1024, /* bytes */
    TOLD_LENGTH_MAX = 64,
    TOLD_TIME_MAX = 32,
};

/* One sentence without a full stop: "chat-1 is not ready: the server has lost its subscription". */
void told_title(const struct notice *notice, char out[TOLD_TITLE_BYTES]);
/* The whole diagnosis, or what a test is for. Of what is over: what it was. */
void told_sentence(const struct notice *notice, char out[TOLD_SENTENCE_BYTES]);
size_t told_advice_count(const struct notice *notice); /* 0 where it is over, and for a test: there is nothing to be done */
void told_advice(const struct notice *notice, size_t index, char out[TOLD_ADVICE_BYTES]);

struct told_fact {
    const char *name; /* "Since" */
    char value[TOLD_VALUE_BYTES];
};
enum { TOLD_FACTS_MAX = 6 };
/* When, cause, checks, what was not told before, instance, server: those that there are. */
size_t told_facts(const struct notice *notice, struct told_fact facts[TOLD_FACTS_MAX]);

/* All of it, for people: the title, the sentence, advice with dashes, facts, the link; a line each, without a line break at the end. */
void told_text(const struct notice *notice, struct buf *out);

/* page.url as every format can hold it: http or https, printable ASCII without blanks, quotes and brackets. NULL: there is no such link. */
const char *told_link(const struct notice *notice);
const char *told_who(const struct notice *notice); /* the instance's name, not cleaned */
/* The severity that goes with a word of /ready. */
enum notice_severity told_severity(const char *word);
void told_length(int64_t ms, char out[TOLD_LENGTH_MAX]);                     /* "4 hours 5 minutes": two units at most */
void told_time(int64_t wall_ms, char out[TOLD_TIME_MAX]);                    /* "2026-11-22 10:00:00 UTC" */
void told_clean(const char *text, size_t max_chars, char *out, size_t size); /* text_excerpt; NULL is "" */

/*
 * How a format writes one character of a plain text: `rest` begins with it, and it is `len` bytes long. Returns how many bytes it has
 * written to out; 0: the character stands for itself.
 */
enum { TOLD_ESCAPE_MAX = 8 };
typedef size_t told_escape(struct slice rest, size_t len, char out[TOLD_ESCAPE_MAX]);
/* Appends the text as the format writes it, at most max_units UTF-16 units of it, cut with "…" between characters. Services count
 * characters either in those or in code points, of which there are never more. -1: the buffer is full. */
int told_put(struct buf *out, const char *plain, size_t max_units, told_escape *escape);
/* U+200B behind a character breaks what it begins for a format, and does not show. */
size_t told_break(char c, char out[TOLD_ESCAPE_MAX]);
bool told_begins_link(struct slice rest); /* what readers make a link of by themselves: "http://", "https://", "www." */

/* "key": "plain" as told_put writes it. */
void told_field(struct json_out *json, const char *key, const char *plain, size_t max_units, told_escape *escape);
void told_word(struct json_out *json, const char *key, const char *value); /* a text of ours */
int told_finish(struct json_out *json, struct err *err);                   /* -1 and *err: it has become too long */

#endif
