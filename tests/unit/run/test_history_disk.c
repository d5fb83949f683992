/* The history's file on a disk: whole or not at all, private, never in the place of what is no file of ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/file.h>
#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/run/agent_history_disk.h"

static char folder[64], path[128], beside[160];
static struct err err;

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/history-disk-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/history", folder);
    return 0;
}

static const char *with(const char *suffix)
{
    snprintf(beside, sizeof beside, "%s%s", path, suffix);
    return beside;
}

static int tear_down(void **state)
{
    static const char *const suffixes[] = { "", ".new", ".damaged", ".other" };

    (void)state;
    for (size_t i = 0; i < 4; i++)
        (void)(unlink(with(suffixes[i])) == 0 || rmdir(beside) == 0);
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

static int put(const char *text)
{
    return history_disk_write(path, slice_str(text), &err);
}

static void assert_holds(const char *name, const char *want)
{
    struct buf text = BUF_INIT(100);
    bool missing;

    assert_int_equal(history_disk_read(name, 100, &text, &missing, &err), 0);
    assert_false(missing);
    assert_string_equal(buf_str(&text), want);
    buf_fini(&text);
}

static void test_written_and_read(void **state)
{
    struct buf text = BUF_INIT(100);
    struct stat status;
    bool missing;

    (void)state;
    assert_int_equal(history_disk_read(path, 100, &text, &missing, &err), 0);
    assert_true(missing);
    assert_int_equal(put("a longer first one"), 0);
    assert_int_equal(put("second"), 0);
    assert_holds(path, "second");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(access(with(".new"), F_OK), -1);
    assert_int_equal(history_disk_read(path, 3, &text, &missing, &err), -1); /* too large */
    buf_fini(&text);
}

static void test_set_aside(void **state)
{
    (void)state;
    put("one");
    assert_int_equal(history_disk_set_aside(path, NULL, &err), 0);
    put("two");
    assert_int_equal(history_disk_set_aside(path, "/nowhere", &err), 0);
    assert_holds(with(".damaged"), "two");
    assert_int_equal(access(path, F_OK), -1);
    put("the configuration");
    assert_int_equal(link(path, with(".other")), 0);
    assert_int_equal(history_disk_set_aside(path, beside, &err), -1);
    assert_string_equal(err.text, "is the configuration");
    assert_holds(path, "the configuration");
}

static void test_what_is_no_file(void **state)
{
    struct buf text = BUF_INIT(100);
    bool missing;

    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0); /* would block whoever opens it */
    assert_int_equal(history_disk_read(path, 100, &text, &missing, &err), -1);
    assert_int_equal(history_disk_set_aside(path, NULL, &err), -1);
    assert_int_equal(put("x"), -1);
    assert_non_null(strstr(err.text, "is not replaced"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(with(".new"), 0600), 0);
    assert_int_equal(put("x"), -1);
    assert_int_equal(unlink(beside), 0);
    assert_int_equal(symlink("/etc/passwd", beside), 0);
    assert_int_equal(put("x"), -1);
    assert_int_equal(unlink(beside), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(put("x"), -1);
    assert_int_equal(history_disk_read(path, 100, &text, &missing, &err), -1);
    buf_fini(&text);
}

/* The old one stays where the new one cannot be written. */
static void test_a_full_disk(void **state)
{
    int fd;

    (void)state;
    put("old");
    fd = open(with(".new"), O_CREAT | O_WRONLY, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0); /* another agent */
    assert_int_equal(put("new"), -1);
    assert_non_null(strstr(err.text, "another agent"));
    assert_int_equal(access(beside, F_OK), 0); /* it is the other one's */
    close(fd);
    assert_holds(path, "old");
    snprintf(path, sizeof path, "/dev/full/history");
    assert_int_equal(put("new"), -1);
    snprintf(path, sizeof path, "%s/history", folder);
    assert_int_equal(put("new"), 0);
    assert_holds(path, "new");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_written_and_read),
        TEST(test_set_aside),
        TEST(test_what_is_no_file),
        TEST(test_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
