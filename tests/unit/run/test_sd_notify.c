/* sd_notify and socket activation. A datagram socket stands for systemd, dup2 puts descriptors where systemd would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/run/sd_notify.h"

static int manager_open(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t len = strlen(path);
    assert_true(len < sizeof address.sun_path);
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)), 0);
    return fd;
}

/* The next datagram as a string, "" where there is none. */
static const char *manager_read(int fd)
{
    static char text[4096];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    text[n < 0 ? 0 : n] = '\0';
    return text;
}

static void speak_to(const char *path)
{
    int manager = manager_open(path);
    setenv("NOTIFY_SOCKET", path, 1);
    notify_init();
    assert_null(getenv("NOTIFY_SOCKET"));
    notify_send("READY=1\nSTATUS=%s, %d checks", "ready", 3);
    assert_string_equal(manager_read(manager), "READY=1\nSTATUS=ready, 3 checks");
    notify_send("WATCHDOG=1");
    assert_string_equal(manager_read(manager), "WATCHDOG=1");
    notify_fini();
    notify_send("STOPPING=1");
    assert_string_equal(manager_read(manager), "");
    close(manager);
}

static void speaks_to_a_path(void **state)
{
    (void)state;
    char path[] = "/tmp/test_notify.XXXXXX";
    assert_non_null(mkdtemp(path));
    char socket_path[64];
    snprintf(socket_path, sizeof socket_path, "%s/s", path);
    speak_to(socket_path);
    unlink(socket_path);
    rmdir(path);
}

static void speaks_to_an_abstract_name(void **state)
{
    (void)state;
    char name[64];
    snprintf(name, sizeof name, "@wshealthd-test-notify-%d", (int)getpid());
    speak_to(name);
}

static void is_silent_without_a_manager(void **state)
{
    (void)state;
    char huge[300];
    memset(huge, 'a', sizeof huge);
    huge[0] = '/', huge[sizeof huge - 1] = '\0';
    const char *const bad[] = { NULL, "", "/", "relative", "vsock:2:1234", "/nowhere/at/all", huge };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (bad[i])
            setenv("NOTIFY_SOCKET", bad[i], 1);
        else
            unsetenv("NOTIFY_SOCKET");
        notify_init();
        notify_send("READY=1");
        notify_reloading();
        assert_null(getenv("NOTIFY_SOCKET"));
        notify_fini();
    }
}

static void reloading_tells_the_time(void **state)
{
    (void)state;
    char name[64];
    snprintf(name, sizeof name, "@wshealthd-test-reload-%d", (int)getpid());
    int manager = manager_open(name);
    const struct clock_fake fake = { .mono_ns = 1234567890123ull };
    setenv("NOTIFY_SOCKET", name, 1);
    notify_init();
    clock_set_fake(&fake);
    notify_reloading();
    clock_set_fake(NULL);
    assert_string_equal(manager_read(manager), "RELOADING=1\nMONOTONIC_USEC=1234567890");
    notify_fini();
    close(manager);
}

static void a_long_status_is_cut(void **state)
{
    (void)state;
    char name[64], status[3000];
    snprintf(name, sizeof name, "@wshealthd-test-long-%d", (int)getpid());
    int manager = manager_open(name);
    memset(status, 'x', sizeof status);
    status[sizeof status - 1] = '\0';
    setenv("NOTIFY_SOCKET", name, 1);
    notify_init();
    notify_send("STATUS=%s", status);
    assert_int_equal(strlen(manager_read(manager)), 1023);
    notify_fini();
    close(manager);
}

static void watchdog(const char *usec, const char *pid, uint64_t want)
{
    if (usec)
        setenv("WATCHDOG_USEC", usec, 1);
    if (pid)
        setenv("WATCHDOG_PID", pid, 1);
    notify_init();
    assert_int_equal(notify_watchdog_ms(), want);
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
    notify_fini();
}

static void the_watchdog_is_for_one_process(void **state)
{
    (void)state;
    char me[32], other[32];
    snprintf(me, sizeof me, "%d", (int)getpid());
    snprintf(other, sizeof other, "%d", (int)getpid() + 1);
    watchdog("10000000", me, 5000);
    watchdog("10000000", NULL, 5000);
    watchdog("10000000", other, 0);
    watchdog("10000000", "x", 0);
    watchdog("500", me, 1);
    watchdog("0", me, 0);
    watchdog("-5", me, 0);
    watchdog("ten", me, 0);
    watchdog(NULL, me, 0);
    watchdog(NULL, NULL, 0);
}

/* Descriptors 3 to 5 as they were before; the test restores them. */
static int saved[3];
static void hand_over(const char *pid, const char *count, const char *names)
{
    char me[32];
    snprintf(me, sizeof me, "%d", (int)getpid());
    for (int i = 0; i < 3; i++) {
        saved[i] = fcntl(3 + i, F_DUPFD_CLOEXEC, 100);
        int fd = open("/dev/null", O_RDONLY);
        if (fd != 3 + i) {
            assert_int_equal(dup2(fd, 3 + i), 3 + i);
            close(fd);
        }
    }
    setenv("LISTEN_PID", pid ? pid : me, 1);
    setenv("LISTEN_FDS", count, 1);
    if (names)
        setenv("LISTEN_FDNAMES", names, 1);
}

static void take_back(void)
{
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_FDNAMES"));
    for (int i = 0; i < 3; i++) {
        close(3 + i);
        if (saved[i] < 0)
            continue;
        dup2(saved[i], 3 + i);
        close(saved[i]);
    }
}

/* systemd waits for READY=1, and would end an agent that has not said it. Other messages may be lost. */
static void ready_waits_for_room(void **state)
{
    (void)state;
    char path[] = "/tmp/test_sd_notify.XXXXXX";
    assert_non_null(mkdtemp(path));
    char name[64];
    snprintf(name, sizeof name, "%s/notify", path);
    int manager = manager_open(name), lines = 0;
    setenv("NOTIFY_SOCKET", name, 1);
    notify_init();
    for (int i = 0; i < 5000; i++) /* more than any queue of datagrams */
        notify_send("X_FILL=1");
    notify_ready();
    for (const char *text; *(text = manager_read(manager));) {
        assert_string_equal(text, "X_FILL=1");
        lines++;
    }
    assert_true(lines > 0 && lines < 5000);
    notify_send("WATCHDOG=1");
    assert_string_equal(manager_read(manager), "READY=1");
    assert_string_equal(manager_read(manager), "WATCHDOG=1");
    notify_send("WATCHDOG=1");
    assert_string_equal(manager_read(manager), "WATCHDOG=1");
    assert_string_equal(manager_read(manager), "");
    notify_fini();
    close(manager);
    unlink(name);
    rmdir(path);
}

static void a_descriptor_is_found_by_name(void **state)
{
    (void)state;
    hand_over(NULL, "3", "admin:http:http");
    assert_int_equal(notify_listen_fd("http", true), 4);
    assert_true(fcntl(4, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(notify_listen_fd("http", true), 5);
    assert_int_equal(notify_listen_fd("http", true), -1);
    assert_int_equal(notify_listen_fd("grpc", false), -1);
    assert_int_equal(notify_listen_fd("admin", false), 3);
    take_back();
}

static void a_name_that_nobody_chose_is_none(void **state)
{
    (void)state;
    const char *const names[] = { NULL, "", "unknown", "wshealthd.socket", ":" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        hand_over(NULL, "1", names[i]);
        assert_int_equal(notify_listen_fd("http", true), 3);
        assert_int_equal(notify_listen_fd("http", true), -1);
        take_back();
    }
}

static void a_descriptor_with_another_name_is_not_taken(void **state)
{
    (void)state;
    hand_over(NULL, "2", "metrics:admin");
    assert_int_equal(notify_listen_fd("http", true), -1);
    take_back();
}

static void the_nameless_one_is_for_http_beside_named_ones(void **state)
{
    (void)state;
    hand_over(NULL, "3", "agent-check:unknown:htp");
    assert_int_equal(notify_listen_fd("agent-check", false), 3);
    assert_int_equal(notify_listen_fd("agent-check", false), -1);
    assert_int_equal(notify_listen_fd("http", true), 4);
    assert_string_equal(notify_unused_fd(), "htp");
    assert_null(notify_unused_fd());
    assert_int_equal(fcntl(5, F_GETFD), -1);
    take_back();
}

static void descriptors_of_others_are_left_alone(void **state)
{
    (void)state;
    hand_over("1", "1", "http");
    assert_int_equal(notify_listen_fd("http", true), -1);
    take_back();
    const char *const counts[] = { "0", "-1", "many", "" };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        hand_over(NULL, counts[i], NULL);
        assert_int_equal(notify_listen_fd("http", true), -1);
        take_back();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speaks_to_a_path),
        cmocka_unit_test(speaks_to_an_abstract_name),
        cmocka_unit_test(is_silent_without_a_manager),
        cmocka_unit_test(reloading_tells_the_time),
        cmocka_unit_test(a_long_status_is_cut),
        cmocka_unit_test(the_watchdog_is_for_one_process),
        cmocka_unit_test(a_descriptor_is_found_by_name),
        cmocka_unit_test(a_name_that_nobody_chose_is_none),
        cmocka_unit_test(a_descriptor_with_another_name_is_not_taken),
        cmocka_unit_test(the_nameless_one_is_for_http_beside_named_ones),
        cmocka_unit_test(ready_waits_for_room),
        cmocka_unit_test(descriptors_of_others_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
