/* What a process inherits: closed descriptors, blocked signals, limits. Each case in a child, as it changes the whole process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/process.h"

/* The child's exit status: 0, or which of its demands was not met. */
static int in_child(int (*run)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(run());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int without_descriptors(void)
{
    close(0);
    close(1);
    close(2);
    process_init();
    int next = open("/dev/null", O_RDONLY);
    if (next != 3)
        return 1;
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            return 2;
    return write(2, "x", 1) == 1 ? 0 : 3;
}

static int with_signals_blocked(void)
{
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    process_init();
    sigprocmask(SIG_BLOCK, NULL, &set);
    return sigismember(&set, SIGTERM) || sigismember(&set, SIGHUP);
}

static int with_accidents(void)
{
    static const int numbers[] = {
        SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGXFSZ, SIGPIPE, SIGTTIN, SIGTTOU
    };
    process_init();
    process_stay();
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        raise(numbers[i]);
    return 0;
}

static int with_a_low_limit(void)
{
    const struct rlimit low = { 64, 512 };
    struct rlimit now;
    if (setrlimit(RLIMIT_NOFILE, &low) != 0)
        return 1;
    if (process_files_max() != 64 || process_files_possible() != 512)
        return 2;
    process_stay();
    getrlimit(RLIMIT_NOFILE, &now);
    return now.rlim_cur == 512 && process_files_max() == 512 ? 0 : 3;
}

static int without_room(void)
{
    const struct rlimit few = { 16, 16 };
    int fd, last = -1;
    if (process_files_short() || setrlimit(RLIMIT_NOFILE, &few) != 0)
        return 1;
    while ((fd = dup(STDIN_FILENO)) >= 0)
        last = fd;
    if (last < 0 || !process_files_short())
        return 2;
    close(last);
    return process_files_short() ? 3 : 0;
}

static int hidden(void)
{
    struct rlimit now;
    unsetenv("WSHEALTHD_COREDUMP");
    process_hide();
    getrlimit(RLIMIT_CORE, &now);
    return now.rlim_cur == 0 && now.rlim_max == 0 && prctl(PR_GET_DUMPABLE) == 0 ? 0 : 1;
}

static int not_hidden(void)
{
    setenv("WSHEALTHD_COREDUMP", "1", 1);
    process_hide();
    return prctl(PR_GET_DUMPABLE) == 1 ? 0 : 1;
}

static void test_closed_descriptors(void **state)
{
    (void)state;
    assert_int_equal(in_child(without_descriptors), 0);
}

static void test_signals(void **state)
{
    (void)state;
    assert_int_equal(in_child(with_signals_blocked), 0);
    assert_int_equal(in_child(with_accidents), 0);
}

static void test_the_limit_of_files(void **state)
{
    (void)state;
    assert_int_equal(in_child(with_a_low_limit), 0);
}

static void test_no_room_for_files(void **state)
{
    (void)state;
    assert_int_equal(in_child(without_room), 0);
}

static void test_core_dumps(void **state)
{
    (void)state;
    assert_int_equal(in_child(hidden), 0);
    assert_int_equal(in_child(not_hidden), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed_descriptors), cmocka_unit_test(test_signals),    cmocka_unit_test(test_the_limit_of_files),
        cmocka_unit_test(test_no_room_for_files),  cmocka_unit_test(test_core_dumps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
