/* The configuration of the demo's agent, and the addresses that it listens on. For agent/demo/demo.c only. */
#ifndef WSHEALTHD_DEMO_DEMO_CONF_H
#define WSHEALTHD_DEMO_DEMO_CONF_H

#include <stdbool.h>

#include "agent/conf/conf.h"
#include "agent/demo/demo.h"
#include "agent/net/loop.h"

struct demo_setup {
    struct conf *conf;
    bool in_process;    /* the broker runs inside this process */
    char directory[64]; /* of the admin socket; "": none could be made, and the socket is off */
};
/* url: of the demo's WebSocket server. 0, or -1 and err. Either way demo_conf_fini frees it; setup is zeroed first by the caller. */
int demo_conf_make(struct demo_setup *setup, struct loop *loop, const char *url, const struct demo_options *options,
                   struct err *err);
void demo_conf_fini(struct demo_setup *setup);

#endif
