/*
 * What is told of an incident: one struct for all receivers. Owned by agent/notify; every pointer lives for the call it is given to. Texts
 * may quote addresses and the peer, as a notification goes to the operators; secrets in them are masked already.
 *
 * One incident is one conversation: NOTICE_BEGIN once, then NOTICE_CHANGE and NOTICE_REPEAT, NOTICE_END once. All have the same `incident`.
 */
#ifndef WSHEALTHD_NOTIFY_NOTICE_H
#define WSHEALTHD_NOTIFY_NOTICE_H

#include <stdbool.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"

enum notice_kind {
    NOTICE_BEGIN,  /* a fault has lasted for `after` */
    NOTICE_CHANGE, /* another word or cause, or flapping that was folded: `changes` */
    NOTICE_REPEAT, /* as it was: after `repeat`, or because the receiver forgets it */
    NOTICE_END,    /* it is over; `untold`: and nobody has been told that it began */
    NOTICE_TEST,   /* `wshealthd notify test`: no incident */
};
/* How bad the present state is; of NOTICE_END how bad it was does not matter: it is NOTICE_OK. */
enum notice_severity { NOTICE_OK, NOTICE_INFO, NOTICE_WARNING, NOTICE_CRITICAL };

struct notice {
    enum notice_kind kind;
    enum notice_severity severity;
    char incident[40];      /* letters, digits and -: the same for all messages of one incident, another one for the next */
    const char *key;        /* the same for all incidents of this agent, also after a restart: "chat-1@eu-west" */
    const char *was, *word; /* first line of /ready: "ready", "degraded", "not ready", "draining", or "not live", or "warning" */
    const char *cause;      /* "server_down", …; of NOTICE_END the incident's last one */
    const char *sentence;   /* likewise */
    const char *const *advice;
    size_t advice_count;
    const char *const *because; /* names of checks */
    size_t because_count;
    bool because_more;   /* there are others */
    const char *service; /* the target's URL, without secrets */
    const char *agent_id, *region, *host;
    const char *link;        /* page.url: the status page; NULL: not configured */
    int64_t begun_ms, at_ms; /* wall: of the incident, of this message */
    unsigned changes;        /* of the state or the cause since the last message: those that are folded into this one */
    unsigned left_out;       /* messages that were not sent before this one: max_per_hour, or the receiver failed */
    bool untold;             /* of NOTICE_END: no message of this incident has arrived */
    const char *status_json; /* the whole of /status, one JSON object, without a line break at its end; NULL: too long */
    const char *version;     /* of the agent */
};

const char *notice_kind_name(enum notice_kind kind);             /* "begin", "change", "repeat", "end", "test" */
const char *notice_severity_name(enum notice_severity severity); /* "ok", "info", "warning", "critical" */
/* Is the incident open after this message? False for NOTICE_END and NOTICE_TEST. */
bool notice_is_open(const struct notice *notice);
/* "4m12s", from begun_ms to at_ms; to the second. */
void notice_duration(const struct notice *notice, char *out, size_t size);
/* As one JSON object, for programs (webhook and exec): kind, severity, incident, key, word, was, cause, sentence, advice, because, service,
 * agent, region, host, link, begun, at, duration_s, changes, left_out, untold, version, title, and `status`, as /status has it. -1: too long. */
int notice_json(const struct notice *notice, struct buf *out);
/* The template of `body`: {{title}} {{text}} {{kind}} {{severity}} {{incident}} {{key}} {{word}} {{was}} {{cause}} {{sentence}} {{advice}} (lines)
 * {{because}} (with commas) {{service}} {{agent}} {{region}} {{host}} {{link}} {{begun}} {{at}} {{duration}} {{changes}} {{version}}, {{status}} (JSON,
 * as it is), and {{now}} {{now_s}} {{uuid}} and the functions of agent/proto/template.h (notifier_holes of agent/conf/conf_notify.c). json: values
 * are escaped as the inside of a JSON string. What servers and brokers say is written by `escape` (struct receiver_type) unless that is NULL. */
int notice_expand(const char *body, const struct notice *notice, bool json, size_t (*escape)(struct slice, size_t, char *),
                  struct buf *out, struct err *err);

#endif
