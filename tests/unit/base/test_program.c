/* What to type to start the program again: a name that the shell finds, else the path, fit for a shell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/program.h"

static char directory[64], self[PATH_MAX], here[PATH_MAX];

/* A directory with links to this very test, and with something else of the same name. */
static int make_places(void **state)
{
    char path[128];
    (void)state;
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    snprintf(directory, sizeof directory, "/tmp/test_program.XXXXXX");
    if (len < 0 || !mkdtemp(directory) || !getcwd(here, sizeof here) || chdir(directory) != 0)
        return -1;
    self[len] = '\0';
    if (mkdir("bin", 0755) || mkdir("other", 0755) || mkdir("it's mine", 0755) || symlink(self, "bin/agent") ||
        symlink(self, "it's mine/agent"))
        return -1;
    snprintf(path, sizeof path, "%s/other/agent", directory);
    FILE *file = fopen(path, "w");
    return !file || fclose(file) || chmod(path, 0755);
}

static int remove_places(void **state)
{
    (void)state;
    return unlink("bin/agent") || unlink("other/agent") || unlink("it's mine/agent") || rmdir("bin") || rmdir("other") ||
           rmdir("it's mine") || chdir(here) || rmdir(directory);
}

static void set_path(const char *text)
{
    assert_int_equal(setenv("PATH", text, 1), 0);
}

static void test_before_it_is_learnt(void **state)
{
    (void)state;
    assert_string_equal(program_name(), "wshealthd");
    program_learn(NULL);
    program_learn("");
    assert_string_equal(program_name(), "wshealthd");
    assert_string_equal(program_anywhere(), "wshealthd");
}

static void test_found_on_the_path(void **state)
{
    (void)state;
    char path[256];
    snprintf(path, sizeof path, "/nowhere:%s/bin:%s/other", directory, directory);
    set_path(path);
    program_learn("bin/agent"); /* the same file */
    assert_string_equal(program_name(), "agent");
    assert_string_equal(program_anywhere(), "agent");
    program_learn("agent"); /* as a shell does it */
    assert_string_equal(program_name(), "agent");
}

static void test_another_of_that_name_comes_first(void **state)
{
    (void)state;
    char path[256];
    snprintf(path, sizeof path, "%s/other:%s/bin", directory, directory);
    set_path(path);
    program_learn("bin/agent");
    assert_string_equal(program_name(), "bin/agent");
    assert_string_equal(program_anywhere(), self);
}

static void test_not_on_the_path(void **state)
{
    (void)state;
    char path[256];
    set_path("/nowhere");
    program_learn("./bin/agent");
    assert_string_equal(program_name(), "./bin/agent");
    assert_string_equal(program_anywhere(), self);
    snprintf(path, sizeof path, "%s/bin/agent", directory);
    program_learn(path);
    assert_string_equal(program_name(), path);
    assert_string_equal(program_anywhere(), path);
    unsetenv("PATH");
    program_learn("bin/agent");
    assert_string_equal(program_name(), "bin/agent");
}

static void test_an_empty_entry_is_the_current_directory(void **state)
{
    (void)state;
    assert_int_equal(chdir("bin"), 0);
    set_path("/nowhere:");
    program_learn("./agent");
    assert_string_equal(program_name(), "agent");
    assert_int_equal(chdir(".."), 0);
}

static void test_quoted_for_a_shell(void **state)
{
    (void)state;
    set_path("/nowhere");
    program_learn("it's mine/agent");
    assert_string_equal(program_name(), "'it'\\''s mine/agent'");
    program_learn("bin/\033[2Jagent"); /* no byte that moves the cursor: the last one stays */
    assert_string_equal(program_name(), "'it'\\''s mine/agent'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_it_is_learnt),
        cmocka_unit_test(test_found_on_the_path),
        cmocka_unit_test(test_another_of_that_name_comes_first),
        cmocka_unit_test(test_not_on_the_path),
        cmocka_unit_test(test_an_empty_entry_is_the_current_directory),
        cmocka_unit_test(test_quoted_for_a_shell),
    };
    return cmocka_run_group_tests(tests, make_places, remove_places);
}
