/*
 * One connection for several checks of a target (`share_connection: true`), for servers that allow one session for a token. Checks use it
 * through dialogues (agent/client/dialogue.h) that were opened with conn_options.share: such a dialogue is a guest. The first guest has the
 * connection opened, every guest sees all messages that come, and the connection ends
 *
 *     when the last guest leaves (dialogue_leave), unless one of the checks keeps connections between its rounds,
 *     when a guest closes or drops it (dialogue_close, dialogue_drop), as soon as no other asks something on it (conn_options.asker): those that
 *       have it still hear of that (on_ended). Of one that was dropped nothing more is to be hoped for: a round that would wait for it longer than
 *       the timeout of the check that dropped it is void, lest one patient check keep all others from a new connection. But no check makes void what
 *       gates more than itself,
 *     when the server ends it: every guest that has it hears of that (on_lost).
 *
 * The next one is not begun before the goodbye of the one before is over, CONN_LINGER_MS at most: the server never sees two. Rounds wait for that
 * before they begin (share_is_between), so that none loses its time to another's end.
 */
#ifndef WSHEALTHD_CLIENT_SHARE_H
#define WSHEALTHD_CLIENT_SHARE_H

#include "agent/base/list.h"
#include "agent/client/dialogue.h"
#include "agent/client/generation.h"

struct share;
struct guest; /* what a dialogue is towards its share */

/* The share of that path of the generation's target, over that version of HTTP, out of *list, or a new one in it; counted. `keeps`: for a
 * check that keeps its connection between rounds. The group lives longer. */
struct share *share_ref(struct share **list, struct conn_group *group, struct generation *generation, int path, bool http2,
                        bool keeps);
void share_unref(struct share *share, bool keeps);                      /* NULL is none */
void share_use_tls(struct share *share, struct generation *generation); /* for connections from now on */
bool share_is_open(const struct share *share);                          /* whoever joins now opens nothing */
bool share_is_between(const struct share *share); /* one connection is about to end, and the next is not begun: for a moment */
/*
 * Checks whose answers could be taken for each other's talk one at a time, in the order in which they have asked; whose verdict hangs in the balance
 * (`urgent`) goes before the others. False: it is not its turn yet, and it must ask again soon, or yield. list_init a turn's node first.
 */
struct share_turn {
    struct list node;
    bool urgent;
};
bool share_claim(struct share *share, struct share_turn *turn, bool urgent);
void share_yield(struct share *share, struct share_turn *turn); /* harmless for whoever has not claimed it; share may be NULL */

/* For agent/client/dialogue.c: a guest's side of the functions of the same names. */
struct guest *guest_join(const struct conn_options *options, struct dialogue *dialogue, const struct dialect *dialect,
                         const char *id, struct conn_report *report);
void guest_leave(struct guest *guest);
void guest_end(struct guest *guest, uint16_t code, bool drop);
bool guest_is_ready(const struct guest *guest);
int guest_send(struct guest *guest, enum ws_opcode opcode, struct slice payload);
uint64_t guest_opened_ns(const struct guest *guest);
struct dialogue *guest_host(const struct guest *guest); /* the dialogue that has the connection */
int guest_timeout_err(const struct guest *guest, uint64_t timeout_ms, struct err *err);

#endif
