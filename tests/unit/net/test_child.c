/* Programs beside the loop: what they get, what they write, and how they are ended, however badly they behave. */
#include <signal.h>
#include <stdlib.h>

#include "agent/net/child.h"
#include "tests/unit/net/support.h"

enum { LONG_MS = 15000 };

struct outcome {
    int done;
    int status;
    bool killed, failed;
    char output[CHILD_OUTPUT_MAX + 1];
    size_t len;
};

static void on_done(void *user, const struct child_result *result)
{
    struct outcome *outcome = user;

    outcome->done++;
    outcome->status = result->status;
    outcome->killed = result->killed;
    outcome->failed = result->err;
    outcome->len = result->output.len;
    memcpy(outcome->output, result->output.data ? result->output.data : (const uint8_t *)"", result->output.len);
}

static struct child *shell(struct loop *loop, const char *script, const char *input, uint64_t timeout_ms, struct outcome *outcome)
{
    char *args[] = { "/bin/sh", "-c", (char *)script, NULL };
    char *env[] = { "PATH=/usr/bin:/bin", "GREETING=hello", NULL };
    const struct child_request request = { args, env, slice_str(input), timeout_ms };
    struct err err;

    memset(outcome, 0, sizeof *outcome);
    return child_start(loop, &request, on_done, outcome, &err);
}

static void run(const char *script, const char *input, uint64_t timeout_ms, struct outcome *outcome)
{
    struct loop loop;
    struct err err;

    assert_int_equal(loop_init(&loop, &err), 0);
    assert_non_null(shell(&loop, script, input, timeout_ms, outcome));
    assert_int_equal(outcome->done, 0); /* never inside the call */
    run_until(&loop, &outcome->done);
    run_for(&loop, 1);
    assert_int_equal(outcome->done, 1);
    loop_fini(&loop);
}

static void test_input_output_and_status(void **state)
{
    struct outcome outcome;

    (void)state;
    run("cat; echo to-stderr >&2; exit 7", "a message\n", LONG_MS, &outcome);
    assert_int_equal(outcome.status, 7);
    assert_false(outcome.killed || outcome.failed);
    assert_non_null(strstr(outcome.output, "a message\n"));
    assert_non_null(strstr(outcome.output, "to-stderr\n"));
}

static void test_what_it_gets(void **state)
{
    struct outcome outcome;

    (void)state;
    run("echo $GREETING $HOME; pwd; ls -l /proc/self/fd | wc -l", "", LONG_MS, &outcome);
    assert_string_equal(outcome.output, "hello\n/\n5\n"); /* a line of its own, three descriptors, and the one of ls */
}

static void test_a_signal(void **state)
{
    struct outcome outcome;

    (void)state;
    run("kill -TERM $$", "", LONG_MS, &outcome);
    assert_int_equal(outcome.status, 128 + SIGTERM);
}

static void test_one_that_sleeps_is_killed_with_its_children(void **state)
{
    struct outcome outcome;
    pid_t pid;

    (void)state;
    run("sleep 60 & echo $!; sleep 60", "", 300, &outcome);
    assert_true(outcome.killed && outcome.failed);
    pid = (pid_t)strtol(outcome.output, NULL, 10);
    assert_true(pid > 1);
    for (int i = 0; i < 500 && kill(pid, 0) == 0; i++) /* whoever adopts it has to reap it */
        usleep(10000);
    char stat[64], line[256] = "";
    snprintf(stat, sizeof stat, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(stat, "r");
    if (file) {
        assert_non_null(fgets(line, sizeof line, file));
        fclose(file);
    }
    assert_true(!file || strstr(line, ") Z "));
}

static void test_a_flood_is_cut(void **state)
{
    struct outcome outcome;

    (void)state;
    run("yes flood", "", LONG_MS, &outcome); /* ends by SIGPIPE */
    assert_false(outcome.killed);
    assert_int_equal(outcome.len, CHILD_OUTPUT_MAX);
}

static void test_input_that_nobody_reads(void **state)
{
    struct outcome outcome;
    char *input = mem_alloc(1 << 20);

    (void)state;
    memset(input, 'x', (1 << 20) - 1);
    run("exec 0<&-; exit 0", input, LONG_MS, &outcome);
    assert_int_equal(outcome.status, 0);
    mem_free(input);
}

/* One in the background holds the output open: nobody waits for it. */
static void test_a_holder_in_the_background(void **state)
{
    struct outcome outcome;

    (void)state;
    run("sleep 30 & echo $! done", "", LONG_MS, &outcome);
    assert_int_equal(outcome.status, 0);
    assert_false(outcome.killed);
    assert_non_null(strstr(outcome.output, " done\n"));
    kill((pid_t)strtol(outcome.output, NULL, 10), SIGKILL);
}

static void test_no_such_program(void **state)
{
    char *args[] = { "/nonexistent/program", NULL }, *env[] = { NULL };
    struct outcome outcome = { 0 };
    struct loop loop;
    struct err err;

    (void)state;
    assert_int_equal(loop_init(&loop, &err), 0);
    assert_null(child_start(&loop, &(struct child_request){ args, env, slice_str("x"), LONG_MS }, on_done, &outcome, &err));
    assert_non_null(strstr(err.text, "cannot run /nonexistent/program: no such file"));
    run_for(&loop, 1);
    assert_int_equal(outcome.done, 0);
    loop_fini(&loop);
}

static void test_cancelled(void **state)
{
    struct outcome outcome;
    struct loop loop;
    struct err err;

    (void)state;
    assert_int_equal(loop_init(&loop, &err), 0);
    child_cancel(shell(&loop, "sleep 60", "", LONG_MS, &outcome));
    assert_true(child_any());
    for (int i = 0; i < 500 && child_any(); i++)
        run_for(&loop, 10);
    assert_false(child_any());
    child_cancel(shell(&loop, "sleep 60", "", LONG_MS, &outcome));
    child_forget_all(); /* the loop can end */
    assert_int_equal(outcome.done, 0);
    loop_fini(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_input_output_and_status),
        cmocka_unit_test(test_what_it_gets),
        cmocka_unit_test(test_a_signal),
        cmocka_unit_test(test_one_that_sleeps_is_killed_with_its_children),
        cmocka_unit_test(test_a_flood_is_cut),
        cmocka_unit_test(test_input_that_nobody_reads),
        cmocka_unit_test(test_a_holder_in_the_background),
        cmocka_unit_test(test_no_such_program),
        cmocka_unit_test(test_cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
