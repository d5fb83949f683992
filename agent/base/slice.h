/* A borrowed run of bytes. The function that returns one says how long it lives. */
#ifndef WSHEALTHD_BASE_SLICE_H
#define WSHEALTHD_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice {
    const uint8_t *data;
    size_t len;
};

#define slice_of(array) ((struct slice){ (const uint8_t *)(array), sizeof array })

struct slice slice_make(const void *data, size_t len);
struct slice slice_str(const char *text); /* without the terminator; NULL gives an empty slice */
bool slice_equal(struct slice a, struct slice b);
bool slice_equal_str(struct slice a, const char *text);    /* byte for byte */
bool slice_equal_nocase(struct slice a, const char *text); /* ASCII */
/* Position of the first occurrence, or -1. An empty needle is found at 0. */
ptrdiff_t slice_find(struct slice haystack, struct slice needle);
struct slice slice_skip(struct slice s, size_t n); /* n is cut to the length */
struct slice slice_trim(struct slice s);           /* blanks and tabs at both ends */

#endif
