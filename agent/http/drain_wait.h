/*
 * Requests that wait until clients have left: /prestop on the health listener, GET /drain on the admin socket. Called by agent/http/serve.c
 * and agent/http/admin.c, again whenever the count changes (agent/http/httpd.h, wait_ms). They read the view; only /prestop begins anything.
 */
#ifndef WSHEALTHD_HTTP_DRAIN_WAIT_H
#define WSHEALTHD_HTTP_DRAIN_WAIT_H

#include "agent/http/httpd.h"
#include "agent/report/view.h"

enum {
    PRESTOP_TIMEOUT_MS = 25000, /* five seconds less than the grace period that Kubernetes gives a pod by default */
    DRAIN_WAIT_MAX_MS = 24 * 3600 * 1000
};

/*
 * GET /prestop?timeout=25s&until=0&min=0s: begins to drain, and answers with 200 when at most `until` client connections are left and
 * draining has lasted for `min`, or when `timeout` is over: the hook of a container must not fail. 409: somebody has ended the draining
 * meanwhile. A parameter that cannot be read has its default, and is logged: to refuse the request would end the container at once. HEAD
 * changes nothing. What it has begun ends with the server's restart (agent/run/agent_drain.c).
 */
void drain_answer_prestop(const struct agent_view *view, void (*drain)(void *user, bool on), void *user,
                          const struct httpd_request *request, struct httpd_reply *reply);

/*
 * GET /drain: lines of a word and a value, for programs.
 *     state draining|not draining
 *     remaining 12            or "unknown"
 *     why the server is on another host        if it is unknown, and that is known
 *     agent 1f2e3d4c          of this run of the agent
 * With ?wait=1s&seen=12 it waits so long for `remaining` to be another, or for the draining to end.
 */
void drain_answer_state(const struct agent_view *view, const struct httpd_request *request, struct httpd_reply *reply);

#endif
