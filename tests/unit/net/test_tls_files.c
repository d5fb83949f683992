/* Certificates and keys that change while the agent runs: rotations, half rotations, and invalid files. */
#include "tests/unit/net/tls_server.h"

#include <stdlib.h>
#include <sys/stat.h>

static struct loop loop;
static char dir[] = "/tmp/net-tls-XXXXXX", ca_file[64], cert_file[64], key_file[64];
static struct cert old_ca, new_ca;
static struct tls_server server;
static const struct tls_options trusting = { .verify = true, .min_version = 12, .ca_file = ca_file };

/* One connection to a server whose certificate this authority has issued; dialled says how it went. */
static void dial_by(struct dialled *dialled, struct tls_context *context, const struct cert *issuer)
{
    struct cert cert = cert_make(&(struct cert_plan){ "chat", "IP:127.0.0.1", issuer, -DAY_S, 30 * DAY_S, false });
    tls_server_start(&server, &cert, NULL);
    tls_server_run(&server, SERVE_ECHO);
    memset(dialled, 0, sizeof *dialled);
    dial_whole(&loop, dialled, "127.0.0.1", server.port, context);
    if (dialled->stream)
        stream_close(dialled->stream, 1000);
    run_for(&loop, 5);
    tls_server_stop(&server);
    cert_free(&cert);
}

static bool passes(struct tls_context *context, const struct cert *issuer)
{
    struct dialled dialled;
    dial_by(&dialled, context, issuer);
    return dialled.opens == 1;
}

/* As Kubernetes does it: a new file takes the name. */
static void put_ca(const struct cert *cert)
{
    char fresh[80];
    snprintf(fresh, sizeof fresh, "%s.new", ca_file);
    cert_write(cert, fresh, NULL);
    assert_int_equal(rename(fresh, ca_file), 0);
}

static void put_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_a_rotated_authority_is_followed(void **state)
{
    (void)state;
    put_ca(&old_ca);
    struct tls_context *context = context_of(&trusting);
    assert_true(passes(context, &old_ca));
    assert_false(passes(context, &new_ca));
    put_ca(&new_ca);
    assert_true(passes(context, &new_ca));
    assert_false(passes(context, &old_ca));
    assert_string_equal(tls_context_stale(context), "");
    tls_context_unref(context);
}

/* Files that cannot be used change nothing, and the sentence of a failure says what was trusted instead. */
static void test_what_was_trusted_holds_until_the_new_can_be_read(void **state)
{
    (void)state;
    struct dialled dialled;
    put_ca(&old_ca);
    struct tls_context *context = context_of(&trusting);
    put_text(ca_file, "-----BEGIN CERTIFICATE-----\nMIIB");
    assert_true(passes(context, &old_ca));
    assert_non_null(strstr(tls_context_stale(context), "ca_file "));
    dial_by(&dialled, context, &new_ca);
    assert_int_equal(dialled.err.reason, REASON_TLS_CERT_UNTRUSTED);
    assert_non_null(strstr(dialled.err.text, "ca_file (changed "));
    assert_non_null(strstr(dialled.err.text, " ago)"));
    assert_non_null(strstr(dialled.err.text, "; newer files cannot be used: ca_file "));
    unlink(ca_file);
    assert_true(passes(context, &old_ca));
    put_text(ca_file, "");
    assert_true(passes(context, &old_ca));
    assert_non_null(strstr(tls_context_stale(context), "no certificate"));
    put_ca(&new_ca);
    assert_true(passes(context, &new_ca));
    assert_string_equal(tls_context_stale(context), "");
    tls_context_unref(context);
}

/* Certificate and key are two files, and there is a moment between them. */
static void test_a_certificate_before_its_key(void **state)
{
    (void)state;
    const struct tls_options options = { .cert_file = cert_file, .key_file = key_file, .min_version = 12 };
    struct cert first = cert_make(&(struct cert_plan){ "client", NULL, &old_ca, -DAY_S, DAY_S, false });
    struct cert second = cert_make(&(struct cert_plan){ "client", NULL, &new_ca, -DAY_S, DAY_S, false });
    cert_write(&first, cert_file, key_file);
    struct tls_context *context = context_of(&options);
    cert_write(&second, cert_file, NULL);
    tls_context_refresh(context);
    assert_non_null(strstr(tls_context_stale(context), "is not the key of cert_file"));
    assert_true(passes(context, &old_ca));
    cert_write(&second, cert_file, key_file);
    tls_context_refresh(context);
    assert_string_equal(tls_context_stale(context), "");
    tls_context_unref(context);
    cert_free(&first);
    cert_free(&second);
}

/* A session of the old authorities is not resumed after they have changed. */
static void test_no_session_is_resumed_across_a_rotation(void **state)
{
    (void)state;
    struct tls_options options = trusting;
    options.resume = true;
    put_ca(&old_ca);
    struct tls_context *context = context_of(&options);
    assert_true(passes(context, &old_ca));
    put_ca(&new_ca);
    assert_false(passes(context, &old_ca));
    assert_true(passes(context, &new_ca));
    tls_context_unref(context);
}

/* Each of the three files: another kind of file is refused at the start, and does not hang the loop later. */
static void test_files_that_are_none(void **state)
{
    (void)state;
    struct err err;
    char none[80];
    snprintf(none, sizeof none, "%s/fifo", dir);
    assert_int_equal(mkfifo(none, 0600), 0);
    put_ca(&old_ca);
    cert_write(&old_ca, cert_file, key_file);
    const struct tls_options with[] = { { .verify = true, .min_version = 12, .ca_file = none },
                                        { .min_version = 12, .cert_file = none, .key_file = key_file },
                                        { .min_version = 12, .cert_file = cert_file, .key_file = none } };
    static const char *const names[] = { "ca_file", "cert_file", "key_file" };
    for (size_t i = 0; i < 3; i++) {
        assert_null(tls_context_new(&with[i], &err));
        assert_memory_equal(err.text, names[i], strlen(names[i]));
        assert_non_null(strstr(err.text, "is a fifo, want a regular file"));
    }
    assert_null(tls_context_new(&(struct tls_options){ .verify = true, .min_version = 12, .ca_file = "/dev/zero" }, &err));
    assert_non_null(strstr(err.text, "is a character device, want a regular file"));
    struct tls_context *context = context_of(&trusting);
    assert_int_equal(rename(none, ca_file), 0);
    assert_true(passes(context, &old_ca));
    assert_non_null(strstr(tls_context_stale(context), "is a fifo"));
    tls_context_unref(context);
}

static void test_a_file_without_an_end(void **state)
{
    (void)state;
    struct err err;
    put_text(ca_file, "");
    unlink(ca_file);
    FILE *file = fopen(ca_file, "w");
    assert_int_equal(ftruncate(fileno(file), 3 << 20), 0);
    fclose(file);
    assert_null(tls_context_new(&trusting, &err));
    assert_non_null(strstr(err.text, "larger than 1024 KiB"));
}

static int setup(void **state)
{
    (void)state;
    return loop_init(&loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    loop_fini(&loop);
    unlink(ca_file);
    unlink(cert_file);
    unlink(key_file);
    return 0;
}

static int make_all(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return 1;
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", dir);
    snprintf(cert_file, sizeof cert_file, "%s/client.pem", dir);
    snprintf(key_file, sizeof key_file, "%s/client.key", dir);
    old_ca = cert_make(&(struct cert_plan){ "Old CA", NULL, NULL, -50 * DAY_S, 300 * DAY_S, true });
    new_ca = cert_make(&(struct cert_plan){ "New CA", NULL, NULL, -DAY_S, 300 * DAY_S, true });
    return 0;
}

static int drop_all(void **state)
{
    (void)state;
    cert_free(&old_ca);
    cert_free(&new_ca);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_rotated_authority_is_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_trusted_holds_until_the_new_can_be_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_certificate_before_its_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_session_is_resumed_across_a_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_file_without_an_end, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_all, drop_all);
}
