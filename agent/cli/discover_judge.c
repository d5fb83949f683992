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

    if (best->opened && best->remark)
        note(out, SURE_SEEN, "the handshake check will warn: %s", best->remark);
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
    if (discover->cut)
        note(out, SURE_UNKNOWN, "what the rest of the tries would have shown: the time was over");
}
