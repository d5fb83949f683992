/*
 * The table of libnghttp2's functions, and what the client and the server of HTTP/2 share (agent/proto/h2_lib.h). Called by
 * agent/proto/h2.c and h2_serve.c. Promises that a library that is missing, or lacks a function, is an error with a sentence. The
 * library stays open.
 */
#include "agent/proto/h2_lib.h"

#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/library.h"
#include "agent/base/mem.h"

/* The ABI has had this name since 1.0 of 2015. */
#define FILE_NAME "libnghttp2.so.14"

struct h2_lib h2_lib;

int h2_lib_open(struct err *err)
{
    static const struct library library = { FILE_NAME, "HTTP/2 needs libnghttp2 (Debian: libnghttp2-14)", "want 1.52 or later" };
    static const struct library_symbol symbols[] = {
#define H2_SYMBOL(call) { "nghttp2_" #call, (void **)(void *)&h2_lib.p_##call },
        H2_CALLS(H2_SYMBOL)
#undef H2_SYMBOL
    };
    static bool loaded;

    loaded = loaded || library_open(&library, symbols, sizeof symbols / sizeof symbols[0], err) == 0;
    return loaded ? 0 : -1;
}

static void count_anew(struct h2_flood *flood)
{
    uint64_t second = clock_now_ms() / 1000;

    if (second != flood->second) {
        flood->empty = 0;
        flood->waste = 0;
    }
    flood->second = second;
}

/* Frames that carry nothing cost the peer little: by themselves they are no reason to listen for ever. */
int h2_flood_frame(struct h2_flood *flood, const nghttp2_frame_hd *hd)
{
    if (hd->type == NGHTTP2_DATA && hd->length)
        return 0;
    count_anew(flood);
    if (++flood->empty > H2_EMPTY_FRAMES_MAX)
        flood->over = true;
    return flood->over ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

void h2_flood_waste(struct h2_flood *flood, size_t bytes)
{
    count_anew(flood);
    flood->waste += bytes;
    flood->over = flood->over || flood->waste > H2_WASTE_BYTES_MAX;
}

void h2_fields(nghttp2_nv *fields, size_t max, const struct h2_header *headers, size_t count, uint8_t flags)
{
    panic_if(count > max);
    for (size_t i = 0; i < count; i++)
        fields[i] =
            (nghttp2_nv){ (uint8_t *)(uintptr_t)headers[i].name, (uint8_t *)(uintptr_t)headers[i].value, strlen(headers[i].name),
                          strlen(headers[i].value), headers[i].name[0] == ':' ? NGHTTP2_NV_FLAG_NONE : flags };
}

bool h2_session_output(nghttp2_session *session, struct slice *out)
{
    const uint8_t *data;
    ssize_t len = H2(session_mem_send)(session, &data);

    if (len <= 0) /* an error is a callback's of ours, and none gives one */
        return false;
    *out = slice_make(data, (size_t)len);
    return true;
}
