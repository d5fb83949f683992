/*
 * What readers are shown of the fleet (agent/report/fleet_view.h), made from the link and its table. Called by link.c and by whoever asks for the
 * agent's view. Promises closed label sets: a region gets a row of its own only while there is room, whoever invents regions, and keeps it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/fleet/link_impl.h"

enum { WALL_STEP_MS = 1000 }; /* what the clocks differ by less than this is no other time */

static const char other_region[] = "other", silent_word[] = "silent";
static const char *const mode_names[] = {
    [MIN_READY_OFF] = "off", [MIN_READY_ALONE] = "alone", [MIN_READY_UNLINKED] = "unlinked", [MIN_READY_RULES] = "rules"
};

/* --- regions --- */

static size_t row_of(struct fleet_link *link, const char *region)
{
    for (size_t i = 0; i < link->region_count; i++)
        if (strcmp(link->regions[i], region) == 0)
            return i;
    if (link->region_count == LINK_REGIONS_MAX)
        return LINK_REGIONS_MAX;
    snprintf(link->regions[link->region_count], sizeof link->regions[0], "%s", region);
    return link->region_count++;
}

static void count_word(struct fleet_region_view *row, enum fleet_word word)
{
    switch (word) {
    case FLEET_STARTING:
        row->starting++;
        break;
    case FLEET_READY:
        row->ready++;
        break;
    case FLEET_DEGRADED:
        row->degraded++;
        break;
    case FLEET_NOT_READY:
        row->not_ready++;
        break;
    case FLEET_DRAINING:
        row->draining++;
        break;
    default:
        break;
    }
}

static void count_member(const struct fleet_link *link, struct fleet_region_view *row, const struct member *member, uint64_t now_ms)
{
    if (member->word == FLEET_LEFT)
        return;
    if (member->watcher)
        row->watchers++;
    else if (!member_is_fresh(link->members, member, now_ms))
        row->silent++;
    else
        count_word(row, member->word);
}

static void count_regions(struct fleet_link *link, uint64_t now_ms)
{
    struct fleet_view *view = &link->view;
    bool strangers = false;

    memset(view->regions, 0, sizeof view->regions);
    if (link->options.watcher)
        view->regions[row_of(link, link->region)].watchers++;
    else
        count_word(&view->regions[row_of(link, link->region)], link->say.word);
    for (size_t i = 0; i < members_count(link->members); i++) {
        const struct member *member = members_at(link->members, i);
        size_t row = row_of(link, member->region);

        strangers = strangers || row == LINK_REGIONS_MAX;
        count_member(link, &view->regions[row], member, now_ms);
    }
    for (size_t i = 0; i < link->region_count; i++)
        view->regions[i].region = link->regions[i];
    view->regions[LINK_REGIONS_MAX].region = other_region;
    view->region_count = link->region_count + strangers;
}

/* --- members --- */

static const struct fleet_link *sorted_link; /* for qsort: one loop, one thread */

static int by_place(const void *a, const void *b)
{
    const struct member *left = members_at(sorted_link->members, *(const uint32_t *)a);
    const struct member *right = members_at(sorted_link->members, *(const uint32_t *)b);
    int order = strcmp(left->region, right->region);

    return order ? order : strcmp(left->id, right->id);
}

static void sort_members(struct fleet_link *link)
{
    size_t count = members_count(link->members);

    mem_free(link->order);
    link->order = mem_alloc((count + 1) * sizeof *link->order);
    for (size_t i = 0; i < count; i++)
        link->order[i] = (uint32_t)i;
    sorted_link = link;
    qsort(link->order, count, sizeof *link->order, by_place);
    link->order_count = count;
    link->order_stale = false;
    fleet_link_index(link);
}

static void show_self(const struct fleet_link *link, struct fleet_member_view *out)
{
    uint64_t now_ms = clock_now_ms();

    *out = (struct fleet_member_view){ .since_at_ms = link->wall_ms + (int64_t)link->word_since_ms,
                                       .id = link->id,
                                       .region = link->region,
                                       .version = link->release[0] ? link->release : link->version,
                                       .agent_version = link->version,
                                       .word = fleet_word_name(link->say.word),
                                       .stand = fleet_stand_name(link->min_ready.stand),
                                       .cause = link->cause,
                                       .scope = link->cause[0] ? scope_name(link->fault ? SCOPE_LOCAL : link->say.scope) : "",
                                       .self = true,
                                       .watcher = link->options.watcher,
                                       .fault = link->fault,
                                       .twin = link->view.own_twin,
                                       .since_ago_ms = now_ms - link->word_since_ms,
                                       .fault_for_ms = link->fault ? now_ms - link->fault_since_ms : 0,
                                       .have_connections = link->say.have_connections,
                                       .connections = link->say.connections };
}

static void show_member(const struct fleet_link *link, const struct member *member, struct fleet_member_view *out)
{
    uint64_t now_ms = clock_now_ms();
    bool silent = member->word != FLEET_LEFT && !member_is_fresh(link->members, member, now_ms);

    *out = (struct fleet_member_view){ .since_at_ms = link->wall_ms + (int64_t)member->since_ms,
                                       .id = member->id,
                                       .region = member->region,
                                       .version = member_version(member),
                                       .agent_version = member->version,
                                       .word = silent ? silent_word : fleet_word_name(member->word),
                                       .stand = fleet_stand_name(member->stand),
                                       .cause = member->cause,
                                       .scope = member->cause[0] ? scope_name(member->scope) : "",
                                       .watcher = member->watcher,
                                       .fault = member->fault,
                                       .twin = member_is_twin(link->members, member, now_ms),
                                       .heard_ago_ms = now_ms - member->heard_ms,
                                       .since_ago_ms = now_ms - member->since_ms,
                                       .fault_for_ms = member->fault ? now_ms - member->fault_since_ms : 0,
                                       .have_connections = member->have_connections,
                                       .connections = member->connections,
                                       .restarts = member->restarts,
                                       .lost = member->lost };
    out->have_clock = member_clock(member, fleet_hash(link->id), &out->clock_ahead_ms, &out->clock_error_ms);
}

/* Sorted when somebody asks, and not for every view. A place that is gone shows this agent. */
static void member_at(const void *fleet, size_t i, struct fleet_member_view *out)
{
    struct fleet_link *link = ((const struct fleet_link *)fleet)->self;

    if (link->order_stale)
        sort_members(link);
    if (i == 0 || i > link->order_count || link->order[i - 1] >= members_count(link->members))
        show_self(link, out);
    else
        show_member(link, members_at(link->members, link->order[i - 1]), out);
}

static size_t cells_of(const void *fleet, size_t i, struct fleet_cell_view *out, size_t max)
{
    struct fleet_link *link = ((const struct fleet_link *)fleet)->self;

    if (link->order_stale)
        sort_members(link);
    if (i > link->order_count || (i && link->order[i - 1] >= members_count(link->members)))
        return 0;
    return fleet_link_cells(link, i ? members_at(link->members, link->order[i - 1]) : NULL, out, max);
}

/* --- the whole --- */

static void tell_way(const struct fleet_link *link, struct fleet_view *view)
{
    const struct err *down = broker_why(link->broker);

    view->linked = fleet_link_is_linked(link);
    if (view->linked)
        view->why[0] = 0;
    else if (!broker_is_up(link->broker))
        snprintf(view->why, sizeof view->why, "the broker is not there: %.130s", down->text);
    else if (link->why[0])
        snprintf(view->why, sizeof view->why, "%s", link->why);
    else
        snprintf(view->why, sizeof view->why, "%s",
                 link->listener.confirmed ? "its own summaries do not come back" : "the subscription is not confirmed");
}

static void tell_min_ready(const struct fleet_link *link, struct fleet_view *view)
{
    const struct min_ready *min_ready = &link->min_ready;
    struct fleet_min min = link->options.min;

    view->min_ready[0] = 0;
    if (min.count)
        snprintf(view->min_ready, sizeof view->min_ready, "%u%s", (unsigned)min.count, min.percent ? "%" : "");
    view->mode = mode_names[min_ready->mode];
    view->members = min_ready->members;
    view->needed = min_ready->needed;
    view->counted = min_ready->counted;
    view->held = link->fault && min_ready->stand == FLEET_STAND_HELD;
    min_ready_say(min_ready, min, view->sentence, sizeof view->sentence);
}

static void tell_doubt(const struct fleet_link *link, struct fleet_view *view, uint64_t now_ms)
{
    size_t len = strlen(view->sentence);

    if (fleet_link_doubts_all(link, now_ms))
        snprintf(view->sentence + len, sizeof view->sentence - len, "%sothers speak, and none is believed: %s", len ? "; " : "",
                 fleet_refusal_help(link->doubted));
}

static void tell_refusals(const struct fleet_link *link, struct fleet_view *view)
{
    view->refusal_count = 0;
    for (int i = FLEET_REFUSED_NONE + 1; i < FLEET_REFUSAL_COUNT; i++)
        view->refusals[view->refusal_count++] =
            (struct fleet_refusal_view){ fleet_refusal_name((enum fleet_refusal)i), fleet_refusal_help((enum fleet_refusal)i),
                                         members_refused(link->members, (enum fleet_refusal)i) };
    view->refusals[view->refusal_count++] = (struct fleet_refusal_view){ "flood", "more than are read in a moment", link->flooded };
}

const struct fleet_view *fleet_link_view(struct fleet_link *link)
{
    struct fleet_view *view = &link->view;
    uint64_t now_ms = clock_now_ms(), twin_ms = members_own_twin_ms(link->members);
    int64_t wall_ms = clock_wall_ms() - (int64_t)now_ms;

    if (!link->view_stale)
        return view;
    link->view_stale = false;
    if (llabs(wall_ms - link->wall_ms) > WALL_STEP_MS)
        link->wall_ms = wall_ms;
    view->group = link->group;
    view->broker = link->broker_name;
    view->watcher = link->options.watcher;
    view->every_ms = link->every_ms;
    view->expire_ms = members_expire_ms(link->members);
    view->own_twin = twin_ms && now_ms - twin_ms < view->expire_ms;
    tell_way(link, view);
    tell_min_ready(link, view);
    tell_doubt(link, view, now_ms);
    view->wide = link->together.wide;
    view->wide_own = link->fault && link->wide_own;
    view->wide_cause = link->together.cause;
    view->wide_sharing = link->together.sharing;
    view->wide_of = link->together.members;
    count_regions(link, now_ms);
    tell_refusals(link, view);
    fleet_link_look_outside(link, now_ms);
    view->member_count = members_count(link->members) + 1;
    view->member_at = member_at;
    view->cells_of = cells_of;
    view->has_matrix = fleet_link_has_matrix(link);
    view->fleet = link;
    return view;
}
