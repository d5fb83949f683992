/* What agent/run/agent.c and agent/run/agent_reload.c share. */
#ifndef WSHEALTHD_RUN_AGENT_IMPL_H
#define WSHEALTHD_RUN_AGENT_IMPL_H

#include "agent/core/check.h"
#include "agent/report/story.h"
#include "agent/run/agent.h"

struct agent {
    struct loop *loop;
    struct generation *generation; /* the one in force */
    struct agent_options options;
    char *config_file;
    struct check_host host;
    struct agent_broker **brokers; /* those in force */
    size_t broker_count;
    struct agent_broker **old_brokers; /* during a reload: those that nobody will use any more */
    size_t old_broker_count;
    bool brokers_same; /* the reload that is under way changes no broker */
    unsigned brokers_closing;
    struct check **checks;
    const struct check_view **views;
    struct health_input *inputs; /* scratch of agent_update */
    size_t check_count;
    size_t judged; /* once: how many have ended */
    bool draining;
    bool stale; /* the diagnosis is older than the checks; made when somebody reads it */
    struct agent_view view;
    const char *shown_url; /* NULL: the target's */
    char service_id[512];
    struct httpd *face, *admin; /* NULL: off */
    struct loop_signal hangup;
    bool hangup_open;
    struct timer done, stopping, watchdog, settling;
    struct story story; /* what is told of the verdict, in the log and by the demo */
    uint64_t stop_by_ms;
    void (*on_stopped)(void *user);
    void *stopped_user;
};

void agent_update(struct agent *agent); /* the checks have changed: the verdict, logs and callbacks follow */
void agent_set_checks(struct agent *agent, struct check **checks, size_t count);
void agent_start_check(struct agent *agent, struct check *check, size_t index);
/* Makes the generation's brokers those in force; unchanged ones are kept. Those that go are closed by agent_drop_old_brokers, once no check
 * uses them. */
void agent_open_brokers(struct agent *agent, struct generation *generation);
void agent_drop_old_brokers(struct agent *agent);
void agent_close_brokers(struct agent *agent); /* all; done when brokers_closing is 0 again */
struct broker *agent_find_broker(void *agent, const char *name);
int agent_open_faces(struct agent *agent, const struct conf *conf, struct err *err);
void agent_close_faces(struct agent *agent);

#endif
