/*
 * The status page: what stands on it in each state, that no text of a peer's changes what it is made of, that it keeps within its size with as many
 * checks as there may be, and that users of the service see nothing of the infrastructure. PAGE_WRITE=DIRECTORY writes the pages there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/base/mem.h"
#include "agent/base/trace.h"
#include "agent/http/page.h"
#include "agent/proto/base64.h"
#include "agent/proto/digest.h"
#include "tests/unit/report/views.h"

enum { MANY = 256 };
#define MINUTE INT64_C(60000)
#define NOW (WORLD_MS + INT64_C(1440) * MINUTE)
/* Ends elements and attributes, turns text round, piles marks up, ends lines, breaks encodings. */
#define HOSTILE                                                                      \
    "</p><script>alert(1)</script>' onload='x\" x=\"&lt;\x01\x1b[2J\r\n\xe2\x80\xae" \
    "evil\xe2\x81\xa6\xe2\x80\x8b\xc2\x9b\xff\xc3(a\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81--></style><!--"

static struct world world;
static struct world_fleet fleet;
static struct history *history;
static struct server_stats server;
static struct delivery_stats delivery;
static struct buf page, kept_body;

/* --- worlds -------------------------------------------------------------------------------------------------------------- */

static struct trace *trace_of(const char *line, unsigned lines)
{
    struct trace trace = { 0 };

    trace_begin(&trace, 1, false);
    for (unsigned i = 0; i < lines; i++)
        trace_note(&trace, TRACE_RECEIVED, "%s", line);
    return trace_take(&trace, NOW - MINUTE, false);
}

/* A day of rounds: quick by night, slower by day, and in trouble between the 200th and the 204th bucket. */
static void live_through(struct check_view *check, bool trouble)
{
    struct check_view then = *check;

    for (unsigned i = 0; i < HISTORY_BUCKETS; i++) {
        bool bad = trouble && i >= 200 && i < 204;

        for (unsigned k = 0; k < 4; k++) {
            then.last_ms = NOW - (int64_t)(HISTORY_BUCKETS - 1 - i) * HISTORY_BUCKET_MS + k;
            then.judged = true;
            then.status = bad ? RESULT_FAIL : i % 97 == 96 ? RESULT_WARN : RESULT_PASS;
            then.rtt_ns = 200000 + (uint64_t)(i > 144 ? 288 - i : i) * 1500 + (i * 7919 + k * 104729) % 120000;
            then.total_ns = then.rtt_ns * 3;
            if (then.stats.server)
                then.stats.server->connections[SERVER_ESTABLISHED] = 400 + (i > 144 ? 288 - i : i) * 6 + i % 7 * 5;
            history_note_round(history, &then, then.last_ms);
        }
    }
}

static void note(int64_t minutes_ago, const char *word, const char *cause, const char *sentence)
{
    const struct history_change change = { NOW - minutes_ago * MINUTE, word, true, cause, sentence, "plain words" };

    history_note_change(history, &change);
}

static void put_phases(struct check_view *check, uint64_t open_ns)
{
    static const uint64_t ns[PHASE_COUNT] = { [PHASE_RESOLVE] = 20000, [PHASE_CONNECT] = 140000, [PHASE_UPGRADE] = 380000 };

    for (unsigned i = PHASE_RESOLVE; i < PHASE_COUNT; i++) {
        check->have_phase[i] = i != PHASE_TLS;
        check->phase_ns[i] = i == PHASE_OPEN ? open_ns : ns[i];
    }
    check->total_ns = 540000 + open_ns;
}

static void put_server(void)
{
    server = (struct server_stats){ .have_listener = true,
                                    .have_queue_limit = true,
                                    .have_connections = true,
                                    .have_churn = true,
                                    .have_resident = true,
                                    .have_fds = true,
                                    .have_max_fds = true,
                                    .have_cpu = true,
                                    .max_connections = 5000,
                                    .opens_per_s = 3.4,
                                    .closes_per_s = 2.9,
                                    .queue_limit = 511,
                                    .pid = 4711,
                                    .processes = 1,
                                    .resident_bytes = 212000000,
                                    .fds = 1260,
                                    .max_fds = 65536,
                                    .cpu_percent = 31,
                                    .peer_count = 2 };
    server.connections[SERVER_ESTABLISHED] = 1204;
    strcpy(server.process, "node");
    strcpy(server.peers[0].name, "bus-peer");
    strcpy(server.peers[0].address, "192.0.2.9:6379");
    server.peers[0].state = SERVER_PEER_CONNECTED;
    server.peers[0].connections = 2;
    strcpy(server.peers[1].name, "base-peer");
    server.peers[1].state = SERVER_PEER_LOST;
    strcpy(server.remark, "remark of the kernel's");
}

static void make_world(void)
{
    world_init(&world);
    world.view.history = history;
    world.view.config_file = "/etc/wshealthd/secret-name.yaml";
    world.view.started_ms = WORLD_MS - MINUTE;
    put_phases(world_add(&world, "handshake", "handshake", "local", GATE_READY | GATE_LIVE), 0);
    struct check_view *ping = world_add(&world, "ping", "ping", "local", GATE_READY);
    ping->have_rtt = true;
    ping->rtt_ns = 210000;
    put_phases(ping, 210000);
    put_phases(world_add(&world, "echo", "echo", "public", GATE_READY), 300000);
    world_add_delivery(&world, "delivery", "bus", &delivery);
    delivery.heartbeats[DELIVERY_RECEIVED] = 17280;
    put_server();
    world_add(&world, "server", "server", "local", 0)->stats.server = &server;
    world_add_broker(&world, "bus", "redis");
    for (size_t i = 0; i < world.view.check_count; i++)
        live_through(&world.checks[i], i == 1);
    server.connections[SERVER_ESTABLISHED] = 1204;
    note(1439, "ready", "healthy", "All checks pass");
    note(440, "not ready", "application_frozen", "secret sentence: the application is frozen");
    note(420, "ready", "healthy", "All checks pass");
    note(90, "degraded", "broker_down", "secret sentence: the broker is down");
    note(85, "ready", "healthy", "All checks pass");
    world_judge(&world, false, true);
}

static void make_failing(const char *text)
{
    make_world();
    check_fail(&world.checks[1], REASON_SILENT_DROP, text);
    strcpy(world.checks[1].health.history, "########~####################...");
    world.checks[1].failed = trace_of(text, 40);
    world_judge(&world, false, true);
    note(2, "not ready", "application_frozen", text);
}

static void forget_traces(void)
{
    for (size_t i = 0; i < WORLD_CHECKS; i++) {
        trace_free((struct trace *)(uintptr_t)world.checks[i].failed);
        world.checks[i].failed = NULL;
    }
}

static int set_up(void **state)
{
    (void)state;
    history = history_new();
    buf_init(&page, 1 << 20);
    buf_init(&kept_body, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    forget_traces();
    history_free(history);
    buf_fini(&page);
    buf_fini(&kept_body);
    return 0;
}

/* --- asking -------------------------------------------------------------------------------------------------------------- */

static const char *look_at(const struct agent_view *view, bool full, bool public_view)
{
    const struct page_look look = { full, public_view, NOW };

    buf_reset(&page);
    page_write(view, &look, &page);
    assert_in_range(page.len, 1000, PAGE_BYTES_MAX);
    return buf_str(&page);
}

/* For people who work on the page. */
static void keep(const char *name)
{
    char path[512];
    const char *directory = getenv("PAGE_WRITE");

    if (!directory)
        return;
    snprintf(path, sizeof path, "%s/%s.html", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fwrite(page.data, 1, page.len, file);
    fclose(file);
}

static void assert_in(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no \"%s\" in %s", part, text);
}

static void assert_not_in(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("\"%s\" is in %s", part, text);
}

static size_t times_in(const char *text, const char *part)
{
    size_t count = 0;

    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

/* Without style and script, which have words of their own. */
static const char *body_of(const char *text)
{
    const char *from = strstr(text, "</style>");

    buf_reset(&kept_body);
    buf_append(&kept_body, from, (size_t)(strstr(from, "<script>") - from));
    return buf_str(&kept_body);
}

/* --- tests --------------------------------------------------------------------------------------------------------------- */

static void it_is_one_document(void **state)
{
    (void)state;
    make_world();
    const char *text = look_at(&world.view, true, false);
    keep("ready");
    assert_ptr_equal(strstr(text, "<!doctype html>\n<html lang=en class=good>"), text);
    assert_int_equal(times_in(text, "<h1>"), 1);
    assert_in(text, "<h1>Ready</h1>");
    assert_in(text, "<title>Ready: ws://192.0.2.7:8080/secret-path</title>");
    assert_in(text, "p50</dt><dd>");
    assert_in(text, "17,280 received");
    assert_in(text, "1,204");
    assert_in(text, "212\xe2\x80\xafMB");
    assert_in(text, "secret sentence: the broker is down");
    assert_in(text, "<td>5\xe2\x80\xafmin</td>");
    text = body_of(text);
    assert_not_in(text, "src=");
    assert_not_in(text, " style=");
    assert_not_in(text, "http:");
}

/* What is streamed is what the document has. */
static void sections_are_parts_of_the_document(void **state)
{
    (void)state;
    struct buf section = BUF_INIT(1 << 20);

    make_failing("no pong");
    for (int look = 0; look < 3; look++) {
        const struct page_look as = { look == 0, look == 2, NOW };
        const char *text = look_at(&world.view, as.full, as.public_view);

        assert_true(page_section_count() >= 5);
        for (size_t i = 0; i < page_section_count(); i++) {
            char begin[64];

            buf_reset(&section);
            page_section_write(&world.view, &as, i, &section);
            assert_in(text, buf_str(&section));
            snprintf(begin, sizeof begin, " id=%s", page_section_id(i));
            assert_int_equal(times_in(text, begin), 1);
        }
    }
    assert_null(page_section_id(page_section_count()));
    buf_fini(&section);
}

static void assert_hash(const char *text, const char *tag, const char *directive)
{
    char begin[16], end[16], want[160], hash[BASE64_LEN(32) + 1];
    uint8_t digest[DIGEST_MAX];

    snprintf(begin, sizeof begin, "<%s>", tag);
    snprintf(end, sizeof end, "</%s>", tag);
    const char *from = strstr(text, begin);
    assert_non_null(from);
    from += strlen(begin);
    assert_int_equal(times_in(text, begin), 1);
    assert_int_equal(times_in(text, end), 1);
    (void)digest_hash(DIGEST_SHA256, slice_make(from, (size_t)(strstr(from, end) - from)), digest);
    base64_encode(slice_make(digest, 32), hash);
    snprintf(want, sizeof want, "%s 'sha256-%s'", directive, hash);
    assert_in(page_headers(), want);
}

static void only_its_own_style_and_script_may_run(void **state)
{
    (void)state;
    make_world();
    const char *text = look_at(&world.view, true, false);
    assert_hash(text, "style", "style-src");
    assert_hash(text, "script", "script-src");
    assert_in(page_headers(), "default-src 'none';");
    assert_in(page_headers(), "frame-ancestors 'none'\r\n");
    assert_in(page_headers(), "X-Content-Type-Options: nosniff\r\n");
    assert_not_in(page_headers(), "unsafe");
}

static void make_degraded(void)
{
    make_world();
    check_fail(&world.checks[3], REASON_BROKER_UNREACHABLE, "connection refused");
    check_fail(&world.checks[5], REASON_BROKER_UNREACHABLE, "connection refused");
    world_judge(&world, false, true);
}

static void make_not_ready(void)
{
    make_failing("no pong within 800ms, and nothing else either");
}

static void make_starting(void)
{
    make_world();
    for (size_t i = 0; i < world.view.check_count; i++)
        check_blank(&world.checks[i]);
    world.view.history = NULL;
    world_judge(&world, false, false);
}

static void make_draining(void)
{
    make_world();
    world_judge(&world, true, true);
    world.view.drain = (struct drain_view){ .counted = true, .remaining = 12, .since_ms = 1 };
}

static void make_reporting(void)
{
    make_world();
    check_warn(&world.checks[4], REASON_SERVER_PEER_LOST, "not connected to base");
    world_judge(&world, false, true);
}

static const struct {
    const char *name, *class, *word;
    void (*make)(void);
} states[] = {
    { "degraded", "warn", "Degraded", make_degraded },   { "not-ready", "bad", "Not ready", make_not_ready },
    { "starting", "none", "Starting", make_starting },   { "draining", "none", "Draining", make_draining },
    { "only-reports", "warn", "Ready", make_reporting },
};

static void every_state_says_its_word(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        char want[64];

        forget_traces();
        states[i].make();
        const char *text = look_at(&world.view, true, false);
        keep(states[i].name);
        snprintf(want, sizeof want, "<html lang=en class=%s>", states[i].class);
        assert_in(text, want);
        snprintf(want, sizeof want, "<h1>%s</h1>", states[i].word);
        assert_in(text, want);
    }
}

static void what_is_not_known_is_not_good(void **state)
{
    (void)state;
    make_starting();
    const char *text = look_at(&world.view, true, false);
    assert_not_in(strstr(text, "<section id=checks"), "class='mark good'");
    assert_in(text, "no verdict yet");
    assert_in(text, "No history is kept");
    make_draining();
    text = look_at(&world.view, true, false);
    assert_in(text, "<dt>Clients left</dt><dd>12</dd>");
    world.view.check_count = 0;
    world_judge(&world, false, false);
    text = look_at(&world.view, true, false);
    assert_in(text, "No check is enabled");
}

static void a_fault_says_whose_it_is_and_what_to_do(void **state)
{
    (void)state;
    make_not_ready();
    const char *text = look_at(&world.view, true, false);
    assert_in(text, "This instance of the server");
    assert_in(text, "What to do");
    assert_in(text, "<code>silent_drop</code> <bdi>no pong within 800ms");
    assert_in(text, "<details>");
    assert_in(text, "lines are left out here");
    assert_in(text, "it lasts");
    forget_traces();
    make_degraded();
    assert_in(look_at(&world.view, true, false), "Something that all instances share");
    make_not_ready();
    world.view.diagnosis.cause = "fleet_wide_fault";
    assert_in(look_at(&world.view, true, false), "Something that all instances share");
}

/* The tags of a page, one after another. */
static void skeleton_of(const char *text, struct buf *out)
{
    buf_reset(out);
    text = strstr(text, "</style>");
    for (const char *end = strstr(text, "<script>"); (text = strchr(text, '<')) && text < end; text++)
        buf_append(out, text, strcspn(text, " >"));
}

static void make_hostile(const char *text)
{
    make_failing(text);
    world.view.service_id = world.view.config_file = text;
    snprintf(world.view.diagnosis.sentence, sizeof world.view.diagnosis.sentence, "%s", text);
    snprintf(world.checks[3].message, sizeof world.checks[3].message, "%s", text);
    snprintf(server.remark, sizeof server.remark, "%s", text);
    snprintf(server.peers[0].name, sizeof server.peers[0].name, "%s", text);
    server.series_count = 1;
    server.series[0].known = true;
    snprintf(server.series[0].name, sizeof server.series[0].name, "%s", text);
    world.checks[5].broker_type = world.checks[2].type = text;
}

static const char *hostile_text;

static void make_hostile_member(size_t i, struct fleet_member_view *out)
{
    (void)i;
    out->id = out->version = out->cause = out->region = hostile_text;
}

static size_t hostile_cells(const void *view, size_t i, struct fleet_cell_view *out, size_t max)
{
    (void)view, (void)i, (void)max;
    out[0] = (struct fleet_cell_view){ .from = hostile_text, .state = hostile_text };
    return 1;
}

static void make_hostile_fleet(const char *text)
{
    make_world();
    hostile_text = text;
    world_set_fleet(&world, &fleet, 3, make_hostile_member);
    fleet.view.regions[0].region = fleet.view.group = fleet.view.broker = text;
    fleet.view.linked = false;
    fleet.view.finding_count = 1;
    fleet.view.findings[0] = (struct fleet_finding_view){ .cause = text, .plain = text, .advice = text };
    snprintf(fleet.view.findings[0].sentence, sizeof fleet.view.findings[0].sentence, "%s", text);
    fleet.view.has_matrix = true;
    fleet.view.cells_of = hostile_cells;
    snprintf(fleet.view.why, sizeof fleet.view.why, "%s", text);
}

/* The history hears of a change when its cause is clear, up to three seconds after /ready. */
static void a_fault_that_has_just_begun_is_an_incident(void **state)
{
    (void)state;
    make_world();
    check_fail(&world.checks[1], REASON_SILENT_DROP, "no pong");
    world_judge(&world, false, true);
    world.view.untold_ms = NOW - 400;
    world.view.diagnosis.because_more = true;
    const char *text = look_at(&world.view, true, false);
    assert_in(text, "ping and others</dd>");
    assert_in(text, "<dt>Since</dt>");
    assert_in(strstr(text, "<section id=incidents"), "<b>it lasts</b>");
    assert_in(strstr(text, "<section id=incidents"), "application_frozen");
}

static void an_incident_that_has_just_ended_does_not_last(void **state)
{
    (void)state;
    make_world();
    note(2, "not ready", "application_frozen", "secret sentence: no pong");
    assert_in(look_at(&world.view, true, false), "<b>it lasts</b>");
    world.view.untold_ms = NOW - 400;
    const char *text = look_at(&world.view, true, false);
    assert_in(text, "<h1>Ready</h1>");
    assert_in(text, "<dt>Since</dt>");
    assert_not_in(text, "<b>it lasts</b>");
}

static void start_again(void)
{
    forget_traces();
    history_free(history);
    history = history_new();
}

static void assert_text_changes_nothing(void (*make)(const char *text), const char *name)
{
    static const char *const never[] = { "alert(1)<",
                                         "<script>alert",
                                         "\x1b",
                                         "\x01",
                                         "\r",
                                         "\xe2\x80\xae",
                                         "\xe2\x81\xa6",
                                         "\xc2\x9b",
                                         "\xff",
                                         "<!--",
                                         "-->",
                                         "' onl",
                                         "\xcc\x81\xcc\x81\xcc\x81" };
    struct buf plain = BUF_INIT(1 << 20), hostile = BUF_INIT(1 << 20);

    make("x");
    skeleton_of(look_at(&world.view, true, false), &plain);
    start_again();
    make(HOSTILE);
    const char *text = look_at(&world.view, true, false);
    keep(name);
    skeleton_of(text, &hostile);
    assert_string_equal(buf_str(&plain), buf_str(&hostile));
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        assert_not_in(text, never[i]);
    assert_in(text, "&lt;script&gt;alert(1)");
    buf_fini(&plain);
    buf_fini(&hostile);
    start_again();
}

static void no_text_changes_what_the_page_is_made_of(void **state)
{
    (void)state;
    assert_text_changes_nothing(make_hostile, "hostile");
    assert_text_changes_nothing(make_hostile_fleet, "hostile-fleet");
}

static void users_of_the_service_see_no_infrastructure(void **state)
{
    (void)state;
    static const char *const hidden[] = { "192.0.2",      "secret",     "ws:",        "no pong",  "redis",      "peer",
                                          "remark",       "node",       "4711",       "9.8.7",    "yaml",       "memory",
                                          "accept queue", "What to do", "wshealthd ", "<details", "href=status" };
    static const char *const shown[] = { "Not ready", "ping", "echo", "silent_drop", "1,204", "p95", "plain words" };

    make_failing("no pong from 192.0.2.7");
    look_at(&world.view, true, true);
    keep("public");
    const char *text = body_of(buf_str(&page));
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++)
        assert_not_in(text, hidden[i]);
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
        assert_in(text, shown[i]);
}

static void strangers_see_reasons_only(void **state)
{
    (void)state;
    static const char *const hidden[] = { "192.0.2", "secret", "no pong from", "remark", "yaml", "<details" };

    make_failing("no pong from 192.0.2.7");
    look_at(&world.view, false, false);
    keep("reasons");
    const char *text = body_of(buf_str(&page));
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++)
        assert_not_in(text, hidden[i]);
    assert_in(text, "What to do");
}

/* --- many ---------------------------------------------------------------------------------------------------------------- */

static struct check_view many[MANY];
static const struct check_view *many_list[MANY];
static char names[MANY][65];
static char longest[512];

static void make_many(void)
{
    memset(longest, '"', sizeof longest - 1);
    make_world();
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "%03u_a-name-that-is-as-long-as-names-may-be-and-no-letter-shorter", i);
        many[i] = world.checks[i % 5];
        many[i].name = names[i];
        if (i % 3) {
            check_set_fault(&many[i], i % 3 == 1 ? STATE_FAIL : STATE_WARN, REASON_SERVER_CONNECTIONS_DROPPED, longest);
            many[i].failed = trace_of(longest, 100);
        }
        live_through(&many[i], true);
        many_list[i] = &many[i];
    }
    server.peer_count = SERVER_PEERS_MAX;
    server.series_count = SERVER_SERIES_MAX;
    for (unsigned i = 0; i < SERVER_PEERS_MAX; i++) {
        memset(server.peers[i].name, '"', SERVER_NAME_MAX - 1);
        memset(server.series[i].name, '"', SERVER_NAME_MAX - 1);
        server.series[i].known = true;
        server.series[i].value = 1e300;
    }
    memset(server.remark, '"', sizeof server.remark - 1);
    for (unsigned i = 0; i < HISTORY_INCIDENTS_MAX; i++) {
        note(80 - (int64_t)i / 4, "not ready", "server_detached_from_broker", longest);
        note(80 - (int64_t)i / 4, "ready", "healthy", longest);
    }
    world.view.checks = many_list;
    world.view.check_count = MANY;
    world.view.service_id = world.view.config_file = longest;
    diagnose(&world.view, &world.view.diagnosis);
    memset(world.view.diagnosis.sentence, '"', sizeof world.view.diagnosis.sentence - 1);
}

/* Of each state, with the longest names there may be; no two of a region stand together. */
static void make_many_members(size_t i, struct fleet_member_view *out)
{
    static const char *const words[] = { "ready", "silent", "not_ready", "degraded" };
    static char id[64], region[64];

    snprintf(id, sizeof id, "%48zu", i);
    snprintf(region, sizeof region, "%48zu", i % 20);
    out->id = out->version = out->cause = id;
    out->region = region;
    out->word = words[i % 4];
    out->stand = "held";
    out->twin = out->have_connections = true;
    out->connections = UINT32_MAX;
    out->since_at_ms = 1;
}

static size_t no_cells(const void *view, size_t i, struct fleet_cell_view *out, size_t max)
{
    (void)view, (void)i, (void)out, (void)max;
    return 0;
}

static void set_many_members(void)
{
    static char regions[16][64];

    for (unsigned i = 200; i < MANY; i++) {
        many[i].type = "broker";
        many[i].kind = PROBE_BROKER;
        many[i].broker_type = longest;
    }
    world_set_fleet(&world, &fleet, 10000, make_many_members);
    for (unsigned i = 0; i < 17; i++)
        fleet.view.regions[i] =
            (struct fleet_region_view){ i < 16 ? regions[i] : "other", 9999, 9999, 9999, 9999, 9999, 9999, 9999 };
    for (unsigned i = 0; i < 16; i++)
        snprintf(regions[i], sizeof regions[i], "%48u", i);
    fleet.view.region_count = 17;
    fleet.view.linked = false;
    fleet.view.has_matrix = true;
    fleet.view.cells_of = no_cells;
    fleet.view.finding_count = FLEET_VIEW_FINDINGS_MAX;
    for (size_t i = 0; i < FLEET_VIEW_FINDINGS_MAX; i++) {
        fleet.view.findings[i] = (struct fleet_finding_view){ .cause = longest, .who = "a", .plain = longest, .advice = longest };
        memset(fleet.view.findings[i].sentence, '"', sizeof fleet.view.findings[i].sentence - 1);
    }
    fleet.view.wide = true;
    fleet.view.group = fleet.view.broker = fleet.view.wide_cause = longest;
    memset(fleet.view.why, '"', sizeof fleet.view.why - 1);
    memset(fleet.view.sentence, '"', sizeof fleet.view.sentence - 1);
}

static void it_keeps_within_its_size(void **state)
{
    (void)state;
    make_many();
    const char *text = look_at(&world.view, true, false);
    keep("many");
    unsigned left_out = 0;
    size_t rows = times_in(text, "<article ") + times_in(strstr(text, "<table class=lines>"), "<th scope=row>0") +
                  times_in(strstr(text, "<table class=lines>"), "<th scope=row>1") +
                  times_in(strstr(text, "<table class=lines>"), "<th scope=row>2");
    const char *said = strstr(text, " more have no room here");
    assert_non_null(said);
    while (said[-1] >= '0' && said[-1] <= '9')
        said--;
    left_out = (unsigned)strtoul(said, NULL, 10);
    assert_int_equal(rows + left_out, MANY);
    assert_true(rows > 60);
    assert_in(text, "before them");
    set_many_members();
    text = look_at(&world.view, true, false);
    keep("many-members");
    assert_in(text, "and 499 more");
    for (unsigned i = 0; i < MANY; i++)
        trace_free((struct trace *)(uintptr_t)many[i].failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_one_document, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sections_are_parts_of_the_document, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_its_own_style_and_script_may_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_state_says_its_word, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_known_is_not_good, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_fault_says_whose_it_is_and_what_to_do, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_fault_that_has_just_begun_is_an_incident, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_incident_that_has_just_ended_does_not_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_text_changes_what_the_page_is_made_of, set_up, tear_down),
        cmocka_unit_test_setup_teardown(users_of_the_service_see_no_infrastructure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strangers_see_reasons_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_keeps_within_its_size, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
