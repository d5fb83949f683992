/*
 * HAProxy's agent-check: one line for each connection, sent at once, whatever the client sends or does not send (HAProxy's configuration
 * manual, agent-check). Called by agent/run/agent_listeners.c.
 *
 * HAProxy keeps what a line does not mention, and what an agent has said last when the agent is gone. So each line says the whole state,
 * `down` is never said of an agent that is about to end, and an agent that has just started says nothing until it knows something, for up
 * to AGENT_CHECK_HOLD_MS: a restart of the agent is no reason to take its server out.
 */
#ifndef WSHEALTHD_HTTP_AGENT_CHECK_H
#define WSHEALTHD_HTTP_AGENT_CHECK_H

#include "agent/net/listen.h"
#include "agent/report/view.h"

enum { AGENT_CHECK_LINE_MAX = 80, AGENT_CHECK_HOLD_MS = 5000 };

/*
 * "up ready 100%", "up ready 37%", "up drain" or "down #echo_timeout", without its end. The weight falls from half of a `server` check's
 * max_connections on. An instance that is not ready because it is full and for nothing else is "up ready 0%": it gets no new clients, and
 * `on-marked-down shutdown-sessions` does not cut those that it has. degraded_weight: in percent, 1 to 100.
 */
void agent_check_line(const struct agent_view *view, unsigned degraded_weight, char out[AGENT_CHECK_LINE_MAX]);

struct agent_check_source {
    const struct agent_view *(*view)(void *user);
    unsigned (*degraded_weight)(void *user); /* may change with a reload */
    void *user;
};
struct agent_check;
/* Copies source; the object of source->user must outlive the listener. */
struct agent_check *agent_check_open(struct loop *loop, const struct listen_address *address, int fd /* activated, or -1 */,
                                     const struct agent_check_source *source, struct err *err);
void agent_check_close(struct agent_check *responder);
void agent_check_wake(struct agent_check *responder);       /* the view has changed */
bool agent_check_lost(const struct agent_check *responder); /* the file of its unix socket is no longer there */
uint16_t agent_check_port(const struct agent_check *responder);

#endif
