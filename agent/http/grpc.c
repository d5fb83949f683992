/* See agent/http/grpc.h. Owns the listener, its connections, and what each watcher was told last. */
#include "agent/http/grpc.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/proto/grpc.h"
#include "agent/proto/h2_serve.h"

enum {
    PENDING_MAX = 64 << 10,
    SOCKET_BYTES = 16 << 10,
    READ_BYTES = 8 << 10 /* in a turn: some dozen calls */,
    NAME_MAX_BYTES = 200,
    TOLD_NOTHING = -1,
    SHORT_MS = 100
};

struct grpc {
    struct loop *loop;
    struct listener *listener;
    struct grpc_source source;
    struct list connections; /* quiet longest first */
    size_t count;
    struct timer room; /* one gives way, not from inside the listener's call */
};

struct connection {
    struct list node;
    struct grpc *grpc;
    struct stream *stream;
    struct h2_serve *h2;
    struct timer timer;
    bool asked;  /* a whole request has come */
    bool pinged; /* and no answer yet */
};

/* What a Watch call was told: in h2_call.user. */
struct watcher {
    int told; /* enum grpc_health, or TOLD_NOTHING */
    char service[NAME_MAX_BYTES + 1];
};

/* --- answers ---------------------------------------------------------------------------------------------------------------- */

static enum grpc_health health_of(bool well)
{
    return well ? GRPC_SERVING : GRPC_NOT_SERVING;
}

static enum grpc_health check_health(const struct check_view *check)
{
    switch (check->health.state) {
    case STATE_UNKNOWN:
        return GRPC_UNKNOWN;
    case STATE_FAIL:
        return GRPC_NOT_SERVING;
    default:
        return GRPC_SERVING;
    }
}

/* The services of the verdict go before checks of the same name. */
static const char *const verdict_services[] = { "", "ready", "live", "startup" };
enum { VERDICT_SERVICES = sizeof verdict_services / sizeof *verdict_services };

static enum grpc_health verdict_health(const struct verdict *verdict, size_t i)
{
    return health_of(i < 2 ? verdict->ready : i == 2 ? verdict->live : verdict->started);
}

static bool is_verdict_service(const char *name)
{
    for (size_t i = 0; i < VERDICT_SERVICES; i++)
        if (strcmp(name, verdict_services[i]) == 0)
            return true;
    return false;
}

static enum grpc_health service_health(const struct agent_view *view, struct slice name)
{
    for (size_t i = 0; i < VERDICT_SERVICES; i++)
        if (slice_equal_str(name, verdict_services[i]))
            return verdict_health(&view->verdict, i);
    for (size_t i = 0; i < view->check_count; i++)
        if (slice_equal_str(name, view->checks[i]->name))
            return check_health(view->checks[i]);
    return GRPC_SERVICE_UNKNOWN;
}

#define GRPC_HEAD { ":status", "200" }, { "content-type", "application/grpc" }
static const struct h2_header head[] = { GRPC_HEAD };
static const struct h2_header well[] = { { "grpc-status", "0" } };

static void refuse(struct h2_call *call, enum grpc_status status)
{
    static const struct {
        enum grpc_status status;
        struct h2_header fields[4];
    } rows[] = {
        { GRPC_INVALID_ARGUMENT,
          { GRPC_HEAD, { "grpc-status", "3" }, { "grpc-message", "the request is no HealthCheckRequest" } } },
        { GRPC_NOT_FOUND,
          { GRPC_HEAD,
            { "grpc-status", "5" },
            { "grpc-message", "unknown service: want \"\", ready, live, startup or the name of a check" } } },
        { GRPC_RESOURCE_EXHAUSTED,
          { GRPC_HEAD, { "grpc-status", "8" }, { "grpc-message", "the request is too large, or too many answers are not read" } } },
        { GRPC_UNIMPLEMENTED,
          { GRPC_HEAD,
            { "grpc-status", "12" },
            { "grpc-message", "want Check, List or Watch of grpc.health.v1.Health, not compressed" } } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].status == status)
            h2_call_refuse(call, rows[i].fields, sizeof rows[i].fields / sizeof *rows[i].fields);
}

static void answer(struct h2_call *call, struct buf *message)
{
    h2_call_respond(call, head, sizeof head / sizeof *head);
    h2_call_write(call, buf_slice(message));
}

static void answer_check(const struct agent_view *view, struct h2_call *call, struct slice service)
{
    struct buf message = BUF_INIT(64);
    enum grpc_health health = service_health(view, service);

    if (health == GRPC_SERVICE_UNKNOWN) {
        refuse(call, GRPC_NOT_FOUND);
        return;
    }
    grpc_put_health(&message, health);
    answer(call, &message);
    h2_call_finish(call, well, 1);
    buf_fini(&message);
}

static void answer_list(const struct agent_view *view, struct h2_call *call, struct slice service)
{
    struct buf message = BUF_INIT(256 << 10);
    size_t at, unread = 0;

    (void)service;
    list_each (node, h2_serve_calls(call->h2))
        unread += h2_call_pending(list_entry(node, struct h2_call, node));
    if (unread > PENDING_MAX) {
        refuse(call, GRPC_RESOURCE_EXHAUSTED);
        return;
    }
    at = grpc_list_begin(&message);
    for (size_t i = 0; i < VERDICT_SERVICES; i++)
        grpc_list_put(&message, verdict_services[i], verdict_health(&view->verdict, i));
    for (size_t i = 0; i < view->check_count; i++)
        if (!is_verdict_service(view->checks[i]->name))
            grpc_list_put(&message, view->checks[i]->name, check_health(view->checks[i]));
    grpc_list_end(&message, at);
    answer(call, &message);
    h2_call_finish(call, well, 1);
    buf_fini(&message);
}

/* Tells a watcher what is new. One that has not read what it was told last is told the newest state when it has. */
static void tell(const struct agent_view *view, struct h2_call *call)
{
    struct watcher *watcher = call->user;
    enum grpc_health health;
    struct buf message = BUF_INIT(64);

    if (!watcher || h2_call_pending(call))
        return;
    health = service_health(view, slice_str(watcher->service));
    if ((int)health == watcher->told)
        return;
    watcher->told = (int)health;
    grpc_put_health(&message, health);
    h2_call_write(call, buf_slice(&message));
    buf_fini(&message);
}

static void answer_watch(const struct agent_view *view, struct h2_call *call, struct slice service)
{
    if (service.len > NAME_MAX_BYTES) {
        refuse(call, GRPC_RESOURCE_EXHAUSTED);
        return;
    }
    struct watcher *watcher = mem_alloc(sizeof *watcher);
    watcher->told = TOLD_NOTHING;
    snprintf(watcher->service, sizeof watcher->service, "%.*s", (int)service.len, (const char *)service.data);
    call->user = watcher;
    h2_call_respond(call, head, sizeof head / sizeof *head);
    tell(view, call);
}

static const struct {
    const char *path;
    void (*answer)(const struct agent_view *view, struct h2_call *call, struct slice service);
} methods[] = {
    { "/grpc.health.v1.Health/Check", answer_check },
    { "/grpc.health.v1.Health/List", answer_list },
    { "/grpc.health.v1.Health/Watch", answer_watch },
};

static void on_call(void *user, struct h2_call *call)
{
    static const struct h2_header not_grpc[] = { { ":status", "415" }, { "content-type", "text/plain" } };
    static const struct h2_header not_post[] = { { ":status", "405" }, { "allow", "POST" } };
    struct connection *connection = user;
    const struct grpc_source *source = &connection->grpc->source;
    struct slice service;

    connection->asked = true;
    if (strcmp(call->method, "POST") != 0) {
        h2_call_refuse(call, not_post, 2);
        return;
    }
    if (strncmp(call->content_type, "application/grpc", strlen("application/grpc")) != 0) {
        h2_call_refuse(call, not_grpc, 2);
        return;
    }
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(call->path, methods[i].path) != 0)
            continue;
        enum grpc_status status = call->too_large ? GRPC_RESOURCE_EXHAUSTED : grpc_read_request(buf_slice(&call->body), &service);
        if (status == GRPC_OK)
            methods[i].answer(source->view(source->user), call, service);
        else
            refuse(call, status);
        return;
    }
    refuse(call, GRPC_UNIMPLEMENTED);
}

static void on_over(void *user, struct h2_call *call)
{
    (void)user;
    mem_free(call->user);
}

static void on_pong(void *user)
{
    struct connection *connection = user;

    connection->pinged = false;
}

static const struct h2_serve_events h2_events = { on_call, on_over, on_pong };

/* --- a connection ----------------------------------------------------------------------------------------------------------- */

static void connection_free(struct connection *connection)
{
    struct grpc *grpc = connection->grpc;

    list_each (node, h2_serve_calls(connection->h2))
        mem_free(list_entry(node, struct h2_call, node)->user);
    h2_serve_free(connection->h2);
    timer_stop(&connection->timer);
    list_remove(&connection->node);
    mem_free(connection);
    if (grpc->listener && grpc->count-- >= GRPC_CONNECTIONS_MAX)
        listener_resume(grpc->listener);
}

static void drop(struct connection *connection)
{
    stream_abort(connection->stream);
    connection_free(connection);
}

static void leave(struct connection *connection)
{
    struct slice out;

    h2_serve_end(connection->h2);
    while (h2_serve_output(connection->h2, &out) && stream_write(connection->stream, out) == 0)
        ;
    stream_close(connection->stream, loop_linger_ms(connection->grpc->loop));
    connection_free(connection);
}

/* A call whose request is not whole, or whose answer is not read, keeps no connection open. */
static bool watches(const struct connection *connection)
{
    list_each (node, h2_serve_calls(connection->h2))
        if (list_entry(node, struct h2_call, node)->user)
            return true;
    return false;
}

static void tell_all(struct connection *connection)
{
    const struct grpc_source *source = &connection->grpc->source;
    const struct agent_view *view = source->view(source->user);

    list_each (node, h2_serve_calls(connection->h2))
        tell(view, list_entry(node, struct h2_call, node));
}

/* Sends what there is as long as the client reads. False: the connection is gone. */
static bool flush(struct connection *connection)
{
    struct slice out;

    tell_all(connection);
    while (stream_pending(connection->stream) == 0 && h2_serve_output(connection->h2, &out)) {
        if (stream_write(connection->stream, out) < 0) {
            drop(connection);
            return false;
        }
        tell_all(connection);
    }
    if (!h2_serve_is_over(connection->h2))
        return true;
    stream_close(connection->stream, loop_linger_ms(connection->grpc->loop));
    connection_free(connection);
    return false;
}

static void rest(struct connection *connection)
{
    timer_start(&connection->timer, connection->asked ? GRPC_IDLE_MS : GRPC_REQUEST_MS);
}

static void on_data(void *user, struct slice data)
{
    struct connection *connection = user;
    struct err err;

    if (h2_serve_feed(connection->h2, data, &err) < 0) {
        drop(connection);
        return;
    }
    if (!flush(connection))
        return;
    list_remove(&connection->node);
    list_push(&connection->grpc->connections, &connection->node);
    if (connection->asked) /* what is no whole request does not put the deadline off */
        rest(connection);
}

static void on_end(void *user, const struct err *err)
{
    struct connection *connection = user;

    (void)err;
    stream_close(connection->stream, loop_linger_ms(connection->grpc->loop));
    connection_free(connection);
}

static void on_drain(void *user)
{
    flush(user);
}

static void on_quiet(struct timer *timer, void *user)
{
    struct connection *connection = user;

    (void)timer;
    if (!connection->asked || connection->pinged || stream_pending(connection->stream)) {
        drop(connection);
        return;
    }
    if (!watches(connection)) {
        leave(connection);
        return;
    }
    connection->pinged = true;
    h2_serve_ping(connection->h2);
    timer_start(&connection->timer, GRPC_PONG_MS);
    flush(connection);
}

static const struct stream_events stream_events = { on_data, on_end, on_drain };

/* --- the listener ------------------------------------------------------------------------------------------------------------- */

static void on_accept(void *user, struct stream *stream)
{
    struct grpc *grpc = user;
    struct connection *connection = mem_alloc(sizeof *connection);
    struct err err;

    connection->grpc = grpc;
    connection->stream = stream;
    connection->h2 = h2_serve_new(&h2_events, connection, &err);
    if (!connection->h2) { /* grpc_open has opened the library */
        mem_free(connection);
        stream_abort(stream);
        return;
    }
    grpc->count++;
    list_push(&grpc->connections, &connection->node);
    timer_init(&connection->timer, grpc->loop, on_quiet, connection);
    stream_set_max_pending(stream, PENDING_MAX);
    stream_set_read_max(stream, READ_BYTES);
    stream_start(stream, &stream_events, connection);
    rest(connection);
    flush(connection);
}

static bool has_room(void *user)
{
    const struct grpc *grpc = user;

    return grpc->count < GRPC_CONNECTIONS_MAX;
}

/* There are too many, or the process is out of descriptors, which others hold: accepting is the only way to learn that one is free again. */
static void on_full(void *user)
{
    struct grpc *grpc = user;

    timer_start(&grpc->room, has_room(grpc) ? SHORT_MS : 0);
}

static void make_room(struct timer *timer, void *user)
{
    struct grpc *grpc = user;
    struct connection *quiet = NULL;

    (void)timer;
    if (has_room(grpc)) {
        listener_resume(grpc->listener);
        return;
    }
    list_each (node, &grpc->connections) {
        struct connection *connection = list_entry(node, struct connection, node);
        if (!quiet || (watches(quiet) && !watches(connection)))
            quiet = connection;
    }
    if (quiet)
        leave(quiet);
}

struct grpc *grpc_open(struct loop *loop, const struct listen_address *address, int fd, const struct grpc_source *source,
                       struct err *err)
{
    const struct listen_options options = {
        .fd = fd, .receive_bytes = SOCKET_BYTES, .unsent_bytes = SOCKET_BYTES, .has_room = has_room, .on_full = on_full
    };

    if (h2_available(err) < 0)
        return NULL;
    struct grpc *grpc = mem_alloc(sizeof *grpc);
    grpc->loop = loop;
    grpc->source = *source;
    list_init(&grpc->connections);
    timer_init(&grpc->room, loop, make_room, grpc);
    grpc->listener = listener_open(loop, address, &options, on_accept, grpc, err);
    if (grpc->listener)
        return grpc;
    mem_free(grpc);
    return NULL;
}

void grpc_close(struct grpc *grpc)
{
    timer_stop(&grpc->room);
    listener_close(grpc->listener);
    grpc->listener = NULL;
    list_each_safe (node, &grpc->connections)
        leave(list_entry(node, struct connection, node));
    mem_free(grpc);
}

void grpc_wake(struct grpc *grpc)
{
    list_each_safe (node, &grpc->connections)
        flush(list_entry(node, struct connection, node));
}

bool grpc_lost(const struct grpc *grpc)
{
    return listener_lost(grpc->listener);
}

uint16_t grpc_port(const struct grpc *grpc)
{
    return listener_port(grpc->listener);
}
