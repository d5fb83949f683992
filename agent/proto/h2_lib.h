/*
 * libnghttp2 by dlopen: it is opened when the first connection over HTTP/2 is, or the listener for gRPC, so that nobody else pays for it. Only the header is
 * needed to build. For agent/proto/h2.c and h2_serve.c alone.
 */
#ifndef WSHEALTHD_PROTO_H2_LIB_H
#define WSHEALTHD_PROTO_H2_LIB_H

#include <nghttp2/nghttp2.h>

#include "agent/base/err.h"

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

#endif
