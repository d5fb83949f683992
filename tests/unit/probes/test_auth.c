/*
 * The check `auth` against a server that looks at tokens as it is told to: what is tried, at which pace, and what each answer means. That real
 * signatures are verified is asked in tests/e2e/test_auth.py.
 */
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/net/jwt_sign.h"
#include "agent/proto/jwt.h"
#include "probes/registry.h"
#include "tests/unit/probes/play.h"

static const char unauthorized[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
static const char *const garbage = "Bearer wshealthd-garbage-";

static struct {
    char seen[4096];     /* of each request, a letter: v (the valid one), a (absent), g (garbage), j (another JWT) */
    const char *refusal; /* what a bad token gets; NULL: it is taken, and `code` closes it, or `says` is said */
    uint16_t code;       /* 0: it stays open */
    const char *says;
    const char *greeting; /* to the valid one */
    unsigned late_ms;     /* `code` comes so long after the upgrade */
    const char *takes;    /* letters of what is taken */
    const char *valid;    /* what the valid one gets; NULL: a 101 */
    uint64_t lives_ms;    /* a connection with a JWT is closed with `at_exp` after that; 0: never */
    uint16_t at_exp;
    unsigned stops_ms; /* everything stands still for that long once a bad one is open, and then it is closed */
    char last;         /* of the request under way */
} server;

static char letter_of(const struct http_head *head)
{
    const struct slice *value = http_header_get(head, "Authorization");
    struct jwt_times times;

    if (!value)
        return 'a';
    if (slice_equal_str(*value, "Bearer good-token"))
        return 'v';
    if (slice_find(*value, slice_str(garbage)) == 0)
        return 'g';
    assert_true(jwt_times_of(slice_skip(*value, 7), &times));
    assert_true(times.iat_s > 0 && times.exp_s > times.iat_s);
    return times.exp_s * 1000 > clock_wall_ms() ? 'v' : 'j';
}

static const char *on_request(struct script *script, const struct http_head *head)
{
    size_t len = strlen(server.seen);

    (void)script;
    assert_true(len + 1 < sizeof server.seen);
    server.last = letter_of(head);
    server.seen[len] = server.last;
    if (server.last == 'v')
        return server.valid;
    return strchr(server.takes, server.last) ? NULL : server.refusal;
}

static struct timer at_exp;
static struct peer *last_peer;

static void on_exp(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    if (last_peer->stream)
        peer_close(last_peer, server.at_exp, "");
}

static struct timer at_late;

static void on_late(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    if (last_peer->stream)
        peer_close(last_peer, server.code, "");
}

static struct timer at_stop;

static void on_stop(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    peer_close(last_peer, server.code, "");
    usleep(server.stops_ms * 1000);
}

static void on_open(struct peer *peer)
{
    bool good = server.last == 'v' || strchr(server.takes, server.last);

    last_peer = peer;
    if (good && server.lives_ms)
        timer_start(&at_exp, server.lives_ms);
    if (good && server.greeting)
        peer_say(peer, WS_TEXT, slice_str(server.greeting));
    if (!good && server.says)
        peer_say(peer, WS_TEXT, slice_str(server.says));
    if (!good && server.stops_ms)
        timer_start(&at_stop, 60);
    else if (!good && server.code && server.late_ms)
        timer_start(&at_late, server.late_ms);
    else if (!good && server.code)
        peer_close(peer, server.code, "who are you?");
}

static const struct conf_env env = { .probes = probe_registry, .getenv = no_env };

/* Most rounds end long before their deadline; a few tests await it, or the part of it in which a refusal may come. */
static const char *timeout = "20s", *refusals = "refuse_within: 200ms";

static void begin(struct play *play, const char *target, const char *options, bool once)
{
    struct buf text = BUF_INIT(8192);
    struct conf *conf;
    struct err err;

    memset(play, 0, sizeof *play);
    memset(server.seen, 0, sizeof server.seen);
    assert_int_equal(loop_init(&play->loop, &err), 0);
    timer_init(&at_exp, &play->loop, on_exp, NULL);
    timer_init(&at_stop, &play->loop, on_stop, NULL);
    timer_init(&at_late, &play->loop, on_late, NULL);
    play->script = (struct script){ .on_request = on_request, .on_open = on_open };
    buf_printf(
        &text,
        "target: { url: \"ws://127.0.0.1:%u/ws\"%s%s }\nchecks: [{ type: auth, interval: 500ms, fast_interval: 50ms, timeout: "
        "%s%s%s%s%s }]\n",
        script_begin(&play->script, &play->loop), *target ? ", " : "", target, timeout,
        *refusals && !strstr(options, "refuse_within") ? ", " : "", strstr(options, "refuse_within") ? "" : refusals,
        *options ? ", " : "", options);
    play->host.once = once;
    play->host.on_judged = on_judged;
    play->host.user = play;
    host_begin(&play->host, &play->loop);
    conf = host_conf(&text, &env);
    host_checks(&play->host, conf, &play->check, 1);
    conf_unref(conf);
    buf_fini(&text);
}

static void end(struct play *play)
{
    assert_int_equal(play->host.backoff[0].level, 0); /* whatever it was refused, the other checks go on at their pace */
    timer_stop(&at_exp);
    timer_stop(&at_stop);
    timer_stop(&at_late);
    play_end(play);
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
    end(&play);
}

#define TOKEN "token: good-token"
static char key_file[64], mint[256];

static int reset(void **state)
{
    FILE *file;

    (void)state;
    memset(&server, 0, sizeof server);
    timeout = "20s";
    refusals = "refuse_within: 200ms";
    server.refusal = unauthorized;
    server.takes = "";
    snprintf(key_file, sizeof key_file, "/tmp/wshealthd-auth-%d", (int)getpid());
    snprintf(mint, sizeof mint, "mint: { key_file: %s, claims: { sub: probe } }", key_file);
    file = fopen(key_file, "w");
    assert_non_null(file);
    fputs("the-shared-secret\n", file);
    fclose(file);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    unlink(key_file);
    return 0;
}

/* --- one round --- */

static void test_well(void **state)
{
    (void)state;
    expect(TOKEN, "", RESULT_PASS, REASON_NONE,
           "a valid token (target.token) is taken; refused: absent (status 401), garbage (status 401)", "vag");
    expect("headers: { Authorization: Bearer good-token }", "", RESULT_PASS, REASON_NONE, "(target.token) is taken", "vag");
    expect("", "", RESULT_PASS, REASON_NONE,
           "no token is configured (target.token, mint or refresh), so only bad ones are tried; refused: ", "ag");
    expect(TOKEN, "accept: false, reject: [garbage]", RESULT_PASS, REASON_NONE, "refused: garbage (status 401)", "g");
    expect("", mint, RESULT_PASS, REASON_NONE, "a valid token (mint) is taken", "vag");
    server.refusal = NULL;
    server.code = 4403;
    expect(TOKEN, "", RESULT_PASS, REASON_NONE, "absent (close code 4403), garbage (close code 4403)", "vag");
    server.code = 0;
    server.says = "{\"op\":\"error\"}";
    expect(TOKEN, "refuse_with: { match: { json: { /op: error } } }", RESULT_PASS, REASON_NONE,
           "absent (a message), garbage (a message)", "vag");
    server.refusal = "";
    expect(TOKEN, "refuse_with: [1006]", RESULT_PASS, REASON_NONE, "absent (a cut connection)", "vag");
}

static void test_all_that_can_be_made(void **state)
{
    char options[400];

    (void)state;
    /* A signature and an audience are nothing that this server looks at. */
    snprintf(options, sizeof options, "reject: [expired, wrong_signature], %s", mint);
    expect("", options, RESULT_FAIL, REASON_AUTH_NOT_ENFORCED, "takes a token that another key has signed (wrong_signature)",
           "vjv");
    snprintf(options, sizeof options, "reject: [wrong_audience], %s", mint);
    expect("", options, RESULT_FAIL, REASON_AUTH_NOT_ENFORCED, "takes a token for another audience (wrong_audience)", "vv");
    server.takes = "j";
    snprintf(options, sizeof options, "reject: [expired], %s", mint);
    expect("", options, RESULT_FAIL, REASON_AUTH_NOT_ENFORCED, "takes a token that expired an hour ago (expired)", "vj");
}

static void test_not_enforced(void **state)
{
    (void)state;
    server.takes = "a";
    expect(TOKEN, "", RESULT_FAIL, REASON_AUTH_NOT_ENFORCED,
           "takes a client without a token (absent), want it refused with 401, 403, 1008, 4000-4999", "va");
    server.takes = "g";
    expect(TOKEN, "", RESULT_FAIL, REASON_AUTH_NOT_ENFORCED, "takes a client with garbage in the place of a token (garbage)",
           "vag");
    /* It says no, and nobody has said what that looks like. */
    server.takes = "";
    server.refusal = NULL;
    server.says = "{\"op\":\"error\"}";
    expect(TOKEN, "", RESULT_FAIL, REASON_AUTH_NOT_ENFORCED, "if that refuses, set refuse_with.match", "va");
}

static void test_refused_in_another_way(void **state)
{
    (void)state;
    server.refusal = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    expect(TOKEN, "", RESULT_WARN, REASON_UPGRADE_REFUSED,
           "refuses a client without a token (absent) with status 404, want one of refuse_with (401, 403, 1008, 4000-4999)", "vag");
    expect(TOKEN, "refuse_with: [404]", RESULT_PASS, REASON_NONE, "(status 404)", "vag");
    server.refusal = "";
    expect(TOKEN, "", RESULT_WARN, REASON_CONNECTION_RESET, "with a cut connection", "vag");
    server.refusal = NULL;
    server.code = 1011;
    expect(TOKEN, "", RESULT_WARN, REASON_CLOSED_BY_SERVER, "with close code 1011", "vag");
}

static void test_the_valid_one_is_refused(void **state)
{
    (void)state;
    server.valid = unauthorized;
    expect(TOKEN, "", RESULT_FAIL, REASON_AUTH_REJECTED, "refuses a valid token (target.token): status 401", "v");
    expect("", mint, RESULT_FAIL, REASON_AUTH_REJECTED, "refuses a valid token (made with mint.key_file): status 401", "v");
    server.valid = "HTTP/1.1 403 Forbidden\r\nContent-Length: 18\r\n\r\nOrigin not allowed";
    expect(TOKEN, "", RESULT_FAIL, REASON_UPGRADE_UNAUTHORIZED, "Origin not allowed", "v");
    server.valid = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    expect(TOKEN, "", RESULT_FAIL, REASON_UPGRADE_REFUSED, "status 503", "v");
    server.valid = "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n";
    expect(TOKEN, "", RESULT_FAIL, REASON_RATE_LIMITED, "429", "v");
}

/* The Date of the answer tells why. */
static void test_a_clock_that_is_off(void **state)
{
    time_t then = (time_t)(clock_wall_ms() / 1000) + 7200;
    char date[64], refusal[200];

    (void)state;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&then));
    snprintf(refusal, sizeof refusal, "HTTP/1.1 401 Unauthorized\r\nDate: %s\r\nContent-Length: 0\r\n\r\n", date);
    server.valid = refusal;
    expect("", mint, RESULT_WARN, REASON_AUTH_REJECTED, "ahead of the agent's by its Date, and for it the token has expired", "v");
    expect(TOKEN, "", RESULT_FAIL, REASON_AUTH_REJECTED, "status 401", "v"); /* no JWT: it explains nothing */
    then -= 4 * 3600;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&then));
    snprintf(refusal, sizeof refusal, "HTTP/1.1 401 Unauthorized\r\nDate: %s\r\nContent-Length: 0\r\n\r\n", date);
    expect("", mint, RESULT_WARN, REASON_AUTH_REJECTED, "behind the agent's by its Date, and for it the token is not valid yet",
           "v");
}

/* What is wrong with the agent's own means is not the server's fault. */
static void test_own_doing(void **state)
{
    struct jwt_claims claims = { .alg = "HS256", .iat_s = 100, .exp_s = 1000 };
    struct buf token = BUF_INIT(JWT_MAX), target = BUF_INIT(JWT_MAX);
    struct err err;

    (void)state;
    assert_int_equal(jwt_compose(&claims, &token, &err), 0);
    assert_int_equal(jwt_sign(JWT_HS256, slice_str("secret"), JWT_OURS, &token, &err), 0);
    buf_printf(&target, "token: %s", buf_str(&token));
    expect(buf_str(&target), "", RESULT_FAIL, REASON_AUTH_REFRESH_FAILED, "by its own exp: put a fresh one there", "");
    assert_int_equal(reason_scope(REASON_AUTH_REFRESH_FAILED), SCOPE_PROBE);
    buf_fini(&token);
    buf_fini(&target);
    unlink(key_file);
    expect("", mint, RESULT_PASS, REASON_AGENT_ERROR, "No such file", "");
}

/* --- over rounds --- */

static void test_one_in_its_time(void **state)
{
    struct play play;

    (void)state;
    begin(&play, TOKEN, "", false);
    check_start(play.check, 0, 0, 1);
    run_rounds(&play, 3);
    assert_verdict(check_get_view(play.check), RESULT_PASS, REASON_NONE, "refused: absent (status 401); 1 more to try", "pace");
    assert_string_equal(server.seen, "vavv");
    end(&play);
    begin(&play, TOKEN, "pace: 1s", false);
    check_start(play.check, 0, 0, 1);
    while (strlen(server.seen) < 12)
        run_rounds(&play, 1);
    assert_non_null(strchr(server.seen, 'g'));
    assert_null(strstr(server.seen, "ag"));
    end(&play);
}

static void test_a_fault_is_looked_at_again(void **state)
{
    struct play play;

    (void)state;
    server.takes = "a";
    begin(&play, TOKEN, "", false);
    check_start(play.check, 0, 0, 1);
    run_rounds(&play, 2);
    assert_verdict(check_get_view(play.check), RESULT_FAIL, REASON_AUTH_NOT_ENFORCED, "(absent)", "again");
    assert_string_equal(server.seen, "vava");
    server.takes = "";
    run_rounds(&play, 1);
    assert_verdict(check_get_view(play.check), RESULT_PASS, REASON_NONE, "absent (status 401)", "again");
    end(&play);
}

/* Bad logins are counted: the valid token is refused with the next round, and taken again when the ban is over. */
static void test_locked_out(void **state)
{
    struct play play;

    (void)state;
    begin(&play, TOKEN, "pace: 1s", false);
    check_start(play.check, 0, 0, 1);
    run_rounds(&play, 1);
    server.valid = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    run_rounds(&play, 3);
    assert_verdict(check_get_view(play.check), RESULT_WARN, REASON_RATE_LIMITED, "the probe's own doing", "ban");
    assert_int_equal(reason_scope(REASON_RATE_LIMITED), SCOPE_PROBE);
    server.valid = NULL;
    run_rounds(&play, 4);
    assert_verdict(check_get_view(play.check), RESULT_PASS, REASON_NONE, "is taken", "ban");
    assert_string_equal(server.seen, "vavvvvvvv"); /* no bad one for ten minutes */
    server.valid = unauthorized;                   /* and it has no part in this */
    run_rounds(&play, 1);
    assert_verdict(check_get_view(play.check), RESULT_FAIL, REASON_AUTH_REJECTED, "refuses a valid token", "ban");
    end(&play);
}

/* A refusal that comes late, but in time for the second, longer look, is no fault; nor is one that is waited for by refuse_within. */
static void test_a_late_refusal(void **state)
{
    struct play play;

    (void)state;
    server.refusal = NULL;
    server.code = 4401;
    server.late_ms = 2000; /* of a round of 4 s, whose quarter is 1 s */
    timeout = "4s";
    refusals = "";
    begin(&play, "", "reject: [garbage], pace: 1s", false);
    check_start(play.check, 0, 0, 1);
    run_rounds(&play, 1);
    assert_verdict(check_get_view(play.check), RESULT_WARN, REASON_AUTH_NOT_ENFORCED,
                   "within 1s (refuse_within); it is given more time once", "late");
    run_rounds(&play, 1);
    assert_verdict(check_get_view(play.check), RESULT_PASS, REASON_NONE, "garbage (close code 4401)", "late");
    while (strlen(server.seen) < 4) /* and from then on */
        run_rounds(&play, 1);
    assert_verdict(check_get_view(play.check), RESULT_PASS, REASON_NONE, "garbage (close code 4401)", "late");
    end(&play);
    expect("", "reject: [garbage]", RESULT_FAIL, REASON_AUTH_NOT_ENFORCED, "within 1s (refuse_within)", "g");
    timeout = "20s";
    expect("", "reject: [garbage], refuse_within: 5s", RESULT_PASS, REASON_NONE, "garbage (close code 4401)", "g");
    server.late_ms = 10000;
    expect("", "reject: [garbage], refuse_within: 100ms", RESULT_FAIL, REASON_AUTH_NOT_ENFORCED, "within 100ms (refuse_within)",
           "g");
}

/* Who is greeted with a valid token, and not without, is not served. */
static void test_no_greeting(void **state)
{
    (void)state;
    server.refusal = NULL;
    server.greeting = "{\"op\":\"welcome\"}";
    expect(TOKEN, "reject: [garbage]", RESULT_WARN, REASON_AUTH_NOT_ENFORCED, "neither serves nor refuses", "vg");
    server.says = server.greeting;
    expect(TOKEN, "reject: [garbage]", RESULT_FAIL, REASON_AUTH_NOT_ENFORCED, "takes a client with garbage", "vg");
}

static void test_too_many(void **state)
{
    struct play play;

    (void)state;
    server.refusal = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n";
    begin(&play, TOKEN, "pace: 1s", false);
    check_start(play.check, 0, 0, 1);
    run_rounds(&play, 1);
    assert_verdict(check_get_view(play.check), RESULT_WARN, REASON_RATE_LIMITED, "none is tried for 10m", "429");
    run_rounds(&play, 4);
    assert_verdict(check_get_view(play.check), RESULT_PASS, REASON_NONE, "2 more to try", "429");
    assert_string_equal(server.seen, "vavvvv");
    end(&play);
}

static void test_no_answer(void **state)
{
    struct play play;

    (void)state;
    server.refusal = "HTTP/1.1";
    timeout = "2s";
    begin(&play, TOKEN, "", true);
    play.script.stays = true;
    check_start(play.check, 0, 0, 1);
    run_rounds(&play, 1);
    assert_verdict(check_get_view(play.check), RESULT_WARN, REASON_UPGRADE_TIMEOUT,
                   "a bad token (absent) is neither taken nor refused: ", "silence");
    end(&play);
}

/* --- expiry --- */

static void test_a_session_ends_with_its_token(void **state)
{
    char options[400];

    (void)state;
    snprintf(options, sizeof options, "reject: [], expiry: { ttl: 2s, within: 2s }, %s", mint);
    server.lives_ms = 3050; /* past exp, which is rounded up to a second */
    server.at_exp = 4001;
    expect("", options, RESULT_PASS, REASON_NONE, "a session ends with close code 4001", "vv");
    server.at_exp = 1000;
    expect("", options, RESULT_WARN, REASON_CLOSED_BY_SERVER, "with close code 1000, want a close code of expiry.code", "vv");
    server.lives_ms = 0;
    expect("", options, RESULT_FAIL, REASON_AUTH_EXPIRY_IGNORED, "goes on serving a session", "vv");
}

static void test_a_session_ends_too_early(void **state)
{
    char options[400];

    (void)state;
    snprintf(options, sizeof options, "reject: [], expiry: { ttl: 10s, within: 1s }, %s", mint);
    server.lives_ms = 6000;
    server.at_exp = 1001; /* it goes away: that says nothing about tokens */
    expect("", options, RESULT_PASS, REASON_NONE, "could not be held to its end", "vv");
    server.at_exp = 4001;
    expect("", options, RESULT_WARN, REASON_CLOSED_BY_SERVER, "before its token's exp", "vv");
}

/* A restart ends renewed sessions too; and who was not renewed in time had no chance. */
static void test_a_restart_is_no_refused_renewal(void **state)
{
    char options[400];

    (void)state;
    snprintf(options, sizeof options,
             "reject: [], expiry: { ttl: 2s, within: 2s, expect: renew, renew: { send: '{{token}}' } }, %s", mint);
    server.lives_ms = 3050;
    server.at_exp = 1001;
    expect("", options, RESULT_WARN, REASON_AUTH_REJECTED, "when its first token expired", "vv");
    server.at_exp = 4001;
    expect("", options, RESULT_FAIL, REASON_AUTH_REJECTED, "when its first token expired", "vv");
    server.at_exp = 1001;
    server.lives_ms = 1250; /* it is to be renewed half a second later at least */
    while (clock_wall_ms() % 1000 > 100)
        usleep(1000);
    expect("", options, RESULT_PASS, REASON_NONE, "could not be held to its end", "vv");
}

/* A refusal that came while the agent was stopped waits in the socket. */
static void test_a_stopped_agent_reads_before_it_judges(void **state)
{
    (void)state;
    server.refusal = NULL;
    server.code = 4401;
    refusals = "";
    timeout = "4s"; /* a refusal may take a quarter of that */
    server.stops_ms = 1500;
    expect("", "reject: [absent]", RESULT_PASS, REASON_NONE, "absent (close code 4401)", "a");
}

/* The first time is a warning, between rounds; the second a fault, which stays. */
static void test_ignored_over_rounds(void **state)
{
    char options[400];
    struct play play;
    const struct check_view *view;
    bool warned = false;

    (void)state;
    timeout = "2s";
    snprintf(options, sizeof options, "reject: [], expiry: { ttl: 2s, within: 100ms }, %s", mint);
    begin(&play, "", options, false);
    check_start(play.check, 0, 0, 1);
    view = check_get_view(play.check);
    for (unsigned i = 0; i < 400 && view->status != RESULT_FAIL; i++) {
        run_rounds(&play, 1);
        warned = warned || (view->status == RESULT_WARN && view->reason == REASON_AUTH_EXPIRY_IGNORED);
    }
    assert_true(warned);
    assert_verdict(view, RESULT_FAIL, REASON_AUTH_EXPIRY_IGNORED, "goes on serving", "ignored");
    run_rounds(&play, 1);
    assert_verdict(view, RESULT_FAIL, REASON_AUTH_EXPIRY_IGNORED, "goes on serving", "ignored");
    end(&play);
}

static void test_too_short_for_expiry(void **state)
{
    struct play play;
    char options[400];

    (void)state;
    snprintf(options, sizeof options, "expiry: 30s, reject: [], %s", mint);
    begin(&play, "", options, true);
    check_start(play.check, 0, 0, 1);
    run_rounds(&play, 1);
    assert_verdict(check_get_view(play.check), RESULT_PASS, REASON_NONE, "give --timeout 37s", "short");
    end(&play);
}

static void expect_invalid(const char *options, const char *words)
{
    struct conf_errors errors;
    struct buf text = BUF_INIT(4096);

    conf_errors_init(&errors);
    buf_printf(&text, "target: { url: 'ws://h/' }\nchecks: [{ type: auth, %s }]\n", options);
    assert_null(conf_load_text("test", buf_slice(&text), &env, &errors));
    if (!strstr(buf_str(&errors.text), words))
        fail_msg("%s, want %s", buf_str(&errors.text), words);
    conf_errors_fini(&errors);
    buf_fini(&text);
}

static void test_configuration(void **state)
{
    (void)state;
    expect_invalid("timeout: 2s, refuse_within: 1s", "refuse_within: 1s, want less than half of timeout (2s)");
    expect_invalid("reject: [expired]", "reject: expired needs mint.key_file");
    expect_invalid("accept: false, reject: []", "nothing is asked");
    expect_invalid("mint: { claims: { a: 1 } }", "mint.key_file: required");
    expect_invalid("mint: { key_file: k, claims: [1] }", "mint.claims: [1], want a mapping");
    expect_invalid("mint: { key_file: k, alg: none }", "want HS256, RS256, ES256 or EdDSA");
    expect_invalid("mint: { key_file: k }, refresh: { url: 'http://h/' }", "not from both");
    expect_invalid("refresh: { url: 'ftp://h/' }", "refresh.url: url: unknown scheme 'ftp'");
    expect_invalid("refresh: { url: 'http://a:b@h/' }", "want client_id and client_secret");
    expect_invalid("refresh: { client_id: a }", "refresh.url: required");
    expect_invalid("refresh: { url: 'http://h/', client_secret: abc }", "refresh.client_id: required");
    expect_invalid("expiry: 5s", "expiry: needs mint or refresh");
    expect_invalid("expiry: { expect: renew }, mint: { key_file: k }", "expiry.ttl: required");
    expect_invalid("expiry: { ttl: 5s, expect: renew }, mint: { key_file: k }", "expiry.renew.send: required");
    expect_invalid("refuse_with: [99]", "99, want 100 to 4999");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, reset, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_well),
        TEST(test_all_that_can_be_made),
        TEST(test_not_enforced),
        TEST(test_refused_in_another_way),
        TEST(test_the_valid_one_is_refused),
        TEST(test_a_clock_that_is_off),
        TEST(test_own_doing),
        TEST(test_one_in_its_time),
        TEST(test_a_fault_is_looked_at_again),
        TEST(test_locked_out),
        TEST(test_a_late_refusal),
        TEST(test_no_greeting),
        TEST(test_too_many),
        TEST(test_no_answer),
        TEST(test_a_session_ends_with_its_token),
        TEST(test_a_session_ends_too_early),
        TEST(test_a_restart_is_no_refused_renewal),
        TEST(test_a_stopped_agent_reads_before_it_judges),
        TEST(test_ignored_over_rounds),
        TEST(test_too_short_for_expiry),
        TEST(test_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
