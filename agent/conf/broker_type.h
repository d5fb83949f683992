/*
 * What the driver of a message broker declares: its name, options and URLs for the configuration, its functions for the core. What a
 * driver reads and reports is agent/core/broker.h.
 */
#ifndef WSHEALTHD_CONF_BROKER_TYPE_H
#define WSHEALTHD_CONF_BROKER_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/err.h"
#include "agent/base/slice.h"
#include "agent/conf/opt.h"

enum { BROKER_TOPIC_MAX = 512, BROKER_BODY_MAX = 64 << 10, BROKER_REPLY_MAX = 1 << 20, BROKER_ARGS_MAX = 16 };

struct broker_conf;
struct broker;

/*
 * The driver's side. Async contract: a call that returns -1 (and fills err where it has one) never reports; one that returns 0 reports
 * exactly once, and never inside the call. After broker_down nothing more is reported but broker_closed. Topics and bodies given to a
 * driver live for the call only.
 */
struct broker_type {
    const char *name, *summary;
    const char *schemes;     /* "redis rediss redis+unix": what `url` may begin with */
    const char *tls_schemes; /* those of them for which broker_tls is made: "rediss"; NULL: none, or TLS is the library's own */
    const char *
        plain_schemes; /* those of them over which `tls` would have no effect: they are refused. NULL: none, or `validate` refuses it */
    bool
        carries_fleet; /* many may publish and subscribe to one topic, at once and without setting anything up: `fleet` may use it */
    const char *default_url;                                          /* NULL: `url` is required */
    const struct opt *opts;                                           /* rows of its own options, or NULL */
    size_t opts_size, state_size;                                     /* state is zeroed before each open */
    int (*validate)(const struct broker_conf *conf, struct err *err); /* rules across options, the URL's parts; may be NULL */
    bool (*warns)(const struct broker_conf *conf, char *text,
                  size_t size); /* writes a warning for the log at the start; false: there is none. May be NULL */
    int (*open)(struct broker *broker,
                struct err *err);       /* connect, authenticate, learn whether it is writable: broker_up or broker_down */
    int (*ping)(struct broker *broker); /* a round trip that also proves it writable and delivering: broker_pong */
    int (*publish)(struct broker *broker, struct slice topic, struct slice body,
                   uint64_t token); /* broker_published, when the broker took it */
    /* A command of its own instead, broker_published when it was done. What it may begin with; NULL: it has none. */
    const char *const *commands;
    int (*command)(struct broker *broker, const struct slice *args, size_t count, uint64_t token);
    int (*subscribe)(struct broker *broker, struct slice topic);   /* broker_subscribed; from then on broker_message */
    int (*unsubscribe)(struct broker *broker, struct slice topic); /* nothing is reported */
    void (*close)(struct broker *broker); /* callable at any time after open returned 0: broker_closed, once and last, within 1 s */
    void (*end)(void);                    /* once, before the process ends: release libraries. May be NULL */
};

#endif
