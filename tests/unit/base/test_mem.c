/* Memory: zeroed, terminated, and panic ends the program with a line that says where. */
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/mem.h"

static void test_allocating(void **state)
{
    (void)state;
    char *p = mem_alloc(64);
    for (int i = 0; i < 64; i++)
        assert_int_equal(p[i], 0);
    memset(p, 'x', 64);
    p = mem_realloc(p, 1000);
    assert_int_equal(p[63], 'x');
    mem_free(p);
    mem_free(mem_alloc(0));
    mem_free(NULL);
}

static void test_copying(void **state)
{
    (void)state;
    assert_null(mem_strdup(NULL));
    char *a = mem_strdup("abc"), *b = mem_strndup("abc", 2), *c = mem_strndup(NULL, 0), *d = mem_printf("%d-%s", 7, "x");
    assert_string_equal(a, "abc");
    assert_string_equal(b, "ab");
    assert_string_equal(c, "");
    assert_string_equal(d, "7-x");
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(d);
}

static void test_mapping(void **state)
{
    (void)state;
    char *p = mem_map(65536);
    for (int i = 0; i < 65536; i++)
        assert_int_equal(p[i], 0);
    memset(p, 'x', 65536);
    mem_unmap(p, 65536);
    mem_unmap(NULL, 65536);
    char *kept = mem_strdup("kept");
    mem_trim();
    assert_string_equal(kept, "kept");
    mem_free(kept);
}

/* In pages: those of files, and that are mapped now. */
static long resident_of_files(void)
{
    long all, resident, files;
    FILE *file = fopen("/proc/self/statm", "re");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld %ld", &all, &resident, &files), 3);
    fclose(file);
    return files;
}

/* Reads a byte of each page of what is only read. */
static int touch(struct dl_phdr_info *object, size_t size, void *user)
{
    long *pages = user;

    (void)size;
    for (int i = 0; i < object->dlpi_phnum && !strstr(object->dlpi_name, "vdso"); i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];

        if (part->p_type == PT_LOAD && !(part->p_flags & PF_W))
            for (size_t at = 0; at < part->p_memsz; at += 4096, ++*pages)
                (void)*(volatile const char *)(object->dlpi_addr + part->p_vaddr + at);
    }
    return 0;
}

static void test_trimming_gives_code_back(void **state)
{
    long pages = 0, before;

    (void)state;
    dl_iterate_phdr(touch, &pages);
    before = resident_of_files();
    assert_true(before >= pages);
    mem_trim();
    assert_true(resident_of_files() < before - pages / 2);
    pages = 0;
    dl_iterate_phdr(touch, &pages); /* all of it is still there */
    assert_true(resident_of_files() >= pages);
}

static void test_panic_says_where_and_aborts(void **state)
{
    (void)state;
    int fds[2], status;
    char text[256] = "";
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit no_core = { 0, 0 };
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        panic_if(1 + 1 == 2);
        _exit(0);
    }
    close(fds[1]);
    assert_true(read(fds[0], text, sizeof text - 1) > 0);
    close(fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "test_mem.c:"));
    assert_non_null(strstr(text, "1 + 1 == 2"));
    panic_if(1 + 1 == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocating),
        cmocka_unit_test(test_copying),
        cmocka_unit_test(test_mapping),
        cmocka_unit_test(test_trimming_gives_code_back),
        cmocka_unit_test(test_panic_says_where_and_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
