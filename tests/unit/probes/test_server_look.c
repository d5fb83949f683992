/* A look that only counts (probes/server_look.h), as draining wants it: on real sockets, with every source of the kernel's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/net/loop.h"
#include "probes/server_look.h"

static struct loop loop;
static struct look *look;
static struct look_ask question;
static struct look_seen seen;
static int listening;
static uint16_t port;

static void on_seen(void *user, const struct look_seen *now)
{
    (void)user;
    seen = *now;
    loop_stop(&loop);
}

static const struct look_seen *look_once(void)
{
    assert_int_equal(look_ask(look, &question), 0);
    loop_run(&loop);
    return &seen;
}

static int begin(void **state)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t len = sizeof address;
    struct err err;
    (void)state;
    listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listening, 16), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &len), 0);
    port = ntohs(address.sin_port);
    assert_int_equal(loop_init(&loop, &err), 0);
    const struct look_plan plan = { .port = port, .count_only = true };
    look = look_new(&loop, &plan, on_seen, NULL, &err);
    assert_non_null(look);
    memset(&question, 0, sizeof question);
    return 0;
}

static int end(void **state)
{
    (void)state;
    sockdiag_set_source(NULL, false);
    look_free(look);
    loop_fini(&loop);
    if (listening >= 0)
        close(listening);
    return 0;
}

/* This process is the agent, so its own connections are not counted: those of a child are. It ends when the pipe does. */
static int clients(unsigned count)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    int life[2], up[2];
    char byte = 0;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(pipe(life), 0);
    assert_int_equal(pipe(up), 0);
    pid_t child = fork();
    if (child == 0) {
        close(life[1]);
        close(listening);
        for (unsigned i = 0; i < count; i++)
            if (connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address) != 0)
                _exit(1);
        (void)!write(up[1], "u", 1);
        (void)!read(life[0], &byte, 1);
        _exit(0);
    }
    assert_true(child > 0);
    close(life[0]);
    close(up[1]);
    assert_int_equal(read(up[0], &byte, 1), 1);
    close(up[0]);
    return life[1];
}

static void count_clients(void)
{
    int own = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted[2];
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    assert_true(look_once()->counted);
    assert_int_equal(seen.connections[SERVER_ESTABLISHED] + seen.waiting, 0);
    int child = clients(3);
    assert_int_equal(connect(own, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(look_once()->waiting, 3);
    for (size_t i = 0; i < 2; i++)
        accepted[i] = accept(listening, NULL, NULL);
    assert_int_equal(look_once()->waiting, 1);
    assert_int_equal(seen.connections[SERVER_ESTABLISHED], 2);
    /* The server drains: it listens no more. What was in its queue is gone with that. */
    close(listening);
    listening = -1;
    assert_int_equal(look_once()->listeners, 0);
    assert_false(seen.never);
    assert_true(seen.counted);
    assert_int_equal(seen.connections[SERVER_ESTABLISHED], 2);
    close(child);
    for (int i = 0; i < 1000 && look_once()->connections[SERVER_ESTABLISHED]; i++)
        usleep(10000);
    assert_true(seen.counted);
    assert_int_equal(seen.connections[SERVER_ESTABLISHED] + seen.waiting, 0);
    for (size_t i = 0; i < 2; i++)
        close(accepted[i]);
    close(own);
}

static void clients_are_counted_by_netlink(void **state)
{
    (void)state;
    count_clients();
    assert_false(seen.slow_source);
}

static void clients_are_counted_by_proc(void **state)
{
    (void)state;
    sockdiag_set_source(NULL, true);
    count_clients();
    assert_true(seen.slow_source);
}

static void what_cannot_be_seen_is_not_counted(void **state)
{
    (void)state;
    sockdiag_set_source("/nonexistent", true);
    assert_false(look_once()->counted);
    assert_true(seen.refused);
    sockdiag_set_source(NULL, false);
    assert_true(look_once()->counted);
    question.unresolved = true;
    assert_false(look_once()->counted);
    question.unresolved = false;
    question.target.count = 1;
    sock_end_from_v4(&question.target.items[0], &(struct in_addr){ .s_addr = htonl(0xC0000201) }); /* 192.0.2.1 */
    assert_false(look_once()->counted);
    assert_true(seen.elsewhere);
}

static void where_nothing_has_listened_nothing_is_counted(void **state)
{
    (void)state;
    close(listening);
    listening = -1;
    assert_false(look_once()->counted);
    assert_true(seen.never);
}

#define with_look(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_look(clients_are_counted_by_netlink),
        with_look(clients_are_counted_by_proc),
        with_look(what_cannot_be_seen_is_not_counted),
        with_look(where_nothing_has_listened_nothing_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
