/* The health listener: wshealthd(8), HTTP. Routes on agent/http/httpd.h, answered from the view and never by probing. */
#ifndef WSHEALTHD_HTTP_SERVE_H
#define WSHEALTHD_HTTP_SERVE_H

#include "agent/conf/conf.h"
#include "agent/http/events.h"
#include "agent/http/httpd.h"
#include "agent/net/loop.h"
#include "agent/report/view.h"

struct serve_source {
    const struct agent_view *(*view)(void *user);
    int (*details)(void *user);         /* enum conf_details: may change with a reload */
    bool (*proxy_protocol)(void *user); /* likewise; NULL: no */
    bool (*prestop)(void *user);        /* likewise: is /prestop served? NULL: no */
    void (*drain)(void *user, bool on); /* for /prestop */
    bool (*page_public)(void *user);    /* page.public: is the page for users of the service? May change with a reload; NULL: no */
    void *user;
    struct events *events; /* outlives the server; NULL: there is no /events */
};
/* Copies source; the object of source->user must outlive the server. */
struct httpd *serve_open(struct loop *loop, const struct listen_address *address, int fd /* activated, or -1 */,
                         const struct serve_source *source, struct err *err);

/* The answer to one request without a server, for tests and fuzzing. details: enum conf_details. */
void serve_answer(const struct agent_view *view, int details, const struct httpd_request *request, struct httpd_reply *reply);
/* The same for /ready, /live, /startup and /history only; false for any other path. For the admin socket. */
bool serve_question(const struct agent_view *view, bool full, const struct httpd_request *request, struct httpd_reply *reply);

#endif
