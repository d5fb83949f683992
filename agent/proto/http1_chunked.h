/*
 * A chunked body (RFC 9112, 7.1), undone: sizes, extensions and trailers are checked and dropped, data is handed out as it lies in the
 * input. Between http1.c and http1_chunked.c only.
 */
#ifndef WSHEALTHD_PROTO_HTTP1_CHUNKED_H
#define WSHEALTHD_PROTO_HTTP1_CHUNKED_H

#include <stdint.h>

#include "agent/base/slice.h"

enum chunked_progress {
    CHUNKED_MORE,  /* everything eaten */
    CHUNKED_DATA,  /* *data is a piece of the body */
    CHUNKED_DONE,  /* the body and its trailers are over; *input stands behind them */
    CHUNKED_BAD,   /* *why says what is wrong */
    CHUNKED_LARGE, /* extensions and trailers are over max_extra */
};

struct chunked {
    int state;
    uint64_t left;    /* of the chunk's data */
    unsigned digits;  /* of its size */
    size_t extra;     /* bytes of extensions and trailers so far */
    size_t max_extra; /* of the whole body: nobody asks for them, and they must not come without end */
};
void chunked_init(struct chunked *chunked, size_t max_extra);
enum chunked_progress chunked_feed(struct chunked *chunked, struct slice *input, struct slice *data, const char **why);

#endif
