/* Listeners: rights and leftovers of unix sockets, both families on one socket, activation, and running out of descriptors. */
#include "tests/unit/net/support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

static struct loop loop;
static char dir[] = "/tmp/net-listen-XXXXXX";
static int accepted, closing_on_accept;
static struct stream *last;

static void on_accept(void *user, struct stream *stream)
{
    (void)user;
    accepted++;
    last = stream;
    if (closing_on_accept)
        stream_close_now(stream);
}

static int setup(void **state)
{
    (void)state;
    accepted = 0;
    closing_on_accept = 1;
    return loop_init(&loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    loop_fini(&loop);
    return 0;
}

static struct listener *open_unix(const char *path, int mode, struct err *err)
{
    struct listen_address address = { .is_unix = true };
    struct listen_options options = { .fd = -1, .unix_mode = mode };
    snprintf(address.unix_path, sizeof address.unix_path, "%s", path);
    return listener_open(&loop, &address, &options, on_accept, NULL, err);
}

static struct listener *open_tcp(const char *host, int port, struct err *err)
{
    struct listen_address address = { .port = (uint16_t)port };
    struct listen_options options = { .fd = -1 };
    snprintf(address.host, sizeof address.host, "%s", host);
    return listener_open(&loop, &address, &options, on_accept, NULL, err);
}

static int connect_unix(const char *path)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&name, sizeof name) == 0)
        return fd;
    close(fd);
    return -1;
}

static void test_unix_mode_whatever_the_umask(void **state)
{
    (void)state;
    static const int modes[] = { 0600, 0660, 0666 };
    char path[100];
    struct stat file;
    snprintf(path, sizeof path, "%s/sock", dir);
    mode_t before = umask(027);
    for (size_t i = 0; i < 3; i++) {
        struct listener *listener = open_unix(path, modes[i], NULL);
        assert_non_null(listener);
        assert_int_equal(stat(path, &file), 0);
        assert_int_equal(file.st_mode & 0777, modes[i]);
        int fd = connect_unix(path);
        accepted = 0;
        run_until(&loop, &accepted);
        close(fd);
        listener_close(listener);
        assert_int_equal(stat(path, &file), -1); /* it is gone with the listener */
    }
    assert_int_equal(umask(before), 027);
}

static void test_unix_leftovers(void **state)
{
    (void)state;
    char path[100];
    struct err err;
    struct stat file;
    snprintf(path, sizeof path, "%s/sock", dir);
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(stale, (struct sockaddr *)&name, sizeof name), 0);
    close(stale);
    struct listener *first = open_unix(path, 0660, &err);
    assert_non_null(first);
    assert_null(open_unix(path, 0660, &err)); /* a living one is not replaced */
    assert_non_null(strstr(err.text, "another process listens there"));
    unlink(path);
    struct listener *second = open_unix(path, 0660, &err);
    assert_non_null(second);
    listener_close(first); /* must leave its successor's file alone */
    assert_int_equal(stat(path, &file), 0);
    listener_close(second);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_null(open_unix(path, 0660, &err));
    assert_non_null(strstr(err.text, "exists and is not a socket"));
    assert_int_equal(stat(path, &file), 0);
    unlink(path);
    assert_null(open_unix("/nonexistent/dir/sock", 0660, &err));
    assert_string_equal(err.text, "listen unix:/nonexistent/dir/sock: no such file or directory");
}

static void test_tcp_port_and_taken(void **state)
{
    (void)state;
    struct err err;
    char want[256], comm[32] = "";
    FILE *file = fopen("/proc/self/comm", "re"); /* the test itself is in the way */
    assert_non_null(file);
    assert_non_null(fgets(comm, sizeof comm, file));
    fclose(file);
    comm[strcspn(comm, "\n")] = '\0';
    struct listener *listener = open_tcp("127.0.0.1", 0, &err);
    assert_non_null(listener);
    int port = listener_port(listener);
    assert_true(port > 0);
    assert_null(open_tcp("127.0.0.1", port, &err));
    snprintf(want, sizeof want,
             "listen 127.0.0.1:%d: address already in use by %s (process %d): choose another address, or end what listens there",
             port, comm, (int)getpid());
    assert_string_equal(err.text, want);
    assert_null(open_tcp("192.0.2.1", 1, &err));
    assert_non_null(strstr(err.text, "listen 192.0.2.1:1: "));
    assert_null(open_tcp("localhost", 1, &err));
    assert_non_null(strstr(err.text, "not an IP address"));
    close(connect_plain(port));
    run_until(&loop, &accepted);
    listener_close(listener);
}

static void test_v6_wildcard_takes_v4(void **state)
{
    (void)state;
    struct err err;
    char text[64];
    struct listener *listener = open_tcp("::", 0, &err);
    if (!listener)
        skip(); /* no IPv6 here */
    closing_on_accept = 0;
    int fd = connect_plain(listener_port(listener));
    run_until(&loop, &accepted);
    stream_peer(last, text, sizeof text);
    assert_string_equal(text, "127.0.0.1"); /* not ::ffff:127.0.0.1 */
    assert_true(stream_peer_local(last));
    stream_close_now(last);
    close(fd);
    listener_close(listener);
}

static void test_activated_descriptor(void **state)
{
    (void)state;
    struct err err;
    int port, fd = listen_plain(&port, 4), bare = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct listen_options options = { .fd = bare };
    struct listen_address address = { .host = "" };
    assert_null(listener_open(&loop, &address, &options, on_accept, NULL, &err));
    assert_non_null(strstr(err.text, "is not a listening socket"));
    close(bare);
    options.fd = fd;
    struct listener *listener = listener_open(&loop, &address, &options, on_accept, NULL, &err);
    assert_non_null(listener);
    assert_int_equal(listener_port(listener), port);
    close(connect_plain(port));
    run_until(&loop, &accepted);
    listener_close(listener);
}

static void test_burst(void **state)
{
    (void)state;
    int fds[100];
    struct listener *listener = open_tcp("127.0.0.1", 0, NULL);
    for (int i = 0; i < 100; i++)
        fds[i] = connect_plain(listener_port(listener));
    while (accepted < 100)
        uv_run(&loop.uv, UV_RUN_ONCE);
    for (int i = 0; i < 100; i++)
        close(fds[i]);
    listener_close(listener);
}

static struct stream *kept[8];

static void on_accept_keep(void *user, struct stream *stream)
{
    (void)user;
    kept[accepted++] = stream;
}

static void set_descriptors(rlim_t most)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = most;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void turns(int count)
{
    for (int i = 0; i < count; i++)
        uv_run(&loop.uv, UV_RUN_NOWAIT);
}

/* The first few are served from the reserve when there are no descriptors; the others wait in the queue until there are. */
static void test_out_of_descriptors_pauses(void **state)
{
    (void)state;
    struct rlimit before;
    struct listen_address address = { .host = "127.0.0.1" };
    struct listener *listener = listener_open(&loop, &address, &(struct listen_options){ .fd = -1 }, on_accept_keep, NULL, NULL);
    int waiting[6];
    for (int i = 0; i < 6; i++)
        waiting[i] = connect_plain(listener_port(listener));
    getrlimit(RLIMIT_NOFILE, &before);
    int lowest = dup(waiting[0]);
    close(lowest);
    set_descriptors((rlim_t)lowest); /* all below are in use */
    turns(5);
    int served = accepted;
    set_descriptors(before.rlim_cur);
    assert_int_equal(served, 4);
    while (accepted < 6)
        uv_run(&loop.uv, UV_RUN_ONCE);
    for (int i = 0; i < 6; i++) {
        stream_close_now(kept[i]);
        close(waiting[i]);
    }
    listener_close(listener);
}

static bool room;
static unsigned full;

static bool has_room(void *user)
{
    (void)user;
    return room;
}

static void on_full(void *user)
{
    (void)user;
    full++;
}

/* Without room no client is accepted or refused, and on_full is called once until accepting goes on. */
static void test_without_room_clients_wait(void **state)
{
    (void)state;
    struct listen_address address = { .host = "127.0.0.1" };
    struct listen_options options = { .fd = -1, .has_room = has_room, .on_full = on_full };
    struct listener *listener = listener_open(&loop, &address, &options, on_accept, NULL, NULL);
    int waiting = connect_plain(listener_port(listener));
    turns(5);
    assert_int_equal(accepted, 0);
    assert_int_equal(full, 1);
    int second = connect_plain(listener_port(listener));
    assert_int_equal(listener_waiting(listener), 2);
    close(second);
    listener_resume(listener);
    turns(5);
    assert_int_equal(full, 2);
    room = true;
    listener_resume(listener);
    run_until(&loop, &accepted);
    assert_in_range(accepted, 1, 2);
    close(waiting);
    listener_close(listener);
}

static struct listener *closes_itself;

static void on_accept_close(void *user, struct stream *stream)
{
    (void)user;
    accepted++;
    stream_close_now(stream);
    listener_close(closes_itself);
}

static void test_closed_by_its_own_callback(void **state)
{
    (void)state;
    struct listen_address address = { .host = "127.0.0.1" };
    struct listen_options options = { .fd = -1 };
    closes_itself = listener_open(&loop, &address, &options, on_accept_close, NULL, NULL);
    int a = connect_plain(listener_port(closes_itself)), b = connect_plain(listener_port(closes_itself));
    loop_run(&loop);
    assert_int_equal(accepted, 1);
    close(a);
    close(b);
}

static int make_dir(void **state)
{
    (void)state;
    return !mkdtemp(dir);
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unix_mode_whatever_the_umask, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unix_leftovers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tcp_port_and_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_v6_wildcard_takes_v4, setup, teardown),
        cmocka_unit_test_setup_teardown(test_activated_descriptor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_burst, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_descriptors_pauses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_room_clients_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_by_its_own_callback, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
