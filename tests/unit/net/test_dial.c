/* Dials: failures and their sentences; both families; cancelling in every phase; the agent's own limits. */
#include "tests/unit/net/support.h"

#include <fcntl.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "agent/base/clock.h"
#include "agent/net/resolve.h"

static struct loop loop;
static char dir[] = "/tmp/net-dial-XXXXXX";

/* --- names of our own ----------------------------------------------------------------------------------------------- */

static atomic_int gate_open, slow_done;

static void add(struct resolve_answer *answer, const char *text)
{
    struct sockaddr_storage *slot = &answer->addresses[answer->count++];
    if (uv_ip4_addr(text, 0, (struct sockaddr_in *)slot) != 0)
        assert_int_equal(uv_ip6_addr(text, 0, (struct sockaddr_in6 *)slot), 0);
}

static void fake_source(const char *host, struct resolve_answer *answer)
{
    if (strcmp(host, "none.test") == 0) {
        answer->error = EAI_NONAME;
    } else if (strcmp(host, "temporary.test") == 0) {
        answer->error = EAI_AGAIN;
    } else if (strcmp(host, "broken.test") == 0) {
        answer->error = EAI_SYSTEM;
        answer->sys_errno = EIO;
    } else if (strcmp(host, "exhausted.test") == 0) {
        answer->error = EAI_SYSTEM;
        answer->sys_errno = EMFILE;
    } else if (strcmp(host, "both.test") == 0) { /* nobody listens on the first two */
        add(answer, "::1");
        add(answer, "127.0.0.9");
        add(answer, "127.0.0.1");
    } else if (strcmp(host, "full.test") == 0) { /* the first has a full accept queue: silence */
        add(answer, "127.0.0.2");
        add(answer, "127.0.0.1");
    } else if (strcmp(host, "nobody.test") == 0) {
        add(answer, "127.0.0.9");
        add(answer, "::1");
        add(answer, "127.0.0.10");
    } else if (strcmp(host, "many.test") == 0) { /* in another order each time, one of them twice */
        static atomic_int turn;
        bool odd = atomic_fetch_add(&turn, 1) % 2;
        add(answer, odd ? "::1" : "127.0.0.11");
        add(answer, "127.0.0.2");
        add(answer, odd ? "127.0.0.11" : "::1");
        add(answer, "127.0.0.2");
        answer->more = 3;
    } else if (strcmp(host, "one.test") == 0) {
        add(answer, "127.0.0.1");
    } else if (strncmp(host, "slow", 4) == 0) {
        while (!atomic_load(&gate_open))
            usleep(1000);
        add(answer, "127.0.0.1");
        atomic_fetch_add(&slow_done, 1);
    }
}

static int setup(void **state)
{
    (void)state;
    atomic_store(&gate_open, 0);
    resolve_set_source(fake_source);
    return loop_init(&loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    loop_fini(&loop);
    atomic_store(&gate_open, 1);
    return 0;
}

/* --- what fails ----------------------------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    (void)state;
    struct dialled dialled;
    char want[128];
    int port, fd = refuse_plain(&port);
    dial_whole(&loop, &dialled, "127.0.0.1", port, NULL);
    snprintf(want, sizeof want, "connect to 127.0.0.1:%d: connection refused", port);
    assert_int_equal(dialled.fails, 1);
    assert_int_equal(dialled.err.reason, REASON_CONNECT_REFUSED);
    assert_int_equal(dialled.err.code, ECONNREFUSED);
    assert_string_equal(dialled.err.text, want);
    assert_true(dialled.report.resolved);
    assert_int_equal(dialled.report.resolve_ns, 0);
    assert_false(dialled.report.connected);
    assert_true(dialled.report.connect_ns > 0);
    close(fd);
}

static void test_unreachable(void **state)
{
    (void)state;
    struct dialled dialled;
    dial_whole(&loop, &dialled, "255.255.255.255", 80, NULL);
    assert_int_equal(dialled.err.reason, REASON_CONNECT_UNREACHABLE);
    assert_non_null(strstr(dialled.err.text, "connect to 255.255.255.255:80: "));
}

static void unix_path(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s/%s", dir, name);
}

static int listen_unix(const char *path, int backlog)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static void test_unix_sockets(void **state)
{
    (void)state;
    struct dialled dialled;
    struct stream *filler[16];
    char path[100];
    unix_path(path, sizeof path, "none");
    dial_whole(&loop, &dialled, path, 0, NULL);
    assert_int_equal(dialled.err.reason, REASON_CONNECT_REFUSED);
    assert_non_null(strstr(dialled.err.text, "/none: no such socket"));
    unix_path(path, sizeof path, "sock");
    int fd = listen_unix(path, 0), fillers = 0;
    dial_whole(&loop, &dialled, path, 0, NULL);
    assert_int_equal(dialled.opens, 1);
    assert_true(stream_peer_local(dialled.stream));
    assert_non_null(strstr(dialled.report.address, path));
    filler[fillers++] = dialled.stream;
    while (fillers < 16) {
        dial_whole(&loop, &dialled, path, 0, NULL);
        if (dialled.fails)
            break;
        filler[fillers++] = dialled.stream;
    }
    assert_int_equal(dialled.err.reason, REASON_CONNECT_REFUSED);
    assert_non_null(strstr(dialled.err.text, "queue is full"));
    while (fillers > 0)
        stream_close_now(filler[--fillers]);
    close(fd);
    dial_whole(&loop, &dialled, path, 0, NULL);
    assert_int_equal(dialled.err.reason, REASON_CONNECT_REFUSED);
    assert_non_null(strstr(dialled.err.text, "nobody listens"));
    unlink(path);
}

static void test_names_that_do_not_resolve(void **state)
{
    (void)state;
    static const struct {
        const char *host, *text;
        enum reason reason;
    } rows[] = {
        { "none.test", "resolve none.test: no such name", REASON_DNS_FAILURE },
        { "temporary.test", "temporary failure", REASON_DNS_FAILURE },
        { "broken.test", "resolve broken.test: i/o error", REASON_DNS_FAILURE },
        { "exhausted.test", "out of descriptors", REASON_AGENT_ERROR },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dialled dialled;
        dial_whole(&loop, &dialled, rows[i].host, 80, NULL);
        assert_int_equal(dialled.fails, 1);
        assert_int_equal(dialled.err.reason, rows[i].reason);
        assert_non_null(strstr(dialled.err.text, rows[i].text));
        assert_false(dialled.report.resolved);
        assert_true(dialled.report.resolve_ns > 0);
    }
}

static void test_all_addresses_refuse(void **state)
{
    (void)state;
    struct dialled dialled;
    int port, fd = refuse_plain(&port);
    dial_whole(&loop, &dialled, "nobody.test", port, NULL);
    assert_int_equal(dialled.err.reason, REASON_CONNECT_REFUSED);
    assert_non_null(strstr(dialled.err.text, "connect to nobody.test: all of 3 addresses failed; "));
    dial_whole(&loop, &dialled, "one.test", port, NULL);
    assert_non_null(strstr(dialled.err.text, "connect to one.test (127.0.0.1:"));
    close(fd);
}

static void test_out_of_descriptors(void **state)
{
    (void)state;
    struct dialled dialled, again;
    struct rlimit before, none;
    int port, fd = listen_plain(&port, 4);
    dial_whole(&loop, &dialled, "127.0.0.1", port, NULL); /* libuv keeps a descriptor in reserve, made by the first socket */
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = (rlim_t)fd; /* all below are taken */
    setrlimit(RLIMIT_NOFILE, &none);
    dial_whole(&loop, &again, "127.0.0.1", port, NULL);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(again.fails, 1);
    assert_int_equal(again.err.reason, REASON_AGENT_ERROR);
    assert_non_null(strstr(again.err.text, "out of descriptors"));
    stream_close_now(dialled.stream);
    close(fd);
}

/* --- several addresses ---------------------------------------------------------------------------------------------- */

static void test_first_that_connects_wins(void **state)
{
    (void)state;
    struct dialled dialled;
    char want[64];
    int port, fd = listen_plain(&port, 4);
    dial_whole(&loop, &dialled, "both.test", port, NULL);
    snprintf(want, sizeof want, "127.0.0.1:%d", port);
    assert_int_equal(dialled.opens, 1);
    assert_string_equal(dialled.report.address, want);
    assert_true(dialled.report.resolve_ns > 0 && dialled.report.connect_ns > 0);
    stream_close_now(dialled.stream);
    close(fd);
}

/* A listening socket with a full queue drops what comes, so that an attempt hangs as at a host that is down. */
static int listen_silent(int port, int *fillers, int count)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    inet_pton(AF_INET, "127.0.0.2", &name.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(fd, 0), 0);
    for (int i = 0; i < count; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(fillers[i], (struct sockaddr *)&name, sizeof name);
    }
    usleep(20000);
    return fd;
}

static void close_all(const int *fds, int count)
{
    for (int i = 0; i < count; i++)
        close(fds[i]);
}

static void test_second_address_when_the_first_is_silent(void **state)
{
    (void)state;
    struct dialled dialled;
    int port, fd = listen_plain(&port, 4), fillers[4];
    int silent = listen_silent(port, fillers, 4);
    dial_whole(&loop, &dialled, "full.test", port, NULL);
    assert_int_equal(dialled.opens, 1);
    assert_non_null(strstr(dialled.report.address, "127.0.0.1:"));
    assert_true(dialled.report.connect_ns >= DIAL_STAGGER_MS * NS_PER_MS);
    stream_close_now(dialled.stream);
    close_all(fillers, 4);
    close(silent);
    close(fd);
}

/* --- cancelling ----------------------------------------------------------------------------------------------------- */

static void test_cancel_while_resolving(void **state)
{
    (void)state;
    struct dialled dialled;
    struct err err;
    struct dial *dial = dial_begin(&loop, &dialled, "slow.test", 80, NULL);
    uint64_t began_ns = clock_now_ns();
    assert_false(dialled.report.resolved);
    run_for(&loop, 5);
    uint64_t least_ns = clock_now_ns() - began_ns; /* not 5 ms: the loop counts a timer from when its turn began */
    dial_cancel(dial);
    assert_true(dialled.report.resolve_ns >= least_ns);
    dial_timeout_err(&dialled.target, &dialled.report, 2000, &err);
    assert_int_equal(err.reason, REASON_DNS_FAILURE);
    assert_string_equal(err.text, "no answer from the resolver for slow.test within 2s");
    atomic_store(&gate_open, 1);
    run_for(&loop, 20);
    assert_int_equal(dialled.done, 0);
}

/* The agent looks up so many other names that it has no thread for this one: its own fault, and not the resolver's. */
static void test_a_lookup_that_never_began(void **state)
{
    (void)state;
    static struct dialled dialled[RESOLVE_THREADS_MAX + 1];
    struct dial *dials[RESOLVE_THREADS_MAX + 1];
    struct err err;
    char host[32];
    for (int i = 0; i <= RESOLVE_THREADS_MAX; i++) {
        snprintf(host, sizeof host, "slow%d.test", i);
        dials[i] = dial_begin(&loop, &dialled[i], host, 80, NULL);
    }
    int done_before = atomic_load(&slow_done);
    run_for(&loop, 20);
    struct dialled *last = &dialled[RESOLVE_THREADS_MAX];
    dial_timeout_err(&last->target, &last->report, 2000, &err);
    assert_int_equal(err.reason, REASON_AGENT_ERROR);
    for (int i = 0; i <= RESOLVE_THREADS_MAX; i++)
        dial_cancel(dials[i]);
    dial_timeout_err(&last->target, &last->report, 2000, &err);
    assert_int_equal(err.reason, REASON_AGENT_ERROR);
    assert_string_equal(err.text, "resolve slow64.test: 64 other names are being looked up, and no thread was free within 2s");
    dial_timeout_err(&dialled[0].target, &dialled[0].report, 2000, &err);
    assert_int_equal(err.reason, REASON_DNS_FAILURE);
    atomic_store(&gate_open, 1);
    for (int i = 0; i < 1000 && atomic_load(&slow_done) < done_before + RESOLVE_THREADS_MAX; i++)
        usleep(10000);
    run_for(&loop, 20);
}

static void test_cancel_while_connecting(void **state)
{
    (void)state;
    struct dialled dialled;
    struct err err;
    int port, fd = listen_plain(&port, 4), fillers[4];
    int silent = listen_silent(port, fillers, 4);
    struct dial *dial = dial_begin(&loop, &dialled, "127.0.0.2", port, NULL);
    assert_true(dialled.report.resolved);
    assert_false(dialled.report.connected);
    run_for(&loop, 5);
    dial_cancel(dial);
    assert_true(dialled.report.connect_ns >= 5000000);
    dial_timeout_err(&dialled.target, &dialled.report, 3000, &err);
    assert_int_equal(err.reason, REASON_CONNECT_TIMEOUT);
    assert_non_null(strstr(err.text, "connect to 127.0.0.2:"));
    assert_non_null(strstr(err.text, "no answer within 3s"));
    run_for(&loop, 20);
    assert_int_equal(dialled.done, 0);
    close_all(fillers, 4);
    close(silent);
    close(fd);
}

static void test_cancel_at_once(void **state)
{
    (void)state;
    struct dialled dialled;
    int port, fd = refuse_plain(&port);
    dial_cancel(dial_begin(&loop, &dialled, "127.0.0.1", port, NULL));
    dial_cancel(dial_begin(&loop, &dialled, "one.test", port, NULL));
    dial_cancel(dial_begin(&loop, &dialled, "/nowhere/at/all", 0, NULL));
    run_for(&loop, 20);
    assert_int_equal(dialled.done, 0);
    close(fd);
}

static void test_ipv6_literal(void **state)
{
    (void)state;
    struct dialled dialled;
    dial_whole(&loop, &dialled, "::1", 1, NULL);
    assert_int_equal(dialled.fails, 1);
    assert_string_equal(dialled.report.address, "[::1]:1");
    assert_non_null(strstr(dialled.err.text, "connect to [::1]:1: "));
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

/* One dial for one address; only the first of them asks the resolver. */
static void each_whole(struct dialled *dialled, struct dial_each *each, int port)
{
    memset(dialled, 0, sizeof *dialled);
    snprintf(dialled->url.host, sizeof dialled->url.host, "many.test");
    dialled->url.port = (uint16_t)port;
    dialled->target = (struct dial_target){ .url = &dialled->url, .each = each };
    dial_start(&loop, &dialled->target, &dialled_events, dialled, &dialled->report);
    assert_int_equal(dialled->done, 0);
    run_until(&loop, &dialled->done);
}

static void test_each_address(void **state)
{
    (void)state;
    static const char *const order[] = { "127.0.0.2:", "127.0.0.11:", "[::1]:" };
    struct dialled dialled;
    int port, fd = refuse_plain(&port);
    for (unsigned round = 0; round < 2; round++) {
        struct dial_each each = { .index = 0 };
        for (unsigned i = 0; i < 4; i++) {
            each.index = i;
            each_whole(&dialled, &each, port);
            assert_int_equal(each.count, 3);
            assert_int_equal(each.left_out, 3);
            assert_int_equal(dialled.fails, 1); /* no other address is tried */
            assert_ptr_equal(strstr(dialled.report.address, order[i % 3]), dialled.report.address);
            assert_true(dialled.report.resolved);
        }
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreachable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unix_sockets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_that_do_not_resolve, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_addresses_refuse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_address, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first_that_connects_wins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_address_when_the_first_is_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_while_resolving, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lookup_that_never_began, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_while_connecting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ipv6_literal, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
