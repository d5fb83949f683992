/*
 * Owns the file that keeps the history over restarts (`history: { file }`): when it is read, written and set aside. Called by agent/run/agent.c
 * and agent/run/agent_reload.c. Promises that nothing about the file stops the agent or delays an answer: the disk is left to a thread
 * (agent_history_keeper.h), and what goes wrong is one line of the log until it goes right again. What the history holds is agent/report's business.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/core/event.h"
#include "agent/report/history_file.h"
#include "agent/run/agent_history_keeper.h"
#include "agent/run/agent_impl.h"

enum { SAVE_EVERY_MS = 60000, SAVE_FIRST_MS = 2000 };

struct history_keeping {
    struct agent *agent;
    struct keeper *keeper;
    char *path;
    struct timer timer;
    bool fresh;    /* the history in memory is the newer one: what the file holds is not taken over (a reload has named it) */
    bool may_save; /* the file was read, or is not there, or was set aside */
    bool failing;  /* the last write did not succeed, and the log says so */
    char why[ERR_TEXT_MAX]; /* the file was not read */
};

static void tell(struct history_keeping *keeping, enum event event, const char *message)
{
    event_log(event, "file", keeping->path, "message", message, NULL);
}

/* --- writing ------------------------------------------------------------------------------------------------------------ */

static void save(struct history_keeping *keeping)
{
    struct buf bytes = BUF_INIT(HISTORY_FILE_MAX);

    history_encode(keeping->agent->history, clock_wall_ms(), &bytes);
    keeper_ask(keeping->keeper, KEEPER_WRITE, &bytes);
    buf_fini(&bytes);
}

static void note_failure(struct history_keeping *keeping, const char *message)
{
    if (!keeping->failing)
        tell(keeping, EVENT_HISTORY_UNSAVED, message);
    keeping->failing = true;
}

static void on_timer(struct timer *timer, void *user)
{
    struct history_keeping *keeping = user;

    timer_start(timer, SAVE_EVERY_MS);
    if (keeper_busy(keeping->keeper))
        note_failure(keeping, "the disk has not answered for a minute");
    else
        save(keeping);
}

static void on_written(struct history_keeping *keeping, const struct keeper_answer *answer)
{
    if (answer->failed) {
        note_failure(keeping, answer->err.text);
    } else if (keeping->failing) {
        keeping->failing = false;
        tell(keeping, EVENT_HISTORY_SAVED, NULL);
    }
}

/* --- reading ------------------------------------------------------------------------------------------------------------ */

static void begin_saving(struct history_keeping *keeping)
{
    keeping->may_save = true;
    timer_start(&keeping->timer, SAVE_FIRST_MS);
}

static void take_over(struct history_keeping *keeping, struct history *old, int64_t saved_ms)
{
    struct agent *agent = keeping->agent;

    if (keeping->fresh) {
        history_free(old);
    } else {
        history_prepend(agent->history, old, saved_ms);
        history_keep_checks(agent->history, agent->views, agent->check_count);
        agent->view.generation++;
    }
    begin_saving(keeping);
}

static void on_read(struct history_keeping *keeping, const struct keeper_answer *answer)
{
    struct history *old = NULL;
    struct err err = answer->err;
    int64_t saved_ms;

    if (answer->missing) {
        begin_saving(keeping);
        return;
    }
    if (!answer->failed)
        old = history_decode(buf_slice(&answer->bytes), &saved_ms, &err);
    if (old) {
        take_over(keeping, old, saved_ms);
        return;
    }
    snprintf(keeping->why, sizeof keeping->why, "%s", err.text);
    keeper_ask(keeping->keeper, KEEPER_SET_ASIDE, NULL);
}

static void on_set_aside(struct history_keeping *keeping, const struct keeper_answer *answer)
{
    char message[2 * ERR_TEXT_MAX + 128];

    if (answer->failed)
        snprintf(message, sizeof message, "%s. It is left as it is (%s), and the history is kept in memory only", keeping->why,
                 answer->err.text);
    else
        snprintf(message, sizeof message, "%s. It was renamed, with .damaged behind its name, and is written anew", keeping->why);
    tell(keeping, EVENT_HISTORY_DAMAGED, message);
    if (!answer->failed)
        begin_saving(keeping);
}

static void on_done(void *user, const struct keeper_answer *answer)
{
    struct history_keeping *keeping = user;

    if (answer->job == KEEPER_READ)
        on_read(keeping, answer);
    else if (answer->job == KEEPER_SET_ASIDE)
        on_set_aside(keeping, answer);
    else
        on_written(keeping, answer);
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

static void begin(struct agent *agent, const char *path, bool fresh)
{
    struct history_keeping *keeping = mem_alloc(sizeof *keeping);
    struct err err;

    keeping->agent = agent;
    keeping->path = mem_strdup(path);
    keeping->fresh = fresh;
    timer_init(&keeping->timer, agent->loop, on_timer, keeping);
    keeping->keeper = keeper_new(agent->loop, path, agent->config_file, on_done, keeping, &err);
    if (keeping->keeper) {
        keeper_ask(keeping->keeper, KEEPER_READ, NULL);
        agent->keeping = keeping;
        return;
    }
    tell(keeping, EVENT_HISTORY_UNSAVED, err.text);
    mem_free(keeping->path);
    mem_free(keeping);
}

void agent_history_start(struct agent *agent)
{
    const char *path = agent->generation->conf->history_file;

    if (path)
        begin(agent, path, false);
}

void agent_history_reload(struct agent *agent)
{
    const char *path = agent->generation->conf->history_file, *old = agent->keeping ? agent->keeping->path : NULL;

    if ((!path && !old) || (path && old && strcmp(path, old) == 0 && agent->keeping->may_save))
        return;
    agent_history_fini(agent);
    if (path)
        begin(agent, path, true);
}

void agent_history_stop(struct agent *agent)
{
    struct history_keeping *keeping = agent->keeping;

    if (!keeping)
        return;
    timer_stop(&keeping->timer);
    if (keeping->may_save)
        save(keeping);
}

bool agent_history_busy(const struct agent *agent)
{
    return agent->keeping && keeper_busy(agent->keeping->keeper);
}

void agent_history_fini(struct agent *agent)
{
    struct history_keeping *keeping = agent->keeping;

    if (!keeping)
        return;
    timer_stop(&keeping->timer);
    keeper_free(keeping->keeper);
    mem_free(keeping->path);
    mem_free(keeping);
    agent->keeping = NULL;
}
