/*
 * Whoever uses a broker, for the tests of drivers: one connection under the broker core, what was heard of it, and waiting for that. A test
 * file that includes this uses all of it.
 */
#ifndef WSHEALTHD_TESTS_UNIT_BROKERS_CLIENT_H
#define WSHEALTHD_TESTS_UNIT_BROKERS_CLIENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/core/broker.h"
#include "brokers/registry.h"

enum { PATIENCE_MS = 30000 };

static struct loop loop;
static struct broker *broker;
static struct broker_conf conf;
static char url[256];
static struct broker_watcher watch;
static struct heard {
    unsigned ups, downs, answers, confirmed, refused, messages;
    struct err down, answer, refusal;
    char body[64];
} heard;

static void on_change(void *user, bool up, const struct err *err)
{
    (void)user;
    heard.ups += up;
    heard.downs += !up;
    if (!up)
        heard.down = *err;
}

static void on_answer(void *user, const struct err *err, uint64_t rtt_ns)
{
    (void)user, (void)rtt_ns;
    heard.answers++;
    heard.answer = err ? *err : (struct err){ 0 };
}

static void on_state(void *user, bool confirmed, const struct err *err)
{
    (void)user;
    heard.confirmed += confirmed;
    heard.refused += !confirmed;
    if (err)
        heard.refusal = *err;
}

static void on_message(void *user, struct slice body, uint64_t received_ns)
{
    (void)user;
    assert_true(received_ns > 0);
    heard.messages++;
    snprintf(heard.body, sizeof heard.body, "%.*s", (int)body.len, body.len ? (const char *)body.data : "");
}

static void on_late(struct timer *timer, void *user)
{
    (void)timer;
    *(bool *)user = true;
}

/* Turns the loop until the number is at least that. */
static void await(const unsigned *number, unsigned want)
{
    struct timer guard = { 0 };
    bool late = false;
    timer_init(&guard, &loop, on_late, &late);
    timer_start(&guard, PATIENCE_MS);
    while (*number < want && !late)
        uv_run(&loop.uv, UV_RUN_ONCE);
    timer_stop(&guard);
    assert_false(late);
}

static void assert_says(const struct err *err, enum reason reason, const char *text)
{
    assert_string_equal(reason_name(err->reason), reason_name(reason));
    if (!strstr(err->text, text))
        fail_msg("'%s' is not in '%s'", text, err->text);
}

static void client_init(const struct broker_type *type)
{
    memset(&heard, 0, sizeof heard);
    memset(&watch, 0, sizeof watch);
    conf = (struct broker_conf){ .name = (char *)(uintptr_t)"bus",
                                 .type = type,
                                 .url = url,
                                 .tls = { .verify = true, .min_version = 2 },
                                 .timeout_ms = 10000,
                                 .retry_min_ms = 10,
                                 .retry_max_ms = 20 };
    conf.opts = mem_alloc(type->opts_size);
    opt_defaults(type->opts, conf.opts);
}

static void client_fini(void)
{
    opt_fini(conf.type->opts, conf.opts);
    mem_free(conf.opts);
}

static void option(const char *name, const char *value)
{
    struct err err;
    assert_int_equal(opt_set(conf.type->opts, conf.opts, name, value, &err), 0);
}

static void begin(void)
{
    broker = broker_new(&loop, &conf, NULL);
    watch.on_change = on_change;
    broker_watch(broker, &watch);
    broker_start(broker);
}

static void begin_up(void)
{
    begin();
    await(&heard.ups, 1);
}

static void on_freed(void *user)
{
    *(unsigned *)user = 1;
}

static void end(void)
{
    unsigned gone = 0;
    broker_unwatch(&watch);
    broker_free(broker, on_freed, &gone);
    await(&gone, 1);
}

#endif
