/* The faults of `wshealthd demo`: one table, from which the command line, the help, the manual and the server take them. */
#ifndef WSHEALTHD_DEMO_DEMO_FAULTS_H
#define WSHEALTHD_DEMO_DEMO_FAULTS_H

#include <stdint.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"

/* X(id, name, help), in the order of a connection's life. */
#define DEMO_FAULT_LIST(X)                                                                                               \
    X(REFUSE, "refuse", "stops listening and drops everybody: a server that is down")                                    \
    X(RESET, "reset", "resets every connection as soon as it is accepted")                                               \
    X(HANG, "hang", "accepts connections and never says a word")                                                         \
    X(REJECT_UPGRADE, "reject-upgrade", "answers the upgrade with 503")                                                  \
    X(UNAUTHORIZED, "unauthorized", "answers the upgrade with 401")                                                      \
    X(REDIRECT, "redirect", "answers the upgrade with a redirect to a login page")                                       \
    X(PLAIN_HTTP, "plain-http", "answers the upgrade with 200 and a web page")                                           \
    X(BAD_ACCEPT, "bad-accept", "answers 101 with a wrong Sec-WebSocket-Accept")                                         \
    X(BAD_UPGRADE, "bad-upgrade", "answers 101 and forgets the Upgrade header")                                          \
    X(BAD_EXTENSION, "bad-extension", "answers 101 with an extension that nobody offered")                               \
    X(SILENT_DROP, "silent-drop", "upgrades, then neither reads nor answers; open connections go silent")                \
    X(NO_PONG, "no-pong", "echoes messages and leaves pings unanswered")                                                 \
    X(MUTE, "mute", "answers pings, echoes nothing and passes nothing on")                                               \
    X(SLOW_ECHO, "slow-echo", "echoes half a second late")                                                               \
    X(WRONG_ECHO, "wrong-echo", "answers messages with something else")                                                  \
    X(CLOSE_1011, "close-1011", "closes every connection with code 1011, internal error")                                \
    X(DROP_200MS, "drop-200ms", "drops every connection after 200 ms, without a close frame")                            \
    X(BAD_FRAME, "bad-frame", "masks its frames, which a server must not")                                               \
    X(BAD_UTF8, "bad-utf8", "echoes text that is not UTF-8")                                                             \
    X(HALF_FRAME, "half-frame", "stops in the middle of an echo")                                                        \
    X(HUGE_FRAME, "huge-frame", "announces an echo of a tebibyte")                                                       \
    X(DETACH_BROKER, "detach-broker", "loses its subscription to the broker and does not notice: nothing else is wrong") \
    X(BROKER_DOWN, "broker-down", "takes the in-process broker down: no fault of this server, so that it stays ready")   \
    X(BROKER_READ_ONLY, "broker-read-only", "makes the in-process broker refuse every message")                          \
    X(BROKER_MUTE, "broker-mute", "makes the in-process broker take messages and deliver none")                          \
    X(CHATTY, "chatty", "greets, pings and chats without being asked: no fault, and must pass")

#define DEMO_FAULT_ENUM(id, name, help) DEMO_##id,
enum demo_fault { DEMO_FAULT_LIST(DEMO_FAULT_ENUM) DEMO_FAULT_COUNT };
#undef DEMO_FAULT_ENUM

/* Several can be on at once. */
typedef uint32_t demo_fault_set;
#define DEMO_FAULT_BIT(fault) ((demo_fault_set)1 << (fault))
/* These break the broker, not the server. */
#define DEMO_BROKER_FAULTS \
    (DEMO_FAULT_BIT(DEMO_BROKER_DOWN) | DEMO_FAULT_BIT(DEMO_BROKER_READ_ONLY) | DEMO_FAULT_BIT(DEMO_BROKER_MUTE))

/* -1 and err, with the nearest name, where there is none of that name. */
int demo_fault_find(const char *name, struct err *err);
const char *demo_fault_name(enum demo_fault fault);
const char *demo_fault_help(enum demo_fault fault);
void demo_write_fault_list(demo_fault_set on, struct buf *out); /* a line for each; those that are on are marked */

#endif
