/* The HTTP face: section 6 of the contract. Routes on agent/httpd.h, answered from the view and never by probing. */
#ifndef WSHEALTHD_AGENT_SERVE_H
#define WSHEALTHD_AGENT_SERVE_H

#include "agent/core/conf.h"
#include "agent/core/view.h"
#include "agent/net/loop.h"

struct serve_source {
    const struct agent_view *(*view)(void *user);
    int (*details)(void *user); /* enum conf_details: may change with a reload */
    void *user;
};
struct httpd *serve_open(struct loop *loop, const struct listen_address *address, int fd /* activated, or -1 */,
                         const struct serve_source *source, struct err *err);

#endif
