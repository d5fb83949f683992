/* One check that is played against a scripted server (tests/unit/client/script.h), round by round, on a loop of its own. */
#ifndef WSHEALTHD_TESTS_PROBES_PLAY_H
#define WSHEALTHD_TESTS_PROBES_PLAY_H

#include "tests/unit/client/script.h"
#include "tests/unit/probes/host.h"

struct play {
    struct loop loop;
    struct script script;
    struct check_host host;
    struct check *check;
    unsigned rounds, stop_after;
};

/* For host.on_judged: the loop stops after stop_after rounds. */
static void on_judged(void *user, struct check *check, bool changed)
{
    struct play *play = user;

    (void)check;
    (void)changed;
    if (++play->rounds == play->stop_after)
        loop_stop(&play->loop);
}

static inline void run_rounds(struct play *play, unsigned rounds)
{
    play->rounds = 0;
    play->stop_after = rounds;
    loop_run(&play->loop);
}

static inline void play_end(struct play *play)
{
    check_free(play->check);
    host_end(&play->host);
    script_end(&play->script);
    loop_fini(&play->loop);
}

#endif
