/*
 * Owns the texts of `wshealthd explain` and of the manual's table of causes. Called by agent/cli. Both are made from the rules of the
 * diagnosis: what a rule asks for is what is seen, its sentence is what it means, its advice is what to do. So neither can tell what the
 * diagnosis does not. Leaves breaking of lines to the screen and to roff.
 */
#include "agent/report/explain.h"

#include <string.h>

#include "agent/base/reason.h"
#include "agent/core/broker.h"
#include "agent/proto/roff.h"
#include "agent/report/diagnose_rules.h"

enum { SEEN_MAX = 2048, NOT_FOUND = -1 };

static int cause_named(const char *word)
{
    for (int cause = 0; cause < CAUSE_COUNT; cause++)
        if (strcmp(cause_name((enum cause)cause), word) == 0)
            return cause;
    return NOT_FOUND;
}

static int reason_named(const char *word)
{
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++)
        if (strcmp(reason_name((enum reason)reason), word) == 0)
            return reason;
    return NOT_FOUND;
}

/* --- a rule in words ------------------------------------------------------------------------------------------------- */

static const char *const facts[FACT_COUNT] = {
#define FACT_TEXT(id, text) text,
    FACT_LIST(FACT_TEXT)
};

static bool has_reason(const struct rule *rule, enum reason reason)
{
    for (size_t i = 0; i < RULE_REASONS && rule->reasons[i] != REASON_NONE; i++)
        if (rule->reasons[i] == reason)
            return true;
    return false;
}

static void put_reasons(const enum reason *reasons, size_t max, struct buf *out)
{
    for (size_t i = 0; i < max && reasons[i] != REASON_NONE; i++) {
        bool last = i + 1 == max || reasons[i + 1] == REASON_NONE;
        buf_printf(out, "%s%s", i == 0 ? "" : last ? " or " : ", ", reason_name(reasons[i]));
    }
}

static const char *hint_text(int hint)
{
    switch (hint) {
    case BROKER_HINT_ABSENT:
        return "the broker says that there is no such name";
    case BROKER_HINT_FULL:
        return "the broker says that it is full";
    case BROKER_HINT_UNTRUSTED:
        return "of the broker's certificate";
    case BROKER_HINT_OLD_CLIENT:
        return "with SASL and an old client library";
    case BROKER_HINT_UNHEARD:
        return "without a subscription of the agent's own";
    default:
        return "";
    }
}

static void put_code(const struct rule *rule, struct buf *out)
{
    const char *hint = hint_text(rule->low);
    bool closes = has_reason(rule, REASON_CLOSED_BY_SERVER) || has_reason(rule, REASON_LOGIN_REJECTED);
    if (!rule->low)
        return;
    if (*hint)
        buf_printf(out, " (%s)", hint);
    else if (rule->low == rule->high)
        buf_printf(out, " (%s %d)", closes ? "close code" : "status", rule->low);
    else
        buf_printf(out, " (%s %d to %d)", closes ? "close code" : "status", rule->low, rule->high);
}

/* "echo_timeout, while a ping check passes" */
static void put_seen(const struct rule *rule, struct buf *out)
{
    const char *before = "";
    if (rule->reasons[0] != REASON_NONE) {
        put_reasons(rule->reasons, RULE_REASONS, out);
        put_code(rule, out);
        before = ", while ";
    }
    if (rule->beside[0] != REASON_NONE) {
        buf_append_str(out, before);
        buf_append_str(out, "another check says ");
        put_reasons(rule->beside, RULE_BESIDE, out);
        before = ", and ";
    }
    for (size_t i = 0; i < FACT_COUNT; i++)
        if (rule->need & UINT64_C(1) << i) {
            buf_printf(out, "%s%s", before, facts[i]);
            before = ", and ";
        }
    if (out->len == 0 && rule->cause >= CAUSE_INSTANCE_RECEIVES_NOTHING && rule->cause <= CAUSE_SHARD_LOST)
        buf_append_str(out, "the delivery checks of several agents of a fleet");
    else if (out->len == 0 && (rule->cause == CAUSE_ONE_REGION_FAILS || rule->cause == CAUSE_PUBLIC_PATH_DOWN))
        buf_append_str(out, "the checks of the public path of several members of a fleet");
    else if (out->len == 0 && rule->cause == CAUSE_ONE_INSTANCE_STALE)
        buf_append_str(out, "a check with each_address fails at some of the addresses");
    else if (out->len == 0 && rule->cause == CAUSE_HELD_IN_ROTATION)
        buf_append_str(out,
                       "a check has a local fault, and the fleet's other members that are well are fewer than readiness.min_ready");
    else if (out->len == 0 && rule->cause == CAUSE_FLEET_WIDE_FAULT)
        buf_append_str(out, "nine tenths of the fleet's members, three at least, have the same local cause, begun within a minute");
    else if (out->len == 0)
        buf_append_str(out, rule->cause == CAUSE_CHECK_FAILING ? "a check fails, and no other cause fits" : "no check is in fault");
}

/* The rule's sentence, with the broker's name left open, and without the words for the path. */
static void put_meaning(const struct rule *rule, struct buf *out)
{
    static const char broker[] = "{broker}", where[] = "{where} ", length[] = "{length}", peer[] = "{peer}";
    for (const char *text = rule->plain ? rule->plain : "The check's own reason, in words", *at = text; *at;) {
        if (strncmp(at, broker, strlen(broker)) == 0) {
            buf_append_str(out, at == text ? "The broker" : "the broker");
            at += strlen(broker);
        } else if (strncmp(at, where, strlen(where)) == 0) {
            at += strlen(where);
        } else if (strncmp(at, length, strlen(length)) == 0) {
            buf_append_str(out, "a fixed time");
            at += strlen(length);
        } else if (strncmp(at, peer, strlen(peer)) == 0) {
            buf_append_str(out, at == text ? "A peer" : "that peer");
            at += strlen(peer);
        } else {
            buf_append_char(out, *at++);
        }
    }
    buf_append_char(out, '.');
}

/* The rule after this one that leads to the cause; NULL: the first. Those of a cause that no fault leads to are one. */
static const struct rule *next_rule(enum cause cause, const struct rule *rule)
{
    bool found = !rule;
    const struct rule *own = cause_own_rule(cause);
    if (own && !rule)
        return own;
    found = found || rule == own;
    for (const struct rule_set *set = diagnose_rule_sets; set->rules; set++)
        for (size_t i = 0; i < *set->count; i++) {
            if (found && set->rules[i].cause == cause)
                return &set->rules[i];
            found = found || &set->rules[i] == rule;
        }
    return NULL;
}

const char *explain_advice(const char *word)
{
    int cause = cause_named(word);
    const struct rule *rule = cause == NOT_FOUND ? NULL : next_rule((enum cause)cause, NULL);

    return rule ? rule->advice[0] : NULL;
}

/* --- for a terminal -------------------------------------------------------------------------------------------------- */

static void write_rule(const struct rule *rule, struct buf *out)
{
    struct buf seen = BUF_INIT(SEEN_MAX);
    put_seen(rule, &seen);
    buf_printf(out, "\n  Seen:   %s\n  Means:  ", buf_str(&seen));
    put_meaning(rule, out);
    buf_append_char(out, '\n');
    for (size_t i = 0; i < RULE_ADVICE && rule->advice[i]; i++)
        buf_printf(out, "  %s  - %s\n", i == 0 ? "Do:   " : "      ", rule->advice[i]);
    buf_fini(&seen);
}

static void write_cause(enum cause cause, struct buf *out)
{
    buf_printf(out, "%s (a cause): %s\n", cause_name(cause), cause_help(cause));
    for (const struct rule *rule = NULL; (rule = next_rule(cause, rule));)
        write_rule(rule, out);
}

static const char *scope_text(enum scope scope)
{
    switch (scope) {
    case SCOPE_LOCAL:
        return "local: this instance is at fault, and a check that gates readiness takes it out of rotation";
    case SCOPE_SHARED:
        return "shared: a dependency of all instances is at fault, so this one is degraded and stays in rotation";
    case SCOPE_PROBE:
        return "probe: the agent's own means fail, which says nothing of clients, so the instance is degraded and stays in "
               "rotation";
    default:
        return "none: the round is void, and nothing is judged by it";
    }
}

/* above: the cause that has been printed already, as it has the same name; else NOT_FOUND. */
static void write_reason(enum reason reason, int above, struct buf *out)
{
    enum phase phase = reason_phase(reason);
    buf_printf(out, "%s (a reason): %s\n\n", reason_name(reason), reason_help(reason));
    if (phase != PHASE_NONE)
        buf_printf(out, "  Phase:  %s\n", phase_name(phase));
    buf_printf(out, "  Scope:  %s\n", scope_text(reason_scope(reason)));
    for (int cause = 0; cause < CAUSE_COUNT; cause++)
        for (const struct rule *rule = NULL; (rule = next_rule((enum cause)cause, rule));)
            if (has_reason(rule, reason) && cause != above) {
                buf_printf(out, "\nIt may mean %s: %s\n", cause_name((enum cause)cause), cause_help((enum cause)cause));
                write_rule(rule, out);
            }
}

bool explain_write(const char *word, struct buf *out)
{
    int cause = cause_named(word), reason = reason_named(word);
    if (cause != NOT_FOUND)
        write_cause((enum cause)cause, out);
    if (cause != NOT_FOUND && reason != NOT_FOUND)
        buf_append_char(out, '\n');
    if (reason != NOT_FOUND)
        write_reason((enum reason)reason, cause, out);
    return cause != NOT_FOUND || reason != NOT_FOUND;
}

void explain_write_list(struct buf *out)
{
    enum { COLUMN = 28 };
    buf_append_str(out, "Causes, what the diagnosis over all checks says:\n");
    for (int cause = 0; cause < CAUSE_COUNT; cause++)
        buf_printf(out, "  %-*s %s\n", COLUMN, cause_name((enum cause)cause), cause_help((enum cause)cause));
    buf_append_str(out, "\nReasons, why a round of one check did not pass:\n");
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++)
        buf_printf(out, "  %-*s %s\n", COLUMN, reason_name((enum reason)reason), reason_help((enum reason)reason));
    buf_append_str(out, "\n`wshealthd explain WORD` says what is seen, what it means, and what to do.\n");
}

size_t explain_words(const char **words, size_t max)
{
    size_t count = 0;
    for (int cause = 0; cause < CAUSE_COUNT && count < max; cause++)
        words[count++] = cause_name((enum cause)cause);
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT && count < max; reason++)
        words[count++] = reason_name((enum reason)reason);
    return count;
}

/* --- for the manual -------------------------------------------------------------------------------------------------- */

void explain_write_causes(struct buf *out)
{
    for (int cause = 0; cause < CAUSE_COUNT; cause++) {
        buf_printf(out, ".TP\n.B %s\n", cause_name((enum cause)cause));
        roff_text(out, cause_help((enum cause)cause));
        buf_append_char(out, '\n');
    }
}

static void write_rule_roff(const struct rule *rule, struct buf *out)
{
    struct buf text = BUF_INIT(SEEN_MAX);
    put_seen(rule, &text);
    buf_append_str(out, ".IP \\(bu 2\n\\fISeen:\\fR ");
    roff_text(out, buf_str(&text));
    buf_append_str(out, ".\n.br\n\\fIMeans:\\fR ");
    buf_reset(&text);
    put_meaning(rule, &text);
    roff_text(out, buf_str(&text));
    buf_append_str(out, "\n.br\n\\fIDo:\\fR ");
    for (size_t i = 0; i < RULE_ADVICE && rule->advice[i]; i++) {
        roff_text(out, rule->advice[i]);
        buf_append_str(out, ".\n");
    }
    buf_fini(&text);
}

void explain_write_roff(struct buf *out)
{
    for (int cause = 0; cause < CAUSE_COUNT; cause++) {
        buf_printf(out, ".TP\n.B %s\n", cause_name((enum cause)cause));
        roff_text(out, cause_help((enum cause)cause));
        buf_append_str(out, "\n.RS\n");
        for (const struct rule *rule = NULL; (rule = next_rule((enum cause)cause, rule));)
            write_rule_roff(rule, out);
        buf_append_str(out, ".RE\n");
    }
}
