/*
 * What the link finds of the way in and of roll-outs (agent/fleet/outside.h, rollout.h), as readers are shown it. Called by link_view.c for each view.
 * Owns the sentences. Decides nothing: no finding touches readiness.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/core/event.h"
#include "agent/fleet/link_impl.h"
#include "agent/fleet/outside.h"
#include "agent/report/diagnose_rules.h"

static struct fleet_finding_view *add(struct fleet_view *view, enum cause cause)
{
    const struct rule *rule = cause_own_rule(cause);
    struct fleet_finding_view *finding;

    panic_if(!rule);
    if (view->finding_count == FLEET_VIEW_FINDINGS_MAX)
        return NULL;
    finding = &view->findings[view->finding_count++];
    *finding = (struct fleet_finding_view){ .cause = cause_name(cause), .plain = rule->plain, .advice = rule->advice[0] };
    return finding;
}

static void tell_region(struct fleet_view *view, const struct outside_region *region)
{
    struct fleet_finding_view *finding = add(view, CAUSE_ONE_REGION_FAILS);

    if (!finding)
        return;
    finding->who = region->name;
    snprintf(finding->sentence, sizeof finding->sentence,
             "The public path fails from region %s: all who look from there (%u) fail, and %u elsewhere get in", region->name,
             (unsigned)region->looking, (unsigned)region->getting_in);
}

static void tell_down(struct fleet_view *view, const struct outside *outside)
{
    struct fleet_finding_view *finding = add(view, CAUSE_PUBLIC_PATH_DOWN);

    if (!finding)
        return;
    snprintf(finding->sentence, sizeof finding->sentence,
             "The public path is down for all who look (%u, in %u regions), so it is no fault of one region",
             (unsigned)outside->looking, (unsigned)outside->count);
}

static void tell_outside(struct fleet_link *link, struct fleet_view *view, uint64_t now_ms)
{
    struct outside_own own = { link->region, link->say.public_path, link->public_since_ms, link->say.public_at_ms, link->every_ms };
    struct outside outside;

    view->outside[0] = 0;
    view->outside_alone = false;
    if (!fleet_link_is_linked(link)) /* what is known of others grows old */
        return;
    outside_judge(&own, link->members, now_ms, &outside);
    if (outside.down)
        tell_down(view, &outside);
    for (size_t i = 0; i < outside.count; i++) {
        const struct outside_region *region = &outside.regions[i];

        if (!region->alone)
            continue;
        tell_region(view, region);
        if (own.path != FLEET_PUBLIC_FAIL || strcmp(region->name, link->region) != 0)
            continue;
        view->outside_alone = true;
        snprintf(view->outside, sizeof view->outside, "; only from region %s does it fail, and %u elsewhere get in", region->name,
                 (unsigned)region->getting_in);
    }
    if (outside.down && own.path == FLEET_PUBLIC_FAIL)
        snprintf(view->outside, sizeof view->outside, "; all who look fail (%u, in %u regions): it is no fault of this region",
                 (unsigned)outside.looking, (unsigned)outside.count);
}

static void tell_rollout(struct fleet_link *link, struct fleet_rollout_view *view, uint64_t now_ms)
{
    struct rollout_own own = { .id = link->id,
                               .version = link->release[0] ? link->release : link->version,
                               .draining = link->say.word == FLEET_DRAINING,
                               .draining_ms = link->word_since_ms,
                               .begun_ms = link->begun_ms,
                               .version_ms = link->version_ms };
    struct rollout_found found;

    if (link->options.watcher)
        own.version = NULL;
    rollout_judge(&link->rollout, link->members, &own, now_ms, &found);
    *view = (struct fleet_rollout_view){ .under_way = found.under_way,
                                         .announced = found.announced,
                                         .changed = found.changed,
                                         .of = found.of,
                                         .versions = found.versions,
                                         .from = found.from,
                                         .to = found.to,
                                         .since_ago_ms = found.since_ms && found.since_ms < now_ms ? now_ms - found.since_ms : 0 };
    rollout_say(&found, view->sentence, sizeof view->sentence);
}

static bool is_told(const struct fleet_link *link, const struct fleet_finding_view *finding)
{
    for (size_t i = 0; i < link->outside_count; i++)
        if (link->outside_told[i].cause == finding->cause &&
            strcmp(link->outside_told[i].who, finding->who ? finding->who : "") == 0)
            return true;
    return false;
}

static bool is_found(const struct fleet_link *link, size_t told)
{
    for (size_t i = link->matrix_findings; i < link->view.finding_count; i++) {
        const struct fleet_finding_view *finding = &link->view.findings[i];

        if (link->outside_told[told].cause == finding->cause &&
            strcmp(link->outside_told[told].who, finding->who ? finding->who : "") == 0)
            return true;
    }
    return false;
}

/* Each is logged when it begins and when it ends. Without the fleet none is over: nothing is known any more, and fleet_lost says so. */
static void log_changes(struct fleet_link *link)
{
    const struct fleet_view *view = &link->view;

    for (size_t i = 0; fleet_link_is_linked(link) && i < link->outside_count; i++)
        if (!is_found(link, i))
            event_log(EVENT_FLEET_FOUND_OVER, "cause", link->outside_told[i].cause, link->outside_told[i].who[0] ? "region" : NULL,
                      link->outside_told[i].who, NULL);
    for (size_t i = link->matrix_findings; i < view->finding_count; i++)
        if (!is_told(link, &view->findings[i]))
            event_log(EVENT_FLEET_FINDING, "cause", view->findings[i].cause, "message", view->findings[i].sentence, NULL);
    link->outside_count = 0;
    for (size_t i = link->matrix_findings; i < view->finding_count; i++) {
        const char *who = view->findings[i].who;

        link->outside_told[link->outside_count].cause = view->findings[i].cause;
        snprintf(link->outside_told[link->outside_count++].who, sizeof link->outside_told[0].who, "%s", who ? who : "");
    }
}

void fleet_link_look_outside(struct fleet_link *link, uint64_t now_ms)
{
    struct fleet_view *view = &link->view;

    view->finding_count = link->matrix_findings;
    tell_outside(link, view, now_ms);
    log_changes(link);
    tell_rollout(link, &view->rollout, now_ms);
}
