/* What every test needs that plays a check's rounds: its configuration from text, a host on the test's loop, and the verdict. */
#ifndef WSHEALTHD_TESTS_HOST_H
#define WSHEALTHD_TESTS_HOST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/check.h"

static inline const char *no_env(const char *name)
{
    (void)name;
    return NULL;
}

/* Fails the test where the configuration has an error. */
static inline struct conf *host_conf(const struct buf *text, const struct conf_env *env)
{
    struct conf_errors errors;
    struct conf *conf;

    conf_errors_init(&errors);
    conf = conf_load_text("test", buf_slice(text), env, &errors);
    if (!conf)
        fail_msg("%s", buf_str(&errors.text));
    conf_errors_fini(&errors);
    return conf;
}

static inline void host_on_tick(void *user, uint64_t late_ms)
{
    (void)user;
    (void)late_ms;
}

/* The callbacks and the rest are the caller's to set. */
static inline void host_begin(struct check_host *host, struct loop *loop)
{
    host->loop = loop;
    conn_group_init(&host->group, loop);
    stall_init(&host->stall, loop, host_on_tick, NULL);
}

static inline void host_end(struct check_host *host)
{
    conn_group_fini(&host->group);
    stall_fini(&host->stall);
}

/* The configuration's checks, `count` of them; they keep the configuration. */
static inline void host_checks(struct check_host *host, struct conf *conf, struct check **checks, size_t count)
{
    struct generation *generation;
    struct err err;

    generation = generation_new(conf, &err);
    assert_non_null(generation);
    for (size_t i = 0; i < count; i++)
        checks[i] = check_new(host, generation, &conf->checks[i]);
    generation_unref(generation);
}

/* `about` begins the message of a failure; words may be NULL. */
static inline void assert_verdict(const struct check_view *view, enum result status, enum reason reason, const char *words,
                                  const char *about)
{
    if (view->status != status || view->reason != reason || (words && !strstr(view->message, words)))
        fail_msg("%s: %s %s \"%s\", want %s %s \"%s\"", about, result_name(view->status), reason_name(view->reason), view->message,
                 result_name(status), reason_name(reason), words ? words : "");
}

#endif
