/* A whole message out of an inflater, for tests: the agent takes it step by step (agent/proto/ws.c) and keeps a part of it at most. */
#ifndef WSHEALTHD_TESTS_UNIT_PROTO_INFLATE_H
#define WSHEALTHD_TESTS_UNIT_PROTO_INFLATE_H

#include "agent/base/mem.h"
#include "agent/proto/deflate.h"

/* Steps through `in` and appends what comes out. At most max_bytes in *out, and no more than its ceiling: -1 and 1009 there. */
static int inflate_steps(struct inflater *inflater, struct slice in, struct buf *out, size_t max_bytes, struct err *err)
{
    uint8_t room[4096];
    size_t most = max_bytes < out->max ? max_bytes : out->max;
    int more;

    do {
        size_t made, left = most - out->len;
        more = inflater_step(inflater, &in, room, sizeof room, &made, err);
        panic_if(buf_append(out, room, made < left ? made : left) < 0);
        if (made > left)
            return err_set(err, REASON_MESSAGE_TOO_BIG, 1009, "past %zu bytes", most);
    } while (more > 0);
    return more;
}

/* A piece of a message, to the end of *out, which holds nothing else; end: it is the last one. 0, or -1 as from inflater_step. */
static inline int inflate_piece(struct inflater *inflater, struct slice in, bool end, struct buf *out, size_t max_bytes,
                                struct err *err)
{
    if (in.len && inflate_steps(inflater, in, out, max_bytes, err) < 0)
        return -1;
    if (!end)
        return 0;
    return inflate_steps(inflater, inflater_tail(inflater), out, max_bytes, err) < 0 ? -1 : inflater_end(inflater, err);
}

#endif
