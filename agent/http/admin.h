/*
 * The admin socket: HTTP over a unix socket with mode 0660. GET /status (JSON, with ?at its time; ?format=line: one line for people;
 * ?format=text&colour=1&width=120&ascii=1&first=1&program=NAME for terminals, first=1 with the verdict first; NAME is what the user types for `wshealthd`, and is not percent-decoded; evidence=CHECK adds the traces that are kept of that
 * check, or shows them alone in the text, with lines=1 unbroken), GET /ready, /live, /startup, /history as on the
 * health listener, GET /fleet (with the header X-Status, its `status`; the same formats), GET /events (agent/http/events.h), POST /drain, /resume, /reload (200, or 422 with a line for each error of the file), GET /drain
 * (agent/http/drain_wait.h). Errors come as text/plain. A client that may open the socket sees everything.
 */
#ifndef WSHEALTHD_HTTP_ADMIN_H
#define WSHEALTHD_HTTP_ADMIN_H

#include "agent/conf/conf.h"
#include "agent/http/events.h"
#include "agent/net/loop.h"
#include "agent/report/view.h"

enum { ADMIN_PROGRAM_MAX = 256, ADMIN_CHECK_MAX = 256 };

struct admin_source {
    const struct agent_view *(*view)(void *user);
    void (*drain)(void *user, bool on);
    int (*reload)(void *user, struct conf_errors *errors);
    void *user;
    struct events *events; /* outlives the server */
};
/* Copies source; the object of source->user must outlive the server. A reload may close this server while it answers the request. */
struct httpd *admin_open(struct loop *loop, const struct listen_address *address, const struct admin_source *source,
                         struct err *err);

#endif
