/* The check `origin` against a server that lets in whom it is told to: what is tried, at which pace, and what each answer means. */
#include "probes/registry.h"
#include "tests/unit/probes/play.h"

/* The Origins of requests in order, "-" for none, a blank behind each; and what the server does with them. */
static struct {
    char seen[4096];
    const char *good[4]; /* taken; ends with NULL. Others get `refusal` */
    const char *prefix;  /* so does what begins like this; NULL: nothing */
    const char *refusal; /* "": the connection is cut. NULL: taken, and closed with 1008 behind the upgrade */
    bool takes_all, absent;
} server;

static const char forbidden[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
static bool refuse_next;

static bool is_good(const char *origin)
{
    bool good = server.takes_all || (server.absent && strcmp(origin, "-") == 0) ||
                (server.prefix && strncmp(origin, server.prefix, strlen(server.prefix)) == 0);

    for (size_t i = 0; !good && i < 4 && server.good[i]; i++)
        good = strcmp(server.good[i], origin) == 0;
    return good;
}

static const char *on_request(struct script *script, const struct http_head *head)
{
    const struct slice *origin = http_header_get(head, "Origin");
    char text[200] = "-";

    (void)script;
    if (origin)
        snprintf(text, sizeof text, "%.*s", (int)origin->len, (const char *)origin->data);
    assert_true(strlen(server.seen) + strlen(text) + 2 < sizeof server.seen);
    strcat(server.seen, text);
    strcat(server.seen, " ");
    refuse_next = !is_good(text) && !server.refusal;
    return is_good(text) ? NULL : server.refusal;
}

static void on_open(struct peer *peer)
{
    if (refuse_next)
        peer_close(peer, 1008, "who are you?");
}

static const struct conf_env env = { .probes = probe_registry, .getenv = no_env };

static void begin(struct play *play, const char *target, const char *options, bool once)
{
    struct buf text = BUF_INIT(4096);
    struct conf *conf;
    struct err err;

    memset(play, 0, sizeof *play);
    memset(server.seen, 0, sizeof server.seen);
    assert_int_equal(loop_init(&play->loop, &err), 0);
    play->script = (struct script){ .on_request = on_request, .on_open = on_open };
    buf_printf(
        &text,
        "target: { url: \"ws://127.0.0.1:%u/ws\"%s%s }\nchecks: [{ type: origin, timeout: 2s, interval: 500ms, fast_interval: "
        "50ms%s%s }]\n",
        script_begin(&play->script, &play->loop), *target ? ", " : "", target, *options ? ", " : "", options);
    play->host.once = once;
    play->host.on_judged = on_judged;
    play->host.user = play;
    host_begin(&play->host, &play->loop);
    conf = host_conf(&text, &env);
    host_checks(&play->host, conf, &play->check, 1);
    conf_unref(conf);
    buf_fini(&text);
}

/* One round as `wshealthd check` makes it. */
static void expect(const char *target, const char *options, enum result status, enum reason reason, const char *words,
                   const char *seen)
{
    struct play play;

    begin(&play, target, options, true);
    check_start(play.check, 0, 0, 1);
    run_rounds(&play, 1);
    assert_verdict(check_get_view(play.check), status, reason, words, options);
    if (seen)
        assert_string_equal(server.seen, seen);
    play_end(&play);
}

#define CHAT "origin: 'https://chat.example.com'"

static int reset(void **state)
{
    (void)state;
    memset(&server, 0, sizeof server);
    server.good[0] = "https://chat.example.com";
    server.refusal = forbidden;
    return 0;
}

static void test_all_are_tried_once(void **state)
{
    (void)state;
    expect(CHAT, "absent: refuse", RESULT_PASS, REASON_NONE,
           "Origin https://chat.example.com is taken; refused: https://origin.invalid (status 403) and 6 others",
           "https://chat.example.com https://origin.invalid https://chat.example.com.wshealthd.test "
           "https://chat.example.com@wshealthd.test http://chat.example.com https://chat.example.com:8443 null - ");
    expect(CHAT, "lookalikes: false, null: ignore", RESULT_PASS, REASON_NONE, "(status 403)",
           "https://chat.example.com https://origin.invalid ");
    server.refusal = NULL;
    expect(CHAT, "lookalikes: false, null: ignore", RESULT_PASS, REASON_NONE, "https://origin.invalid (close code 1008)",
           "https://chat.example.com https://origin.invalid ");
    server.refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 34\r\n\r\n{\"code\":3,\"message\":\"Bad request\"}";
    expect(CHAT, "lookalikes: false", RESULT_PASS, REASON_NONE, "(status 400) and 1 other", NULL);
}

/* A server that refuses by hanging up, before or behind the upgrade. */
static void test_a_cut_is_a_refusal(void **state)
{
    (void)state;
    server.refusal = "";
    expect(CHAT, "lookalikes: false, null: ignore", RESULT_PASS, REASON_NONE, "https://origin.invalid (a cut connection)", NULL);
}

static void test_names_that_are_nobodys(void **state)
{
    (void)state;
    server.good[0] = "http://chat.test:80";
    expect("origin: 'http://chat.test:80'", "null: ignore, refuse: ['https://a.invalid', 'https://b.invalid']", RESULT_PASS,
           REASON_NONE, "and 5 others",
           "http://chat.test:80 https://a.invalid https://b.invalid http://chat.test.wshealthd.test http://wshealthd-chat.test "
           "http://chat.test@wshealthd.test http://chat.test:8443 ");
    server.good[0] = "http://[::1]:8443";
    expect("origin: 'http://[::1]:8443'", "null: ignore", RESULT_PASS, REASON_NONE, NULL,
           "http://[::1]:8443 https://origin.invalid http://[::1]@wshealthd.test http://[::1]:9443 ");
}

static void test_not_enforced(void **state)
{
    (void)state;
    server.takes_all = true;
    expect(CHAT, "lookalikes: false", RESULT_FAIL, REASON_ORIGIN_NOT_ENFORCED,
           "takes Origin https://origin.invalid (a foreign one), and should take https://chat.example.com alone",
           "https://chat.example.com https://origin.invalid ");
    expect("", "lookalikes: false", RESULT_FAIL, REASON_ORIGIN_NOT_ENFORCED,
           "takes Origin https://origin.invalid (a foreign one): ", "https://origin.invalid ");
    server.takes_all = false;
    server.prefix = "https://chat.example.com";
    expect(CHAT, "null: ignore", RESULT_FAIL, REASON_ORIGIN_NOT_ENFORCED,
           "https://chat.example.com.wshealthd.test (its name with another behind it)", NULL);
    server.prefix = "null";
    expect(CHAT, "lookalikes: false", RESULT_FAIL, REASON_ORIGIN_NOT_ENFORCED, "takes Origin null (that of a sandboxed frame",
           NULL);
    server.prefix = "-";
    expect(CHAT, "absent: refuse", RESULT_FAIL, REASON_ORIGIN_NOT_ENFORCED, "takes Origin (none) (none at all)", NULL);
}

/* Several libraries compare the host alone. */
static void test_the_same_host_is_a_warning(void **state)
{
    (void)state;
    server.good[1] = "http://chat.example.com";
    expect(CHAT, "", RESULT_WARN, REASON_ORIGIN_NOT_ENFORCED,
           "takes Origin http://chat.example.com (the same without TLS) like https://chat.example.com", NULL);
    server.good[2] = "null"; /* a fault goes before a warning */
    expect(CHAT, "", RESULT_FAIL, REASON_ORIGIN_NOT_ENFORCED, "takes Origin null", NULL);
}

static void test_the_own_is_refused(void **state)
{
    (void)state;
    server.good[0] = "https://other.example.com";
    server.absent = true;
    expect(CHAT, "lookalikes: true", RESULT_FAIL, REASON_ORIGIN_REJECTED, "without an Origin it takes the same client",
           "https://chat.example.com - ");
    expect("", "accept: 'https://www.example.com'", RESULT_FAIL, REASON_ORIGIN_REJECTED,
           "refuses Origin https://www.example.com: status 403", NULL);
    expect("headers: { Origin: 'https://www.example.com' }", "lookalikes: true", RESULT_FAIL, REASON_ORIGIN_REJECTED,
           "https://www.example.com", "https://www.example.com - ");
    /* Nobody is let in, and nothing says why: it may be a token. */
    server.absent = false;
    expect(CHAT, "lookalikes: true", RESULT_FAIL, REASON_UPGRADE_UNAUTHORIZED, "status 403", "https://chat.example.com - ");
    server.refusal = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    expect(CHAT, "lookalikes: true", RESULT_FAIL, REASON_UPGRADE_REFUSED, "status 404", NULL);
    server.refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 18\r\n\r\nOrigin not allowed";
    expect(CHAT, "lookalikes: true", RESULT_FAIL, REASON_ORIGIN_REJECTED, "Origin not allowed", NULL);
    server.refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    expect(CHAT, "lookalikes: true", RESULT_FAIL, REASON_UPGRADE_UNAUTHORIZED, "status 401", "https://chat.example.com ");
    server.refusal = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    expect(CHAT, "lookalikes: true", RESULT_FAIL, REASON_UPGRADE_REFUSED, "status 503", "https://chat.example.com ");
}

static void test_null_may_be_wanted(void **state)
{
    (void)state;
    server.good[1] = "null";
    expect(CHAT, "null: accept, lookalikes: false", RESULT_PASS, REASON_NONE, "is taken", NULL);
    server.good[1] = NULL;
    expect(CHAT, "null: accept, lookalikes: false", RESULT_FAIL, REASON_ORIGIN_REJECTED,
           "refuses Origin null (that of a sandboxed frame or a local file) with status 403", NULL);
}

static void test_without_an_own_one(void **state)
{
    (void)state;
    expect("", "", RESULT_PASS, REASON_NONE,
           "no Origin is configured (target.origin), so only others are asked; refused: ", "https://origin.invalid null ");
    /* Whom 401 meets, nobody has looked at the Origin of. */
    server.refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    expect("", "", RESULT_FAIL, REASON_UPGRADE_UNAUTHORIZED, "status 401", "https://origin.invalid ");
    /* Nor of whom all are sent elsewhere with, or told that nothing is there. */
    server.refusal = "HTTP/1.1 302 Found\r\nLocation: https://chat.example.com/\r\nContent-Length: 0\r\n\r\n";
    expect("", "", RESULT_FAIL, REASON_UPGRADE_REDIRECT, "302", "https://origin.invalid ");
    server.refusal = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    expect("", "", RESULT_FAIL, REASON_UPGRADE_REFUSED, "404", "https://origin.invalid ");
    server.refusal = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    expect("", "", RESULT_FAIL, REASON_UPGRADE_REFUSED, "503", "https://origin.invalid ");
}

/* --- over rounds --- */

static void test_one_in_its_time(void **state)
{
    struct play play;

    (void)state;
    begin(&play, CHAT, "lookalikes: false", false);
    check_start(play.check, 0, 0, 1);
    run_rounds(&play, 3);
    assert_verdict(check_get_view(play.check), RESULT_PASS, REASON_NONE, "; 1 more to try", "pace");
    assert_string_equal(server.seen,
                        "https://chat.example.com https://origin.invalid https://chat.example.com https://chat.example.com ");
    play_end(&play);
}

/* What is taken is tried again at once, so that the next round knows more; and it is forgotten as soon as it is refused. */
static void test_a_fault_is_looked_at_again(void **state)
{
    struct play play;

    (void)state;
    server.takes_all = true;
    begin(&play, CHAT, "lookalikes: false", false);
    check_start(play.check, 0, 0, 1);
    run_rounds(&play, 2);
    assert_verdict(check_get_view(play.check), RESULT_FAIL, REASON_ORIGIN_NOT_ENFORCED, "https://origin.invalid", "again");
    assert_string_equal(server.seen,
                        "https://chat.example.com https://origin.invalid https://chat.example.com https://origin.invalid ");
    server.takes_all = false;
    run_rounds(&play, 1);
    assert_verdict(check_get_view(play.check), RESULT_PASS, REASON_NONE, "(status 403)", "again");
    play_end(&play);
}

/* Who is refused too often is locked out: the configured Origin is refused from the next round on. */
static void test_locked_out(void **state)
{
    struct play play;

    (void)state;
    begin(&play, CHAT, "lookalikes: false, pace: 1s", false);
    check_start(play.check, 0, 0, 1);
    run_rounds(&play, 1);
    server.good[0] = "https://nobody.example.com";
    run_rounds(&play, 2);
    assert_verdict(check_get_view(play.check), RESULT_WARN, REASON_RATE_LIMITED, "the probe's own doing", "ban");
    server.good[0] = "https://chat.example.com";
    *server.seen = '\0';
    run_rounds(&play, 4);
    assert_verdict(check_get_view(play.check), RESULT_PASS, REASON_NONE, "is taken", "ban");
    assert_null(strstr(server.seen, "null")); /* none is tried for ten minutes */
    play_end(&play);
}

static void test_too_many(void **state)
{
    struct play play;

    (void)state;
    server.refusal = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1800\r\nContent-Length: 0\r\n\r\n";
    begin(&play, CHAT, "lookalikes: false, pace: 1s", false);
    check_start(play.check, 0, 0, 1);
    run_rounds(&play, 1);
    assert_verdict(check_get_view(play.check), RESULT_WARN, REASON_RATE_LIMITED, "no foreign Origin is tried for 10m", "429");
    run_rounds(&play, 4);
    assert_verdict(check_get_view(play.check), RESULT_PASS, REASON_NONE, "2 more to try", "429");
    assert_int_equal(play.host.backoff[0].level, 0); /* the other checks go on at their pace */
    play_end(&play);
}

/* A foreign Origin that gets no answer at all is no fault that clients see. */
static void test_no_answer(void **state)
{
    struct play play;

    (void)state;
    server.refusal = "HTTP/1.1";
    begin(&play, CHAT, "lookalikes: false", true);
    play.script.stays = true;
    check_start(play.check, 0, 0, 1);
    run_rounds(&play, 1);
    assert_verdict(check_get_view(play.check), RESULT_WARN, REASON_UPGRADE_TIMEOUT,
                   "Origin https://origin.invalid is neither taken nor refused: the response to the upgrade did not end",
                   "silence");
    play_end(&play);
}

static void expect_invalid(const char *options, const char *words)
{
    struct conf_errors errors;
    struct buf text = BUF_INIT(4096);

    conf_errors_init(&errors);
    buf_printf(&text, "target: { url: 'ws://h/' }\nchecks: [{ type: origin, %s }]\n", options);
    assert_null(conf_load_text("test", buf_slice(&text), &env, &errors));
    if (!strstr(buf_str(&errors.text), words))
        fail_msg("%s, want %s", buf_str(&errors.text), words);
    conf_errors_fini(&errors);
    buf_fini(&text);
}

static void test_configuration(void **state)
{
    (void)state;
    expect_invalid("accept: chat.example.com", "accept: 'chat.example.com', want an Origin such as https://chat.example.com");
    expect_invalid("refuse: ['https://a.test/']", "refuse: 'https://a.test/', want an Origin");
    expect_invalid("accept: 'https://a.test', refuse: ['https://A.test']", "is to be accepted as well");
    expect_invalid("'null': maybe", "refuse");
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_are_tried_once),
        TEST(test_a_cut_is_a_refusal),
        TEST(test_names_that_are_nobodys),
        TEST(test_not_enforced),
        TEST(test_the_same_host_is_a_warning),
        TEST(test_the_own_is_refused),
        TEST(test_null_may_be_wanted),
        TEST(test_without_an_own_one),
        TEST(test_one_in_its_time),
        TEST(test_a_fault_is_looked_at_again),
        TEST(test_locked_out),
        TEST(test_too_many),
        TEST(test_no_answer),
        TEST(test_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
