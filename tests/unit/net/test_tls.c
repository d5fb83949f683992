/* TLS streams against a server of our own: certificates of every sort, versions, client certificates, and peers that break off. */
#include "tests/unit/net/tls_server.h"

#include <stdlib.h>

static struct loop loop;
static char dir[] = "/tmp/net-tls-XXXXXX", ca_file[64], other_ca_file[64], client_cert[64], client_key[64];
static struct cert ca, other_ca, client;
static struct tls_server server;

static const struct tls_options trusting = { .verify = true, .min_version = 12, .ca_file = ca_file };

static int setup(void **state)
{
    (void)state;
    return loop_init(&loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    loop_fini(&loop);
    return 0;
}

/* Dials with a name of its own for the certificate; the result is in dialled. */
static void dial_tls(struct dialled *dialled, const char *name, const struct tls_options *options)
{
    struct tls_context *context = context_of(options);
    memset(dialled, 0, sizeof *dialled);
    snprintf(dialled->url.host, sizeof dialled->url.host, "127.0.0.1");
    dialled->url.port = (uint16_t)server.port;
    dialled->target = (struct dial_target){ .url = &dialled->url, .tls = context, .server_name = name };
    dial_start(&loop, &dialled->target, &dialled_events, dialled, &dialled->report);
    tls_context_unref(context); /* the dial has its own */
    run_until(&loop, &dialled->done);
}

/* Serves with a certificate made by the plan, dials, and expects this failure (or, with REASON_NONE, success). */
static void expect(const struct cert_plan *plan, const char *name, const struct tls_options *options, enum reason reason,
                   const char *text)
{
    struct dialled dialled;
    struct cert cert = cert_make(plan);
    tls_server_start(&server, &cert, NULL);
    tls_server_run(&server, SERVE_ECHO);
    dial_tls(&dialled, name, options);
    if (dialled.fails != (reason != REASON_NONE) || dialled.err.reason != reason)
        fail_msg("want %s, got %s: %s", reason_name(reason), reason_name(dialled.err.reason), dialled.err.text);
    if (text && !strstr(dialled.err.text, text))
        fail_msg("want \"%s\" in \"%s\"", text, dialled.err.text);
    assert_true(dialled.report.tls.have_cert);
    assert_true(dialled.report.tls.not_after_ms > 0);
    assert_true(dialled.report.tls_ns > 0);
    assert_int_equal(dialled.report.secured, reason == REASON_NONE);
    if (dialled.stream)
        stream_close(dialled.stream, 1000);
    run_for(&loop, 5);
    tls_server_stop(&server);
    cert_free(&cert);
}

static void test_good(void **state)
{
    (void)state;
    const struct cert_plan plan = { "good", "DNS:chat.test,DNS:*.wild.test,IP:127.0.0.1,IP:::1", &ca, -DAY_S, 30 * DAY_S, false };
    expect(&plan, "chat.test", &trusting, REASON_NONE, NULL);
    expect(&plan, "chat.test.", &trusting, REASON_NONE, NULL);
    expect(&plan, "a.wild.test", &trusting, REASON_NONE, NULL);
    expect(&plan, "127.0.0.1", &trusting, REASON_NONE, NULL);
    expect(&plan, "::1", &trusting, REASON_NONE, NULL);
    expect(&plan, NULL, &trusting, REASON_NONE, NULL); /* the url's host */
}

static void test_wrong_name(void **state)
{
    (void)state;
    const struct cert_plan plan = { "good", "DNS:chat.test,DNS:b.test,IP:127.0.0.2", &ca, -DAY_S, 30 * DAY_S, false };
    const struct cert_plan bare = { "just-a-cn", NULL, &ca, -DAY_S, 30 * DAY_S, false };
    const struct cert_plan many = { "many", "DNS:a,DNS:b,DNS:c,DNS:d,DNS:e,DNS:f,DNS:g", &ca, -DAY_S, 30 * DAY_S, false };
    expect(&plan, "other.test", &trusting, REASON_TLS_HOSTNAME_MISMATCH,
           "the certificate is for chat.test, b.test, 127.0.0.2, want other.test");
    expect(&plan, "127.0.0.1", &trusting, REASON_TLS_HOSTNAME_MISMATCH, "want 127.0.0.1");
    expect(&plan, "x.chat.test", &trusting, REASON_TLS_HOSTNAME_MISMATCH, "want x.chat.test");
    expect(&bare, "other.test", &trusting, REASON_TLS_HOSTNAME_MISMATCH, "the certificate is for CN=just-a-cn, want other.test");
    expect(&many, "other.test", &trusting, REASON_TLS_HOSTNAME_MISMATCH, "is for a, b, c, d, e and 2 more, want other.test");
}

static void test_dates(void **state)
{
    (void)state;
    const struct cert_plan old = { "old", "DNS:chat.test", &ca, -40 * DAY_S, -20 * DAY_S - 60, false };
    const struct cert_plan early = { "early", "DNS:chat.test", &ca, 2 * DAY_S + 60, 30 * DAY_S, false };
    const struct cert_plan just = { "just", "DNS:chat.test", &ca, -DAY_S, -90, false };
    expect(&old, "chat.test", &trusting, REASON_TLS_CERT_EXPIRED, "certificate CN=old expired 20");
    expect(&old, "chat.test", &trusting, REASON_TLS_CERT_EXPIRED, ", 20 days ago");
    expect(&just, "chat.test", &trusting, REASON_TLS_CERT_EXPIRED, ", 1 minute ago");
    expect(&early, "chat.test", &trusting, REASON_TLS_CERT_NOT_YET_VALID, "certificate CN=early is not valid before 20");
    expect(&early, "chat.test", &trusting, REASON_TLS_CERT_NOT_YET_VALID, ", in 2 days");
}

static void test_trust(void **state)
{
    (void)state;
    const struct cert_plan lonely = { "lonely", "DNS:chat.test", NULL, -DAY_S, 30 * DAY_S, false };
    const struct cert_plan foreign = { "foreign", "DNS:chat.test", &other_ca, -DAY_S, 30 * DAY_S, false };
    const struct tls_options system = { .verify = true, .min_version = 12 }, blind = { .verify = false, .min_version = 12 };
    expect(&lonely, "chat.test", &trusting, REASON_TLS_CERT_UNTRUSTED, "certificate CN=lonely is self-signed and not in ca_file");
    expect(&lonely, "chat.test", &system, REASON_TLS_CERT_UNTRUSTED, "not in the system's authorities");
    expect(&foreign, "chat.test", &trusting, REASON_TLS_CERT_UNTRUSTED,
           "certificate CN=foreign was issued by CN=Other CA, which is");
    expect(&foreign, "other.test", &blind, REASON_NONE, NULL);
}

static void test_intermediate_counts_for_the_chain(void **state)
{
    (void)state;
    struct dialled dialled;
    struct cert middle = cert_make(&(struct cert_plan){ "Middle CA", NULL, &ca, -DAY_S, 5 * DAY_S, true });
    struct cert leaf = cert_make(&(struct cert_plan){ "leaf", "DNS:chat.test", &middle, -DAY_S, 90 * DAY_S, false });
    tls_server_start(&server, &leaf, &middle);
    tls_server_run(&server, SERVE_ECHO);
    dial_tls(&dialled, "chat.test", &trusting);
    assert_int_equal(dialled.opens, 1);
    assert_string_equal(dialled.report.tls.subject, "CN=leaf");
    assert_string_equal(dialled.report.tls.issuer, "CN=Middle CA");
    int64_t gap_ms = dialled.report.tls.not_after_ms - dialled.report.tls.chain_not_after_ms;
    assert_true(gap_ms > 84ll * DAY_S * 1000 && gap_ms < 86ll * DAY_S * 1000);
    assert_string_equal(dialled.report.tls.version, "TLSv1.3");
    assert_true(dialled.report.tls.cipher[0] != '\0');
    assert_false(dialled.report.tls.resumed);
    stream_close(dialled.stream, 1000);
    run_for(&loop, 5);
    tls_server_stop(&server);
    cert_free(&leaf);
    cert_free(&middle);
}

/* --- the conversation ----------------------------------------------------------------------------------------------- */

static struct cert good;

static struct stream *open_good(struct dialled *dialled, struct heard *heard, enum script script)
{
    memset(heard, 0, sizeof *heard);
    buf_init(&heard->data, 1 << 22);
    tls_server_start(&server, &good, NULL);
    tls_server_run(&server, script);
    dial_tls(dialled, "chat.test", &trusting);
    if (dialled->opens != 1)
        fail_msg("%s", dialled->err.text);
    return dialled->stream;
}

static void finish_good(struct heard *heard)
{
    run_for(&loop, 5);
    tls_server_stop(&server);
    buf_fini(&heard->data);
}

static void test_echo_of_every_size(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 100, 16383, 16384, 16385, 70000, 900000 };
    struct dialled dialled;
    struct heard heard;
    uint8_t *bulk = mem_alloc(1 << 20);
    struct stream *stream = open_good(&dialled, &heard, SERVE_ECHO);
    assert_true(stream_is_tls(stream));
    stream_start(stream, &heard_events, &heard);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t at = 0; at < sizes[i]; at++)
            bulk[at] = (uint8_t)(at * 31 + i + at / 255);
        buf_reset(&heard.data);
        assert_int_equal(stream_write(stream, slice_make(bulk, sizes[i])), 0);
        while (heard.data.len < sizes[i] && heard.ends == 0)
            uv_run(&loop.uv, UV_RUN_ONCE);
        assert_int_equal(heard.data.len, sizes[i]);
        assert_int_equal(memcmp(heard.data.data, bulk, sizes[i]), 0);
    }
    stream_close(stream, 1000);
    mem_free(bulk);
    for (int i = 0; i < 1000 && atomic_load(&server.notified) == 0; i++)
        run_for(&loop, 1);
    assert_int_equal(atomic_load(&server.notified), 1); /* close_notify was sent */
    finish_good(&heard);
}

static void test_ceiling_counts_plain_bytes(void **state)
{
    (void)state;
    struct dialled dialled;
    struct heard heard;
    uint8_t *bulk = mem_alloc(100001);
    struct stream *stream = open_good(&dialled, &heard, SERVE_ECHO);
    stream_start(stream, &heard_events, &heard);
    stream_set_max_pending(stream, 100000);
    assert_int_equal(stream_write(stream, slice_make(bulk, 100001)), -1);
    assert_int_equal(stream_write(stream, slice_make(bulk, 100000)), 0);
    while (heard.total < 100000)
        uv_run(&loop.uv, UV_RUN_ONCE);
    stream_close_now(stream);
    mem_free(bulk);
    finish_good(&heard);
}

static int pauses;
static struct heard paused_heard;

static void pause_on_data(void *user, struct slice data)
{
    heard_data(&paused_heard, data);
    stream_pause(user);
    pauses++;
}

static void test_pause_in_the_middle_of_records(void **state)
{
    (void)state;
    static const struct stream_events pausing = { pause_on_data, heard_end, NULL };
    struct dialled dialled;
    struct heard unused;
    struct stream *stream = open_good(&dialled, &unused, SERVE_TALK);
    memset(&paused_heard, 0, sizeof paused_heard);
    buf_init(&paused_heard.data, 1 << 20);
    pauses = 0;
    run_for(&loop, 20); /* not started: nothing is read */
    stream_start(stream, &pausing, stream);
    for (int seen = 0; paused_heard.total < TALK_RECORDS * TALK_BYTES;) {
        run_until(&loop, &pauses);
        run_for(&loop, 2);
        assert_int_equal(pauses, 1); /* paused is paused */
        assert_int_equal(paused_heard.data_calls, ++seen);
        pauses = 0;
        if (seen % 10 == 0) { /* changing one's mind is fine */
            stream_resume(stream);
            stream_pause(stream);
        }
        stream_resume(stream);
    }
    for (int i = 0; i < TALK_RECORDS * TALK_BYTES; i++)
        assert_int_equal(paused_heard.data.data[i], 'A' + i / TALK_BYTES % 26);
    stream_close(stream, 1000);
    buf_fini(&paused_heard.data);
    finish_good(&unused);
}

static void close_in_data(void *user, struct slice data)
{
    (void)data;
    stream_close(user, 1000);
    pauses++;
}

static void test_close_in_the_middle_of_records(void **state)
{
    (void)state;
    static const struct stream_events closing = { close_in_data, heard_end, NULL };
    struct dialled dialled;
    struct heard unused;
    struct stream *stream = open_good(&dialled, &unused, SERVE_TALK);
    pauses = 0;
    stream_start(stream, &closing, stream);
    run_until(&loop, &pauses);
    run_for(&loop, 20);
    assert_int_equal(pauses, 1);
    finish_good(&unused);
}

static void expect_end(enum script script, enum reason reason, const char *text, int total)
{
    struct dialled dialled;
    struct heard heard;
    struct stream *stream = open_good(&dialled, &heard, script);
    stream_start(stream, &heard_events, &heard);
    run_until(&loop, &heard.ends);
    assert_int_equal(heard.end.reason, reason);
    if (!strstr(heard.end.text, text))
        fail_msg("want \"%s\" in \"%s\"", text, heard.end.text);
    assert_int_equal(heard.total, total);
    stream_close(stream, 1000);
    run_for(&loop, 10);
    assert_int_equal(heard.ends, 1);
    finish_good(&heard);
}

static void test_ends(void **state)
{
    (void)state;
    expect_end(SERVE_TRUNCATE, REASON_NONE, "without close_notify", 3);
    expect_end(SERVE_RESET, REASON_CONNECTION_RESET, "reset", 3);
    expect_end(SERVE_GARBAGE, REASON_TLS_HANDSHAKE_FAILED, "TLS: ", 0);
}

static void test_clean_end(void **state)
{
    (void)state;
    struct dialled dialled;
    struct heard heard;
    struct stream *stream = open_good(&dialled, &heard, SERVE_ECHO);
    stream_start(stream, &heard_events, &heard);
    stream_write(stream, slice_str("x"));
    run_until(&loop, &heard.total);
    stream_tls_info(stream, &(struct tls_info){ 0 });
    stream_close(stream, 1000);
    finish_good(&heard);
}

/* --- peers that do not get that far --------------------------------------------------------------------------------- */

static void expect_no_handshake(enum script script, const char *text)
{
    struct dialled dialled;
    tls_server_start(&server, &good, NULL);
    tls_server_run(&server, script);
    dial_tls(&dialled, "chat.test", &trusting);
    assert_int_equal(dialled.fails, 1);
    assert_int_equal(dialled.err.reason, REASON_TLS_HANDSHAKE_FAILED);
    if (!strstr(dialled.err.text, text))
        fail_msg("want \"%s\" in \"%s\"", text, dialled.err.text);
    assert_non_null(strstr(dialled.err.text, "TLS with 127.0.0.1:"));
    assert_true(dialled.report.connected);
    assert_false(dialled.report.secured);
    run_for(&loop, 5);
    tls_server_stop(&server);
}

static void test_peers_that_speak_something_else(void **state)
{
    (void)state;
    expect_no_handshake(SERVE_HTTP, "does not speak TLS, it answered \"HTTP/1.1 400 Bad Request\"; is this the plain port?");
    expect_no_handshake(SERVE_EOF, "the server closed the connection during the handshake");
    expect_no_handshake(SERVE_NOISE, "unexpected message");
}

static void expect_timeout(enum script script, const char *text)
{
    struct dialled dialled;
    struct err err;
    struct tls_context *context = context_of(&trusting);
    tls_server_start(&server, &good, NULL);
    tls_server_run(&server, script);
    struct dial *dial = dial_begin(&loop, &dialled, "127.0.0.1", server.port, context);
    tls_context_unref(context);
    run_for(&loop, 50);
    assert_true(dialled.report.connected);
    assert_false(dialled.report.secured);
    dial_cancel(dial);
    dial_timeout_err(&dialled.target, &dialled.report, 2000, &err);
    assert_int_equal(err.reason, REASON_TLS_HANDSHAKE_FAILED);
    if (!strstr(err.text, text))
        fail_msg("want \"%s\" in \"%s\"", text, err.text);
    run_for(&loop, 5);
    assert_int_equal(dialled.done, 0);
    tls_server_stop(&server);
}

static void test_peers_that_say_nothing(void **state)
{
    (void)state;
    expect_timeout(SERVE_SILENT, "no answer within 2s; is this the plain port?");
    expect_timeout(SERVE_HALF, "the handshake was not finished within 2s");
}

static void test_cancel_during_the_handshake(void **state)
{
    (void)state;
    struct dialled dialled;
    struct tls_context *context = context_of(&trusting);
    tls_server_start(&server, &good, NULL);
    tls_server_run(&server, SERVE_ECHO);
    for (int turns = 0; turns < 6; turns++) {
        struct dial *dial = dial_begin(&loop, &dialled, "127.0.0.1", server.port, context);
        for (int i = 0; i < turns && dialled.done == 0; i++)
            uv_run(&loop.uv, UV_RUN_ONCE);
        if (dialled.done == 0)
            dial_cancel(dial);
        else if (dialled.stream)
            stream_abort(dialled.stream);
    }
    tls_context_unref(context);
    run_for(&loop, 5);
    tls_server_stop(&server);
}

/* --- versions and client certificates ------------------------------------------------------------------------------- */

static void test_versions(void **state)
{
    (void)state;
    static const struct tls_options newest = { .verify = true, .min_version = 13, .ca_file = ca_file };
    static const struct tls_options oldest = { .verify = true, .min_version = 10, .ca_file = ca_file };
    struct dialled dialled;
    tls_server_start(&server, &good, NULL);
    SSL_CTX_set_max_proto_version(server.ctx, TLS1_2_VERSION);
    tls_server_run(&server, SERVE_ECHO);
    dial_tls(&dialled, "chat.test", &newest);
    assert_int_equal(dialled.err.reason, REASON_TLS_HANDSHAKE_FAILED);
    assert_non_null(strstr(dialled.err.text, "the server does not speak TLS 1.3 or later"));
    dial_tls(&dialled, "chat.test", &trusting);
    assert_int_equal(dialled.opens, 1);
    assert_string_equal(dialled.report.tls.version, "TLSv1.2");
    stream_close(dialled.stream, 1000);
    run_for(&loop, 5);
    tls_server_stop(&server);

    tls_server_start(&server, &good, NULL);
    SSL_CTX_set_min_proto_version(server.ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(server.ctx, TLS1_1_VERSION);
    SSL_CTX_set_cipher_list(server.ctx, "ALL:@SECLEVEL=0");
    tls_server_run(&server, SERVE_ECHO);
    dial_tls(&dialled, "chat.test", &oldest);
    assert_int_equal(dialled.opens, 1);
    assert_string_equal(dialled.report.tls.version, "TLSv1.1");
    stream_close(dialled.stream, 1000);
    dial_tls(&dialled, "chat.test", &trusting);
    assert_non_null(strstr(dialled.err.text, "TLS 1.2"));
    run_for(&loop, 5);
    tls_server_stop(&server);
}

static void start_demanding(int version)
{
    tls_server_start(&server, &good, NULL);
    SSL_CTX_set_max_proto_version(server.ctx, version);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(server.ctx), ca.x509);
    SSL_CTX_set_verify(server.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    tls_server_run(&server, SERVE_ECHO);
}

/* In TLS 1.3 the client has finished before the server judges its certificate: the refusal comes as the end of an open stream. */
static void expect_refusal_after_open(const struct tls_options *options, const char *text)
{
    struct dialled dialled;
    struct heard heard = { 0 };
    dial_tls(&dialled, "chat.test", options);
    assert_int_equal(dialled.opens, 1);
    stream_start(dialled.stream, &heard_events, &heard);
    stream_write(dialled.stream, slice_str("GET / HTTP/1.1\r\n\r\n"));
    run_until(&loop, &heard.ends);
    assert_int_equal(heard.end.reason, REASON_TLS_CLIENT_CERT_REJECTED);
    if (!strstr(heard.end.text, text))
        fail_msg("want \"%s\" in \"%s\"", text, heard.end.text);
    stream_close(dialled.stream, 1000);
}

static void test_client_certificates(void **state)
{
    (void)state;
    const struct tls_options with = { NULL, client_cert, client_key, false, 12, false };
    char foreign_cert[80], foreign_key[80];
    snprintf(foreign_cert, sizeof foreign_cert, "%s/foreign.pem", dir);
    snprintf(foreign_key, sizeof foreign_key, "%s/foreign.key", dir);
    struct cert foreign = cert_make(&(struct cert_plan){ "stranger", NULL, &other_ca, -DAY_S, DAY_S, false });
    cert_write(&foreign, foreign_cert, foreign_key);
    const struct tls_options stranger = { NULL, foreign_cert, foreign_key, false, 12, false };
    struct dialled dialled;

    start_demanding(TLS1_3_VERSION);
    dial_tls(&dialled, "chat.test", &with);
    assert_int_equal(dialled.opens, 1);
    stream_close(dialled.stream, 1000);
    expect_refusal_after_open(&trusting, "the server wants a client certificate, and none is configured");
    expect_refusal_after_open(&stranger, "the server refused our client certificate");
    run_for(&loop, 5);
    tls_server_stop(&server);

    start_demanding(TLS1_2_VERSION);
    dial_tls(&dialled, "chat.test", &trusting);
    assert_int_equal(dialled.err.reason, REASON_TLS_CLIENT_CERT_REJECTED);
    assert_non_null(strstr(dialled.err.text, "the server wants a client certificate"));
    dial_tls(&dialled, "chat.test", &stranger);
    assert_non_null(strstr(dialled.err.text, "the server refused our client certificate"));
    run_for(&loop, 5);
    tls_server_stop(&server);
    cert_free(&foreign);
    unlink(foreign_cert);
    unlink(foreign_key);
}

static void test_full_handshakes_unless_asked(void **state)
{
    (void)state;
    struct tls_options options = trusting;
    struct dialled dialled;
    for (int resume = 0; resume < 2; resume++) {
        options.resume = resume;
        struct tls_context *context = context_of(&options);
        tls_server_start(&server, &good, NULL);
        tls_server_run(&server, SERVE_ECHO);
        for (int i = 0; i < 3; i++) {
            struct heard heard = { .data = BUF_INIT(100) };
            snprintf(dialled.url.host, sizeof dialled.url.host, "127.0.0.1");
            dial_whole(&loop, &dialled, "127.0.0.1", server.port, context);
            assert_int_equal(dialled.opens, 1);
            assert_int_equal(dialled.report.tls.resumed, resume && i > 0);
            assert_true(dialled.report.tls.have_cert);
            stream_start(dialled.stream, &heard_events, &heard);
            stream_write(dialled.stream, slice_str("x")); /* the ticket comes before the echo */
            run_until(&loop, &heard.total);
            stream_close(dialled.stream, 1000);
            buf_fini(&heard.data);
        }
        tls_context_unref(context);
        run_for(&loop, 5);
        tls_server_stop(&server);
        assert_int_equal(atomic_load(&server.resumed), resume ? 2 : 0);
    }
}

/* --- contexts ------------------------------------------------------------------------------------------------------- */

static void test_files_that_cannot_be_used(void **state)
{
    (void)state;
    struct err err;
    char garbage[80];
    snprintf(garbage, sizeof garbage, "%s/garbage.pem", dir);
    FILE *file = fopen(garbage, "w");
    fputs("this is no certificate\n", file);
    fclose(file);
    assert_null(tls_context_new(&(struct tls_options){ .ca_file = "/nonexistent.pem", .verify = true, .min_version = 12 }, &err));
    assert_non_null(strstr(err.text, "ca_file /nonexistent.pem: No such file or directory"));
    assert_null(tls_context_new(&(struct tls_options){ .ca_file = garbage, .verify = true, .min_version = 12 }, &err));
    assert_non_null(strstr(err.text, "garbage.pem: "));
    assert_null(tls_context_new(&(struct tls_options){ .cert_file = client_cert, .min_version = 12 }, &err));
    assert_non_null(strstr(err.text, "want both or none"));
    assert_null(tls_context_new(&(struct tls_options){ .cert_file = client_cert, .key_file = garbage, .min_version = 12 }, &err));
    assert_non_null(strstr(err.text, "key_file "));
    file = fopen(garbage, "w");
    PEM_write_PrivateKey(file, ca.key, EVP_aes_128_cbc(), (const unsigned char *)"pw", 2, NULL, NULL);
    fclose(file);
    assert_null(tls_context_new(&(struct tls_options){ .cert_file = client_cert, .key_file = garbage, .min_version = 12 }, &err));
    file = fopen(garbage, "w");
    PEM_write_PrivateKey(file, ca.key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    assert_null(tls_context_new(&(struct tls_options){ .cert_file = client_cert, .key_file = garbage, .min_version = 12 }, &err));
    assert_null(tls_context_new(&(struct tls_options){ .min_version = 9 }, &err));
    tls_context_unref(NULL);
    unlink(garbage);
}

static int make_all(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return 1;
    snprintf(ca_file, sizeof ca_file, "%s/ca.pem", dir);
    snprintf(other_ca_file, sizeof other_ca_file, "%s/other.pem", dir);
    snprintf(client_cert, sizeof client_cert, "%s/client.pem", dir);
    snprintf(client_key, sizeof client_key, "%s/client.key", dir);
    ca = cert_make(&(struct cert_plan){ "Test CA", NULL, NULL, -50 * DAY_S, 300 * DAY_S, true });
    other_ca = cert_make(&(struct cert_plan){ "Other CA", NULL, NULL, -DAY_S, 300 * DAY_S, true });
    client = cert_make(&(struct cert_plan){ "client", NULL, &ca, -DAY_S, 30 * DAY_S, false });
    good = cert_make(&(struct cert_plan){ "good", "DNS:chat.test,IP:127.0.0.1", &ca, -DAY_S, 30 * DAY_S, false });
    cert_write(&ca, ca_file, NULL);
    cert_write(&other_ca, other_ca_file, NULL);
    cert_write(&client, client_cert, client_key);
    return 0;
}

static int drop_all(void **state)
{
    (void)state;
    cert_free(&ca);
    cert_free(&other_ca);
    cert_free(&client);
    cert_free(&good);
    unlink(ca_file);
    unlink(other_ca_file);
    unlink(client_cert);
    unlink(client_key);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trust, setup, teardown),
        cmocka_unit_test_setup_teardown(test_intermediate_counts_for_the_chain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_echo_of_every_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ceiling_counts_plain_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause_in_the_middle_of_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_in_the_middle_of_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clean_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peers_that_speak_something_else, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peers_that_say_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_during_the_handshake, setup, teardown),
        cmocka_unit_test_setup_teardown(test_versions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_certificates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_handshakes_unless_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files_that_cannot_be_used, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_all, drop_all);
}
