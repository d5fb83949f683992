/*
 * permessage-deflate against anything. The first byte chooses what is done: the bytes are inflated, whole and in pieces, within a ceiling;
 * or deflated and inflated back as a row of messages; or read as an offer and as an answer to one.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/deflate.h"
#include "tests/unit/proto/inflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CEILING = 50000 };

static int inflate_cut(struct slice in, uint8_t bits, uint8_t cut, struct buf *out)
{
    struct inflater *inflater = inflater_new(bits, false, "server");
    struct err err;
    int rc = 0;
    for (size_t at = 0, n; at < in.len && rc == 0; at += n) {
        n = cut ? 1 + (at * 31 + cut) % cut : in.len;
        if (n > in.len - at)
            n = in.len - at;
        rc = inflate_piece(inflater, slice_make(in.data + at, n), false, out, CEILING, &err);
    }
    if (rc == 0)
        rc = inflate_piece(inflater, slice_make(NULL, 0), true, out, CEILING, &err);
    panic_if(out->len > CEILING);
    panic_if(rc < 0 && err.code != 1007 && err.code != 1009);
    inflater_free(inflater);
    return rc < 0 ? err.code : 0;
}

static void fuzz_inflate(struct slice in, uint8_t bits, uint8_t cut)
{
    struct buf whole = BUF_INIT(1 << 20), pieces = BUF_INIT(1 << 20);
    int verdict = inflate_cut(in, bits, 0, &whole);
    panic_if(inflate_cut(in, bits, cut, &pieces) != verdict);
    panic_if(verdict == 0 && !slice_equal(buf_slice(&whole), buf_slice(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
}

/* Messages of `step` bytes over one pair of streams. */
static void fuzz_round_trip(struct slice in, uint8_t bits, bool no_context, size_t step)
{
    struct deflater *deflater = deflater_new(bits, no_context);
    struct inflater *inflater = inflater_new(bits, no_context, "server");
    for (unsigned i = 0; i < 64 && (in.len || i == 0); i++) {
        struct buf packed = BUF_INIT(1 << 20), back = BUF_INIT(1 << 20);
        struct slice message = slice_make(in.data, in.len < step ? in.len : step);
        struct err err;
        panic_if(deflater_message(deflater, message, &packed) < 0);
        panic_if(inflate_piece(inflater, buf_slice(&packed), true, &back, 1 << 20, &err) < 0);
        panic_if(!slice_equal(buf_slice(&back), message));
        in = slice_skip(in, message.len);
        buf_fini(&packed);
        buf_fini(&back);
    }
    deflater_free(deflater);
    inflater_free(inflater);
}

static void check_params(const struct deflate_params *params)
{
    panic_if(params->server_bits < 8 || params->server_bits > 15 || params->client_bits < 8 || params->client_bits > 15);
}

static void fuzz_negotiation(struct slice in)
{
    struct deflate_params params, again;
    char answer[DEFLATE_ANSWER_MAX];
    struct err err;
    if (deflate_accept_response(in, &params, &err) == 0)
        check_params(&params);
    else
        panic_if(params.on || err.reason != REASON_UPGRADE_BAD_EXTENSION);
    if (deflate_answer_offer(in, &params, answer, sizeof answer) < 0 || !params.on)
        return;
    check_params(&params);
    panic_if(strlen(answer) >= sizeof answer - 1);
    panic_if(deflate_accept_response(slice_str(answer), &again, &err) < 0 || memcmp(&params, &again, sizeof params) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct slice in = slice_make(data + 2, size - 2);
    uint8_t bits = (uint8_t)(8 + (data[0] >> 5));
    switch (data[0] & 3) {
    case 0:
        fuzz_negotiation(in);
        break;
    case 1:
        fuzz_round_trip(in, bits, data[0] & 4, (size_t)data[1] * 16 + 1);
        break;
    default:
        fuzz_inflate(in, bits, (uint8_t)(data[1] | 1));
    }
    return 0;
}
