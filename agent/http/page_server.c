/*
 * Owns the section of the server seen from outside: its connections over time, and the figures of its process. Called by page.c. Users of the
 * service (page.public) get the connections and nothing of the process, of what it is connected to, or of its own metrics.
 */
#include <math.h>

#include "agent/http/page_impl.h"

enum { SECTION_BYTES = 6500, ONE_BYTES_MAX = 16 << 10, NAME_BYTES = 120, REMARK_BYTES = 400, SERIES_MAX = 6, PEERS_MAX = 8 };

static void begin_figure(struct page *page, const char *name)
{
    page_printf(page, "<div><dt>%s</dt><dd>", name);
}

static void end_figure(struct page *page)
{
    page_put(page, "</dd></div>");
}

static void put_number(struct page *page, const char *name, bool known, uint64_t value, bool have_limit, uint64_t limit)
{
    if (!known)
        return;
    begin_figure(page, name);
    page_count(page, value);
    if (have_limit) {
        page_put(page, " <small>of ");
        page_count(page, limit);
        page_put(page, "</small>");
    }
    end_figure(page);
}

static void put_churn(struct page *page, const struct server_stats *server)
{
    if (!server->have_churn)
        return;
    begin_figure(page, "opened, closed");
    page_printf(page, "%.1f, %.1f <small>a second</small>", server->opens_per_s, server->closes_per_s);
    end_figure(page);
}

static void put_process(struct page *page, const struct server_stats *server)
{
    put_number(page, "accept queue", server->have_listener, server->queue, server->have_queue_limit, server->queue_limit);
    if (server->have_resident) {
        begin_figure(page, "memory");
        page_bytes(page, server->resident_bytes);
        end_figure(page);
    }
    put_number(page, "descriptors", server->have_fds, server->fds, server->have_max_fds && server->max_fds != UINT64_MAX,
               server->max_fds);
    if (server->have_cpu) {
        begin_figure(page, "CPU");
        page_printf(page, "%.0f\xe2\x80\xaf%%", server->cpu_percent);
        end_figure(page);
    }
    put_number(page, "processes", server->processes > 1, server->processes, false, 0);
    for (unsigned i = 0; i < server->series_count && i < SERIES_MAX; i++) {
        const struct server_series_stats *series = &server->series[i];

        page_put(page, "<div><dt><bdi>");
        page_text(page, series->name, NAME_BYTES);
        page_put(page, "</bdi></dt><dd>");
        if (!series->known)
            page_put(page, "not known");
        else
            page_printf(page, fabs(series->value) < 1e6 || fabs(series->value) >= 1e15 ? "%.4g%s" : "%.0f%s", series->value,
                        series->rate ? " a second" : "");
        end_figure(page);
    }
}

/* What the server must be connected to. */
static void put_peers(struct page *page, const struct server_stats *server)
{
    static const enum state states[SERVER_PEER_STATE_COUNT] = {
        [SERVER_PEER_UNKNOWN] = STATE_UNKNOWN, [SERVER_PEER_CONNECTED] = STATE_PASS, [SERVER_PEER_CONNECTING] = STATE_FAIL,
        [SERVER_PEER_LOST] = STATE_FAIL,       [SERVER_PEER_UNREACHED] = STATE_WARN, [SERVER_PEER_UNREAD] = STATE_WARN,
    };

    if (!server->peer_count)
        return;
    page_put(page, "<table class=peers><caption>What the server is connected to</caption><thead><tr><th scope=col>peer<th "
                   "scope=col>state<th scope=col>connections<tbody>");
    for (unsigned i = 0; i < server->peer_count && i < PEERS_MAX; i++) {
        const struct server_peer_stats *peer = &server->peers[i];

        page_put(page, "<tr><th scope=row><bdi>");
        page_text(page, peer->name, NAME_BYTES);
        page_printf(page, "</bdi><td class=%s>%s<td>", page_state_class(states[peer->state]), server_peer_name(peer->state));
        page_count(page, peer->connections);
    }
    page_put(page, "</table>");
    if (server->peer_count > PEERS_MAX)
        page_printf(page, "<p class=meta>and %u more</p>", server->peer_count - PEERS_MAX);
}

static void put_server(struct page *page, const struct check_view *check)
{
    const struct server_stats *server = check->stats.server;
    struct past past;

    page_past(page, check->name, &past);
    page_put(page, "<div class=server><div class=chart><p class=now>");
    if (server->have_connections) {
        page_put(page, "<b>");
        page_count(page, server->connections[SERVER_ESTABLISHED]);
        page_put(page, "</b> ");
    }
    page_put(page, server->have_connections ? "connections" : "The connections cannot be counted.");
    if (server->have_connections && server->max_connections) {
        page_put(page, " of ");
        page_count(page, server->max_connections);
    }
    page_put(page, "</p>");
    if (past.any_connections) {
        page_draw_connections(page, &past);
        page_draw_axis(page, &past);
    }
    page_put(page, "</div>");
    if (page->ops) {
        page_put(page, "<dl class=figures>");
        put_churn(page, server);
        put_process(page, server);
        page_put(page, "</dl>");
        put_peers(page, server);
    }
    if (page->texts && *server->remark) {
        page_put(page, "<p class=remark><bdi>");
        page_text(page, server->remark, REMARK_BYTES);
        page_put(page, "</bdi></p>");
    }
    page_put(page, "</div>");
}

/* Most have one such check. Of further ones those are shown that fit. */
void page_server(struct page *page)
{
    struct buf one = BUF_INIT(ONE_BYTES_MAX);
    struct page scratch = *page;
    size_t end = page->out->len + SECTION_BYTES;
    unsigned shown = 0, left_out = 0;

    scratch.out = &one;
    for (size_t i = 0; i < page->view->check_count; i++) {
        const struct check_view *check = page->view->checks[i];

        if (!check->stats.server || !check->judged)
            continue;
        buf_reset(&one);
        if (!left_out)
            put_server(&scratch, check);
        if (left_out || (shown && page->out->len + one.len > end)) {
            left_out++;
            continue;
        }
        page_put(page, shown++ ? "" : "<h2>The server\xe2\x80\x99s connections</h2>");
        buf_append_slice(page->out, buf_slice(&one));
    }
    if (left_out)
        page_printf(page, "<p class=meta>%u more such checks have no room here</p>", left_out);
    buf_fini(&one);
}
