/*
 * The table of tries (agent/cli/discover.h), and which of them is next. Called by discover.c after each try. Pure: no socket, no clock.
 *
 * The order: the URL as it was given, without a word, so that servers that speak first say what they are; then the dialects whose
 * subprotocol the server must choose before anything is said; then, only where the server has not echoed, the few that no subprotocol
 * announces. Other paths are tried only where the URL names none, or the one that it names is refused: a path that works is what the user
 * wants to be checked.
 */
#include <stdio.h>
#include <string.h>

#include "agent/cli/discover.h"
#include "agent/proto/match.h"

enum { UNAUTHORIZED_MAX = 3, HANGS_MAX = 2 };

const struct discover_row discover_rows[] = {
    { .dialect = "socket.io",
      .greets = "^0\\{.*\"sid\"",
      .period = "/pingInterval",
      .period_ms = 1,
      .why = "Engine.IO's open packet came, and Socket.IO's CONNECT was confirmed" },
    { .dialect = "action-cable",
      .greets = "\"type\"\\s*:\\s*\"welcome\"",
      .why = "its subprotocol was chosen, and its welcome came" },
    { .dialect = "graphql-transport-ws", .why = "its subprotocol was chosen, and connection_init was answered by connection_ack" },
    { .dialect = "stomp", .why = "its subprotocol was chosen, and CONNECT was answered by CONNECTED" },
    { .dialect = "mqtt", .why = "its subprotocol was chosen, and CONNECT was answered by CONNACK 0" },
    { .dialect = "mqtt", .path = "/ws", .why = "its subprotocol was chosen, and CONNECT was answered by CONNACK 0" },
    { .dialect = "nats", .greets = "^INFO \\{", .why = "its INFO came, and CONNECT was confirmed" },
    { .dialect = "pusher",
      .path = "/app/wshealthd?protocol=7",
      .greets = "pusher:(connection_established|error)",
      .why = "pusher:connection_established came" },
    { .dialect = "centrifugo",
      .proof = "\"connect\"\\s*:\\s*\\{.*\"client\"",
      .period = "/connect/ping",
      .period_ms = 1000,
      .speaks_freely = true,
      .why = "its connect command was answered with a client's id" },
    { .dialect = "phoenix",
      .ask = "[null,\"1\",\"phoenix\",\"heartbeat\",{}]",
      .proof = "\"phx_reply\"",
      .speaks_freely = true,
      .why = "its heartbeat was answered by phx_reply" },
    { .dialect = "signalr", .speaks_freely = true, .waits = true, .why = "its handshake was answered by {}" },
    { 0 }
};

bool discover_matches(const char *regex, struct slice text)
{
    const struct match_spec spec = { .regex = (char *)regex };
    struct err err;
    struct match *match = match_new(&spec, &err);
    bool fits = match && match_try(match, text, NULL);

    match_free(match);
    return fits;
}

struct slice discover_unit(const struct discover_result *result, unsigned i)
{
    return slice_make(result->units[i].data, result->units[i].len);
}

const struct dialect *discover_dialect(const struct discover *discover, const char *name)
{
    for (const struct dialect *const *dialect = discover->dialects; *dialect; dialect++)
        if (strcmp((*dialect)->name, name) == 0)
            return *dialect;
    return NULL;
}

static bool any_unit(const struct discover_result *result, const char *regex)
{
    for (unsigned i = 0; i < result->unit_count; i++)
        if (discover_matches(regex, discover_unit(result, i)))
            return true;
    return false;
}

/* A dialect that waits for nothing is ready as soon as it is open: then only a unit is proof. */
void discover_prove(struct discover_result *result)
{
    const struct discover_row *row = result->try.row;

    if (!row || !result->opened)
        return;
    result->proven = row->proof ? any_unit(result, row->proof) : result->ready;
}

bool discover_setting_given(const struct discover *discover, const char *name)
{
    for (size_t i = 0; i < discover->setting_count; i++)
        if (strcmp(discover->settings[i].name, name) == 0)
            return true;
    return false;
}

bool discover_setting_counts(const struct discover *discover, const struct discover_setting *setting)
{
    return discover->url.tls || strncmp(setting->name, "tls.", 4) != 0;
}

/* --- where --- */

static bool has_path(const struct url *url)
{
    return strcmp(url->target, "/") != 0;
}

/* The length of the URL up to its path: "ws://host:port", "ws+unix:///run/chat.sock". */
static size_t root_len(const struct discover *discover)
{
    const char *from = strstr(discover->text, "://");

    if (!from)
        return strlen(discover->text);
    from += 3;
    return (size_t)(from - discover->text) + strcspn(from, discover->url.is_unix ? ":" : "/?#");
}

void discover_url(const struct discover *discover, const struct discover_try *try, char *out, size_t size)
{
    const char *path = try->row && try->row->path ? try->row->path : "";

    if (try->place == DISCOVER_AT_URL)
        snprintf(out, size, "%s", discover->text);
    else
        snprintf(out, size, "%.*s%s%s", (int)root_len(discover), discover->text, *path && discover->url.is_unix ? ":" : "", path);
}

void discover_origin(const struct discover *discover, char *out, size_t size)
{
    snprintf(out, size, "%s://%s", discover->url.tls ? "https" : "http", discover->url.authority);
}

/* --- which is next --- */

static const struct discover_result *made(const struct discover *discover, const struct discover_try *try)
{
    for (size_t i = 0; i < discover->count; i++) {
        const struct discover_try *one = &discover->results[i].try;

        if (one->row == try->row && one->place == try->place && one->origin == try->origin && one->unknown == try->unknown)
            return &discover->results[i];
    }
    return NULL;
}

/* The one that another try would not tell more than. */
static bool is_over(const struct discover *discover)
{
    unsigned unauthorized = 0, hangs = 0;

    for (size_t i = 0; i < discover->count; i++) {
        const struct discover_result *result = &discover->results[i];
        enum reason reason = result->err.reason;
        enum phase phase = reason_phase(reason);

        if (result->proven || result->echoed || reason == REASON_LOGIN_REJECTED || reason == REASON_RATE_LIMITED ||
            reason == REASON_AGENT_ERROR)
            return true;
        if (!result->opened && (phase == PHASE_RESOLVE || phase == PHASE_CONNECT || phase == PHASE_TLS))
            return true;
        unauthorized += reason == REASON_UPGRADE_UNAUTHORIZED;
        hangs += reason == REASON_UPGRADE_TIMEOUT;
    }
    return unauthorized >= UNAUTHORIZED_MAX || hangs >= HANGS_MAX || discover->count == DISCOVER_TRIES_MAX;
}

static const struct discover_result *bare(const struct discover *discover)
{
    const struct discover_result *with_origin = made(discover, &(struct discover_try){ .origin = true });

    return with_origin && with_origin->opened ? with_origin : made(discover, &(struct discover_try){ .row = NULL });
}

/* Is it wanted, and not made yet? A server that refuses it is asked once more with an Origin, where it may be that. */
static bool take(const struct discover *discover, struct discover_try *try)
{
    const struct discover_result *before;
    const struct dialect *dialect = try->row ? discover_dialect(discover, try->row->dialect) : NULL;
    bool set = discover_setting_given(discover, "origin");
    const struct discover_result *first = bare(discover);

    try->origin = first && first->try.origin;
    before = made(discover, try);
    if (!before)
        return true;
    if (try->origin || set || before->opened)
        return false;
    if (before->status != 403 && !(dialect && dialect->hides_origin && before->status == 404))
        return false;
    try->origin = true;
    return !made(discover, try);
}

bool discover_is_quiet(const struct discover *discover)
{
    const struct discover_result *first = bare(discover);

    return first && first->opened && first->asked_echo && !first->echoed && !first->lost;
}

bool discover_takes_any(const struct discover *discover)
{
    for (size_t i = 0; i < discover->count; i++)
        if (discover->results[i].try.unknown && discover->results[i].opened)
            return true;
    return false;
}

/* A path that says which protocol is behind it. Any server may have /ws. */
static bool is_telling(const char *path)
{
    return path && strcmp(path, "/ws") != 0;
}

/* May the row's client speak to this server? Who waits for the server's greeting says nothing to another one. */
static bool may_speak(const struct discover *discover, const struct discover_row *row, const struct dialect *dialect)
{
    const char *path = row->path ? row->path : dialect->path;

    if (!discover_is_quiet(discover) || !match_spec_empty(&dialect->greeting.expect) ||
        (is_telling(path) && strcmp(path, discover->url.target) == 0))
        return true;
    return row->speaks_freely ? row->waits && has_path(&discover->url) : !discover_takes_any(discover);
}

/* May the row be tried at the URL as it is? A URL without a path is the dialect's own path, where it has one. Two rows that differ in
 * their path are one here, and what would have greeted has not. */
static bool fits_url(const struct discover *discover, const struct discover_row *row, bool freely)
{
    const struct dialect *dialect = discover_dialect(discover, row->dialect);

    return dialect && row->speaks_freely == freely && !(row->path && dialect->path) && may_speak(discover, row, dialect) &&
           !(row->greets && !dialect->subprotocols.count) && (has_path(&discover->url) || !dialect->path);
}

static bool next_of(const struct discover *discover, bool freely, struct discover_try *try)
{
    for (const struct discover_row *row = discover_rows; row->dialect; row++) {
        *try = (struct discover_try){ .row = row, .place = DISCOVER_AT_URL };
        if (fits_url(discover, row, freely) && take(discover, try))
            return true;
    }
    return false;
}

/* At the URL itself. What the server has said first names the dialect; else those that it must choose, and then those that are just
 * tried. */
static bool next_at_url(const struct discover *discover, const struct discover_result *first, struct discover_try *try)
{
    bool greeted = false;

    for (const struct discover_row *row = discover_rows; row->dialect; row++) {
        *try = (struct discover_try){ .row = row, .place = DISCOVER_AT_URL };
        if (!row->greets || !any_unit(first, row->greets))
            continue;
        greeted = true;
        if (take(discover, try))
            return true;
    }
    /* Where an upgrade without a subprotocol is refused, one with it may be granted; but not at a path that is not there. */
    if (greeted || (!first->opened && first->status != 400 && first->status != 426 && first->status != 501))
        return false;
    return next_of(discover, false, try) || (first->opened && next_of(discover, true, try));
}

static bool next_at_path(const struct discover *discover, struct discover_try *try)
{
    for (const struct discover_row *row = discover_rows; row->dialect; row++) {
        const struct dialect *dialect = discover_dialect(discover, row->dialect);

        *try = (struct discover_try){ .row = row, .place = DISCOVER_AT_PATH };
        if (dialect && (row->path || dialect->path) && may_speak(discover, row, dialect) && take(discover, try))
            return true;
    }
    return false;
}

bool discover_next(const struct discover *discover, struct discover_try *try)
{
    const struct discover_result *first;

    if (is_over(discover))
        return false;
    *try = (struct discover_try){ .row = NULL };
    if (take(discover, try))
        return true;
    first = bare(discover);
    *try = (struct discover_try){ .unknown = true };
    if (discover_is_quiet(discover) && take(discover, try))
        return true;
    if (next_at_url(discover, first, try))
        return true;
    return (!first->opened || !has_path(&discover->url)) && next_at_path(discover, try);
}

/* Tokens, cookies, and what else a header may hold. */
static bool has_secrets(const struct discover *discover)
{
    for (size_t i = 0; i < discover->setting_count; i++)
        if (strncmp(discover->settings[i].name, "tls.", 4) != 0)
            return true;
    return *discover->url.user || *discover->url.password || strchr(discover->text, '?');
}

enum discover_again discover_wants_again(const struct discover *discover)
{
    const struct discover_result *best = discover_best(discover);
    enum reason reason = best ? best->err.reason : REASON_NONE;
    bool fits;

    if (!best || best->opened)
        return AGAIN_NOT;
    if (!discover_setting_given(discover, "http") && strstr(best->err.text, "target.http: 2"))
        return AGAIN_HTTP2;
    if (discover->url.is_unix || *discover->other)
        return AGAIN_NOT;
    if (discover->url.tls)
        fits = reason == REASON_TLS_HANDSHAKE_FAILED && !has_secrets(discover);
    else /* TLS servers hang up on a plain request, send an alert, or answer in plain HTTP that they want TLS */
        fits = reason == REASON_CONNECTION_RESET || reason == REASON_HTTP_MALFORMED || best->status == 400;
    return fits ? AGAIN_OTHER_SCHEME : AGAIN_NOT;
}

/* A dialect that is proven, or recognised and refused; else the bare upgrade, where that was granted; else whatever was opened. */
const struct discover_result *discover_best(const struct discover *discover)
{
    if (!discover->count)
        return NULL;
    for (size_t i = 0; i < discover->count; i++)
        if (discover->results[i].proven)
            return &discover->results[i];
    for (size_t i = 0; i < discover->count; i++)
        if (discover->results[i].err.reason == REASON_LOGIN_REJECTED)
            return &discover->results[i];
    return bare(discover);
}
