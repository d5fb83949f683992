/*
 * The end of a client's connection that nobody holds any more (agent/client/conn_farewell.h): what the peer still says is read and thrown away
 * until it closes, for a second and a mebibyte at most. Closing at once would answer bytes under way with a reset, which the server's log
 * shows as a fault. Called by agent/client/conn.c; tells nobody.
 */
#include "agent/client/conn_farewell.h"

#include "agent/base/mem.h"

/* Most servers answer and close within a moment. To be woken for each of them would cost as much as to connect. */
enum { FAREWELL_BYTES_MAX = 1 << 20, LOOK_MS = 50, LOOK_MAX = 64 };

/* A stream without an owner, whose peer is given time to answer the close frame. */
struct farewell {
    struct list node; /* in group->farewells, or in group->aside */
    struct stream *stream;
    struct timer timer;
    struct conn_group *group;
    size_t swallowed;
    bool shared;
};

static void on_look(struct timer *timer, void *user);

void conn_group_init(struct conn_group *group, struct loop *loop)
{
    *group = (struct conn_group){ .loop = loop, .budget = { 0, CONN_UNFINISHED_MAX } };
    list_init(&group->farewells);
    list_init(&group->aside);
    timer_init(&group->look, loop, on_look, group);
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
    timer_stop(&group->look);
    http_reader_free(group->spare);
    group->spare = NULL;
    list_each_safe (node, &group->farewells)
        farewell_end(list_entry(node, struct farewell, node));
    list_each_safe (node, &group->aside)
        farewell_end(list_entry(node, struct farewell, node));
}

bool conn_group_idle(const struct conn_group *group)
{
    return list_empty(&group->farewells) && list_empty(&group->aside);
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

static void read_on(struct farewell *farewell, uint64_t wait_ms)
{
    list_push(&farewell->group->farewells, &farewell->node);
    timer_init(&farewell->timer, farewell->group->loop, on_farewell_timer, farewell);
    timer_start(&farewell->timer, wait_ms);
    stream_start(farewell->stream, &farewell_events, farewell);
}

static void on_look(struct timer *timer, void *user)
{
    struct conn_group *group = user;

    for (int left = LOOK_MAX; left && !list_empty(&group->aside); left--) {
        struct farewell *farewell = list_entry(group->aside.next, struct farewell, node);

        list_remove(&farewell->node);
        if (stream_has_ended(farewell->stream, &farewell->swallowed))
            farewell_end(farewell);
        else
            read_on(farewell, CONN_LINGER_MS - LOOK_MS);
    }
    if (!list_empty(&group->aside))
        timer_start(timer, 0); /* the others in the next turn */
}

void farewell_begin(struct conn_group *group, struct stream *stream, bool shared)
{
    struct farewell *farewell = mem_alloc(sizeof *farewell);

    farewell->stream = stream;
    farewell->group = group;
    farewell->shared = shared;
    group->shared_farewells += shared;
    if (!group->unhurried || shared || !stream_set_aside(stream)) {
        read_on(farewell, CONN_LINGER_MS);
        return;
    }
    list_push(&group->aside, &farewell->node);
    if (!timer_active(&group->look))
        timer_start(&group->look, LOOK_MS);
}
