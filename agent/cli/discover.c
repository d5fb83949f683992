/*
 * Makes the tries of agent/cli/discover_plan.c, one after the other, each over a connection of its own in the dialect that is tried.
 * Called by the commands, with a loop of its own, which ends with it. Promises that every try and all together are bounded in time, bytes
 * and messages, whatever the server does; leaves to others what it means.
 */
#include "agent/cli/discover.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/base/text.h"
#include "agent/client/dialogue.h"
#include "agent/client/generation.h"
#include "agent/conf/conf.h"
#include "agent/proto/match.h"
#include "agent/proto/template.h"

enum { GOODBYE_MS = 500, LOOK_MS = 20, LISTEN_LEAST_MS = 500, LOGIN_WANTED = 4401, LOGIN_FORBIDDEN = 4403, LOOKS_MAX = 2 };

enum stage { STAGE_IDLE, STAGE_OPENING, STAGE_QUIET, STAGE_ECHO, STAGE_ANSWER, STAGE_LISTEN, STAGE_GOODBYE };

struct driver {
    struct discover *discover;
    const struct conf_env *env;
    struct loop loop;
    struct conn_group group;
    struct dialogue *dialogue;
    struct generation *generations[DISCOVER_TRIES_MAX + 1]; /* of the tries so far; kept until the connections are gone */
    size_t generation_count;
    struct conn_report report;
    struct conn_pings pings;
    struct match *keepalive; /* of the dialect, where the server is the one who asks; NULL: none */
    uint64_t beat_ns;        /* when that came last, or the connection was opened */
    struct timer turn;       /* begins the next try, or ends the wait of this one */
    enum stage stage;
    struct discover_result *now;
    uint64_t began_ns, limit_ns, try_ns, pinged_ns;
    bool listens;
    char echo[40];
};

/* --- one try: how it ends --- */

static uint64_t left_ms(const struct driver *driver)
{
    uint64_t now_ns = clock_now_ns();

    return now_ns < driver->limit_ns ? (driver->limit_ns - now_ns) / NS_PER_MS : 0;
}

static void wait_for(struct driver *driver, enum stage stage, uint64_t ms)
{
    uint64_t left = left_ms(driver);

    driver->stage = stage;
    timer_start(&driver->turn, ms < left ? ms : left);
}

static void take_report(struct driver *driver)
{
    struct discover_result *now = driver->now;
    const struct conn_report *report = &driver->report;
    uint64_t opened_ns = dialogue_opened_ns(driver->dialogue);

    snprintf(now->address, sizeof now->address, "%s", report->dial.address);
    snprintf(now->subprotocol, sizeof now->subprotocol, "%s", report->subprotocol);
    now->status = report->http_status;
    now->remark = report->remark;
    now->upgrade_ns = report->upgrade_ns;
    now->opened = opened_ns != 0;
    now->deflate = now->opened && report->deflate;
    if (!now->opened)
        return;
    now->open_ns = clock_now_ns() - opened_ns;
    now->pings = driver->pings.count;
    now->ping_gap_ns = driver->pings.gap_ns;
}

/* err NULL: it has shown what it was made for. The next one begins in another turn, as this may be a callback of the dialogue. */
static void end_try(struct driver *driver, const struct err *err)
{
    struct discover_result *now = driver->now;

    take_report(driver);
    if (err)
        now->err = *err;
    discover_prove(now);
    match_free(driver->keepalive);
    driver->keepalive = NULL;
    if (dialogue_busy(driver->dialogue))
        dialogue_close(driver->dialogue, WS_CODE_NORMAL);
    driver->now = NULL;
    driver->stage = STAGE_IDLE;
    timer_start(&driver->turn, 0);
}

/* Of a dialect, a close frame that says so is a refused login, as those of graphql-ws. */
static void on_lost(void *user, const struct err *err)
{
    struct driver *driver = user;
    struct discover_result *now = driver->now;
    struct err told = *err;

    now->lost = true;
    if (now->try.row && *driver->report.subprotocol && err->reason == REASON_CLOSED_BY_SERVER &&
        (err->code == LOGIN_WANTED || err->code == LOGIN_FORBIDDEN))
        told.reason = REASON_LOGIN_REJECTED;
    end_try(driver, &told);
}

/* --- one try: what is said --- */

static void send_ping(struct driver *driver)
{
    driver->pinged_ns = clock_now_ns();
    driver->now->pinged = dialogue_send(driver->dialogue, WS_PING, slice_str("wshealthd")) == 0;
}

static void on_ready(void *user)
{
    struct driver *driver = user;
    const struct discover_row *row = driver->now->try.row;

    driver->now->ready = true;
    driver->beat_ns = clock_now_ns();
    if (driver->now == &driver->discover->listened) {
        wait_for(driver, STAGE_LISTEN, DISCOVER_LISTEN_MS);
    } else if (row) {
        wait_for(driver, STAGE_ANSWER, DISCOVER_ANSWER_MS);
        if (row->ask)
            dialogue_send(driver->dialogue, WS_TEXT, slice_str(row->ask));
    } else if (driver->now->try.unknown) {
        end_try(driver, NULL);
        return;
    } else {
        wait_for(driver, STAGE_QUIET, DISCOVER_GREETING_MS);
    }
    send_ping(driver);
}

static bool greeted(const struct discover_result *result)
{
    for (const struct discover_row *row = discover_rows; row->dialect; row++)
        for (unsigned i = 0; row->greets && i < result->unit_count; i++)
            if (discover_matches(row->greets, discover_unit(result, i)))
                return true;
    return false;
}

/* The server had time to speak first. What it does with a text is asked only where that has not named its protocol. */
static void ask_for_echo(struct driver *driver)
{
    uint64_t id;

    if (greeted(driver->now)) {
        end_try(driver, NULL);
        return;
    }
    random_bytes(&id, sizeof id);
    snprintf(driver->echo, sizeof driver->echo, "wshealthd-%016" PRIx64, id);
    driver->now->asked_echo = true;
    wait_for(driver, STAGE_ECHO, DISCOVER_ANSWER_MS);
    dialogue_send(driver->dialogue, WS_TEXT, slice_str(driver->echo)); /* a connection that breaks says so itself */
}

/* A ping in the dialect's own words. */
static void note_beat(struct driver *driver, struct slice unit)
{
    uint64_t now_ns = clock_now_ns();

    if (!driver->keepalive || !driver->now->ready || !match_try(driver->keepalive, unit, NULL))
        return;
    driver->now->beats++;
    driver->now->beat_gap_ns = now_ns - driver->beat_ns;
    driver->beat_ns = now_ns;
}

static void on_unit(void *user, struct slice unit)
{
    struct driver *driver = user;
    struct discover_result *now = driver->now;
    size_t len = unit.len < DISCOVER_UNIT_BYTES ? unit.len : DISCOVER_UNIT_BYTES;

    if (driver->stage == STAGE_ECHO && slice_equal_str(unit, driver->echo)) {
        now->echoed = true;
        timer_start(&driver->turn, 0);
        return;
    }
    note_beat(driver, unit);
    now->messages++;
    now->bytes += unit.len;
    now->largest = unit.len > now->largest ? unit.len : now->largest;
    if (now->unit_count < DISCOVER_UNITS_MAX) {
        now->units[now->unit_count].len = (uint16_t)len;
        memcpy(now->units[now->unit_count++].data, unit.data, len);
    }
    if (now->bytes > DISCOVER_BYTES_MAX || now->messages > DISCOVER_MESSAGES_MAX)
        timer_start(&driver->turn, 0);
}

static void on_message(void *user, const struct ws_message *message, uint64_t received_ns)
{
    struct driver *driver = user;
    struct discover_result *now = driver->now;

    if (message->opcode == WS_PONG && !now->ponged) {
        now->ponged = true;
        now->pong_ns = received_ns > driver->pinged_ns ? received_ns - driver->pinged_ns : 0;
    } else if (message->skipped && message->size > now->largest) {
        now->messages++;
        now->largest = message->size;
    }
    if (driver->stage != STAGE_ANSWER)
        return;
    discover_prove(now);
    if (now->ponged && (!now->try.row->ask || now->proven))
        timer_start(&driver->turn, 0);
}

static const struct dialogue_events events = {
    .on_ready = on_ready, .on_message = on_message, .on_lost = on_lost, .on_unit = on_unit
};

/* --- one try: how it begins --- */

static int set(struct conf *conf, const char *name, const char *text, struct err *err)
{
    return text ? opt_set(target_rows, &conf->target, name, text, err) : 0;
}

static int set_all(const struct driver *driver, const struct discover_try *try, struct conf *conf, struct err *err)
{
    const struct discover *discover = driver->discover;
    const struct dialect *dialect = try->row ? discover_dialect(discover, try->row->dialect) : NULL;
    char origin[URL_HOST_MAX + 32];

    for (size_t i = 0; i < discover->setting_count; i++)
        if (discover_setting_counts(discover, &discover->settings[i]) &&
            set(conf, discover->settings[i].name, discover->settings[i].text, err) < 0)
            return -1;
    discover_origin(discover, origin, sizeof origin);
    if (set(conf, "subprotocols", try->unknown ? DISCOVER_UNKNOWN : NULL, err) < 0 ||
        set(conf, "origin", try->origin ? origin : NULL, err) < 0 || set(conf, "dialect", dialect ? dialect->name : NULL, err) < 0)
        return -1;
    if (!dialect || !conf->target.token ||
        !template_mentions(slice_make(dialect->connect.send.data, dialect->connect.send.len), "token"))
        return 0;
    return set(conf, "token_in", "message", err);
}

/* Whose keep-alive is it? Where the client has one of its own and nothing to answer, what comes is the answer to that. */
static struct match *keepalive_of(const struct dialect *dialect)
{
    struct err err;
    bool servers = dialect->keepalive.send.data || !dialect->keepalive.ping.data;

    return servers && !match_spec_empty(&dialect->keepalive.match) ? match_new(&dialect->keepalive.match, &err) : NULL;
}

/* A configuration for this try alone. NULL and err. */
static struct conf *conf_of(const struct driver *driver, const struct discover_try *try, struct err *err)
{
    char url[DISCOVER_URL_MAX];
    struct conf_errors errors;
    struct conf *conf;

    discover_url(driver->discover, try, url, sizeof url);
    conf_errors_init(&errors);
    conf = conf_for_url(url, driver->env, &errors);
    if (conf) {
        conf_clear_checks(conf);
        if (set_all(driver, try, conf, err) < 0) {
            conf_unref(conf);
            conf = NULL;
        } else if (conf_seal(conf, driver->env, &errors) < 0) {
            conf_unref(conf);
            conf = NULL;
        }
    }
    if (!conf && errors.count)
        err_set(err, REASON_AGENT_ERROR, 0, "%.*s", (int)strcspn(buf_str(&errors.text), "\n"), buf_str(&errors.text));
    else if (!conf)
        err->reason = REASON_AGENT_ERROR;
    conf_errors_fini(&errors);
    return conf;
}

static void begin_try(struct driver *driver, const struct discover_try *try, struct discover_result *result)
{
    struct err err = { 0 };
    struct conf *conf = conf_of(driver, try, &err);
    struct generation *generation = conf ? generation_new(conf, &err) : NULL;

    memset(result, 0, sizeof *result);
    memset(&driver->report, 0, sizeof driver->report);
    memset(&driver->pings, 0, sizeof driver->pings);
    result->try = *try;
    driver->now = result;
    driver->try_ns = clock_now_ns();
    conf_unref(conf);
    if (!generation) {
        err.reason = err.reason ? err.reason : REASON_AGENT_ERROR;
        result->err = err;
        driver->now = NULL;
        timer_start(&driver->turn, 0);
        return;
    }
    driver->generations[driver->generation_count++] = generation;
    const struct conn_options options = { .group = &driver->group,
                                          .target = &generation->conf->target,
                                          .url = &generation->conf->target.local,
                                          .tls = generation->tls,
                                          .pings = &driver->pings,
                                          .http2 = driver->discover->over_http2,
                                          .offer_deflate = true };
    driver->keepalive = keepalive_of(generation->conf->target.dialect);
    wait_for(driver, STAGE_OPENING, LOOK_MS);
    if (dialogue_open(driver->dialogue, &options, generation->conf->target.dialect, "config-init", &driver->report, &err) < 0)
        end_try(driver, &err);
}

/* --- all tries --- */

static void begin_goodbye(struct driver *driver)
{
    driver->discover->took_ns = clock_now_ns() - driver->began_ns;
    driver->limit_ns = clock_now_ns() + GOODBYE_MS * NS_PER_MS;
    wait_for(driver, STAGE_GOODBYE, 0);
}

static void say_goodbye(struct driver *driver)
{
    if (conn_group_idle(&driver->group) || !left_ms(driver))
        loop_stop(&driver->loop);
    else
        wait_for(driver, STAGE_GOODBYE, LOOK_MS);
}

static void begin_next(struct driver *driver)
{
    struct discover *discover = driver->discover;
    const struct discover_result *best;
    struct discover_try try;
    bool more = discover_next(discover, &try);

    discover->cut = more && !left_ms(driver);
    if (more && !discover->cut) {
        begin_try(driver, &try, &discover->results[discover->count++]);
        return;
    }
    best = discover_best(discover);
    if (!driver->listens || discover->tried_listening || !best || !best->opened || !(best->proven || !best->try.row) ||
        left_ms(driver) < LISTEN_LEAST_MS) {
        begin_goodbye(driver);
        return;
    }
    discover->tried_listening = true;
    begin_try(driver, &best->try, &discover->listened);
}

/* Once the upgrade is granted, who speaks the dialect answers as fast as it has granted it, or nearly so: a server that takes every
 * subprotocol and says nothing must not use up the time of all tries. */
static bool is_late(const struct driver *driver)
{
    uint64_t now_ns = clock_now_ns(), opened_ns = dialogue_opened_ns(driver->dialogue);

    if (!left_ms(driver) || now_ns - driver->try_ns >= DISCOVER_TRY_MS * NS_PER_MS)
        return true;
    return opened_ns && now_ns - opened_ns >= DISCOVER_CONFIRM_MS * NS_PER_MS + 3 * driver->report.upgrade_ns;
}

static void on_turn(struct timer *timer, void *user)
{
    struct driver *driver = user;
    struct err err;

    (void)timer;
    switch (driver->stage) {
    case STAGE_IDLE:
        begin_next(driver);
        return;
    case STAGE_OPENING:
        if (!is_late(driver)) {
            wait_for(driver, STAGE_OPENING, LOOK_MS);
            return;
        }
        if (!conn_flooded(dialogue_conn(driver->dialogue), &err))
            dialogue_timeout_err(driver->dialogue, (clock_now_ns() - driver->try_ns) / NS_PER_MS, &err);
        end_try(driver, &err);
        return;
    case STAGE_QUIET:
        ask_for_echo(driver);
        return;
    case STAGE_GOODBYE:
        say_goodbye(driver);
        return;
    default:
        end_try(driver, NULL);
    }
}

/* A server that floods keeps the loop from nothing, but its bytes are not worth waiting for: see on_unit. */
static int drive(struct driver *driver, struct err *err)
{
    if (loop_init(&driver->loop, err) < 0)
        return -1;
    conn_group_init(&driver->group, &driver->loop);
    driver->dialogue = dialogue_new(driver, &events);
    timer_init(&driver->turn, &driver->loop, on_turn, driver);
    timer_start(&driver->turn, 0);
    loop_run(&driver->loop);
    dialogue_free(driver->dialogue);
    conn_group_fini(&driver->group);
    timer_stop(&driver->turn);
    loop_fini(&driver->loop);
    for (size_t i = 0; i < driver->generation_count; i++)
        generation_unref(driver->generations[i]);
    return 0;
}

static int run_once(struct discover *discover, const struct conf_env *env, uint64_t limit_ms, bool listens, struct err *err)
{
    struct driver *driver;
    struct conf *conf;
    int rc = -1;

    discover->dialects = env->dialects;
    if (url_parse(discover->text, &discover->url, err) < 0)
        return -1;
    driver = mem_alloc(sizeof *driver);
    driver->discover = discover;
    driver->env = env;
    driver->listens = listens;
    driver->began_ns = clock_now_ns();
    driver->limit_ns = driver->began_ns + limit_ms * NS_PER_MS;
    conf = conf_of(driver, &(struct discover_try){ .row = NULL }, err);
    if (conf)
        rc = drive(driver, err);
    conf_unref(conf);
    mem_free(driver);
    return rc;
}

/* Does somebody answer there? A certificate that is not trusted is an answer too. */
static bool is_answer(const struct discover_result *best)
{
    enum reason reason = best ? best->err.reason : REASON_AGENT_ERROR;
    bool certificate = reason_phase(reason) == PHASE_TLS && reason != REASON_TLS_HANDSHAKE_FAILED;

    return best && (best->opened || best->status || certificate);
}

/* What the next look is given: the same, but for the one thing that is changed. false: it cannot be. */
static bool turn(const struct discover *from, enum discover_again again, struct discover *to)
{
    const char *rest = strstr(from->text, "://");
    const struct err *err = &discover_best(from)->err;

    memcpy(to->settings, from->settings, sizeof to->settings);
    to->setting_count = from->setting_count;
    memcpy(to->other, from->other, sizeof to->other);
    to->scheme_err = from->scheme_err;
    if (again == AGAIN_HTTP2) {
        if (to->setting_count == DISCOVER_SETTINGS_MAX)
            return false;
        to->settings[to->setting_count++] = (struct discover_setting){ "http", "2" };
        to->over_http2 = true;
        to->http_err = *err;
    } else if (rest && snprintf(to->other, sizeof to->other, "%s%s", from->url.tls ? "ws" : "wss", rest) < (int)sizeof to->other) {
        to->scheme_err = *err;
    } else {
        return false;
    }
    to->text = *to->other ? to->other : from->text;
    return true;
}

/* True: that look has found more, and is what is known now. */
static bool look_again(struct discover *discover, const struct conf_env *env, uint64_t limit_ms, bool listens)
{
    uint64_t took_ms = discover->took_ns / NS_PER_MS, left = took_ms < limit_ms ? limit_ms - took_ms : 0;
    enum discover_again again = discover_wants_again(discover);
    struct discover *other;
    struct err err;
    bool better;

    if (!listens && left < DISCOVER_TRY_MS) /* an advice may be late, rather than missing */
        left = DISCOVER_TRY_MS;
    if (again == AGAIN_NOT || !left)
        return false;
    other = mem_alloc(sizeof *other);
    better = turn(discover, again, other) && run_once(other, env, left, listens, &err) == 0 && is_answer(discover_best(other));
    if (better) {
        other->took_ns += discover->took_ns;
        *discover = *other;
        if (*discover->other)
            discover->text = discover->other;
    }
    mem_free(other);
    return better;
}

int discover_run(struct discover *discover, const struct conf_env *env, uint64_t limit_ms, bool listens, struct err *err)
{
    if (run_once(discover, env, limit_ms, listens, err) < 0)
        return -1;
    for (int looks = 0; looks < LOOKS_MAX && look_again(discover, env, limit_ms, listens); looks++)
        ;
    return 0;
}
