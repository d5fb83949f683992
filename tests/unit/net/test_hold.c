/*
 * Many held connections at once: all open, echo and close. Prints the user memory of each, which is meaningful in a release build
 * only and is not judged. HOLD_COUNT is their number (200).
 */
#include "tests/unit/net/tls_server.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "agent/net/stream_impl.h"

static struct loop loop;
static char dir[] = "/tmp/net-hold-XXXXXX", ca_file[64];
static struct cert ca, leaf;
static int count = 200;

static long anonymous_kib(void)
{
    char line[128];
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, file))
        sscanf(line, "RssAnon: %ld", &kib);
    fclose(file);
    return kib;
}

/* The peers live in a process of their own, so that their memory is not counted. They echo one message each, then wait for the end. */
static pid_t fork_peers(int fd, bool tls)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(ctx, leaf.x509);
    SSL_CTX_use_PrivateKey(ctx, leaf.key);
    char data[16];
    int last = -1;
    for (int i = 0; i < count; i++) {
        last = accept(fd, NULL, NULL);
        no_delay(last);
        SSL *ssl = SSL_new(ctx);
        SSL_set_fd(ssl, last);
        if (tls && (SSL_accept(ssl) != 1 || SSL_read(ssl, data, sizeof data) <= 0 || SSL_write(ssl, data, 1) <= 0))
            _exit(1);
        if (!tls && (read(last, data, sizeof data) <= 0 || write(last, data, 1) != 1))
            _exit(1);
    }
    while (read(last, data, sizeof data) > 0) /* the last one to be opened is the last to be closed */
        ;
    _exit(0);
}

static void hold(bool tls)
{
    struct tls_options options = { .verify = true, .min_version = 12, .ca_file = ca_file };
    struct tls_context *context = tls ? tls_context_new(&options, NULL) : NULL;
    struct stream **streams = mem_alloc((size_t)count * sizeof(struct stream *));
    struct heard heard = { .data = BUF_INIT(1 << 20) };
    struct dialled dialled;
    int port, fd = listen_plain(&port, 128), status;
    pid_t peers = fork_peers(fd, tls);
    assert_true(peers > 0);
    long before = 0;
    for (int i = 0; i < count; i++) {
        if (i == 10)
            before = anonymous_kib(); /* the first ones pay for what all share */
        dial_whole(&loop, &dialled, "127.0.0.1", port, context);
        assert_int_equal(dialled.opens, 1);
        streams[i] = dialled.stream;
        stream_start(streams[i], &heard_events, &heard);
        assert_int_equal(stream_write(streams[i], slice_str("x")), 0);
        run_until(&loop, &heard.total);
        heard.total = 0;
    }
    long after = anonymous_kib();
    print_message("%s: sizeof(struct stream) %zu, %d held, %ld bytes each\n", tls ? "TLS" : "plain", sizeof(struct stream), count,
                  (after - before) * 1024 / (count - 10));
    assert_int_equal(heard.ends, 0);
    for (int i = 0; i < count; i++) {
        stream_close(streams[i], 0);
        if (i % 100 == 0)
            run_for(&loop, 0);
    }
    run_for(&loop, 5);
    assert_int_equal(waitpid(peers, &status, 0), peers);
    assert_int_equal(status, 0);
    tls_context_unref(context);
    mem_free(streams);
    buf_fini(&heard.data);
    close(fd);
}

static void test_plain(void **state)
{
    (void)state;
    hold(false);
}

static void test_tls(void **state)
{
    (void)state;
    hold(true);
}

static int make_all(void **state)
{
    (void)state;
    struct rlimit limit;
    if (getenv("HOLD_COUNT"))
        count = atoi(getenv("HOLD_COUNT"));
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (!mkdtemp(dir) || count < 20)
        return 1;
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", dir);
    ca = cert_make(&(struct cert_plan){ "Test CA", NULL, NULL, -86400, 86400, true });
    leaf = cert_make(&(struct cert_plan){ "leaf", "IP:127.0.0.1", &ca, -86400, 86400, false });
    cert_write(&ca, ca_file, NULL);
    return loop_init(&loop, NULL);
}

static int drop_all(void **state)
{
    (void)state;
    loop_fini(&loop);
    cert_free(&ca);
    cert_free(&leaf);
    unlink(ca_file);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_plain), cmocka_unit_test(test_tls) };
    return cmocka_run_group_tests(tests, make_all, drop_all);
}
