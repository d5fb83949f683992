/*
 * The notifiers of a configuration: each has a policy, a bounded queue and at most one message under way. Called by agent/run. Everything is
 * asynchronous and bounded: a receiver that hangs, fails or answers without end costs its notifier's patience, and no check and no answer waits for
 * it.
 */
#ifndef WSHEALTHD_NOTIFY_NOTIFY_H
#define WSHEALTHD_NOTIFY_NOTIFY_H

#include "agent/client/generation.h"
#include "agent/net/loop.h"
#include "agent/report/story.h"
#include "agent/report/view.h"

enum {
    NOTIFY_QUEUE_MAX = 8,   /* messages that wait, for each notifier */
    NOTIFY_RETRY_MS = 1000, /* before the second try, at most; then it doubles, each with full jitter */
    NOTIFY_RETRY_MAX_MS = 120000,
    NOTIFY_RETRY_FOR_MS = 3600000,   /* so old, a message is given up */
    NOTIFY_RETRY_OPEN_MS = 86400000, /* one that tells what still is, and the end of what was told */
    NOTIFY_LEAVE_MS = 2000,          /* the timeout of a try when the agent ends, at most */
};

struct notifiers;
/* `view` gives the agent's view. */
struct notifiers *notifiers_new(struct loop *loop, const struct agent_view *(*view)(void *user), void *user);
/* Those of the generation from now on. One of the same name and type keeps its incident and its queue. The receivers' rules were validated with the
 * configuration, so this cannot fail. */
void notifiers_configure(struct notifiers *notifiers, struct generation *generation);
/* A settled state of the verdict (agent/report/story.h), also the first one. */
void notifiers_tell(struct notifiers *notifiers, const struct story_state *state);
/* The agent has been asked to end, or ends: nothing new is told, and what waits is tried once more, at once. */
void notifiers_leave(struct notifiers *notifiers);
bool notifiers_busy(const struct notifiers *notifiers); /* is something under way, or waiting? */
void notifiers_free(struct notifiers *notifiers);       /* at once; NULL is fine */
/* For the view: an array of so many. Valid until the next notifiers_configure. */
const struct notifier_view *const *notifiers_views(const struct notifiers *notifiers, size_t *count);

/* For `wshealthd notify test`: the notice of a test. The pointers live as long as conf. */
struct notice;
void notifiers_make_test(const struct conf *conf, const char *host, struct notice *notice);

#endif
