/* See agent/http/drain_wait.h. */
#include "agent/http/drain_wait.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/text.h"
#include "agent/core/event.h"

enum { VALUE_MAX = 32 };

/* --- parameters --- */

static void log_refused(const struct httpd_request *request, const char *name, const char *given, const char *want)
{
    char message[256], shown[TEXT_EXCERPT_BYTES(VALUE_MAX)];

    if (request->again)
        return;
    text_excerpt(slice_str(given), VALUE_MAX, shown, sizeof shown);
    snprintf(message, sizeof message, "%s=%s, want %s; the default is taken", name, shown, want);
    event_log(EVENT_PRESTOP_PARAMETER, "message", message, NULL);
}

static uint64_t duration_of(const struct httpd_request *request, const char *name, uint64_t otherwise_ms)
{
    char given[VALUE_MAX];
    int64_t ms;

    if (!httpd_query(request, name, given, sizeof given))
        return otherwise_ms;
    if (text_parse_duration(given, &ms) < 0 || ms < 0) {
        log_refused(request, name, given, "a duration such as 25s");
        return otherwise_ms;
    }
    return ms < DRAIN_WAIT_MAX_MS ? (uint64_t)ms : DRAIN_WAIT_MAX_MS;
}

static uint64_t count_of(const struct httpd_request *request, const char *name)
{
    char given[VALUE_MAX];
    int64_t count;

    if (!httpd_query(request, name, given, sizeof given))
        return 0;
    if (text_parse_int(given, &count) < 0 || count < 0) {
        log_refused(request, name, given, "a number");
        return 0;
    }
    return (uint64_t)count;
}

static void answer(struct httpd_reply *reply, int status, const char *text)
{
    reply->status = status;
    reply->content_type = "text/plain; charset=utf-8";
    buf_append_str(reply->body, text);
}

/* --- /prestop --- */

static void say_left(const struct drain_view *drain, const struct httpd_request *request, const char *before,
                     struct httpd_reply *reply)
{
    answer(reply, 200, before);
    if (drain->counted)
        buf_printf(reply->body, "client connections left: %" PRIu64 "\n", drain->remaining);
    else
        buf_printf(reply->body, "client connections could not be counted%s%s\n", request->peer_local && *drain->why ? ": " : "",
                   request->peer_local ? drain->why : ""); /* it may name the server's host */
}

void drain_answer_prestop(const struct agent_view *view, void (*drain)(void *user, bool on), void *user,
                          const struct httpd_request *request, struct httpd_reply *reply)
{
    if (slice_equal_str(request->method, "HEAD")) {
        answer(reply, 200, "GET drains the instance\n");
        return;
    }
    uint64_t timeout_ms = duration_of(request, "timeout", PRESTOP_TIMEOUT_MS), min_ms = duration_of(request, "min", 0);
    uint64_t until = count_of(request, "until");
    if (!request->again)
        drain(user, true);
    else if (!view->verdict.draining) {
        answer(reply, 409, "resumed: the instance takes new clients again\n");
        return;
    }
    const struct drain_view *state = &view->drain;
    uint64_t now_ms = clock_now_ms(), since_ms = now_ms > state->since_ms ? now_ms - state->since_ms : 0;
    bool reached = state->counted && state->remaining <= until;
    if (reached && since_ms >= min_ms) {
        say_left(state, request, "drained, ", reply);
        return;
    }
    if (request->waited_ms >= timeout_ms) {
        say_left(state, request, "time over, ", reply);
        return;
    }
    uint64_t wait_ms = timeout_ms - request->waited_ms;
    if (reached && min_ms - since_ms < wait_ms)
        wait_ms = min_ms - since_ms;
    reply->wait_ms = (uint32_t)wait_ms;
}

/* --- GET /drain --- */

static void put_remaining(const struct agent_view *view, char *out, size_t size)
{
    if (view->verdict.draining && view->drain.counted)
        snprintf(out, size, "%" PRIu64, view->drain.remaining);
    else
        snprintf(out, size, "unknown");
}

void drain_answer_state(const struct agent_view *view, const struct httpd_request *request, struct httpd_reply *reply)
{
    char remaining[VALUE_MAX], seen[VALUE_MAX] = "";
    uint64_t wait_ms = duration_of(request, "wait", 0);

    put_remaining(view, remaining, sizeof remaining);
    (void)httpd_query(request, "seen", seen, sizeof seen);
    if (view->verdict.draining && strcmp(seen, remaining) == 0 && request->waited_ms < wait_ms) {
        reply->wait_ms = (uint32_t)(wait_ms - request->waited_ms);
        return;
    }
    answer(reply, 200, view->verdict.draining ? "state draining\n" : "state not draining\n");
    buf_printf(reply->body, "remaining %s\n", remaining);
    if (view->verdict.draining && !view->drain.counted && *view->drain.why)
        buf_printf(reply->body, "why %s\n", view->drain.why);
    buf_printf(reply->body, "agent %s\n", view->nonce ? view->nonce : "");
}
