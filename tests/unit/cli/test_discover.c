/* What `config init URL` asks next, what it makes of the answers, and what it writes. Nothing is connected to: the servers are tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/cli/discover.h"
#include "agent/conf/conf.h"
#include "agent/run/agent.h"

/* What a server does: at its path, in its dialect; everything else gets `status`. */
struct server {
    const char *path;    /* "" : at every path; else the path of the URL that is asked */
    const char *dialect; /* NULL: none */
    const char *greeting, *answer;
    int status; /* of what it refuses; 0: nothing is refused */
    enum reason reason;
    bool echoes, wants_origin, chooses; /* chooses: takes whatever subprotocol */
    bool closes;                        /* on a text that is none of its protocol */
};

static unsigned spoken; /* how often the server was told something that is not its protocol */

static struct discover *discover_of(const char *url)
{
    struct discover *discover = mem_alloc(sizeof *discover);
    struct err err;

    discover->text = url;
    discover->dialects = agent_conf_env.dialects;
    assert_int_equal(url_parse(url, &discover->url, &err), 0);
    return discover;
}

static void say(struct discover_result *result, const char *text)
{
    if (!text)
        return;
    result->units[result->unit_count].len = (uint16_t)strlen(text);
    memcpy(result->units[result->unit_count++].data, text, strlen(text));
    result->messages++;
    result->largest = strlen(text);
}

/* The path that the try asks for, the dialect's own included. */
static void path_of(const struct discover *discover, const struct discover_try *try, char *out, size_t size)
{
    const struct dialect *dialect = try->row ? discover_dialect(discover, try->row->dialect) : NULL;
    char url[DISCOVER_URL_MAX];
    struct url parsed;
    struct err err;

    discover_url(discover, try, url, sizeof url);
    assert_int_equal(url_parse(url, &parsed, &err), 0);
    snprintf(out, size, "%s", strcmp(parsed.target, "/") == 0 && dialect && dialect->path ? dialect->path : parsed.target);
}

static void play_one(const struct discover *discover, const struct server *server, struct discover_result *result)
{
    const struct discover_row *row = result->try.row;
    char path[URL_TARGET_MAX];
    const struct dialect *dialect = row ? discover_dialect(discover, row->dialect) : NULL;
    bool speaks = row && server->dialect && strcmp(server->dialect, row->dialect) == 0;
    bool gated = dialect && dialect->subprotocols.count && !speaks && !server->chooses;

    path_of(discover, &result->try, path, sizeof path);
    snprintf(result->address, sizeof result->address, "127.0.0.1:8080");
    if (server->reason && reason_phase(server->reason) < PHASE_UPGRADE) {
        err_set(&result->err, server->reason, 0, "no way");
        return;
    }
    if ((*server->path && strcmp(server->path, path) != 0) || (server->wants_origin && !result->try.origin)) {
        result->status = server->status;
        err_set(&result->err, server->reason, server->status, "status %d, want 101", server->status);
        return;
    }
    result->status = 101;
    if (gated) {
        err_set(&result->err, REASON_UPGRADE_BAD_SUBPROTOCOL, 0, "no subprotocol was chosen");
        return;
    }
    result->opened = true;
    result->ponged = result->pinged = true;
    result->open_ns = NS_PER_S;
    say(result, server->greeting);
    if (speaks) {
        result->ready = true;
        say(result, server->answer);
    }
    if (!row && result->try.unknown)
        result->opened = server->chooses;
    else if (!row)
        result->asked_echo = !server->greeting;
    result->echoed = result->asked_echo && server->echoes;
    result->lost = result->asked_echo && server->closes;
    spoken += result->asked_echo || (row && !speaks && match_spec_empty(&dialect->greeting.expect));
    discover_prove(result);
}

/* All tries against that server; their number. */
static size_t play(struct discover *discover, const struct server *server)
{
    struct discover_try try;

    spoken = 0;
    while (discover_next(discover, &try)) {
        assert_true(discover->count < DISCOVER_TRIES_MAX);
        for (size_t i = 0; i < discover->count; i++)
            assert_memory_not_equal(&discover->results[i].try, &try, sizeof try);
        discover->results[discover->count].try = try;
        play_one(discover, server, &discover->results[discover->count++]);
    }
    return discover->count;
}

#define CONNECTED "{\"id\":1,\"connect\":{\"client\":\"a\",\"ping\":25}}"

static void finds_the_dialect(void **state)
{
    static const struct {
        const char *url;
        struct server server;
        enum discover_outcome outcome;
        const char *dialect, *configured; /* NULL: the URL that was given */
        size_t most;                      /* tries */
    } rows[] = {
        { "ws://a:1",
          { "/socket.io/?EIO=4&transport=websocket", "socket.io", "0{\"sid\":\"x\"}", "40{}", 404, REASON_UPGRADE_REFUSED, 0, 0, 0,
            0 },
          OUTCOME_DIALECT,
          "socket.io",
          NULL,
          2 },
        { "ws://a:1/chat",
          { "/socket.io/?EIO=4&transport=websocket", "socket.io", "0{\"sid\":\"x\"}", "40{}", 404, REASON_UPGRADE_REFUSED, 0, 0, 0,
            0 },
          OUTCOME_DIALECT,
          "socket.io",
          "ws://a:1",
          3 },
        { "ws://a:1/socket.io/?EIO=4&transport=websocket",
          { "", "socket.io", "0{\"sid\":\"x\"}", "40{}", 0, REASON_NONE, 0, 0, 0, 0 },
          OUTCOME_DIALECT,
          "socket.io",
          NULL,
          2 },
        { "ws://a:1",
          { "/cable", "action-cable", "{\"type\":\"welcome\"}", NULL, 404, REASON_UPGRADE_REFUSED, 0, 0, 0, 0 },
          OUTCOME_DIALECT,
          "action-cable",
          NULL,
          6 },
        { "ws://a:1/graphql",
          { "/graphql", "graphql-transport-ws", NULL, "{\"type\":\"connection_ack\"}", 0, REASON_NONE, 0, 0, 0, true },
          OUTCOME_DIALECT,
          "graphql-transport-ws",
          NULL,
          4 },
        { "ws://a:1/x",
          { "/ws", "mqtt", NULL, "CONNACK 0", 404, REASON_UPGRADE_REFUSED, 0, 0, 0, 0 },
          OUTCOME_DIALECT,
          "mqtt",
          "ws://a:1/ws",
          8 },
        { "ws://a:1/", { "", "nats", "INFO {\"a\":1}", "+OK", 0, REASON_NONE, 0, 0, 0, 0 }, OUTCOME_DIALECT, "nats", NULL, 2 },
        { "ws://a:1",
          { "/connection/websocket", "centrifugo", NULL, CONNECTED, 404, REASON_UPGRADE_REFUSED, 0, 0, 0, 0 },
          OUTCOME_DIALECT,
          "centrifugo",
          NULL,
          16 },
        { "ws://a:1/own",
          { "/own", "phoenix", NULL, "[null,\"1\",\"phoenix\",\"phx_reply\",{}]", 0, REASON_NONE, 0, 0, 0, true },
          OUTCOME_DIALECT,
          "phoenix",
          NULL,
          10 },
        { "ws://a:1/hub", { "/hub", "signalr", NULL, "{}", 0, REASON_NONE, 0, 0, 0, 0 }, OUTCOME_DIALECT, "signalr", NULL, 10 },
        /* who echoes is asked no more */
        { "ws://a:1/ws", { "", NULL, NULL, NULL, 0, REASON_NONE, true, 0, true, 0 }, OUTCOME_RAW, NULL, NULL, 1 },
        { "ws://a:1/ws", { "", NULL, NULL, NULL, 0, REASON_NONE, 0, 0, 0, 0 }, OUTCOME_RAW, NULL, NULL, 11 },
        { "ws://a:1", { "", NULL, NULL, NULL, 0, REASON_NONE, 0, 0, true, 0 }, OUTCOME_RAW, NULL, NULL, 16 },
        { "ws://a:1/ws", { "", NULL, NULL, NULL, 0, REASON_NONE, 0, 0, true, 0 }, OUTCOME_RAW, NULL, NULL, 16 },
        { "ws://a:1/ws", { "/never", NULL, NULL, NULL, 404, REASON_UPGRADE_REFUSED, 0, 0, 0, 0 }, OUTCOME_REFUSED, NULL, NULL, 16 },
        { "ws://a:1/ws",
          { "/never", NULL, NULL, NULL, 403, REASON_UPGRADE_UNAUTHORIZED, 0, 0, 0, 0 },
          OUTCOME_REFUSED,
          NULL,
          NULL,
          3 },
        { "ws://a:1/ws", { "/never", NULL, NULL, NULL, 429, REASON_RATE_LIMITED, 0, 0, 0, 0 }, OUTCOME_REFUSED, NULL, NULL, 1 },
        { "ws://a:1/ws",
          { "/never", NULL, NULL, NULL, 0, REASON_UPGRADE_TIMEOUT, 0, 0, 0, 0 },
          OUTCOME_UNREACHABLE,
          NULL,
          NULL,
          2 },
        { "ws://a:1/ws", { "", NULL, NULL, NULL, 0, REASON_CONNECT_REFUSED, 0, 0, 0, 0 }, OUTCOME_UNREACHABLE, NULL, NULL, 1 },
        { "ws://a:1/ws", { "", NULL, NULL, NULL, 0, REASON_TLS_CERT_UNTRUSTED, 0, 0, 0, 0 }, OUTCOME_UNREACHABLE, NULL, NULL, 1 },
        { "ws://a:1/ws", { "", NULL, NULL, NULL, 403, REASON_UPGRADE_UNAUTHORIZED, true, true, 0, 0 }, OUTCOME_RAW, NULL, NULL, 2 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct discover *discover = discover_of(rows[i].url);
        struct discovery *found = mem_alloc(sizeof *found);
        size_t tries = play(discover, &rows[i].server);

        discover_judge(discover, found);
        print_message("%s %s: %zu tries\n", rows[i].url, rows[i].dialect ? rows[i].dialect : "", tries);
        assert_in_range(tries, 1, rows[i].most);
        if (!rows[i].dialect)
            assert_in_range(spoken, 0, 2);
        assert_int_equal(found->outcome, rows[i].outcome);
        assert_string_equal(found->row ? found->row->dialect : "", rows[i].dialect ? rows[i].dialect : "");
        assert_string_equal(found->url, rows[i].configured ? rows[i].configured : rows[i].url);
        assert_string_equal(found->origin, rows[i].server.wants_origin ? "http://a:1" : "");
        mem_free(found);
        mem_free(discover);
    }
}

/* Whatever the tries have shown, and whatever flags were given: the file loads, and its comments are printable ASCII. */
static void writes_what_loads(void **state)
{
    static const char *const urls[] = { "ws://a:1", "wss://a/ws?x=1&y=%22", "ws+unix:///run/chat.sock:/ws",
                                        "ws+unix:///run/chat.sock", "ws://[::1]:1/a" };
    static const char evil[] = "no\nchecks: [\xe2\x80\xa8# \xc2\x85 x: 1 \xff\r\"}\x01";

    (void)state;
    for (size_t url = 0; url < sizeof urls / sizeof *urls; url++)
        for (size_t row = 0; discover_rows[row].dialect; row++)
            for (int way = 0; way < 6; way++) {
                struct discover *discover = discover_of(urls[url]);
                struct discovery *found = mem_alloc(sizeof *found);
                struct discover_result *result = &discover->results[discover->count++];
                struct buf out = BUF_INIT(1 << 20);
                struct conf_errors errors;

                *result = (struct discover_result){ .try = { .row = &discover_rows[row], .place = row % 2, .origin = way == 1 },
                                                    .opened = way != 2,
                                                    .ready = way < 2,
                                                    .ponged = way == 0,
                                                    .proven = way < 2,
                                                    .open_ns = NS_PER_S };
                if (way >= 2)
                    err_set(&result->err, way == 4 ? REASON_LOGIN_REJECTED : REASON_UPGRADE_REFUSED, 404, "%s", evil);
                snprintf(result->err.text, sizeof result->err.text, "%s", evil);
                say(result, evil);
                discover->settings[discover->setting_count++] = (struct discover_setting){ "headers", "X-A: b\"\\c" };
                discover->settings[discover->setting_count++] = (struct discover_setting){ "tls.verify", "false" };
                discover->settings[discover->setting_count++] = (struct discover_setting){ "origin", "https://a" };
                discover->host = (struct discover_host){ .looked = true,
                                                         .local = true,
                                                         .processes = 1,
                                                         .name = "a\nb",
                                                         .peers = { { "127.0.0.1:6379", 6379, 1, "redis", "redis" },
                                                                    { "[::1]:5672", 5672, 2, "rabbitmq", "amqp" } },
                                                         .peer_count = 2 };
                discover_judge(discover, found);
                discover_write_conf(discover, found, &out);
                for (size_t i = 0; i < out.len; i++)
                    assert_true(out.data[i] == '\n' || (out.data[i] >= 0x20 && out.data[i] < 0x7f));
                conf_errors_init(&errors);
                struct conf *conf = conf_load_text("x", buf_slice(&out), &agent_conf_env, &errors);
                if (!conf)
                    print_error("%s\n%s", buf_str(&errors.text), buf_str(&out));
                assert_non_null(conf);
                assert_int_equal(conf->target.tls.verify, !discover->url.tls);
                assert_string_equal(conf->target.headers.items[0].value, "b\"\\c");
                conf_unref(conf);
                conf_errors_fini(&errors);
                buf_fini(&out);
                mem_free(found);
                mem_free(discover);
            }
}

static void expect_finding(const struct discovery *found, enum discover_sure sure, const char *words)
{
    for (size_t i = 0; i < found->count; i++)
        if (found->findings[i].sure == sure && strstr(found->findings[i].text, words))
            return;
    for (size_t i = 0; i < found->count; i++)
        print_error("%s %s\n", discover_sure_name(found->findings[i].sure), found->findings[i].text);
    fail_msg("no finding '%s' (%s)", words, discover_sure_name(sure));
}

/* How sure a sentence is depends on where it comes from. */
static void says_how_sure(void **state)
{
    static const struct server centrifugo = { "", "centrifugo", NULL, CONNECTED, 0, REASON_NONE, 0, 0, 0, true };
    struct discover *discover = discover_of("ws://a:1/own");
    struct discovery found;

    (void)state;
    play(discover, &centrifugo);
    discover->tried_listening = true;
    discover->listened = (struct discover_result){ .opened = true, .ponged = true, .open_ns = 3 * NS_PER_S };
    discover_judge(discover, &found);
    expect_finding(&found, SURE_SAID, "it pings its clients every 25s, in its own protocol");
    discover->listened.pings = 1;
    discover->listened.ping_gap_ns = NS_PER_S;
    discover_judge(discover, &found);
    expect_finding(&found, SURE_LIKELY, "it pings its clients about every 1.00s");
    discover->listened.pings = 3;
    discover_judge(discover, &found);
    expect_finding(&found, SURE_SEEN, "it pings its clients about every 1.00s");
    discover->listened.lost = true;
    err_set(&discover->listened.err, REASON_CLOSED_BY_SERVER, 4001, "closed with 4001");
    discover_judge(discover, &found);
    assert_true(found.short_lived);
    expect_finding(&found, SURE_SEEN, "it ends a connection that says no more after 3.00s: closed with 4001");
    discover->cut = true;
    discover_judge(discover, &found);
    expect_finding(&found, SURE_UNKNOWN, "the time was over");
    mem_free(discover);
}

/* A wrong word of a server's is no number, and an absurd one is not told. */
static void takes_no_absurd_periods(void **state)
{
    static const char *const greetings[] = { "0{\"sid\":\"x\",\"pingInterval\":99999999999999999999}",
                                             "0{\"sid\":\"x\",\"pingInterval\":-1}", "0{\"sid\":\"x\",\"pingInterval\":\"soon\"}",
                                             "0{\"sid\":\"x\",\"pingInterval\":0}" };

    (void)state;
    for (size_t i = 0; i < sizeof greetings / sizeof *greetings; i++) {
        const struct server server = { "", "socket.io", greetings[i], "40{}", 0, REASON_NONE, 0, 0, 0, 0 };
        struct discover *discover = discover_of("ws://a:1/own");
        struct discovery found;

        play(discover, &server);
        discover->tried_listening = discover->listened.opened = true;
        discover_judge(discover, &found);
        expect_finding(&found, SURE_UNKNOWN, "does it ping its clients?");
        mem_free(discover);
    }
}

/* Each row names a dialect that is there, and has something that proves it. */
static void the_table_is_whole(void **state)
{
    struct discover *discover = discover_of("ws://a:1");

    (void)state;
    for (const struct discover_row *row = discover_rows; row->dialect; row++) {
        const struct dialect *dialect = discover_dialect(discover, row->dialect);

        assert_non_null(dialect);
        assert_non_null(row->why);
        assert_true(row->proof || !match_spec_empty(&dialect->greeting.expect) || !match_spec_empty(&dialect->connect.expect));
    }
    mem_free(discover);
}

/* The wrong scheme, or the wrong version of HTTP: another look, but never without TLS with a secret. */
static void looks_again(void **state)
{
    static const struct {
        const char *url;
        enum reason reason;
        int status;
        const char *text, *setting;
        enum discover_again again;
    } rows[] = {
        { "ws://a:1", REASON_CONNECTION_RESET, 0, "", NULL, AGAIN_OTHER_SCHEME },
        { "ws://a:1", REASON_HTTP_MALFORMED, 0, "\x15\x03", NULL, AGAIN_OTHER_SCHEME },
        { "ws://a:1/?token=x", REASON_UPGRADE_REFUSED, 400, "The plain HTTP request was sent to HTTPS port", "token",
          AGAIN_OTHER_SCHEME },
        { "ws://a:1", REASON_UPGRADE_REFUSED, 404, "", NULL, AGAIN_NOT },
        { "ws://a:1", REASON_CONNECT_REFUSED, 0, "", NULL, AGAIN_NOT },
        { "ws+unix:///a", REASON_CONNECTION_RESET, 0, "", NULL, AGAIN_NOT },
        { "wss://a:1", REASON_TLS_HANDSHAKE_FAILED, 0, "", NULL, AGAIN_OTHER_SCHEME },
        { "wss://a:1", REASON_TLS_HANDSHAKE_FAILED, 0, "", "token", AGAIN_NOT },
        { "wss://a:1/?token=x", REASON_TLS_HANDSHAKE_FAILED, 0, "", NULL, AGAIN_NOT },
        { "wss://u:p@a:1", REASON_TLS_HANDSHAKE_FAILED, 0, "", NULL, AGAIN_NOT },
        { "wss://a:1", REASON_TLS_CERT_UNTRUSTED, 0, "", NULL, AGAIN_NOT },
        { "wss://a:1", REASON_UPGRADE_UNAUTHORIZED, 403, "set target.http: 2 if", "token", AGAIN_HTTP2 },
        { "ws://a:1", REASON_HTTP_MALFORMED, 0, "set target.http: 2 if", "http", AGAIN_OTHER_SCHEME },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct discover *discover = discover_of(rows[i].url);
        struct discover_result *result = &discover->results[discover->count++];

        result->status = rows[i].status;
        err_set(&result->err, rows[i].reason, 0, "%s", rows[i].text);
        if (rows[i].setting)
            discover->settings[discover->setting_count++] = (struct discover_setting){ rows[i].setting, "x" };
        print_message("%s %s\n", rows[i].url, reason_name(rows[i].reason));
        assert_int_equal(discover_wants_again(discover), rows[i].again);
        snprintf(discover->other, sizeof discover->other, "ws://b");
        assert_int_not_equal(discover_wants_again(discover), AGAIN_OTHER_SCHEME); /* once is enough */
        result->opened = true;
        assert_int_equal(discover_wants_again(discover), AGAIN_NOT);
        mem_free(discover);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looks_again),   cmocka_unit_test(finds_the_dialect),       cmocka_unit_test(writes_what_loads),
        cmocka_unit_test(says_how_sure), cmocka_unit_test(takes_no_absurd_periods), cmocka_unit_test(the_table_is_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
