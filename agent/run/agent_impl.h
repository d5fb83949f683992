/* What the files of the agent (agent/run/agent*.c) share. Nobody else includes this. */
#ifndef WSHEALTHD_RUN_AGENT_IMPL_H
#define WSHEALTHD_RUN_AGENT_IMPL_H

#include "agent/core/check.h"
#include "agent/notify/notify.h"
#include "agent/report/story.h"
#include "agent/run/agent.h"

/* Runs while the instance is drained. */
struct agent_drain {
    struct look *look; /* NULL: not running */
    struct look_ask *ask;
    struct timer pause;
    struct lookup *lookup;
    uint64_t resolved_ms; /* when the target's name was last looked up */
    bool by_name;
    char host[URL_HOST_MAX];
    char place[URL_UNIX_MAX + 32]; /* where the server listens, for people */
    unsigned failed;               /* counts in a row that could not be made */
    bool by_hook;                  /* /prestop began it, and not a command */
    bool vacant;                   /* nothing has listened there since it began */
};

/* Of agent_listeners.c; NULL: off. */
struct listeners {
    struct httpd *health, *admin;
    struct agent_check *agent_check;
    struct grpc *grpc;
};

struct agent {
    struct loop *loop;
    struct generation *generation; /* the one in force */
    struct agent_options options;
    char *config_file;
    struct check_host host;
    struct agent_broker **brokers; /* those in force */
    size_t broker_count;
    struct agent_broker **old_brokers; /* during a reload: brokers that no check will use any more */
    size_t old_broker_count;
    bool brokers_same; /* the reload that is under way changes no broker */
    unsigned brokers_closing;
    struct check **checks;
    const struct check_view **views;
    struct health_input *inputs; /* filled anew by agent_verdict_update */
    size_t check_count;
    size_t judged; /* once: how many have ended */
    bool draining;
    struct agent_drain drain; /* the count of the clients that are left */
    bool stale;               /* the diagnosis is older than the checks; made when somebody reads it */
    struct agent_view view;
    const char *shown_url; /* NULL: the target's */
    char service_id[512];
    struct listeners open;
    struct events *events; /* who reads them is told of changes; NULL: the agent does not serve */
    int (*reload)(
        struct agent *agent,
        struct conf_errors
            *errors); /* agent_reload, for POST /reload. A pointer, as the listeners must not call the file that moves them */
    struct loop_signal hangup;
    bool hangup_open;
    struct timer leaving; /* the grace after SIGTERM */
    struct timer done, stopping, watchdog, settling, tidying;
    char refused[400];           /* why the last reload was; "": it was not */
    uint64_t status_ms;          /* when STATUS= was sent */
    unsigned activated;          /* the listeners whose sockets systemd has opened: they stay over reloads (agent_listeners.c) */
    struct notifiers *notifiers; /* NULL: none (without serve) */
    struct history *history;     /* NULL: none (once) */
    struct history_keeping *keeping; /* NULL: in memory only */
    struct agent_fleet *fleet;       /* NULL: none is configured (agent_fleet.c) */
    struct story story;              /* what is told of the verdict, in the log and by the demo */
    uint64_t stop_by_ms;
    void (*on_stopped)(void *user);
    void *stopped_user;
    void (*on_left)(void *user); /* the caller's of agent_leave, until agent_stop has it */
    void *left_user;
};

/* agent.c */
void agent_warn_of_config(const struct agent *agent);
void agent_tidy_soon(
    struct agent *agent); /* what reading the configuration and the first rounds have left free goes back to the kernel */

/* agent_verdict.c */
void agent_verdict_init(struct agent *agent);                                       /* the view before the first round */
void agent_verdict_set_checks(struct agent *agent);                                 /* the view shows agent->checks from now on */
void agent_verdict_note_round(struct agent *agent, const struct check_view *check); /* for the history */
/* The checks have changed, and `changed` has another state (NULL: none has): the verdict, logs and callbacks follow. */
void agent_verdict_update(struct agent *agent, const struct check_view *changed);
void agent_notify_configure(struct agent *agent); /* the notifiers of the generation in force */
void agent_status_tell(struct agent *agent);      /* to systemd, STATUS=: the verdict in one line, and a reload that was refused */
void agent_status_refresh(struct agent *agent);   /* the same where the last one is old */
/* Should the server be restarted, in a unit where the agent may have that done? Less often than /live is 503: see there. */
bool agent_server_hangs(struct agent *agent, char *why, size_t size);
void agent_verdict_stop(struct agent *agent); /* tells at once what waits to be told */
void agent_verdict_fini(struct agent *agent);

/* agent_fleet.c */
/* The fleet of the generation, once its brokers are open and before the old ones go. */
void agent_fleet_configure(struct agent *agent, const struct conf *conf);
void agent_fleet_forget_checks(struct agent *agent); /* there are others now */
bool agent_fleet_witness(
    struct agent *agent); /* before the verdict: refusals that only this instance gives become local faults. true: one is another
                                                 * than before */
/* *verdict is the own one, made with this policy: the fleet may keep the instance in rotation. */
void agent_fleet_judge(struct agent *agent, const struct verdict_policy *policy, const struct verdict *old,
                       struct verdict *verdict);
void agent_fleet_tell(struct agent *agent); /* after the verdict and its diagnosis */
void agent_fleet_leave(struct agent *agent);
bool agent_fleet_busy(const struct agent *agent);
void agent_fleet_fini(struct agent *agent); /* before the brokers are closed */

/* agent_history.c: the file of the history, where one is configured */
void agent_history_start(struct agent *agent);
void agent_history_reload(struct agent *agent);     /* another file, or none; one that could not be used is tried again */
void agent_history_stop(struct agent *agent);       /* the last write is begun */
bool agent_history_busy(const struct agent *agent); /* the disk has not answered yet */
void agent_history_fini(struct agent *agent);

/* agent_checks.c. The brokers of the generation are opened with its checks. */
void agent_checks_start(struct agent *agent);
size_t agent_checks_change(struct agent *agent, struct generation *generation); /* how many checks were kept */
void agent_checks_stop(struct agent *agent);
void agent_checks_hurry(void *agent, struct check *check, bool failed); /* check_host.on_news */

/* agent_drain.c: counts in view.drain, and wakes the requests that wait for it. */
void agent_drain_init(struct agent *agent);
void agent_drain_start(struct agent *agent);
void agent_drain_stop(struct agent *agent);  /* nothing, where it is not running */
void agent_drain_again(struct agent *agent); /* the target may be another one: begins anew there, if it is running */

/* agent_brokers.c */
/* Makes the generation's brokers those in force; unchanged ones are kept. The others are closed by agent_brokers_drop_old, once no check
 * uses them. */
void agent_brokers_open(struct agent *agent, struct generation *generation);
void agent_brokers_drop_old(struct agent *agent);
void agent_brokers_close(struct agent *agent); /* all; done when brokers_closing is 0 again */
struct broker *agent_brokers_find(void *agent, const char *name);

/* agent_listeners.c. 0, or -1 and err: then nothing has changed. */
int agent_listeners_open(struct agent *agent, const struct conf *conf, struct err *err);
int agent_listeners_move(struct agent *agent, const struct conf *conf, struct err *err); /* from the generation in force to conf */
/* Binds again where the file of a unix socket was deleted. A failure is logged only: it does not stop the reload. */
void agent_listeners_reopen(struct agent *agent);
void agent_listeners_close(struct agent *agent);
void agent_listeners_wake(struct agent *agent); /* the verdict has changed */

#endif
