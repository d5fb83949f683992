/*
 * The server of HTTP/2 and the requests of gRPC's health protocol against anything. The first byte chooses how the rest is cut, and
 * whether the preface and the client's SETTINGS come first. What is promised holds: no more calls than the ceiling, bodies within theirs,
 * and one end for each call.
 */
#include <stddef.h>
#include <stdint.h>

#include "agent/base/mem.h"
#include "agent/proto/grpc.h"
#include "agent/proto/h2_serve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h2_header head[] = { { ":status", "200" }, { "content-type", "application/grpc" } };
static const struct h2_header well[] = { { "grpc-status", "0" } };
static size_t open_calls;

static void on_call(void *user, struct h2_call *call)
{
    struct buf message = BUF_INIT(64);
    struct slice service;

    (void)user;
    panic_if(call->body.len > H2_CALL_BODY_MAX || ++open_calls > H2_CALLS_MAX + 1000);
    if (call->too_large || grpc_read_request(buf_slice(&call->body), &service) != GRPC_OK) {
        h2_call_refuse(call, head, 2);
        return;
    }
    panic_if(service.len > call->body.len);
    grpc_put_health(&message, GRPC_SERVING);
    h2_call_respond(call, head, 2);
    h2_call_write(call, buf_slice(&message));
    if (service.len % 2 == 0)
        h2_call_finish(call, well, 1);
    buf_fini(&message);
}

static void on_over(void *user, struct h2_call *call)
{
    (void)user;
    (void)call;
    panic_if(open_calls-- == 0);
}

static void drain(struct h2_serve *h2)
{
    struct slice out;

    while (h2_serve_output(h2, &out))
        panic_if(!out.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char begin[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    static const struct h2_serve_events events = { on_call, on_over, NULL };
    struct slice service;
    struct err err;
    int got = 0;

    grpc_read_request(slice_make(data, size), &service);
    if (!size)
        return 0;
    open_calls = 0;
    struct h2_serve *h2 = h2_serve_new(&events, NULL, &err);
    panic_if(!h2);
    size_t piece = (data[0] & 0x7f) + 1u;
    if (data[0] & 0x80)
        got = h2_serve_feed(h2, slice_make(begin, sizeof begin - 1), &err);
    for (size_t at = 1; at < size && got == 0; at += piece) {
        got = h2_serve_feed(h2, slice_make(data + at, piece < size - at ? piece : size - at), &err);
        drain(h2);
    }
    h2_serve_end(h2);
    drain(h2);
    h2_serve_free(h2);
    return 0;
}
