/*
 * What is known of the limits of each form of message, which size is tried next, and the message itself (probes/payload_limits.c). Pure;
 * for the other files of the payload check.
 */
#ifndef WSHEALTHD_PROBES_PAYLOAD_H
#define WSHEALTHD_PROBES_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"

/* A form of message is a set of these: 0 is a text, whole and not compressed. */
enum { FORM_BINARY = 1, FORM_PARTS = 2, FORM_PACKED = 4, FORM_COUNT = 8 };
enum { PAYLOAD_PARTS = 3, PAYLOAD_HOW_MAX = 200, PAYLOAD_FORM_MAX = 80 };
enum { PAYLOAD_SIZE_MAX = 2 << 20, PAYLOAD_SIZE_MIN = 64 };

/* What is known of one form. */
struct payload_limit {
    size_t passes;             /* the largest that has passed; 0: none */
    size_t breaks;             /* the smallest that has not; 0: none */
    bool confirmed;            /* not by chance: it broke twice, or a smaller one broke after one that had */
    enum reason reason;        /* how it broke */
    char how[PAYLOAD_HOW_MAX]; /* the same as a sentence: "the server closed the connection with code 1009 (message too big)" */
};

/* The next size to try between least and most; 0: the limit is known to the byte, or there is none up to most. */
size_t payload_next(const struct payload_limit *limit, size_t least, size_t most);
void payload_passed(struct payload_limit *limit, size_t size);
void payload_broke(struct payload_limit *limit, size_t size, const struct err *err);
bool payload_is_exact(const struct payload_limit *limit, size_t least);

/* "65,537 bytes" */
void payload_bytes_text(size_t bytes, char *out, size_t size);
/* "a binary message of 65,537 bytes in 3 fragments, compressed" */
void payload_form_text(unsigned form, size_t bytes, char *out, size_t size);
/* "a binary message of 65,537 bytes: HOW; 65,536 bytes pass". */
void payload_limit_text(unsigned form, const struct payload_limit *limit, size_t least, char *out, size_t size);
/* "65,536 bytes pass as text and binary, whole and in 3 fragments": `passed` has a bit for each form. */
void payload_passed_text(unsigned passed, size_t bytes, char *out, size_t size);

/* Fills `size` bytes that do not compress well. A text is valid UTF-8; unless `plain`, characters of several bytes are among it, also across the
 * edges of fragments, where RFC 6455 (5.4, 8.1) allows them and servers stumble. The first bytes are the unique `id`. */
enum { PAYLOAD_ID_LEN = 16 };
void payload_fill(unsigned form, bool plain, const char id[PAYLOAD_ID_LEN], char *out, size_t size);

#endif
