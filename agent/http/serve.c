/*
 * The health listener: one table of paths, answered from the agent's view. Called by the agent, which owns the view, and by
 * agent/http/admin.c for /ready, /live and /startup. Promises that no answer waits for anything or changes anything.
 */
#include "agent/http/serve.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/core/event.h"
#include "agent/http/drain_wait.h"
#include "agent/http/httpd.h"
#include "agent/http/page.h"
#include "agent/report/metric.h"
#include "agent/report/report.h"

static const char type_health[] = "application/health+json";
static const char type_html[] = "text/html; charset=utf-8";
static const char type_json[] = "application/json";
static const char type_text[] = "text/plain; charset=utf-8";
static const char type_prometheus[] = "text/plain; version=0.0.4; charset=utf-8";
static const char type_openmetrics[] = "application/openmetrics-text; version=1.0.0; charset=utf-8";

enum {
    SERVE_CONNECTIONS = 512,
    SERVE_WAITING = 256, /* for /prestop: half of them, so that the other half answers everybody else */
    SERVE_STREAMS = 128, /* readers of /events: with those that wait, three quarters of all connections */
    SERVE_PENDING_BYTES = 4 << 20,
    SERVE_REQUEST_MS = 5000,
    SERVE_IDLE_MS = 120000, /* longer than the usual scrape interval, so that scrapers keep their connection */
    SERVE_HEAD_BYTES = 8 << 10,
    SERVE_BODY_BYTES = 4 << 10,
    EVIDENCE_NAME_MAX = 256,
    TEXT_KEPT_NS = NS_PER_S, /* how long a text is given to further clients */
    TEXT_SHARE = 100, /* when the view has changed, the text is made anew, but that may use one hundredth of the time at most */
    OWN_SHARE = 20,   /* texts that each client asks for in a form of its own may use one twentieth of the time, all together */
    OWN_WAIT_MS = 5000,
};

/* The long answers are kept for a moment and given to all clients that ask meanwhile: with 200 checks one costs milliseconds. */
enum text {
    TEXT_METRICS,
    TEXT_OPENMETRICS,
    TEXT_STATUS,
    TEXT_STATUS_FULL,
    TEXT_HISTORY,
    TEXT_HISTORY_FULL,
    TEXT_HEALTH,
    TEXT_HEALTH_FULL,
    TEXT_FLEET,
    TEXT_FLEET_FULL,
    TEXT_PAGE,
    TEXT_PAGE_FULL,
    TEXT_PAGE_PUBLIC,
    TEXT_COUNT
};
struct kept_text {
    struct shared *shared; /* NULL: none */
    uint64_t generation;   /* of the view that it was made from */
    uint64_t made_ns, cost_ns;
};
struct serve_listener {
    struct serve_source source;
    struct kept_text texts[TEXT_COUNT];
    uint64_t own_ns; /* when a text of somebody's own may be made again */
};

/* One request on its way to its route. */
struct question {
    const struct agent_view *view;
    bool full;        /* may the client see addresses and texts? */
    bool public_page; /* page.public */
    const struct httpd_request *request;
    struct kept_text *texts; /* NULL: none are kept */
    uint64_t *own_ns;        /* NULL: such texts are always made */
};

/* --- what the client wants ------------------------------------------------------------------------------------------- */

static struct slice cut_at(struct slice *rest, char mark)
{
    const uint8_t *at = rest->len ? memchr(rest->data, mark, rest->len) : NULL;
    size_t len = at ? (size_t)(at - rest->data) : rest->len;
    struct slice part = slice_trim(slice_make(rest->data, len));
    *rest = slice_skip(*rest, at ? len + 1 : len);
    return part;
}

/* Is this element of an Accept list the media type, in the wanted version if it names one? Its weight (q) is ignored: a client that
 * lists a type understands it. */
static bool element_accepts(struct slice element, const char *type, const char *version)
{
    if (!slice_equal_nocase(cut_at(&element, ';'), type))
        return false;
    while (element.len) {
        struct slice parameter = cut_at(&element, ';');
        struct slice name = cut_at(&parameter, '=');
        if (version && slice_equal_nocase(name, "version") && !slice_equal_str(slice_trim(parameter), version))
            return false;
    }
    return true;
}

static bool accepts(const struct question *question, const char *type, const char *version)
{
    const struct slice *value;
    for (size_t nth = 0; (value = http_header_nth(question->request->head, "Accept", nth)); nth++)
        for (struct slice rest = *value; rest.len;)
            if (element_accepts(cut_at(&rest, ','), type, version))
                return true;
    return false;
}

static bool query_is(const struct question *question, const char *name, const char *value)
{
    char given[16];
    return httpd_query(question->request, name, given, sizeof given) && strcmp(given, value) == 0;
}

static bool query_has(const struct question *question, const char *name)
{
    char given[1];
    return httpd_query(question->request, name, given, sizeof given);
}

/* --- routes ------------------------------------------------------------------------------------------------------------ */

/* The status of /ready and /health, with the headers for Envoy and the statuses that ?drain= and ?warn= ask for. */
static void judge_ready(const struct question *question, struct httpd_reply *reply)
{
    const struct verdict *verdict = &question->view->verdict;
    reply->status = verdict->ready && !verdict->draining ? 200 : 503;
    if (report_is_full(question->view) && query_is(question, "drain", "404"))
        reply->status = 404; /* HAProxy's disable-on-404: no new clients, and nobody is cut */
    if (verdict->draining) {
        buf_append_str(reply->headers, "x-envoy-immediate-health-check-fail: true\r\n");
        if (query_is(question, "drain", "404"))
            reply->status = 404;
    } else if (verdict->ready && verdict->degraded) {
        buf_append_str(reply->headers, "x-envoy-degraded: true\r\n");
        if (query_is(question, "warn", "429"))
            reply->status = 429;
    }
}

static void answer_plain(const struct question *question, enum report_question about, struct httpd_reply *reply)
{
    reply->content_type = type_text;
    report_plain(question->view, about, query_has(question, "verbose"), question->full, reply->body);
}

static void answer_live(const struct question *question, struct httpd_reply *reply)
{
    reply->status = question->view->verdict.live ? 200 : 503;
    answer_plain(question, REPORT_LIVE, reply);
}

static void answer_startup(const struct question *question, struct httpd_reply *reply)
{
    reply->status = question->view->verdict.started ? 200 : 503;
    answer_plain(question, REPORT_STARTUP, reply);
}

/* 200 as long as the event loop runs. */
static void answer_healthz(const struct question *question, struct httpd_reply *reply)
{
    (void)question;
    reply->status = 200;
    reply->content_type = type_text;
    buf_append_str(reply->body, "ok\n");
}

static void make_page(const struct question *question, enum text text, struct buf *out)
{
    const struct page_look look = { .full = text == TEXT_PAGE_FULL,
                                    .public_view = text == TEXT_PAGE_PUBLIC,
                                    .now_ms = clock_wall_ms() };
    page_write(question->view, &look, out);
}

static void make_text(const struct question *question, enum text text, struct buf *out)
{
    if (text >= TEXT_PAGE) {
        make_page(question, text, out);
        return;
    }
    if (text == TEXT_STATUS || text == TEXT_STATUS_FULL)
        report_status_json(question->view, text == TEXT_STATUS_FULL, out);
    else if (text == TEXT_HISTORY || text == TEXT_HISTORY_FULL)
        report_history_json(question->view,
                            &(struct report_history_ask){ .full = text == TEXT_HISTORY_FULL, .now_ms = clock_wall_ms() }, out);
    else if (text == TEXT_HEALTH || text == TEXT_HEALTH_FULL)
        report_health_json(question->view, text == TEXT_HEALTH_FULL, out);
    else if (text == TEXT_FLEET || text == TEXT_FLEET_FULL)
        report_fleet_json(question->view, text == TEXT_FLEET_FULL, out);
    else
        metric_write(question->view, text == TEXT_OPENMETRICS, out);
}

/* What stands beside a status of its own, /health, is never older than that. */
static bool is_fresh(const struct kept_text *kept, const struct agent_view *view, bool strict, uint64_t now_ns)
{
    uint64_t age_ns = now_ns - kept->made_ns;
    if (!kept->shared || age_ns >= TEXT_KEPT_NS)
        return false;
    return kept->generation == view->generation || (!strict && age_ns < kept->cost_ns * TEXT_SHARE);
}

/* Nobody is given it any more, and of a large fleet it takes hundreds of KiB. */
static void forget_old(struct kept_text *texts)
{
    uint64_t now_ns = clock_now_ns();

    for (size_t i = 0; i < TEXT_COUNT; i++)
        if (now_ns - texts[i].made_ns >= TEXT_KEPT_NS) {
            shared_unref(texts[i].shared);
            texts[i].shared = NULL;
        }
}

static void answer_text(const struct question *question, enum text text, struct httpd_reply *reply)
{
    struct kept_text *kept = question->texts ? &question->texts[text] : NULL;
    uint64_t now_ns = clock_now_ns();
    bool strict = text == TEXT_HEALTH || text == TEXT_HEALTH_FULL;
    if (!strict)
        reply->status = 200;
    if (!kept) {
        make_text(question, text, reply->body);
        return;
    }
    if (!is_fresh(kept, question->view, strict, now_ns)) {
        make_text(question, text, reply->body);
        shared_unref(kept->shared);
        *kept = (struct kept_text){ shared_take(reply->body), question->view->generation, now_ns, clock_now_ns() - now_ns };
    }
    reply->shared = shared_ref(kept->shared);
}

static void answer_health(const struct question *question, struct httpd_reply *reply)
{
    judge_ready(question, reply);
    reply->content_type = type_health;
    answer_text(question, question->full ? TEXT_HEALTH_FULL : TEXT_HEALTH, reply);
}

static void answer_ready(const struct question *question, struct httpd_reply *reply)
{
    if (query_is(question, "format", "json") || accepts(question, type_health, NULL)) {
        answer_health(question, reply);
        return;
    }
    judge_ready(question, reply);
    answer_plain(question, REPORT_READY, reply);
}

/* A text that nobody shares, and that takes long to make: it waits until there is time for it, so that /ready does not. False: not yet. */
static bool begin_own(const struct question *question, struct httpd_reply *reply)
{
    uint64_t now_ns = clock_now_ns();
    if (!question->own_ns || now_ns >= *question->own_ns)
        return true;
    if (question->request->waited_ms < OWN_WAIT_MS) {
        reply->passing = true;
        reply->wait_ms = (uint32_t)((*question->own_ns - now_ns) / NS_PER_MS) + 1;
        return false;
    }
    reply->status = 503;
    reply->content_type = type_text;
    buf_append_str(reply->headers, "Retry-After: 5\r\n");
    buf_append_str(reply->body, "too many ask for texts of their own; without a query the answer is shared, and comes at once\n");
    return false;
}

static void end_own(const struct question *question, uint64_t began_ns)
{
    uint64_t now_ns = clock_now_ns();
    if (question->own_ns)
        *question->own_ns = now_ns + (now_ns - began_ns) * OWN_SHARE;
}

static void answer_evidence(const struct question *question, const char *check, struct httpd_reply *reply)
{
    uint64_t began_ns = clock_now_ns();
    if (!begin_own(question, reply))
        return;
    reply->status = report_find_check(question->view, check) ? 200 : 404;
    report_status_json_with(question->view, &(struct report_extra){ .full = true, .evidence = check }, reply->body);
    end_own(question, began_ns);
}

static void answer_status(const struct question *question, struct httpd_reply *reply)
{
    char evidence[EVIDENCE_NAME_MAX];
    reply->content_type = type_json;
    if (question->full && httpd_query(question->request, "evidence", evidence, sizeof evidence)) {
        answer_evidence(question, evidence, reply);
        return;
    }
    answer_text(question, question->full ? TEXT_STATUS_FULL : TEXT_STATUS, reply);
}

static void refuse(struct httpd_reply *reply, int status, const char *what, const char *given, const char *want)
{
    char shown[TEXT_EXCERPT_BYTES(64)];
    text_excerpt(slice_str(given), 64, shown, sizeof shown);
    reply->status = status;
    reply->content_type = type_text;
    buf_printf(reply->body, "%s '%s'%s\n", what, shown, want);
}

/* ?check=NAME, and ?since=2h. What asks for nothing of its own is rendered once for all. */
static void answer_history(const struct question *question, struct httpd_reply *reply)
{
    char check[EVIDENCE_NAME_MAX], since[16];
    int64_t back_ms = 0;
    bool one = httpd_query(question->request, "check", check, sizeof check);
    bool some = httpd_query(question->request, "since", since, sizeof since);
    if (!question->view->history)
        return;
    if (one && !report_find_check(question->view, check)) {
        refuse(reply, 404, "check: no check", check, "; /history without ?check= has all");
        return;
    }
    if (some && (text_parse_duration(since, &back_ms) < 0 || back_ms < 0)) {
        refuse(reply, 400, "since:", since, ", want a duration such as 30m or 2h");
        return;
    }
    reply->content_type = type_json;
    if (!one && !some) {
        answer_text(question, question->full ? TEXT_HISTORY_FULL : TEXT_HISTORY, reply);
        return;
    }
    if (!begin_own(question, reply))
        return;
    uint64_t began_ns = clock_now_ns();
    int64_t now_ms = clock_wall_ms();
    const struct report_history_ask ask = { question->full, one ? check : NULL, some ? now_ms - back_ms : 0, now_ms };
    reply->status = 200;
    report_history_json(question->view, &ask, reply->body);
    end_own(question, began_ns);
}

/* 404 where no fleet is configured. */
static void answer_fleet(const struct question *question, struct httpd_reply *reply)
{
    if (!question->view->fleet)
        return;
    reply->content_type = type_json;
    answer_text(question, question->full ? TEXT_FLEET_FULL : TEXT_FLEET, reply);
}

static void answer_metrics(const struct question *question, struct httpd_reply *reply)
{
    bool openmetrics = accepts(question, "application/openmetrics-text", "1.0.0");
    reply->content_type = openmetrics ? type_openmetrics : type_prometheus;
    answer_text(question, openmetrics ? TEXT_OPENMETRICS : TEXT_METRICS, reply);
}

/* The page for people. */
static void answer_page(const struct question *question, struct httpd_reply *reply)
{
    reply->content_type = type_html;
    buf_append_str(reply->headers, page_headers());
    answer_text(question, question->public_page ? TEXT_PAGE_PUBLIC : question->full ? TEXT_PAGE_FULL : TEXT_PAGE, reply);
}

static const struct route {
    const char *path;
    void (*answer)(const struct question *question, struct httpd_reply *reply);
    bool on_admin; /* the admin socket answers it too */
} routes[] = {
    { "/ready", answer_ready, true },      { "/readyz", answer_ready, true },    { "/live", answer_live, true },
    { "/livez", answer_live, true },       { "/startup", answer_startup, true }, { "/startupz", answer_startup, true },
    { "/healthz", answer_healthz, false }, { "/health", answer_health, false },  { "/status", answer_status, false },
    { "/metrics", answer_metrics, false }, { "/", answer_page, false },          { "/history", answer_history, true },
    { "/fleet", answer_fleet, false },
};

static const struct route *find_route(struct slice path)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (slice_equal_str(path, routes[i].path))
            return &routes[i];
    return NULL;
}

/* What this reader may see, with the configuration that is in force now. */
static enum events_look look_of(const struct serve_source *source, bool peer_local)
{
    int details = source->details(source->user);

    if (source->page_public && source->page_public(source->user))
        return EVENTS_USERS;
    return details == DETAILS_FULL || (details == DETAILS_AUTO && peer_local) ? EVENTS_FULL : EVENTS_REASONS;
}

static struct shared *next_event(void *user, struct httpd_reader *reader)
{
    const struct serve_source *source = &((struct serve_listener *)user)->source;

    return events_next(source->events, look_of(source, reader->peer_local), reader);
}

static bool refuse_method(const struct httpd_request *request, struct httpd_reply *reply)
{
    if (slice_equal_str(request->method, "GET") || slice_equal_str(request->method, "HEAD"))
        return false;
    reply->status = 405;
    buf_append_str(reply->headers, "Allow: GET, HEAD\r\n");
    return true;
}

bool serve_question(const struct agent_view *view, bool full, const struct httpd_request *request, struct httpd_reply *reply)
{
    const struct route *route = find_route(request->path);
    if (!route || !route->on_admin)
        return false;
    if (!refuse_method(request, reply))
        route->answer(&(struct question){ .view = view, .full = full, .request = request }, reply);
    return true;
}

/* --- the server -------------------------------------------------------------------------------------------------------- */

static void answer_request(struct question *question, int details, struct httpd_reply *reply)
{
    const struct route *route = find_route(question->request->path);
    question->full = details == DETAILS_FULL || (details == DETAILS_AUTO && question->request->peer_local);
    if (!refuse_method(question->request, reply) && route)
        route->answer(question, reply);
}

void serve_answer(const struct agent_view *view, int details, const struct httpd_request *request, struct httpd_reply *reply)
{
    answer_request(&(struct question){ .view = view, .request = request }, details, reply);
}

static void handle(void *user, const struct httpd_request *request, struct httpd_reply *reply)
{
    struct serve_listener *listener = user;
    const struct serve_source *source = &listener->source;
    bool served = request->again || (source->prestop && source->prestop(source->user)); /* a reload lets nobody down who waits */
    bool prestop = slice_equal_str(request->path, "/prestop") && served;
    if (prestop && !refuse_method(request, reply))
        drain_answer_prestop(source->view(source->user), source->drain, source->user, request, reply);
    if (prestop)
        return;
    if (source->events && slice_equal_str(request->path, "/events")) {
        if (!refuse_method(request, reply))
            events_begin(request, reply);
        return;
    }
    struct question question = { .view = source->view(source->user),
                                 .public_page = source->page_public && source->page_public(source->user),
                                 .request = request,
                                 .texts = listener->texts,
                                 .own_ns = &listener->own_ns };
    forget_old(listener->texts);
    answer_request(&question, source->details(source->user), reply);
}

static void free_listener(void *user)
{
    struct serve_listener *listener = user;
    for (int i = 0; i < TEXT_COUNT; i++)
        shared_unref(listener->texts[i].shared);
    mem_free(listener);
}

static bool proxy_protocol(void *user)
{
    const struct serve_source *source = &((struct serve_listener *)user)->source;
    return source->proxy_protocol && source->proxy_protocol(source->user);
}

static void on_shed(void *user)
{
    (void)user;
    char limit[16];
    snprintf(limit, sizeof limit, "%d", SERVE_CONNECTIONS);
    event_log(EVENT_SHED, "connections", limit, NULL);
}

struct httpd *serve_open(struct loop *loop, const struct listen_address *address, int fd, const struct serve_source *source,
                         struct err *err)
{
    struct serve_listener *listener = mem_alloc(sizeof *listener);
    listener->source = *source;
    const struct httpd_options options = {
        .max_connections = SERVE_CONNECTIONS,
        .max_waiting = SERVE_WAITING,
        .max_streams = SERVE_STREAMS,
        .next = next_event,
        .max_pending_bytes = SERVE_PENDING_BYTES,
        .request_timeout_ms = SERVE_REQUEST_MS,
        .idle_timeout_ms = SERVE_IDLE_MS,
        .max_head_bytes = SERVE_HEAD_BYTES,
        .max_body_bytes = SERVE_BODY_BYTES,
        .proxy_protocol = proxy_protocol,
        .handle = handle,
        .on_shed = on_shed,
        .fini = free_listener,
        .user = listener,
    };
    struct httpd *httpd = httpd_open(loop, address, &(struct listen_options){ .fd = fd }, &options, err);
    if (!httpd)
        mem_free(listener);
    return httpd;
}
