/* A group of agents for the tests of agent/fleet: summaries of made-up members, and a table that hears them. */
#ifndef WSHEALTHD_TESTS_FLEET_GROUP_H
#define WSHEALTHD_TESTS_FLEET_GROUP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/fleet/members.h"

#define NO_KEY slice_make(NULL, 0)
#define WALL INT64_C(1764226229000)

enum { EVERY_MS = 5000, EXPIRE_MS = 20000 };

static inline struct summary group_summary(const char *id, uint64_t seq)
{
    struct summary summary = {
        .run_ms = 1764226225000, .nonce = 7, .seq = seq, .sent_ms = WALL, .every_ms = EVERY_MS, .word = FLEET_READY
    };

    snprintf(summary.id, sizeof summary.id, "%s", id);
    snprintf(summary.region, sizeof summary.region, "eu-west");
    snprintf(summary.group, sizeof summary.group, "chat");
    snprintf(summary.version, sizeof summary.version, "0.3.0");
    return summary;
}

static inline struct summary group_failing(const char *id, uint64_t seq, const char *cause, int64_t key_ms)
{
    struct summary summary = group_summary(id, seq);

    summary.fault = true;
    summary.fault_key_ms = key_ms;
    summary.scope = SCOPE_LOCAL;
    summary.word = FLEET_NOT_READY;
    snprintf(summary.cause, sizeof summary.cause, "%s", cause);
    return summary;
}

static inline struct members *group_table(const char *own)
{
    return members_new(&(struct members_conf){
        .id = own, .group = "chat", .run_ms = 1764226225000, .nonce = 7, .expire_ms = EXPIRE_MS, .seed = 3 });
}

static inline enum members_news group_hear(struct members *members, const struct summary *summary, uint64_t now_ms)
{
    struct buf line = BUF_INIT(SUMMARY_WIRE_MAX);
    enum members_news news;

    assert_int_equal(summary_write(summary, NO_KEY, &line), 0);
    news = members_take(members, buf_slice(&line), NO_KEY, now_ms, WALL + (int64_t)now_ms, NULL, NULL);
    buf_fini(&line);
    return news;
}

#endif
