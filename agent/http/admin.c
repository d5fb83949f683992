/*
 * The admin socket: the requests that change the agent, and the full view. Called by the agent. A table of paths on
 * agent/http/httpd.c. The permissions of the socket decide who may use it; they are set before anybody can connect.
 */
#include "agent/http/admin.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/http/drain_wait.h"
#include "agent/http/httpd.h"
#include "agent/http/serve.h"
#include "agent/report/report.h"

enum {
    ADMIN_MODE = 0660,
    ADMIN_CONNECTIONS = 128,
    ADMIN_WAITING = 96, /* for `drain --wait` */
    ADMIN_STREAMS = 16, /* for `status --watch`: less than are left for all other commands */
    ADMIN_PENDING_BYTES = 4 << 20,
    ADMIN_REQUEST_MS = 5000,
    ADMIN_IDLE_MS = 30000,
    ADMIN_HEAD_BYTES = 8 << 10,
    ADMIN_BODY_BYTES = 4 << 10,
    ADMIN_WIDTH_MAX = 1000,
    ADMIN_LINE_MAX = 1024,
};

static const char type_text[] = "text/plain; charset=utf-8";

static bool query_is(const struct httpd_request *request, const char *name, const char *value)
{
    char given[16];
    return httpd_query(request, name, given, sizeof given) && strcmp(given, value) == 0;
}

static unsigned query_width(const struct httpd_request *request)
{
    char given[16];
    int64_t width;
    if (!httpd_query(request, "width", given, sizeof given) || text_parse_int(given, &width) < 0 || width < 0)
        return 0;
    return width < ADMIN_WIDTH_MAX ? (unsigned)width : ADMIN_WIDTH_MAX;
}

static struct report_style style_of(const struct httpd_request *request)
{
    return (struct report_style){ .colour = query_is(request, "colour", "1"),
                                  .width = query_width(request),
                                  .ascii = query_is(request, "ascii", "1"),
                                  .one_line = query_is(request, "lines", "1"),
                                  .verdict_first = query_is(request, "first", "1") };
}

/* How the client's user calls this program, for the advice. */
static const char *query_program(const struct httpd_request *request, char out[ADMIN_PROGRAM_MAX])
{
    return httpd_query(request, "program", out, ADMIN_PROGRAM_MAX) && *out ? out : NULL;
}

static void refuse_check(const struct agent_view *view, const char *name, struct httpd_reply *reply)
{
    char shown[TEXT_EXCERPT_BYTES(64)];
    text_excerpt(slice_str(name), 64, shown, sizeof shown);
    reply->status = 404;
    reply->content_type = type_text;
    buf_printf(reply->body, "no check '%s', there are", shown);
    for (size_t i = 0; i < view->check_count; i++)
        buf_printf(reply->body, "%s %s", i ? "," : "", view->checks[i]->name);
    buf_append_char(reply->body, '\n');
}

static void answer_status(const struct admin_source *source, const struct httpd_request *request, struct httpd_reply *reply)
{
    const struct agent_view *view = source->view(source->user);
    char evidence[ADMIN_CHECK_MAX], given[1];
    bool asks = httpd_query(request, "evidence", evidence, sizeof evidence);
    const struct check_view *check = asks ? report_find_check(view, evidence) : NULL;
    reply->status = 200;
    if (asks && !check) {
        refuse_check(view, evidence, reply);
        return;
    }
    if (query_is(request, "format", "line")) {
        char line[ADMIN_LINE_MAX];
        reply->content_type = type_text;
        report_line(view, line, sizeof line);
        buf_printf(reply->body, "%s\n", line);
        return;
    }
    if (query_is(request, "format", "text")) {
        char program[ADMIN_PROGRAM_MAX];
        struct report_style style = style_of(request);
        style.program = query_program(request, program);
        if (check)
            report_evidence(check, &style, reply->body);
        else
            report_human(view, &style, reply->body);
        return;
    }
    reply->content_type = "application/json";
    const struct report_extra extra = { .full = true,
                                        .evidence = asks ? evidence : NULL,
                                        .at_ms = httpd_query(request, "at", given, sizeof given) ? clock_wall_ms() : 0 };
    report_status_json_with(view, &extra, reply->body);
}

static void answer_fleet(const struct admin_source *source, const struct httpd_request *request, struct httpd_reply *reply)
{
    const struct agent_view *view = source->view(source->user);

    reply->content_type = type_text;
    if (!view->fleet) {
        reply->status = 404;
        buf_append_str(reply->body, "no fleet is configured: `fleet: { broker: NAME, group: NAME }` joins one\n");
        return;
    }
    reply->status = 200;
    buf_printf(reply->headers, "X-Status: %s\r\n", result_name(report_fleet_result(view->fleet)));
    if (query_is(request, "format", "line")) {
        report_fleet_line(view->fleet, reply->body);
        return;
    }
    if (query_is(request, "format", "text")) {
        const struct report_style style = style_of(request);
        report_fleet_human(view, &style, reply->body);
        return;
    }
    reply->content_type = "application/json";
    report_fleet_json(view, true, reply->body);
}

static void answer_done(struct httpd_reply *reply, const char *what)
{
    reply->status = 200;
    reply->content_type = type_text;
    buf_append_str(reply->body, what);
}

static void answer_drain(const struct admin_source *source, const struct httpd_request *request, struct httpd_reply *reply)
{
    (void)request;
    source->drain(source->user, true);
    answer_done(reply, "draining\n");
}

static void answer_drain_state(const struct admin_source *source, const struct httpd_request *request, struct httpd_reply *reply)
{
    drain_answer_state(source->view(source->user), request, reply);
}

static void answer_resume(const struct admin_source *source, const struct httpd_request *request, struct httpd_reply *reply)
{
    (void)request;
    if (source->view(source->user)->leaving) {
        reply->status = 409;
        reply->content_type = type_text;
        buf_append_str(reply->body, "the agent has been told to end, and is draining until then\n");
        return;
    }
    source->drain(source->user, false);
    answer_done(reply, "resumed\n");
}

static void answer_reload(const struct admin_source *source, const struct httpd_request *request, struct httpd_reply *reply)
{
    (void)request;
    struct conf_errors errors;
    conf_errors_init(&errors);
    if (source->reload(source->user, &errors) == 0) {
        answer_done(reply, "reloaded\n");
    } else {
        reply->status = 422;
        buf_append_slice(reply->body, buf_slice(&errors.text));
    }
    conf_errors_fini(&errors);
}

static void answer_events(const struct admin_source *source, const struct httpd_request *request, struct httpd_reply *reply)
{
    if (source->events)
        events_begin(request, reply);
}

static struct shared *next_event(void *user, struct httpd_reader *reader)
{
    return events_next(((struct admin_source *)user)->events, EVENTS_FULL, reader);
}

static const struct route {
    const char *path, *method;
    void (*answer)(const struct admin_source *source, const struct httpd_request *request, struct httpd_reply *reply);
} routes[] = {
    { "/status", "GET", answer_status },  { "/drain", "POST", answer_drain },   { "/drain", "GET", answer_drain_state },
    { "/resume", "POST", answer_resume }, { "/reload", "POST", answer_reload }, { "/events", "GET", answer_events },
    { "/fleet", "GET", answer_fleet },
};

static bool method_fits(const struct route *route, const struct httpd_request *request)
{
    bool reads = strcmp(route->method, "GET") == 0;
    return slice_equal_str(request->method, route->method) || (reads && slice_equal_str(request->method, "HEAD"));
}

static void refuse_method(struct slice path, struct httpd_reply *reply)
{
    const char *before = "Allow: ";
    reply->status = 405;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (slice_equal_str(path, routes[i].path)) {
            buf_printf(reply->headers, "%s%s", before, strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : routes[i].method);
            before = ", ";
        }
    buf_append_str(reply->headers, "\r\n");
}

static void handle(void *user, const struct httpd_request *request, struct httpd_reply *reply)
{
    const struct admin_source *source = user;
    bool known = false;
    if (serve_question(source->view(source->user), true, request, reply))
        return;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!slice_equal_str(request->path, routes[i].path))
            continue;
        if (method_fits(&routes[i], request)) {
            routes[i].answer(source, request, reply);
            return;
        }
        known = true;
    }
    if (known)
        refuse_method(request->path, reply);
}

struct httpd *admin_open(struct loop *loop, const struct listen_address *address, const struct admin_source *source,
                         struct err *err)
{
    struct admin_source *kept = mem_alloc(sizeof *kept);
    *kept = *source;
    const struct httpd_options options = {
        .max_connections = ADMIN_CONNECTIONS,
        .max_waiting = ADMIN_WAITING,
        .max_streams = ADMIN_STREAMS,
        .next = next_event,
        .max_pending_bytes = ADMIN_PENDING_BYTES,
        .request_timeout_ms = ADMIN_REQUEST_MS,
        .idle_timeout_ms = ADMIN_IDLE_MS,
        .max_head_bytes = ADMIN_HEAD_BYTES,
        .max_body_bytes = ADMIN_BODY_BYTES,
        .handle = handle,
        .fini = mem_free,
        .user = kept,
    };
    const struct listen_options listen = { .fd = -1, .unix_mode = ADMIN_MODE };
    struct httpd *httpd = httpd_open(loop, address, &listen, &options, err);
    if (!httpd)
        mem_free(kept);
    return httpd;
}
