/*
 * What the types of receivers (agent/conf/receiver_type.h) get and fill: one message. A type translates, and decides nothing: when
 * something is told, retries, deadlines, TLS and masking are agent/notify's. webhook.c is the shortest.
 */
#ifndef WSHEALTHD_NOTIFY_RECEIVER_H
#define WSHEALTHD_NOTIFY_RECEIVER_H

#include "agent/base/buf.h"
#include "agent/conf/conf.h"
#include "agent/conf/receiver_type.h"
#include "agent/notify/notice.h"

enum {
    MESSAGE_BODY_MAX = 1 << 20,
    MESSAGE_HEADERS_MAX = 16 << 10,
    MESSAGE_URL_MAX = 4096,
    MESSAGE_ARGS_MAX = 32,
    MESSAGE_ARG_MAX = 4096
};

/* All that a receiver is sent. Filled before compose: method, url, headers and templated; compose adds to it. */
struct message_out {
    /* by HTTP */
    const char *method; /* POST */
    struct buf url;     /* the configured one, with its files read; compose may add a path ("/api/v2/alerts") */
    struct buf headers; /* those of `headers`, each ended by \r\n, and Content-Type unless it is there; compose may add some */
    /* by a program: what is run. The first is a path with a slash, or found on the PATH of the agent. */
    char *args[MESSAGE_ARGS_MAX + 1]; /* owned; ends with NULL. Use message_arg */
    size_t arg_count;
    /* of both: the body, or standard input */
    struct buf body;
    /* `body` is configured, and is expanded in `text`. By HTTP it has been copied into `body` as well: compose returns at once, unless the type
     * has_header. */
    bool templated;
    struct buf text;
};
int message_arg(struct message_out *message, const char *arg); /* copies; -1: too many, or too long */

/* Rules that most receivers keep. By HTTP: 2xx is taken; 408, 425, 429 and 5xx are worth another try, all others are not, and a redirect is not
 * followed. By a program: 0 is taken, all others are worth another try, but 64 to 69 and 77, 78 (sysexits.h: usage, data, no host, no
 * permission, configuration), 126 and 127 are not. err has the beginning of the answer. */
int receiver_judge_http(int status, struct slice answer, bool *again, struct err *err);
int receiver_judge_program(int status, struct slice answer, bool *again, struct err *err);
/* The beginning of an answer as a sentence may quote it: ": invalid_payload", or "" for an empty one. */
void receiver_quote(struct slice answer, char *out, size_t size);
/* The expanded value of a dynamic option (OPT_DYNAMIC: ${file:…} is read now); NULL and *err where a file cannot be read. Free it. */
char *receiver_option(const char *value, const char *option, struct err *err);

#endif
