/*
 * The end of a client's connection that nobody holds any more (agent/client/conn_farewell.h): what the peer still says is read and thrown away
 * until it closes, for a second and a mebibyte at most. Closing at once would answer bytes under way with a reset, which the server's log
 * shows as a fault. Called by agent/client/conn.c; tells nobody.
 */
#include "agent/client/conn_farewell.h"

#include "agent/base/mem.h"

enum { FAREWELL_BYTES_MAX = 1 << 20 };

/* A stream without an owner, whose peer is given time to answer the close frame. */
struct farewell {
    struct list node;
    struct stream *stream;
    struct timer timer;
    struct conn_group *group;
    size_t swallowed;
    bool shared;
};

void conn_group_init(struct conn_group *group, struct loop *loop)
{
    group->loop = loop;
    group->current = NULL;
    group->shared_farewells = 0;
    group->budget = (struct ws_budget){ 0, CONN_UNFINISHED_MAX };
    list_init(&group->farewells);
}

static void farewell_end(struct farewell *farewell)
{
    timer_stop(&farewell->timer);
    list_remove(&farewell->node);
    farewell->group->shared_farewells -= farewell->shared;
    stream_close_now(farewell->stream);
    mem_free(farewell);
}

void conn_group_fini(struct conn_group *group)
{
    list_each_safe (node, &group->farewells)
        farewell_end(list_entry(node, struct farewell, node));
}

bool conn_group_idle(const struct conn_group *group)
{
    return list_empty(&group->farewells);
}

static void on_farewell_timer(struct timer *timer, void *user)
{
    (void)timer;
    farewell_end(user);
}

static void on_farewell_data(void *user, struct slice data)
{
    struct farewell *farewell = user;

    farewell->swallowed += data.len;
    if (farewell->swallowed > FAREWELL_BYTES_MAX)
        farewell_end(farewell);
}

static void on_farewell_end(void *user, const struct err *err)
{
    (void)err;
    farewell_end(user);
}

static const struct stream_events farewell_events = { .on_data = on_farewell_data, .on_end = on_farewell_end };

void farewell_begin(struct conn_group *group, struct stream *stream, bool shared)
{
    struct farewell *farewell = mem_alloc(sizeof *farewell);

    farewell->stream = stream;
    farewell->group = group;
    farewell->shared = shared;
    group->shared_farewells += shared;
    list_push(&group->farewells, &farewell->node);
    timer_init(&farewell->timer, group->loop, on_farewell_timer, farewell);
    timer_start(&farewell->timer, CONN_LINGER_MS);
    stream_start(stream, &farewell_events, farewell);
}
