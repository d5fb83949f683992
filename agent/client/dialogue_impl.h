/*
 * Inside a dialogue: what its files share. agent/client/dialogue.c is its course, dialogue_channels.c subscriptions and
 * whose a message is, dialogue_parts.c matches and texts.
 */
#ifndef WSHEALTHD_CLIENT_DIALOGUE_IMPL_H
#define WSHEALTHD_CLIENT_DIALOGUE_IMPL_H

#include "agent/base/text.h"
#include "agent/client/dialogue.h"
#include "agent/client/framing.h"
#include "agent/client/holes.h"

/* Who a text is filled in for. */
struct speaker {
    const struct dialect *dialect;
    const struct target_conf *target;
    const char *id;
    const struct conn_override *override; /* NULL: the token is the target's */
    const char *uuid;                     /* one for the connection */
    const struct template_name *names;    /* the owner's */
    size_t name_count;
    struct secret_loan *secrets; /* what functions have made of the token, as long as the connection lives */
};

/* Fills the holes of a match and compiles it; *out is NULL where the match is empty. Channels, tokens and ids are quoted as each part wants:
 * for regular expressions, for JSON, or as the dialect's texts are. */
int speaker_match(const struct speaker *speaker, const struct match_spec *spec, const char *channel, uint64_t seq,
                  struct match **out, struct err *err);
/* What is awaited, for a sentence, with the holes filled: "JSON with /id = 1". */
void speaker_describe(const struct speaker *speaker, const struct match_spec *spec, const char *channel, uint64_t seq, char *out,
                      size_t size);

/* One channel that was asked for. */
struct subscription {
    struct list node;
    char *channel, *prefix;
    struct match *expect, *reject, *message;
    bool by_name; /* its messages hold the channel's name as it is: looked for before anything costlier */
    bool confirmed;
    uint64_t seq;    /* what {{seq}} was when it was asked for */
    uint64_t due_ns; /* confirmed then by silence; 0: by `expect` */
};
struct subscription *subscription_new(const struct speaker *speaker, const char *channel, uint64_t seq, struct err *err);
void subscription_free(struct subscription *subscription);

/* body_after, prefix, payload. `out` holds what had to be taken out of JSON. False: there is no payload in it. */
bool payload_unwrap(const struct dialect *dialect, const char *prefix, struct slice unit, struct buf *out, struct slice *payload);

/* Matches tried on one message, in bytes: a hostile message times thousands of subscriptions must not hold up the loop. */
struct effort {
    size_t left;
};
enum { EFFORT_BYTES = 8 << 20, EFFORT_EACH = 64 };
bool effort_try(struct effort *effort, struct match *match, struct slice unit); /* NULL does not match */

enum stage { STAGE_IDLE, STAGE_OPENING, STAGE_GREETING, STAGE_CONNECTING, STAGE_READY };

struct dialogue {
    struct conn conn;
    struct guest *guest; /* of a shared connection, which another dialogue has: then this one is idle but for that; NULL */
    const struct dialogue_events *events;
    void *user;
    struct speaker speaker;
    char *id;
    char uuid[TEMPLATE_UUID_BYTES];
    const struct template_name *names; /* dialogue_set_names */
    size_t name_count;
    struct secret_loan secrets;
    enum stage stage;
    struct conn_group *group;      /* group->current is our conn as long as the owner has not let go in a callback */
    uint64_t opened_ns, seq;       /* seq: counts what has an answer of its own, connect and subscriptions */
    struct match *expect, *reject; /* of the stage */
    struct match *keepalive;
    struct match *message; /* NULL: every message, or each subscription has its own */
    char *prefix;          /* of message, where it has no channel in it */
    bool confirms;         /* dialogue_confirms; kept when the connection goes */
    bool per_channel;      /* messages are told apart by their subscription's match */
    struct framing framing;
    struct list pending, confirmed; /* subscriptions; the confirmed whose messages came last are at the end */
    size_t subscription_count;
    struct timer ping_timer, settle;
    unsigned answers; /* to keep-alives, of the message of now: one message must not make us say thousands */
    char *last;       /* what nothing took */
};
enum { SHOWN_CHARS = 80, SHOWN_BYTES = TEXT_EXCERPT_BYTES(SHOWN_CHARS) }; /* of a peer's text in a sentence */

/* Around every callback: has the owner kept the dialogue? It may be freed; only this is asked then. */
struct dialogue_call {
    const struct conn_group *group;
    const struct conn *conn;
};
static inline struct dialogue_call dialogue_call_of(const struct dialogue *dialogue)
{
    return (struct dialogue_call){ dialogue->group, &dialogue->conn };
}
static inline bool dialogue_kept(struct dialogue_call call)
{
    return call.group->current == call.conn;
}

/* Other parts for channels: of the same dialect with something put over them. -1: as it was. */
int dialogue_adopt(struct dialogue *dialogue, const struct dialect *dialect, struct err *err);
/* Sends one text of the dialect. *said is false where it came out empty. */
int dialogue_say(struct dialogue *dialogue, const struct opt_bytes *text, const char *channel, bool *said, struct err *err);
/* 1: the unit answers a subscription; 0: it does not; -1: the dialogue is gone. */
int dialogue_confirmation(struct dialogue *dialogue, struct effort *effort, struct slice unit);
/* Hands on what the unit carries for a channel, if it does. False: the dialogue is gone. */
bool dialogue_payload(struct dialogue *dialogue, struct effort *effort, struct slice unit, uint64_t received_ns);
void dialogue_on_settle(struct timer *timer, void *user);

#endif
