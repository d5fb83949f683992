/*
 * The fleet's part in a diagnosis: what keeps an instance in rotation that a local fault would take out, or why nothing does. Called by
 * diagnose.c when the cause is found, so that `own_cause` stays what the checks say. Decides nothing: agent/fleet does.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/report/diagnose_impl.h"
#include "agent/report/report.h"

/* Before the others': it says what is to be done with this instance, they say what with its fault. */
static void advise_first(struct diagnosis *out, const char *advice)
{
    size_t kept = out->advice_count < DIAGNOSIS_ADVICE_MAX ? out->advice_count : DIAGNOSIS_ADVICE_MAX - 1;

    memmove(out->advice + 1, out->advice, kept * sizeof out->advice[0]);
    out->advice[0] = advice;
    out->advice_count = kept + 1;
}

static void become(struct diagnosis *out, enum cause cause)
{
    const struct rule *rule = cause_own_rule(cause);

    panic_if(!rule);
    out->cause = cause_name(cause);
    advise_first(out, rule->advice[0]);
}

/* The first check that the diagnosis names. */
static const struct check_view *main_check_of(const struct agent_view *view, const struct diagnosis *out)
{
    return out->because_count ? report_find_check(view, out->because[0]) : NULL;
}

/* The fleet is a witness (agent/fleet/witness.h): a fault that says nothing of the server by itself takes this instance out. */
static bool is_witnessed(const struct agent_view *view, const struct diagnosis *out)
{
    const struct check_view *main_check = main_check_of(view, out);
    struct check_fault fault;

    return main_check && main_check->health.state == STATE_FAIL && check_fault_of(main_check, &fault) &&
           fault.scope == SCOPE_LOCAL && reason_scope(fault.reason) == SCOPE_PROBE;
}

/* Does the delivery matrix name this instance, as one that receives nothing? */
static bool is_found(const struct fleet_view *fleet)
{
    struct fleet_member_view self;

    for (size_t i = 0; i < fleet->finding_count; i++) {
        if (strcmp(fleet->findings[i].cause, cause_name(CAUSE_INSTANCE_RECEIVES_NOTHING)) != 0)
            continue;
        fleet->member_at(fleet->fleet, 0, &self);
        if (strcmp(fleet->findings[i].who, self.id) == 0)
            return true;
    }
    return false;
}

/* Causes that a deploy has as well: open connections that end, and clients that come back. */
static bool may_be_a_rollout(const char *cause, const struct check_view *check)
{
    static const enum cause causes[] = { CAUSE_CONNECTIONS_CUT, CAUSE_SERVER_RESTARTING, CAUSE_DEPLOY_IN_PROGRESS,
                                         CAUSE_MASS_DISCONNECT, CAUSE_RECONNECT_STORM };
    struct check_fault fault;

    for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++)
        if (strcmp(cause, cause_name(causes[i])) == 0)
            return true;
    return strcmp(cause, cause_name(CAUSE_FRONT_BROKEN)) == 0 && check_fault_of(check, &fault) &&
           fault.reason == REASON_CLOSED_ABNORMAL;
}

static void tell_rollout(const struct agent_view *view, struct diagnosis *out)
{
    static const char *const advice[] = {
        "Wait until the roll-out is over: connections that end are a part of it",
        "If it goes on ten minutes after the last instance was replaced, it is no part of the roll-out: begin with what follows",
        "For the next one, drain an instance before it stops (`wshealthd drain --wait`), so that clients leave in good order",
    };
    const struct check_view *check = main_check_of(view, out);

    if (!view->fleet->rollout.announced || !check || !may_be_a_rollout(out->own_cause, check))
        return;
    diagnosis_say_plain(out, "; ");
    diagnosis_say_plain(out, view->fleet->rollout.sentence);
    for (size_t i = sizeof advice / sizeof advice[0]; i-- > 0;)
        advise_first(out, advice[i]);
}

static void tell_outside(const struct agent_view *view, struct diagnosis *out)
{
    const struct check_view *check = main_check_of(view, out);

    if (!*view->fleet->outside || !check || !check_is_public(check) || check->health.state != STATE_FAIL)
        return;
    diagnosis_say_plain(out, view->fleet->outside);
    become(out, view->fleet->outside_alone ? CAUSE_ONE_REGION_FAILS : CAUSE_PUBLIC_PATH_DOWN);
}

void diagnose_fleet(const struct agent_view *view, struct diagnosis *out)
{
    const struct fleet_view *fleet = view->fleet;
    char text[sizeof fleet->sentence + 64];

    out->own_cause = out->cause;
    if (!fleet || view->verdict.draining)
        return;
    if (is_witnessed(view, out))
        diagnosis_say_plain(out, "; the fleet's other instances pass this check, so the fault is this one's own");
    tell_rollout(view, out);
    tell_outside(view, out);
    if (fleet->wide_own && view->verdict.ready) {
        snprintf(text, sizeof text,
                 "; %u of %u instances of the fleet have this fault, begun within a minute: it is shared, and this one stays in "
                 "rotation, degraded",
                 (unsigned)fleet->wide_sharing, (unsigned)fleet->wide_of);
        diagnosis_say_plain(out, text);
        become(out, CAUSE_FLEET_WIDE_FAULT);
    } else if (fleet->held && view->verdict.ready) {
        snprintf(text, sizeof text, "; %s", fleet->sentence);
        diagnosis_say_plain(out, text);
        become(out, CAUSE_HELD_IN_ROTATION);
    } else if (strcmp(out->cause, cause_name(CAUSE_SERVER_DETACHED)) == 0 && is_found(fleet)) {
        diagnosis_say_plain(out, "; other instances of the fleet receive what this one does not");
        become(out, CAUSE_INSTANCE_RECEIVES_NOTHING);
    } else if (*fleet->sentence && view->verdict.admitted) { /* it asks, or cannot: its own cause stands */
        snprintf(text, sizeof text, "; %s", fleet->sentence);
        diagnosis_say_plain(out, text);
    }
}
