/*
 * The composition root: owns the configuration generation, the checks, the brokers, the health listener and the admin socket.
 * Called by the commands. Everything runs on the caller's loop.
 */
#ifndef WSHEALTHD_RUN_H
#define WSHEALTHD_RUN_H

#include "agent/conf/conf.h"
#include "agent/net/loop.h"
#include "agent/report/story.h"
#include "agent/report/view.h"
#include "agent/run/addresses.h"

extern const struct conf_env agent_conf_env; /* all probes, brokers and dialects, and the process's environment */

struct agent;
struct agent_options {
    const char *config_file; /* NULL: none; what reload reads again */
    const char *url;         /* takes the place of the file's target, also after a reload; NULL: the file's. Outlives the agent */
    const char *shown_url;   /* what the report calls the target; NULL: its URL. Outlives the agent */
    struct address_overrides addresses; /* over the file's, also after a reload. Outlive the agent */
    bool serve;  /* health listener, admin socket, sd_notify, signals: `run` and `demo`. Without: checks only */
    bool traces; /* with once: the whole of what is said is kept, within TRACE_ALL_BYTES for each check */
    bool once;   /* one round of each check, then on_done */
    void (*on_change)(void *user, const struct agent_view *view); /* after each change of the view's generation; may be NULL */
    void (*on_told)(void *user,
                    const struct story_line *line); /* the verdict or its cause has changed, and the cause is clear; may be NULL */
    void (*on_done)(void *user);                    /* once: every check has been judged (or was void) */
    void *user;
};

/* Reads the file; url, if it is not NULL, replaces the file's target. Returns one reference, or NULL and errors. */
struct conf *agent_load(const char *file, const char *url, struct conf_errors *errors);
/* Takes a reference of conf. With serve, the listeners are bound before it returns; NULL and err if that fails. */
struct agent *agent_new(struct loop *loop, struct conf *conf, const struct agent_options *options, struct err *err);
void agent_stop(struct agent *agent, void (*on_stopped)(void *user),
                void *user); /* ends the checks and closes their connections with close frames, within 1 s; then on_stopped */
/* As agent_stop, after the configuration's `shutdown.grace`: until then the agent is drained, and answers. Called once. */
void agent_leave(struct agent *agent, void (*on_stopped)(void *user), void *user);
void agent_free(struct agent *agent);                             /* after on_stopped */
const struct agent_view *agent_current_view(struct agent *agent); /* current; valid until the loop turns */
void agent_drain(struct agent *agent, bool on);
void agent_forget_refusals(struct agent *agent); /* the target no longer refuses the probe: the checks return to their usual pace */
/* Reads the configuration file again. 0, or -1: the errors, and nothing has changed. */
int agent_reload(struct agent *agent, struct conf_errors *errors);

#endif
