/*
 * The delivery matrix of the link: this agent's row, what all rows say, and what readers are shown of it. Called by link.c and link_view.c, and once a second by
 * agent/run/agent_fleet.c (fleet_link_hear). Promises that judging costs little in a large group: it is done every JUDGE_MANY_MS there. What the rows mean is
 * decided in matrix.c, how long it must last in findings.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/core/event.h"
#include "agent/fleet/delays.h"
#include "agent/fleet/link_impl.h"
#include "agent/report/diagnose_rules.h"

enum { JUDGE_MS = 1000, JUDGE_MANY_MS = 5000, FOUND_MAX = FINDINGS_MAX };

static const enum cause causes[MATRIX_CAUSE_COUNT] = { CAUSE_INSTANCE_RECEIVES_NOTHING, CAUSE_INSTANCE_PUBLISHES_NOTHING,
                                                       CAUSE_REGIONS_CUT, CAUSE_SHARD_LOST };

static struct matrix_own own_of(const struct fleet_link *link)
{
    enum fleet_word word = link->say.word;

    return (struct matrix_own){ .id = link->id,
                                .region = link->region,
                                .counts = !link->options.watcher &&
                                          (word == FLEET_READY || word == FLEET_DEGRADED || word == FLEET_NOT_READY),
                                .row = link->row,
                                .row_count = link->row_count,
                                .beats = &link->beats };
}

/* --- findings --- */

/* The channel's name, where this agent loses it too. */
static const char *name_of(const struct fleet_link *link, uint32_t shard)
{
    for (size_t i = 0; link->heard && i < link->heard->beats.shard_count; i++)
        if (link->heard->beats.shards[i] == shard)
            return link->heard->shard_names[i];
    return NULL;
}

static void say(const struct fleet_link *link, const struct finding *finding, char *out, size_t size)
{
    const char *name = name_of(link, finding->shard);
    unsigned dark = (unsigned)finding->dark;

    switch (finding->cause) {
    case MATRIX_RECEIVES_NOTHING:
        snprintf(out, size, "%s receives nothing of what the others publish: its server has lost its subscription", finding->who);
        break;
    case MATRIX_PUBLISHES_NOTHING:
        snprintf(out, size, "Nothing that %s publishes reaches the others (%u miss it), though its broker takes it", finding->who,
                 dark);
        break;
    case MATRIX_REGIONS_CUT:
        snprintf(out, size, "Nothing that is published in %s reaches the instances in %s, which receive from others", finding->from,
                 finding->who);
        break;
    default:
        snprintf(out, size, "%s%s messages on %u channel%s%s%.60s%s, and not on others%s",
                 *finding->who ? finding->who : "Several instances", *finding->who ? " loses" : " lose", dark, dark == 1 ? "" : "s",
                 name ? " (" : "", name ? name : "", name ? ")" : "", *finding->who ? "" : ": the broker's shard may be at fault");
        break;
    }
}

static void on_change(void *user, const struct finding *finding, bool begins)
{
    struct fleet_link *link = user;
    char text[sizeof link->view.findings[0].sentence];

    say(link, finding, text, sizeof text);
    link->view_stale = true;
    event_log(begins ? EVENT_FLEET_FINDING : EVENT_FLEET_FOUND_OVER, "cause", matrix_cause_name(finding->cause), "message", text,
              NULL);
}

static void show_findings(struct fleet_link *link)
{
    struct fleet_view *view = &link->view;

    view->finding_count = 0;
    for (size_t i = 0; i < link->findings.count && view->finding_count < FLEET_VIEW_FINDINGS_MAX; i++) {
        const struct finding *finding = &link->findings.rows[i];
        const struct rule *rule = cause_own_rule(causes[finding->cause]);
        struct fleet_finding_view *out = &view->findings[view->finding_count];

        if (!finding->told || !rule)
            continue;
        view->finding_count++;
        out->cause = matrix_cause_name(finding->cause);
        out->who = *finding->who ? finding->who : NULL;
        out->from = *finding->from ? finding->from : NULL;
        out->plain = rule->plain;
        out->advice = rule->advice[0];
        say(link, finding, out->sentence, sizeof out->sentence);
    }
    link->matrix_findings = view->finding_count;
    fleet_link_look_outside(link, clock_now_ms());
}

static void judge(struct fleet_link *link, uint64_t now_ms)
{
    const struct matrix_own own = own_of(link);
    struct matrix_finding found[FOUND_MAX];
    const char *regions[LINK_REGIONS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < link->region_count; i++)
        regions[i] = link->regions[i];
    if (fleet_link_is_linked(link))
        count = matrix_judge(&own, link->members, now_ms, found, FOUND_MAX);
    else
        link->findings.count = 0; /* it is not over: nothing is known any more, and fleet_lost says so */
    findings_note(&link->findings, found, count < FOUND_MAX ? count : FOUND_MAX, now_ms, on_change, link);
    show_findings(link);
    link->view.delay_count = delays_by_region(&own, link->members, regions, link->region_count, link->view.delays);
}

void fleet_link_hear(struct fleet_link *link, const struct fleet_heard *heard)
{
    uint64_t now_ms = clock_now_ms(), every_ms = members_count(link->members) > ROW_MANY ? JUDGE_MANY_MS : JUDGE_MS;

    if (link->left)
        return;
    link->beats = heard->beats;
    link->row_count = row_make(heard, link->members, now_ms, &link->row_turn, link->row);
    if (now_ms - link->judged_ms < every_ms)
        return;
    link->judged_ms = now_ms;
    link->heard = heard;
    judge(link, now_ms);
    link->heard = NULL;
}

/* --- the view --- */

static int by_who(const void *a, const void *b)
{
    const struct fleet_source *left = a, *right = b;

    return left->who < right->who ? -1 : left->who > right->who;
}

void fleet_link_index(struct fleet_link *link)
{
    size_t count = members_count(link->members);

    mem_free(link->sources);
    link->sources = mem_alloc((count + 1) * sizeof *link->sources);
    for (size_t i = 0; i < count; i++)
        link->sources[i] = (struct fleet_source){ members_at(link->members, i)->who, (uint32_t)i };
    qsort(link->sources, count, sizeof *link->sources, by_who);
    link->source_count = count;
}

static const struct member *source_of(const struct fleet_link *link, uint32_t who)
{
    const struct fleet_source wanted = { .who = who };
    const struct fleet_source *found = bsearch(&wanted, link->sources, link->source_count, sizeof wanted, by_who);

    return found && found->at < members_count(link->members) ? members_at(link->members, found->at) : NULL;
}

static const char *state_of(const struct summary_source *cell)
{
    return matrix_is_dark(cell) ? "dark" : cell->lost ? "partial" : "lit";
}

static bool show_cell(const struct fleet_link *link, const struct summary_source *cell, uint32_t to, struct fleet_cell_view *out)
{
    bool own = cell->who == link->who;
    const struct member *from = own ? NULL : source_of(link, cell->who);

    if ((!cell->got && !cell->lost) || (!own && !from))
        return false;
    *out = (struct fleet_cell_view){
        .from = own ? link->id : from->id, .state = state_of(cell), .got = cell->got, .lost = cell->lost
    };
    out->have_late =
        delay_of(cell, to, own ? link->row : from->row, own ? link->row_count : from->row_count, &out->late_ms, &out->error_ms);
    return true;
}

size_t fleet_link_cells(const struct fleet_link *link, const struct member *member, struct fleet_cell_view *out, size_t max)
{
    const struct summary_source *row = member ? member->row : link->row;
    size_t count = 0, all = member ? member->row_count : link->row_count;

    for (size_t i = 0; i < all && count < max; i++)
        count += show_cell(link, &row[i], member ? member->who : link->who, &out[count]);
    return count;
}

static bool says_anything(const struct summary_source *row, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (row[i].got || row[i].lost)
            return true;
    return false;
}

bool fleet_link_has_matrix(const struct fleet_link *link)
{
    for (size_t i = 0; i < members_count(link->members); i++)
        if (says_anything(members_at(link->members, i)->row, members_at(link->members, i)->row_count))
            return true;
    return says_anything(link->row, link->row_count);
}
