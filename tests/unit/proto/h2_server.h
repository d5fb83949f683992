/* A server of HTTP/2 made of libnghttp2's own server role, for the tests of agent/proto/h2.c: answers one request with the given headers
 * and echoes its body. */
#ifndef WSHEALTHD_TESTS_H2_SERVER_H
#define WSHEALTHD_TESTS_H2_SERVER_H

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/buf.h"
#include "agent/base/mem.h"

struct h2_server {
    nghttp2_session *session;
    int32_t id;         /* of the request; 0: none yet */
    char request[4096]; /* its headers, "name: value\n" */
    const char *status; /* of the answer; NULL: none */
    struct buf echo;    /* to be sent back, from echo_at on */
    size_t echo_at, received;
    bool deferred, ends; /* ends: END_STREAM behind the echo */
    int closed;          /* the stream's error code, plus one */
};

static int h2_server_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                               const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct h2_server *server = user;
    size_t len = strlen(server->request);

    (void)session;
    (void)frame;
    (void)flags;
    snprintf(server->request + len, sizeof server->request - len, "%.*s: %.*s\n", (int)name_len, (const char *)name, (int)value_len,
             (const char *)value);
    return 0;
}

static ssize_t h2_server_read(nghttp2_session *session, int32_t id, uint8_t *out, size_t size, uint32_t *flags,
                              nghttp2_data_source *source, void *user)
{
    struct h2_server *server = user;
    size_t left = server->echo.len - server->echo_at, len = left < size ? left : size;

    (void)session;
    (void)id;
    (void)source;
    if (!len && server->ends) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        return 0;
    }
    if (!len) {
        server->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    memcpy(out, server->echo.data + server->echo_at, len);
    server->echo_at += len;
    return (ssize_t)len;
}

static int h2_server_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_server *server = user;
    nghttp2_nv status = { (uint8_t *)(uintptr_t)":status", (uint8_t *)(uintptr_t)server->status, 7, 3, NGHTTP2_NV_FLAG_NONE };
    nghttp2_data_provider body = { { .ptr = NULL }, h2_server_read };

    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    server->id = frame->hd.stream_id;
    if (server->status)
        nghttp2_submit_response(session, server->id, &status, 1, &body);
    return 0;
}

static void h2_server_wake(struct h2_server *server)
{
    if (server->deferred)
        nghttp2_session_resume_data(server->session, server->id);
    server->deferred = false;
}

static int h2_server_on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
    struct h2_server *server = user;

    (void)session;
    (void)flags;
    (void)id;
    server->received += len;
    buf_append(&server->echo, data, len);
    h2_server_wake(server);
    return 0;
}

static int h2_server_on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2_server *server = user;

    (void)session;
    (void)id;
    server->closed = (int)code + 1;
    return 0;
}

static void h2_server_init(struct h2_server *server, const char *status, bool connects, uint32_t window)
{
    const nghttp2_settings_entry settings[] = { { NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, connects },
                                                { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window } };
    nghttp2_session_callbacks *calls;

    *server = (struct h2_server){ .status = status, .echo = BUF_INIT(64 << 20) };
    nghttp2_session_callbacks_new(&calls);
    nghttp2_session_callbacks_set_on_header_callback(calls, h2_server_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, h2_server_on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, h2_server_on_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, h2_server_on_close);
    panic_if(nghttp2_session_server_new(&server->session, calls, server) != 0);
    nghttp2_session_callbacks_del(calls);
    nghttp2_submit_settings(server->session, NGHTTP2_FLAG_NONE, settings, 2);
}

static void h2_server_fini(struct h2_server *server)
{
    nghttp2_session_del(server->session);
    buf_fini(&server->echo);
}

#endif
