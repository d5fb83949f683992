/*
 * What the tests of the net layer share: a loop with a watchdog, streams that record their events, and plain sockets for the other
 * side.
 */
#ifndef WSHEALTHD_TESTS_NET_SUPPORT_H
#define WSHEALTHD_TESTS_NET_SUPPORT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/net/dial.h"
#include "agent/net/listen.h"

enum { WATCHDOG_MS = 20000, WATCHDOG_TICK_MS = 20 };

/* The watchdog ticks: one turn of libuv may run a timer first and then wait for the next event, although the awaited one has
 * happened. */
static inline void on_watchdog(struct timer *timer, void *user)
{
    (void)user;
    timer_start(timer, WATCHDOG_TICK_MS);
}

/* Turns the loop until *done is not 0. */
static inline void run_until(struct loop *loop, const int *done)
{
    uint64_t end = uv_hrtime() + (uint64_t)WATCHDOG_MS * NS_PER_MS;
    struct timer watchdog = { 0 };
    timer_init(&watchdog, loop, on_watchdog, NULL);
    timer_start(&watchdog, WATCHDOG_TICK_MS);
    while (*done == 0 && uv_hrtime() < end)
        uv_run(&loop->uv, UV_RUN_ONCE);
    timer_stop(&watchdog);
    assert_int_not_equal(*done, 0);
}

static inline void on_nap_over(struct timer *timer, void *user)
{
    (void)timer;
    *(int *)user = 1;
}

/* Turns the loop for a while: for things that must not happen. */
static inline void run_for(struct loop *loop, uint64_t ms)
{
    int over = 0;
    struct timer nap = { 0 };
    timer_init(&nap, loop, on_nap_over, &over);
    timer_start(&nap, ms);
    run_until(loop, &over);
}

struct heard {
    struct buf data;
    int data_calls, ends, drains, total;
    struct err end;
};

static inline void heard_data(void *user, struct slice data)
{
    struct heard *heard = user;
    heard->data_calls++;
    heard->total += (int)data.len;
    buf_append_slice(&heard->data, data);
}

static inline void heard_end(void *user, const struct err *err)
{
    struct heard *heard = user;
    heard->ends++;
    heard->end = *err;
}

static inline void heard_drain(void *user)
{
    struct heard *heard = user;
    heard->drains++;
}

static const struct stream_events heard_events = { heard_data, heard_end, heard_drain };

struct dialled {
    struct dial_target target;
    struct dial_report report;
    struct url url;
    struct stream *stream;
    struct err err;
    int opens, fails, done;
};

static inline void dialled_open(void *user, struct stream *stream)
{
    struct dialled *dialled = user;
    dialled->stream = stream;
    dialled->opens++;
    dialled->done++;
}

static inline void dialled_fail(void *user, const struct err *err)
{
    struct dialled *dialled = user;
    dialled->err = *err;
    dialled->fails++;
    dialled->done++;
}

static const struct dial_events dialled_events = { dialled_open, dialled_fail };

static inline struct dial *dial_begin(struct loop *loop, struct dialled *dialled, const char *host, int port,
                                      struct tls_context *tls)
{
    memset(dialled, 0, sizeof *dialled);
    snprintf(dialled->url.host, sizeof dialled->url.host, "%s", host);
    dialled->url.port = (uint16_t)port;
    if (host[0] == '/') {
        dialled->url.is_unix = true;
        snprintf(dialled->url.unix_path, sizeof dialled->url.unix_path, "%s", host);
        snprintf(dialled->url.host, sizeof dialled->url.host, "localhost");
    }
    dialled->target = (struct dial_target){ .url = &dialled->url, .tls = tls };
    struct dial *dial = dial_start(loop, &dialled->target, &dialled_events, dialled, &dialled->report);
    assert_int_equal(dialled->done, 0); /* never inside the call */
    return dial;
}

static inline void dial_whole(struct loop *loop, struct dialled *dialled, const char *host, int port, struct tls_context *tls)
{
    dial_begin(loop, dialled, host, port, tls);
    run_until(loop, &dialled->done);
    assert_int_equal(dialled->done, 1);
}

/* A plain listening socket on a free port of 127.0.0.1. */
static inline int listen_plain(int *port, int backlog)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
    *port = ntohs(name.sin_port);
    return fd;
}

/* A port without a listener: it is bound, so that no other process takes it. */
static inline int refuse_plain(int *port)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
    *port = ntohs(name.sin_port);
    return fd;
}

static inline int connect_plain(int port)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) }, .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
    return fd;
}

static inline void close_reset(int fd)
{
    struct linger none = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
}

#endif
