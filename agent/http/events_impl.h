/* What events.c (when) and events_text.c (what) share. Nobody else includes this. */
#ifndef WSHEALTHD_HTTP_EVENTS_IMPL_H
#define WSHEALTHD_HTTP_EVENTS_IMPL_H

#include "agent/base/shared.h"
#include "agent/http/events.h"

/* A reader's topic: JSON, or the sections of the page. With its look that is one kind of reader, and one channel. */
enum { EVENTS_STATUS, EVENTS_PAGE, EVENTS_TOPICS };
enum { EVENTS_KINDS = (int)EVENTS_TOPICS * (int)EVENTS_LOOKS };

static inline unsigned events_kind(unsigned topic, enum events_look look)
{
    return topic * EVENTS_LOOKS + look;
}

/* What all readers of a kind have been told. Zeroed: nothing yet. */
struct events_channel {
    uint64_t version;                                 /* of the view that it was last compared with, for events.c */
    uint64_t key;                                     /* of the states at that time */
    uint64_t quiet_until_ms;                          /* monotonic: figures alone wait so long, as the last event was large */
    uint64_t number;                                  /* of the last event; readers that have it are up to date */
    struct shared *event, *snapshot;                  /* the last change, and all of that time; NULL: none, or not made yet */
    uint64_t state, verdict, diagnosis, fleet, names; /* hashes of what was sent last */
    uint64_t *parts;                                  /* and of each check, or section of the page */
    size_t count;
};

/* Finds what has changed, and makes an event of it; without any change there is no other number than before. */
void events_channel_refresh(struct events_channel *channel, const struct agent_view *view, unsigned kind);
struct shared *events_channel_snapshot(struct events_channel *channel, const struct agent_view *view,
                                       unsigned kind);    /* one reference */
void events_channel_drop(struct events_channel *channel); /* all but the number: nobody has the next one */
/* Of what is told at once: states, the verdict, the cause. The number of clients that are left changes all the time. */
uint64_t events_hash_states(const struct agent_view *view);

#endif
