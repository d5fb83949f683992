/* brokers/fault.c: what the threads of the brokers' libraries may call while the loop goes on. Under ThreadSanitizer too. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/secret.h"
#include "brokers/fault.h"

enum { TURNS = 300 };

static void *look_at_files(void *user)
{
    static const char *const files[] = { NULL, "/nonexistent/ca.pem" };
    struct broker_fault *fault = user;
    for (int i = 0; i < TURNS; i++)
        if (broker_fault_of_files(files, 2, fault) == 0)
            return NULL;
    return user;
}

/* A file that is gone is named, by a thread that reads nothing of the loop's: the loop registers secrets meanwhile. */
static void test_files_that_are_gone(void **state)
{
    (void)state;
    struct broker_fault fault = { 0 };
    pthread_t thread;
    void *done;
    assert_int_equal(pthread_create(&thread, NULL, look_at_files, &fault), 0);
    for (int i = 0; i < TURNS; i++) {
        char secret[32];
        snprintf(secret, sizeof secret, "a secret of turn %d", i);
        secret_add(secret);
    }
    assert_int_equal(pthread_join(thread, &done), 0);
    assert_ptr_equal(done, &fault);
    assert_int_equal(fault.reason, REASON_AGENT_ERROR);
    assert_string_equal(fault.text, "tls: /nonexistent/ca.pem: No such file or directory");
    secret_forget_all();
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    static const char *const files[] = { "/dev/null" };
    struct broker_fault fault = { 0 };
    assert_int_equal(broker_fault_of_files(files, 1, &fault), -1);
    assert_string_equal(fault.text, "tls: /dev/null: want a regular file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_that_are_gone),
        cmocka_unit_test(test_what_is_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
