/*
 * Owns the readings of a check's view that several formats share: what is wrong with it now, and what kind it is. Called by diagnose and the reports.
 * Pure. Filling the view is the engine's business.
 */
#include "agent/core/view.h"

#include <string.h>

static struct check_fault last_round(const struct check_view *check)
{
    return (struct check_fault){ .reason = check->reason,
                                 .scope = check->scope,
                                 .message = check->message,
                                 .hint = check->broker_hint,
                                 .split = check->http_split,
                                 .addresses = check->addresses,
                                 .gap = check->h2_gap };
}

/* What the state came from; a view that does not know it has only its last round to tell. */
static struct check_fault last_fault(const struct check_view *check)
{
    if (check->last_fault == REASON_NONE)
        return last_round(check);
    return (struct check_fault){ .reason = check->last_fault,
                                 .scope = check->last_fault_scope,
                                 .message = check->last_fault_message,
                                 .hint = check->last_fault_hint,
                                 .split = check->last_fault_split,
                                 .addresses = check->last_fault_addresses,
                                 .gap = check->last_fault_gap };
}

bool check_fault_of(const struct check_view *check, struct check_fault *fault)
{
    bool failed = check->judged && check->status == RESULT_FAIL;
    switch (check->health.state) {
    case STATE_FAIL:
        *fault = last_fault(check);
        fault->recovering = check->judged && !failed;
        return true;
    case STATE_WARN:
        *fault = last_fault(check);
        return true;
    case STATE_UNKNOWN:
        *fault = last_round(check);
        return failed;
    default:
        return false;
    }
}

bool check_is_broker(const struct check_view *check)
{
    return check->kind == PROBE_BROKER;
}

bool check_is_public(const struct check_view *check)
{
    return strcmp(check->path, "public") == 0;
}
