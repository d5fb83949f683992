/* What agent/report/diagnose.c has in two more files: the facts that rules ask for, and the writing of sentences. */
#ifndef WSHEALTHD_REPORT_DIAGNOSE_IMPL_H
#define WSHEALTHD_REPORT_DIAGNOSE_IMPL_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/report/diagnose.h"
#include "agent/report/diagnose_rules.h"
#include "agent/report/view.h"

/* Faults that begin within this time begin together: checks do not run often enough to tell more exactly. */
enum { TOGETHER_MS = 1000 };

/* --- agent/report/diagnose_facts.c ----------------------------------------------------------------------------------- */

bool check_speaks_websocket(const struct check_view *check);
const char *check_http_of(const struct check_view *check);    /* "1.1", "2" or "both" */
unsigned check_failed_rounds(const struct check_view *check); /* of those in its history */
/* The check of the broker that this check works with, or of the only one there is. NULL: it is not known which. */
const struct check_view *broker_check_of(const struct agent_view *view, const struct check_view *check);
/* What holds of the main fault and around it. */
uint64_t facts_of(const struct agent_view *view, const struct check_view *main_check, const struct check_fault *fault);
/* What the server is to be connected to (`peers` of a server check), and is not, or does not get on with; of a check that has a broker, that
 * broker. *by: the check that has seen it. NULL: none. */
const struct server_peer_stats *bad_peer_of(const struct agent_view *view, const struct check_view *main_check,
                                            const struct check_view **by);
/* Another check than the main one that has a fault or a warning of one of these reasons (RULE_BESIDE of them); NULL: none. */
const struct check_view *check_beside(const struct agent_view *view, const struct check_view *main_check,
                                      const enum reason *reasons);
/* Nothing is in fault, and yet rounds on the public path fail again and again between others that pass, while the local path is well: one
 * that shows it. NULL: none. */
const struct check_view *mixed_public_check(const struct agent_view *view);

/* --- agent/report/diagnose_text.c ------------------------------------------------------------------------------------ */

void diagnosis_say(struct diagnosis *out, const char *text); /* for full details */
void diagnosis_say_hidden(struct diagnosis *out, const char *text);
void diagnosis_say_plain(struct diagnosis *out, const char *text); /* for both readers */
/* A rule's text, its holes filled. */
struct rule_holes {
    const char *broker, *where, *length, *peer;
};
void diagnosis_say_rule(struct diagnosis *out, const char *text, const struct rule_holes *holes);
void diagnosis_say_fault(struct diagnosis *out, const struct check_view *check, const struct check_fault *fault);
/* The same with the fault of another check behind it. */
void diagnosis_say_faults(struct diagnosis *out, const struct check_view *check, const struct check_fault *fault,
                          const struct check_view *beside);
void diagnosis_advise(struct diagnosis *out, const char *advice); /* NULL: nothing */
void diagnosis_blame(struct diagnosis *out, const struct check_view *check);

/* --- agent/report/diagnose_fleet.c ----------------------------------------------------------------------------------- */

void diagnose_fleet(const struct agent_view *view, struct diagnosis *out); /* last: the fleet's part in it */

#endif
