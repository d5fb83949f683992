/*
 * libnghttp2 by dlopen: it is opened when the first connection over HTTP/2 is, or the listener for gRPC, so that nobody else pays for it.
 * Only the header is needed to build. Beside its functions, what both sides of HTTP/2 share. For agent/proto/h2.c and h2_serve.c alone.
 */
#ifndef WSHEALTHD_PROTO_H2_LIB_H
#define WSHEALTHD_PROTO_H2_LIB_H

#include <nghttp2/nghttp2.h>

#include "agent/base/err.h"
#include "agent/proto/h2.h"

#define H2_CALLS(X)                                         \
    X(http2_strerror)                                       \
    X(option_del)                                           \
    X(option_new)                                           \
    X(option_set_max_deflate_dynamic_table_size)            \
    X(option_set_max_outbound_ack)                          \
    X(session_callbacks_del)                                \
    X(session_callbacks_new)                                \
    X(session_callbacks_set_error_callback2)                \
    X(session_callbacks_set_on_begin_frame_callback)        \
    X(session_callbacks_set_on_begin_headers_callback)      \
    X(session_callbacks_set_on_data_chunk_recv_callback)    \
    X(session_callbacks_set_on_frame_not_send_callback)     \
    X(session_callbacks_set_on_frame_recv_callback)         \
    X(session_callbacks_set_on_frame_send_callback)         \
    X(session_callbacks_set_on_header_callback)             \
    X(session_callbacks_set_on_invalid_frame_recv_callback) \
    X(session_callbacks_set_on_stream_close_callback)       \
    X(session_client_new2)                                  \
    X(session_del)                                          \
    X(session_get_remote_settings)                          \
    X(session_get_stream_user_data)                         \
    X(session_mem_recv)                                     \
    X(session_mem_send)                                     \
    X(session_resume_data)                                  \
    X(session_server_new2)                                  \
    X(session_set_stream_user_data)                         \
    X(session_terminate_session)                            \
    X(session_want_read)                                    \
    X(session_want_write)                                   \
    X(strerror)                                             \
    X(submit_ping)                                          \
    X(submit_request)                                       \
    X(submit_response)                                      \
    X(submit_settings)                                      \
    X(submit_trailer)

struct h2_lib {
#define H2_MEMBER(call) __typeof__(&nghttp2_##call) p_##call;
    H2_CALLS(H2_MEMBER)
#undef H2_MEMBER
};
extern struct h2_lib h2_lib;
#define H2(call) (h2_lib.p_##call)

/* Once it has succeeded it does so always. 0, or -1: err says what is missing. */
int h2_lib_open(struct err *err);

enum { H2_FIELD_OVERHEAD = 32 }; /* as SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113, 6.5.2) */

/* What a peer sends that carries nothing. Zeroed at the start of a connection; `over` stays once the peer has sent too much of it. */
struct h2_flood {
    uint64_t second; /* of what is counted: */
    unsigned empty;  /* frames without content */
    size_t waste;    /* bytes that were no content */
    bool over;
};
/* A frame begins. 0, or NGHTTP2_ERR_CALLBACK_FAILURE: it is one too many (H2_EMPTY_FRAMES_MAX). */
int h2_flood_frame(struct h2_flood *flood, const nghttp2_frame_hd *hd);
/* So many bytes were no content (H2_WASTE_BYTES_MAX). */
void h2_flood_waste(struct h2_flood *flood, size_t bytes);

/* Writes `count` of the at most `max` fields; `flags` for those that are no pseudo-headers. They point into the headers. */
void h2_fields(nghttp2_nv *fields, size_t max, const struct h2_header *headers, size_t count, uint8_t flags);
/* The next bytes to send, valid until the next call. False: there are none now. */
bool h2_session_output(nghttp2_session *session, struct slice *out);

#endif
