/*
 * The demo's server until the upgrade: listening, requests, and the faults in them. Called by agent/demo/demo.c.
 * agent/demo/demo_conn.c takes over after the upgrade. Everything runs on the caller's loop.
 */
#include "agent/demo/demo_server.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/demo/demo_conn.h"
#include "agent/net/listen.h"
#include "agent/proto/upgrade.h"

enum {
    CONNECTIONS_MAX = 256,
    HEAD_BYTES_MAX = 16384,
    REQUEST_MS = 10000,
    RELISTEN_MS = 300,
    RESPONSE_MAX = 4096,
};

struct demo_server {
    struct loop *loop;
    struct listener *listener; /* NULL while refusing */
    struct timer relisten;
    uint16_t port;
    demo_fault_set faults;
    struct list conns;
    unsigned count;
};

/* --- the upgrade ---------------------------------------------------------------------------------------------------------- */

static void respond(struct demo_conn *conn, const char *status, const char *headers, const char *type, const char *body)
{
    struct buf out = BUF_INIT(RESPONSE_MAX);
    buf_printf(&out, "HTTP/1.1 %s\r\n%sContent-Type: %s; charset=utf-8\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
               status, headers, type, strlen(body), body);
    if (demo_conn_send(conn, buf_slice(&out)))
        demo_conn_leave(conn);
    buf_fini(&out);
}

static void respond_refusal(struct demo_conn *conn, const struct err *err)
{
    const char *status = err->code == 405   ? "405 Method Not Allowed"
                         : err->code == 426 ? "426 Upgrade Required"
                         : err->code == 431 ? "431 Request Header Fields Too Large"
                                            : "400 Bad Request";
    const char *headers = err->code == 405   ? "Allow: GET\r\n"
                          : err->code == 426 ? "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                             : "";
    char body[ERR_TEXT_MAX + 8];
    snprintf(body, sizeof body, "%s\n", err->text);
    respond(conn, status, headers, "text/plain", body);
}

/* True when a fault has answered in place of the server. */
static bool refuse_by_fault(struct demo_conn *conn)
{
    if (demo_conn_has(conn, DEMO_REJECT_UPGRADE))
        respond(conn, "503 Service Unavailable", "Retry-After: 1\r\n", "text/plain", "The demo was told to turn you away.\n");
    else if (demo_conn_has(conn, DEMO_UNAUTHORIZED))
        respond(conn, "401 Unauthorized", "WWW-Authenticate: Bearer\r\n", "text/plain", "The demo was told not to know you.\n");
    else if (demo_conn_has(conn, DEMO_REDIRECT))
        respond(conn, "302 Found", "Location: http://127.0.0.1/login\r\n", "text/plain", "Elsewhere.\n");
    else if (demo_conn_has(conn, DEMO_PLAIN_HTTP))
        respond(conn, "200 OK", "", "text/html",
                "<!doctype html><title>Demo</title><p>A web page where a WebSocket should be.</p>\n");
    else
        return false;
    return true;
}

static void write_switch(const struct demo_conn *conn, struct buf *out, char *accept, struct upgrade_agreed *agreed,
                         const char *extensions)
{
    if (demo_conn_has(conn, DEMO_BAD_ACCEPT))
        accept[0] = accept[0] == 'A' ? 'B' : 'A';
    if (demo_conn_has(conn, DEMO_BAD_EXTENSION)) {
        agreed->deflate.on = true; /* makes the header appear; the client refuses it, so nothing is ever compressed */
        extensions = "x-demo-compress";
    }
    if (demo_conn_has(conn, DEMO_BAD_UPGRADE))
        buf_printf(out, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
    else
        panic_if(upgrade_write_response(out, accept, agreed, extensions) < 0);
}

static void answer_request(struct demo_conn *conn, struct slice rest)
{
    const struct http_head *head = http_reader_head(conn->http);
    char accept[WS_ACCEPT_LEN + 1], extensions[DEFLATE_ANSWER_MAX];
    struct buf out = BUF_INIT(RESPONSE_MAX);
    struct upgrade_agreed agreed;
    struct err err;

    if (refuse_by_fault(conn))
        return;
    if (upgrade_validate_request(head, true, accept, &agreed, extensions, sizeof extensions, &err) < 0) {
        respond_refusal(conn, &err);
        return;
    }
    conn->pushes = slice_find(head->target, slice_str("push")) >= 0;
    write_switch(conn, &out, accept, &agreed, extensions);
    http_reader_free(conn->http);
    conn->http = NULL;
    if (demo_conn_send(conn, buf_slice(&out)) && demo_conn_upgraded(conn, &agreed.deflate))
        demo_conn_data(conn, rest);
    buf_fini(&out);
}

static void on_data(void *user, struct slice data)
{
    struct demo_conn *conn = user;
    struct err err;

    if (conn->upgraded) {
        demo_conn_data(conn, data);
        return;
    }
    if (demo_conn_has(conn, DEMO_HANG))
        conn->deaf = true;
    if (conn->deaf)
        return;
    switch (http_reader_feed(conn->http, &data, &err)) {
    case HTTP_MORE:
        break;
    case HTTP_HEAD:
    case HTTP_DONE:
        answer_request(conn, data);
        break;
    case HTTP_BAD:
        err.code = 400;
        respond_refusal(conn, &err);
        break;
    case HTTP_TOO_LARGE:
        err.code = 431;
        respond_refusal(conn, &err);
        break;
    }
}

static void on_end(void *user, const struct err *err)
{
    (void)err;
    demo_conn_drop(user);
}

static const struct stream_events conn_events = { .on_data = on_data, .on_end = on_end };

/* --- the server ------------------------------------------------------------------------------------------------------------ */

static void on_deadline(struct timer *timer, void *user)
{
    (void)timer;
    demo_conn_drop(user);
}

static void on_accept(void *user, struct stream *stream)
{
    struct demo_server *server = user;
    struct demo_conn *conn;

    if (server->faults & DEMO_FAULT_BIT(DEMO_RESET)) {
        stream_abort(stream);
        return;
    }
    if (server->count >= CONNECTIONS_MAX) {
        stream_close_now(stream);
        return;
    }
    conn = mem_alloc(sizeof *conn);
    conn->faults = &server->faults;
    conn->count = &server->count;
    conn->stream = stream;
    conn->http = http_reader_new(HTTP_KIND_REQUEST, &(struct http_limits){ .max_head_bytes = HEAD_BYTES_MAX });
    timer_init(&conn->deadline, server->loop, on_deadline, conn);
    timer_init(&conn->chat, server->loop, NULL, NULL);
    timer_init(&conn->delay, server->loop, NULL, NULL);
    timer_start(&conn->deadline, REQUEST_MS);
    list_init(&conn->node);
    list_push(&server->conns, &conn->node);
    server->count++;
    stream_start(stream, &conn_events, conn);
}

static int listen_again(struct demo_server *server, struct err *err)
{
    const struct listen_address address = { .host = "127.0.0.1", .port = server->port };
    const struct listen_options options = { .fd = -1 };
    server->listener = listener_open(server->loop, &address, &options, on_accept, server, err);
    return server->listener ? 0 : -1;
}

/* Tries again: another process may have taken the port while the demo refused connections. */
static void on_relisten(struct timer *timer, void *user)
{
    struct demo_server *server = user;
    struct err err;
    if (listen_again(server, &err) < 0)
        timer_start(timer, RELISTEN_MS);
}

struct demo_server *demo_server_open(struct loop *loop, uint16_t port, struct err *err)
{
    struct demo_server *server = mem_alloc(sizeof *server);
    server->loop = loop;
    server->port = port;
    list_init(&server->conns);
    timer_init(&server->relisten, loop, on_relisten, server);
    if (listen_again(server, err) < 0) {
        mem_free(server);
        return NULL;
    }
    server->port = listener_port(server->listener);
    return server;
}

void demo_server_close(struct demo_server *server)
{
    timer_stop(&server->relisten);
    if (server->listener)
        listener_close(server->listener);
    list_each_safe (node, &server->conns)
        demo_conn_drop(list_entry(node, struct demo_conn, node));
    mem_free(server);
}

uint16_t demo_server_port(const struct demo_server *server)
{
    return server->port;
}

void demo_server_say(struct demo_server *server, struct slice body)
{
    list_each_safe (node, &server->conns)
        demo_conn_say(list_entry(node, struct demo_conn, node), body);
}

demo_fault_set demo_server_faults(const struct demo_server *server)
{
    return server->faults;
}

void demo_server_set_faults(struct demo_server *server, demo_fault_set faults)
{
    bool refuse = faults & DEMO_FAULT_BIT(DEMO_REFUSE);

    server->faults = faults;
    if (refuse && server->listener) {
        listener_close(server->listener);
        server->listener = NULL;
    }
    if (refuse)
        timer_stop(&server->relisten);
    else if (!server->listener)
        timer_start(&server->relisten, 0);
    list_each_safe (node, &server->conns)
        demo_conn_apply(list_entry(node, struct demo_conn, node));
}
