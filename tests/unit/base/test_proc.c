/* Other processes by /proc (agent/base/proc.h): this one, a child, and files as a hostile or an old kernel could write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/proc.h"

static char root[64];

static void put(const char *name, const char *text)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", root, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void folder(const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", root, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static int setup(void **state)
{
    (void)state;
    strcpy(root, "/tmp/test_proc.XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    proc_set_root(NULL);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void test_this_process(void **state)
{
    struct proc_figures figures;
    struct rlimit limit;

    (void)state;
    proc_read((int)getpid(), &figures);
    assert_true(figures.exists && figures.started);
    assert_true(figures.have_resident && figures.resident_bytes > 1 << 20);
    assert_true(figures.have_fds && figures.fds >= 3 && figures.fds < 100000);
    assert_true(figures.have_threads && figures.threads >= 1);
    assert_true(figures.have_cpu);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(figures.have_max_fds && figures.max_fds == limit.rlim_cur);
    assert_string_equal(figures.name, "test_proc");
}

static void test_no_process_and_a_dead_one(void **state)
{
    struct proc_figures figures;
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        _exit(0);
    siginfo_t ended;
    assert_int_equal(waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT), 0);
    proc_read((int)pid, &figures); /* a zombie */
    assert_false(figures.exists);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    proc_read((int)pid, &figures);
    assert_false(figures.exists);
}

static void test_found_by_its_socket(void **state)
{
    struct proc_pids pids;
    struct stat status;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    assert_int_equal(fstat(fd, &status), 0);
    uint32_t inodes[2] = { 1, (uint32_t)status.st_ino };
    proc_find_by_sockets(inodes, 2, UINT64_MAX, &pids);
    assert_int_equal(pids.count, 1);
    assert_int_equal(pids.items[0], getpid());
    assert_int_equal(proc_has_socket((int)getpid(), inodes, 2), 1);
    assert_int_equal(proc_has_socket((int)getpid(), inodes, 1), 0);
    close(fd);
    proc_find_by_sockets(inodes, 2, UINT64_MAX, &pids);
    assert_int_equal(pids.count, 0);
}

static void test_units(void **state)
{
    struct proc_pids pids;

    (void)state;
    proc_set_root(root);
    folder("10");
    put("10/cgroup", "0::/system.slice/chat.service\n");
    folder("11");
    put("11/cgroup", "12:cpu:/x\n1:name=systemd:/user.slice/chat.service/worker\n");
    folder("12");
    put("12/cgroup", "0::/system.slice/mychat.service\n");
    folder("13");
    put("13/cgroup", "0::/system.slice/chat.service.d\n");
    folder("14"); /* no file in it */
    folder("self");
    proc_find_by_unit("chat.service", UINT64_MAX, &pids);
    assert_int_equal(pids.count, 2);
    assert_int_equal(pids.items[0] + pids.items[1], 21);
    assert_false(pids.cut);
    proc_find_by_unit("other.service", UINT64_MAX, &pids);
    assert_int_equal(pids.count, 0);
    proc_find_by_unit("chat.service", 0, &pids);
    assert_true(pids.cut);
}

static void assert_unit(const char *text, const char *want, bool want_user)
{
    char unit[PROC_UNIT_MAX];
    bool user = !want_user;

    put("10/cgroup", text);
    bool found = proc_unit(10, unit, sizeof unit, &user);
    assert_int_equal(found, !!want);
    if (!want)
        return;
    assert_string_equal(unit, want);
    assert_int_equal(user, want_user);
    assert_true(proc_unit(10, unit, sizeof unit, NULL));
}

static void test_unit_of_a_process(void **state)
{
    char unit[PROC_UNIT_MAX];

    (void)state;
    proc_set_root(root);
    folder("10");
    assert_unit("0::/system.slice/chat.service\n", "chat.service", false);
    assert_unit("0::/system.slice/chat.service/.control\n", "chat.service", false);
    assert_unit("0::/system.slice/system-chat.slice/chat@1.service", "chat@1.service", false);
    assert_unit("0::/system.slice/_memory.service\n", "memory.service", false);
    assert_unit("0::/user.slice/user-1000.slice/user@1000.service/app.slice/chat.service\n", "chat.service", true);
    assert_unit("0::/user.slice/user-1000.slice/user@1000.service\n", "user@1000.service", false);
    assert_unit("0::/user.slice/user-1000.slice/session-1.scope\n", NULL, false);
    assert_unit("2:cpu:/x.service\n1:name=systemd:/system.slice/chat.service\n0::/\n", "chat.service", false);
    assert_unit("1:name=systemd:/outer.service\n0::/system.slice/chat.service\n", "chat.service", false);
    assert_unit("0::/.service\n", NULL, false);
    assert_unit("0::\n", NULL, false);
    assert_unit("\n", NULL, false);
    assert_false(proc_unit(11, unit, sizeof unit, NULL));
}

static void test_odd_files(void **state)
{
    static const char *const broken[] = { "", "7", "7 (a", "7 a) S", "7 (a) S 1", ")(" };
    struct proc_figures figures;

    (void)state;
    proc_set_root(root);
    folder("7");
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        put("7/stat", broken[i]);
        proc_read(7, &figures);
        assert_false(figures.exists);
    }
    put("7/stat", "7 (a) b) (c) R 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 9 0 12345 1 2\n");
    put("7/statm", "nonsense");
    put("7/limits",
        "Limit  Soft Limit  Hard Limit  Units\nMax open files            unlimited            unlimited            files\n");
    proc_read(7, &figures);
    assert_true(figures.exists);
    assert_string_equal(figures.name, "a) b) (c");
    assert_int_equal(figures.started, 12345);
    assert_int_equal(figures.threads, 9);
    assert_true(figures.cpu_seconds * (double)sysconf(_SC_CLK_TCK) == 400.0);
    assert_false(figures.have_resident);
    assert_false(figures.have_fds);
    assert_true(figures.have_max_fds && figures.max_fds == UINT64_MAX);
}

static void test_pid_files(void **state)
{
    static const char *const wrong[] = { "", "x", "0", "-1", "12x", "99999999999" };
    char path[96];
    struct err err;
    int pid;

    (void)state;
    snprintf(path, sizeof path, "%s/pid", root);
    assert_int_equal(proc_read_pid_file(path, &pid, &err), -1);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        put("pid", wrong[i]);
        assert_int_equal(proc_read_pid_file(path, &pid, &err), -1);
    }
    put("pid", "1234\n");
    assert_int_equal(proc_read_pid_file(path, &pid, &err), 0);
    assert_int_equal(pid, 1234);
    put("pid", "77 chat\nmore\n");
    assert_int_equal(proc_read_pid_file(path, &pid, &err), 0);
    assert_int_equal(pid, 77);
}

/* A master, its workers and theirs; not the neighbour, and not one whose master has ended. In any order of the numbers. */
static void test_family(void **state)
{
    static const struct {
        const char *pid, *parent;
    } all[] = { { "500", "1" }, { "501", "500" }, { "40", "501" }, { "39", "40" }, { "502", "1" }, { "1", "0" }, { "503", "x" } };
    struct proc_pids pids;
    char name[64], text[64];

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        folder(all[i].pid);
        snprintf(name, sizeof name, "%s/stat", all[i].pid);
        snprintf(text, sizeof text, "%s (a ) b) S %s 0 0\n", all[i].pid, all[i].parent);
        put(name, text);
    }
    proc_set_root(root);
    assert_false(proc_is_hidden());
    proc_find_family(500, UINT64_MAX, &pids);
    assert_int_equal(pids.count, 4);
    assert_int_equal(pids.items[0], 500);
    for (size_t i = 1; i < pids.count; i++)
        assert_true(pids.items[i] == 501 || pids.items[i] == 40 || pids.items[i] == 39);
    proc_find_family(77, UINT64_MAX, &pids);
    assert_int_equal(pids.count, 1);
    proc_set_root("/nowhere");
    assert_true(proc_is_hidden());
    proc_set_root(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_this_process, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_process_and_a_dead_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_found_by_its_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_units, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unit_of_a_process, setup, teardown),
        cmocka_unit_test_setup_teardown(test_odd_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pid_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_family, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
