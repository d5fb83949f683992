/*
 * /events: server-sent events about the agent's view (wshealthd(8), HTTP). Owned by the agent, which says when the view has changed; the health
 * listener and the admin socket give each of their readers what events_next gives (agent/http/httpd.h, httpd_options.next).
 *
 * With ?page they are the sections of the page (agent/http/page.h) that are others than before, as {"id":…,"html":…}; else JSON as /status has it.
 *
 * A reader begins with a snapshot, and then gets changes: at once after another state, verdict or cause, and once a second where only figures
 * are new. A reader that was too slow for one change gets a snapshot again, and so does one that comes back: nothing is kept for either. Each
 * event is made once for all readers that may see the same. While nobody reads, nothing is made.
 */
#ifndef WSHEALTHD_HTTP_EVENTS_H
#define WSHEALTHD_HTTP_EVENTS_H

#include "agent/http/httpd.h"
#include "agent/net/loop.h"
#include "agent/report/view.h"

enum {
    EVENTS_ROUND_MS = 1000,   /* between events where only figures are new */
    EVENTS_CHANGE_MS = 50,    /* between any two: states that change together are one event */
    EVENTS_TICK_MS = 4000,    /* a reader that hears nothing for longer has lost the agent */
    EVENTS_BYTES_PER_MS = 16, /* to one reader, where only figures are new: a large report is sent less often */
    EVENTS_RETRY_MS = 1000,   /* what a browser waits before it comes back; the page has lost the agent after 1.5 s */
};

/* What a reader may see, and in which form. */
enum events_look { EVENTS_FULL, EVENTS_REASONS, EVENTS_USERS /* page.public */, EVENTS_LOOKS };

struct events_source {
    const struct agent_view *(*view)(void *user);
    void (*news)(void *user); /* events_next has something new: httpd_news for each listener */
    unsigned (*readers)(void *user);
    void *user;
};
struct events;
struct events *events_new(struct loop *loop, const struct events_source *source); /* copies source */
void events_free(struct events *events);                                          /* NULL: nothing */
void events_note(struct events *events);                                          /* the view has changed */
/* One reference, or NULL: this reader has everything. A reader whose look has changed gets a snapshot. */
struct shared *events_next(struct events *events, enum events_look look, struct httpd_reader *reader);
/* The head of the answer; the stream follows. */
void events_begin(const struct httpd_request *request, struct httpd_reply *reply);

#endif
