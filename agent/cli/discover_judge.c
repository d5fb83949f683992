/*
 * From what the tries have shown to what is known of the server, and how surely (agent/cli/discover.h). Called by the commands once the
 * tries are over. Pure. What was not seen is said to be unknown, and never filled in.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/text.h"
#include "agent/cli/discover.h"
#include "agent/proto/match.h"
#include "agent/proto/template.h"

enum { PERIOD_MAX_MS = 24 * 3600 * 1000, SIZE_TEXT = 32 };

const char *discover_sure_name(enum discover_sure sure)
{
    static const char *const names[] = {
        [SURE_SEEN] = "seen", [SURE_SAID] = "said", [SURE_LIKELY] = "likely", [SURE_UNKNOWN] = "unknown"
    };

    return names[sure];
}

static void note(struct discovery *out, enum discover_sure sure, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void note(struct discovery *out, enum discover_sure sure, const char *fmt, ...)
{
    va_list args;

    if (out->count == DISCOVER_FINDINGS_MAX)
        return;
    va_start(args, fmt);
    vsnprintf(out->findings[out->count].text, DISCOVER_TEXT_MAX, fmt, args);
    va_end(args);
    out->findings[out->count++].sure = sure;
}

static const struct discover_result *bare_of(const struct discover *discover, bool origin)
{
    for (size_t i = 0; i < discover->count; i++)
        if (!discover->results[i].try.row && !discover->results[i].try.unknown && discover->results[i].try.origin == origin)
            return &discover->results[i];
    return NULL;
}

static void put_elapsed(uint64_t ns, char out[SIZE_TEXT])
{
    text_format_elapsed(ns, out, SIZE_TEXT);
}

/* --- the outcome --- */

static enum discover_outcome outcome_of(const struct discover_result *best)
{
    enum phase phase = best ? reason_phase(best->err.reason) : PHASE_RESOLVE;

    if (best && best->proven)
        return OUTCOME_DIALECT;
    if (best && best->try.row)
        return OUTCOME_REFUSED;
    if (best && best->opened && !(best->lost && best->open_ns < DISCOVER_GREETING_MS * NS_PER_MS))
        return OUTCOME_RAW;
    if (best && (best->status || best->opened || phase == PHASE_OPEN))
        return OUTCOME_REFUSED;
    return OUTCOME_UNREACHABLE;
}

static void note_answer(struct discovery *out, const struct discover_result *best)
{
    char took[SIZE_TEXT];

    out->remarked = best->opened && best->remark;
    if (out->remarked)
        note(out, SURE_SEEN, "it breaks a rule that no client minds, so the handshake check is told to ignore that: %s",
             best->remark);
    if (best->opened) {
        put_elapsed(best->upgrade_ns, took);
        note(out, SURE_SEEN, "%s grants the upgrade with status %d within %s", best->address, best->status, took);
    } else if (out->outcome == OUTCOME_UNREACHABLE) {
        note(out, SURE_SEEN, "there is no answer to the upgrade: %s (%s)", best->err.text, reason_name(best->err.reason));
    }
}

static void note_protocol(const struct discover *discover, struct discovery *out, const struct discover_result *best)
{
    const struct dialect *dialect = best->try.row ? discover_dialect(discover, best->try.row->dialect) : NULL;

    if (dialect && best->proven)
        note(out, SURE_SEEN, "it speaks %s (%s): %s", dialect->name, dialect->summary, best->try.row->why);
    else if (dialect)
        note(out, SURE_LIKELY, "it speaks %s (%s), and refuses this client", dialect->name, dialect->summary);
    else if (best->opened && discover->count > 1)
        note(out, SURE_LIKELY,
             "it speaks a protocol of its own: none of the %zu tries has found one of the table (wshealthd help dialects)",
             discover->count);
    if (!best->try.row && discover_is_quiet(discover))
        note(out, SURE_UNKNOWN,
             "does it speak centrifugo, phoenix%s? It was not spoken to in these, as it may hand on what it gets to its users; if "
             "it does, "
             "set target.dialect",
             discover_takes_any(discover) ? ", graphql, stomp or mqtt (it takes any subprotocol)" : "");
    if (*best->subprotocol)
        note(out, SURE_SEEN, "of the subprotocols offered it chose %s", best->subprotocol);
}

/* The other looks, and why they were made. */
static void note_again(const struct discover *discover, struct discovery *out)
{
    if (*discover->other)
        note(out, SURE_SEEN, "the port %s TLS, so the URL begins with %s:// (with %s://: %s)",
             discover->url.tls ? "speaks" : "does not speak", discover->url.tls ? "wss" : "ws", discover->url.tls ? "ws" : "wss",
             discover->scheme_err.text);
    for (size_t i = 0; i < discover->setting_count; i++)
        if (!discover_setting_counts(discover, &discover->settings[i])) {
            note(out, SURE_SEEN, "--ca and --insecure are left out of the file: ws:// has no TLS");
            break;
        }
    if (discover->over_http2)
        note(out, SURE_SEEN, "it takes HTTP/2 only (over HTTP/1.1: %s)", discover->http_err.text);
}

/* What to do next where no connection was taken; by what was seen. */
static const char *advice_of(const struct discovery *out, const struct discover_result *best)
{
    static const struct {
        enum reason reason;
        int status; /* 0: any */
        const char *advice;
    } rows[] = {
        { REASON_DNS_FAILURE, 0, "Correct the host in the URL, or this host's resolver." },
        { REASON_CONNECT_REFUSED, 0,
          "Nothing listens there: start the server, or correct the port. In a container 127.0.0.1 is that container." },
        { REASON_CONNECT_TIMEOUT, 0, "Nothing answers there: correct the address, or look for a firewall in between." },
        { REASON_CONNECT_UNREACHABLE, 0, "No way leads there: correct the address, or this host's routes." },
        { REASON_UPGRADE_TIMEOUT, 0,
          "It takes connections and says nothing: it is hung or still starting, or this is not the port for WebSockets." },
        { REASON_HTTP_MALFORMED, 0, "What answers there does not speak HTTP: correct the port." },
        { REASON_CONNECTION_RESET, 0,
          "It hangs up on clients: look at its log. It may take a load balancer's connections only (target.proxy_protocol), or "
          "listed clients." },
        { REASON_TLS_HANDSHAKE_FAILED, 0,
          "No TLS session comes about: correct the port, or compare the protocol versions; a server that asks for a client's "
          "certificate wants target.tls.cert_file and key_file." },
        { REASON_TLS_CERT_UNTRUSTED, 0,
          "Give the authority that has signed its certificate: run this again with --ca FILE. With --insecure nothing of the "
          "certificate is checked." },
        { REASON_TLS_HOSTNAME_MISMATCH, 0, "Use a name of its certificate in the URL, or set target.tls.server_name to one." },
        { REASON_TLS_CERT_EXPIRED, 0,
          "Renew its certificate: clients are refused as this one is. With --insecure nothing of it is checked." },
        { REASON_UPGRADE_UNAUTHORIZED, 401, "Give it a token: run this again with --token-file FILE, or set target.token." },
        { REASON_UPGRADE_UNAUTHORIZED, 0,
          "Give it what its clients have: run this again with --origin https://YOUR.SITE, or with --token-file FILE; if it lets in "
          "listed addresses only, list this one." },
        { REASON_UPGRADE_REDIRECT, 0,
          "Give the URL that it redirects to (curl -i shows it): clients do not follow redirects of an upgrade." },
        { REASON_RATE_LIMITED, 0, "Wait a minute, then run this again." },
        { REASON_UPGRADE_REFUSED, 404,
          "Correct the path: ask the server's documents, or a client's code, for that of its WebSockets." },
        { REASON_UPGRADE_REFUSED, 200,
          "Correct the path or the port: this is a page. Or let the proxy in between pass Upgrade on." },
        { REASON_UPGRADE_REFUSED, 503, "The server, or the proxy before it, is not ready: look at its log, then run this again." },
        { REASON_UPGRADE_REFUSED, 502, "The proxy there does not reach its server: start that, then run this again." },
        { REASON_UPGRADE_REFUSED, 504, "The proxy there does not reach its server: start that, then run this again." },
    };
    if (strstr(best->err.text, "HTTP/2 only"))
        return "It takes HTTP/2 only, and no WebSocket over that (RFC 8441): let it take HTTP/1.1 as well.";
    if (out->wants_key)
        return "Put the application's key into the URL, and run this again.";
    if (best->err.reason == REASON_LOGIN_REJECTED)
        return "Give it a token: run this again with --token-file FILE, or set target.token.";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].reason == best->err.reason && (!rows[i].status || rows[i].status == best->status))
            return rows[i].advice;
    return "What it wants has to be set in the file before the checks can pass: ask the server's documents.";
}

/* The URL itself was refused, and that is told whatever else was found. */
static void note_refusal(const struct discover *discover, struct discovery *out, const struct discover_result *best)
{
    const struct discover_result *first = bare_of(discover, false);

    if (!first || first == best || first->opened)
        return;
    note(out, SURE_SEEN, "an upgrade of the bare URL is refused: %s", first->err.text);
}

static void note_wants(const struct discover *discover, struct discovery *out, const struct discover_result *best)
{
    enum reason reason = best->err.reason;

    if (best->try.origin) {
        discover_origin(discover, out->origin, sizeof out->origin);
        if (best->opened)
            note(out, SURE_SEEN, "it wants an Origin, and takes %s", out->origin);
    }
    if (reason == REASON_LOGIN_REJECTED && best->try.row && strcmp(best->try.row->dialect, "pusher") == 0) {
        out->wants_key = true;
        note(out, SURE_SAID, "it wants the application's key in the URL, ws://host:port/app/KEY?protocol=7: %s", best->err.text);
    } else if (reason == REASON_LOGIN_REJECTED) {
        out->wants_token = true;
        note(out, SURE_SEEN, "it wants a token or a login: %s", best->err.text);
    } else if (reason == REASON_UPGRADE_UNAUTHORIZED) {
        out->wants_token = true;
        note(out, best->status == 401 ? SURE_SEEN : SURE_LIKELY, "it wants a token%s: %s",
             best->status == 401 ? "" : ", or another Origin than none", best->err.text);
    } else if (reason == REASON_RATE_LIMITED) {
        note(out, SURE_SEEN, "it refuses this client for its pace, so it was left alone: %s", best->err.text);
    } else if (!best->opened && out->outcome == OUTCOME_REFUSED) {
        note(out, SURE_SEEN, "it refuses the upgrade: %s (%s)", best->err.text, reason_name(reason));
    } else if (best->opened && !discover_setting_given(discover, "token")) {
        note(out, SURE_SEEN, "no token%s was asked for so far", best->try.origin ? "" : " and no Origin");
    }
}

/* --- what an open connection has shown --- */

static bool period_of(const struct discover_result *result, uint64_t *ms)
{
    const struct discover_row *row = result->try.row;

    for (unsigned i = 0; row && row->period && i < result->unit_count; i++) {
        struct slice unit = discover_unit(result, i);
        struct buf text = BUF_INIT(SIZE_TEXT);
        size_t head = 0;
        int64_t number = 0;

        while (head < unit.len && unit.data[head] != '{')
            head++;
        if (match_extract_word(slice_skip(unit, head), row->period, &text) == 0 && text_parse_int(buf_str(&text), &number) < 0)
            number = 0;
        buf_fini(&text);
        if (number <= 0 || number > PERIOD_MAX_MS / row->period_ms)
            continue;
        *ms = (uint64_t)number * row->period_ms;
        return true;
    }
    return false;
}

static void note_pings(const struct discover *discover, struct discovery *out, const struct discover_result *best)
{
    const struct discover_result *listened = &discover->listened;
    unsigned count = listened->pings ? listened->pings : listened->beats;
    char gap[SIZE_TEXT], time[SIZE_TEXT];
    uint64_t ms;

    put_elapsed(listened->open_ns, time);
    if (count) {
        put_elapsed(listened->pings ? listened->ping_gap_ns : listened->beat_gap_ns, gap);
        note(out, count > 1 ? SURE_SEEN : SURE_LIKELY, "it pings its clients%s about every %s: %u came within %s",
             listened->pings ? "" : ", in its own protocol,", gap, count, time);
    } else if (period_of(best, &ms) || period_of(listened, &ms)) {
        text_format_duration((int64_t)ms, gap, sizeof gap);
        note(out, SURE_SAID, "it pings its clients every %s, in its own protocol", gap);
    } else if (listened->opened) {
        note(out, SURE_UNKNOWN, "does it ping its clients? None came within %s; many servers ping every 20 to 60 s", time);
    }
}

static void note_talk(const struct discover *discover, struct discovery *out, const struct discover_result *best)
{
    const struct discover_result *listened = &discover->listened;
    uint64_t largest = best->largest > listened->largest ? best->largest : listened->largest;
    unsigned messages = best->messages + listened->messages;
    char took[SIZE_TEXT];

    out->pongs = best->ponged || listened->ponged;
    if (out->pongs) {
        put_elapsed(best->ponged ? best->pong_ns : listened->pong_ns, took);
        note(out, SURE_SEEN, "it answers a ping within %s", took);
    } else if (best->pinged || listened->pinged) {
        note(out, SURE_SEEN, "it does not answer pings, as RFC 6455, 5.5.3 has it");
    }
    note_pings(discover, out, best);
    out->echoes = best->echoed;
    if (best->asked_echo)
        note(out, SURE_SEEN,
             best->echoed ? "it echoes what it is sent" : "it does not echo: it was sent one text, \"wshealthd-\" and 16 digits");
    note(out, SURE_SEEN,
         best->deflate ? "it takes permessage-deflate (RFC 7692)" : "it does not compress: permessage-deflate was not taken");
    if (messages) {
        note(out, SURE_SEEN, "the largest message that came has %" PRIu64 " bytes (of %u)", largest, messages);
    } else {
        note(out, SURE_UNKNOWN, "how large are its messages? None came by itself");
    }
}

/* It ended the connection that only listened. */
static void note_life(const struct discover *discover, struct discovery *out)
{
    const struct discover_result *listened = &discover->listened;
    char time[SIZE_TEXT];

    if (!discover->tried_listening)
        return;
    if (!listened->opened) {
        note(out, SURE_SEEN, "a second connection was not taken: %s", listened->err.text);
        return;
    }
    if (!listened->lost)
        return;
    put_elapsed(listened->open_ns, time);
    out->short_lived = true;
    note(out, SURE_SEEN, "it ends a connection that says no more after %s: %s; it may want a login message by then", time,
         listened->err.text);
}

/* --- the host --- */

static void note_host(const struct discover *discover, struct discovery *out)
{
    const struct discover_host *host = &discover->host;

    if (!host->looked)
        return;
    if (!host->local) {
        note(out, SURE_SEEN, "it is not on this host: its process and its brokers cannot be seen from here");
        return;
    }
    if (!host->processes) {
        note(out, SURE_UNKNOWN, "which process listens there%s",
             host->hidden ? ": those of other users cannot be looked into; root sees more" : "; it may be in another container");
        return;
    }
    out->has_process = true;
    char also[64] = "";
    if (host->processes > 1)
        snprintf(also, sizeof also, " and %u more", host->processes - 1);
    note(out, SURE_SEEN, "the process is %s (pid %d%s)%s%s", host->name, host->pid, also, *host->unit ? ", of the unit " : "",
         host->unit);
    for (unsigned i = 0; i < host->peer_count; i++) {
        const struct discover_peer *peer = &host->peers[i];

        note(out, SURE_LIKELY, "%s at %s is its broker: it has %u connection%s there, and the port is that of %s", peer->type,
             peer->address, peer->connections, peer->connections == 1 ? "" : "s", peer->type);
    }
    if (!host->peer_count)
        note(out, SURE_UNKNOWN, "which broker it uses: it has no connection to the usual port of one%s",
             host->hidden ? ", as far as that can be seen" : "");
}

void discover_judge(const struct discover *discover, struct discovery *out)
{
    const struct discover_result *best = discover_best(discover);

    memset(out, 0, sizeof *out);
    out->outcome = outcome_of(best);
    snprintf(out->url, sizeof out->url, "%s", discover->text);
    if (!best) {
        note(out, SURE_UNKNOWN, "what is there: the time was over before the first try");
        return;
    }
    out->row = best->try.row;
    discover_url(discover, &best->try, out->url, sizeof out->url);
    note_again(discover, out);
    note_answer(out, best);
    note_refusal(discover, out, best);
    note_protocol(discover, out, best);
    note_wants(discover, out, best);
    if (best->opened && out->outcome != OUTCOME_REFUSED) {
        note_talk(discover, out, best);
        note_life(discover, out);
    } else if (best->opened && best->lost && !best->try.row) {
        out->short_lived = true;
        note(out, SURE_SEEN, "it ends the connection at once: %s", best->err.text);
    }
    note_host(discover, out);
    if (out->outcome == OUTCOME_REFUSED || out->outcome == OUTCOME_UNREACHABLE)
        out->advice = advice_of(out, best);
    if (discover->cut)
        note(out, SURE_UNKNOWN, "what the rest of the tries would have shown: the time was over");
}
