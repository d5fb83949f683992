/*
 * Owns the section of the fleet: what it is, what it does to this instance, what is found in it, its members by region, and the delivery matrix (page_matrix.c).
 * Called by page.c. Promises that it fits into PAGE_FLEET_BYTES however many members there are: those in trouble have a row first, and the
 * others are counted. Users of the service (page.public) see nothing of it, and readers without full details no names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/http/page_impl.h"
#include "agent/report/report.h"

enum {
    ROWS_MAX = 40,
    NAME_BYTES = PAGE_NAME_BYTES,
    SENTENCE_BYTES = 400,
    FINDINGS_BYTES = 3500, /* with what stands above them */
    ROWS_BYTES = 1500,     /* of the table: the matrix is left out where it leaves less */
};

/* Worst first. */
static const struct kind {
    const char *word, *name;
    enum state state;
} kinds[] = { { "not_ready", "not ready", STATE_FAIL },  { "silent", "silent", STATE_FAIL },
              { "degraded", "degraded", STATE_WARN },    { "starting", "starting", STATE_UNKNOWN },
              { "draining", "draining", STATE_UNKNOWN }, { "ready", "ready", STATE_PASS },
              { "left", "left", STATE_UNKNOWN } };
enum { KINDS = sizeof kinds / sizeof kinds[0] };

struct row {
    uint32_t place, region;
    size_t from, len; /* of its text */
};

struct table {
    const struct fleet_view *fleet;
    uint32_t places[KINDS][ROWS_MAX], found[KINDS];
    uint32_t members[FLEET_VIEW_REGIONS_MAX]; /* of each region */
    struct row rows[ROWS_MAX];
    size_t count;
    struct buf text;
};

static unsigned kind_of(const struct fleet_member_view *member)
{
    unsigned kind = 0;

    while (kind + 1 < KINDS && strcmp(kinds[kind].word, member->word) != 0)
        kind++;
    return kind;
}

/* Those of one region stand together, so the last one's is mostly right. Who has no row of its own is in the last, "other". */
static uint32_t region_of(const struct fleet_view *fleet, const char *name, uint32_t last)
{
    if (last < fleet->region_count && strcmp(fleet->regions[last].region, name) == 0)
        return last;
    for (uint32_t i = 0; i < fleet->region_count; i++)
        if (strcmp(fleet->regions[i].region, name) == 0)
            return i;
    return fleet->region_count ? (uint32_t)fleet->region_count - 1 : 0;
}

/* --- the table ------------------------------------------------------------------------------------------------------------ */

static void put_row(struct page *page, const struct table *table, const struct row *row, const struct fleet_member_view *member)
{
    page_put(page, "<tr><th scope=row><bdi>");
    page_member_name(page, member->id, row->place);
    page_put(page, member->self ? "</bdi> <small>here</small>" : "</bdi>");
    page_put(page, member->twin ? " <span class=bad>twice</span>" : "");
    if (strcmp(table->fleet->regions[row->region].region, member->region) != 0) {
        page_put(page, " <small>");
        page_text(page, member->region, NAME_BYTES);
        page_put(page, "</small>");
    }
    page_printf(page, "<td class=%s>%s%s%s<td>", page_state_class(kinds[kind_of(member)].state), member->watcher ? "watcher, " : "",
                kinds[kind_of(member)].name, strcmp(member->stand, "held") == 0 ? ", held" : "");
    page_text(page, member->cause, NAME_BYTES);
    page_put(page, "<td>");
    page_time(page, member->since_at_ms);
    page_put(page, "<td>");
    if (member->have_connections)
        page_count(page, member->connections);
    page_put(page, "<td>");
    page_text(page, member->version, NAME_BYTES);
}

/* One walk. This agent has a row in any case. */
static void look(struct table *table)
{
    struct fleet_member_view member;
    uint32_t region = 0;

    for (uint32_t i = 0; i < table->fleet->member_count; i++) {
        table->fleet->member_at(table->fleet->fleet, i, &member);
        unsigned kind = i ? kind_of(&member) : 0;

        region = region_of(table->fleet, member.region, region);
        table->members[region]++;
        if (table->found[kind] < ROWS_MAX)
            table->places[kind][table->found[kind]++] = i;
    }
}

/* As many rows as there is room for, worst first. */
static void fill(const struct page *page, struct table *table, size_t room)
{
    struct page scratch = *page;
    struct fleet_member_view member;

    scratch.out = &table->text;
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (uint32_t i = 0; i < table->found[kind] && table->count < ROWS_MAX; i++) {
            struct row *row = &table->rows[table->count];

            *row = (struct row){ .place = table->places[kind][i], .from = table->text.len };
            table->fleet->member_at(table->fleet->fleet, row->place, &member);
            row->region = region_of(table->fleet, member.region, 0);
            put_row(&scratch, table, row, &member);
            row->len = table->text.len - row->from;
            if (table->text.len > room)
                return;
            table->count++;
        }
}

static int by_place(const void *a, const void *b)
{
    return ((const struct row *)a)->place < ((const struct row *)b)->place ? -1 : 1;
}

static void put_region(struct page *page, const struct fleet_region_view *region)
{
    page_put(page, "<tbody><tr><th colspan=6 scope=rowgroup><b>");
    page_text(page, region->region, NAME_BYTES);
    page_put(page, "</b> <small>");
    report_fleet_counts(region, page->out);
    page_put(page, "</small>");
}

static void put_members(struct page *page, struct table *table)
{
    page_put(page, "<div class=scroll tabindex=0 role=group aria-label=Instances><table class=lines><thead><tr><th "
                   "scope=col>instance<th scope=col>state<th scope=col>cause<th scope=col>since<th scope=col>clients<th "
                   "scope=col>version");
    qsort(table->rows, table->count, sizeof table->rows[0], by_place);
    for (uint32_t region = 0; region < table->fleet->region_count; region++) {
        uint32_t more = table->members[region];

        put_region(page, &table->fleet->regions[region]);
        for (size_t i = 0; i < table->count; i++)
            if (table->rows[i].region == region) {
                buf_append(page->out, table->text.data + table->rows[i].from, table->rows[i].len);
                more--;
            }
        if (more)
            page_printf(page, "<tr><td colspan=6>and %u more", (unsigned)more);
    }
    page_put(page, "</table></div>");
}

void page_member_name(struct page *page, const char *id, size_t place)
{
    if (page->texts)
        page_text(page, id, NAME_BYTES);
    else
        page_printf(page, "number %zu", place + 1);
}

/* --- the whole ------------------------------------------------------------------------------------------------------------ */

static void put_note(struct page *page, enum state state, const char *head, const char *text)
{
    page_printf(page, "<p class=fault><span class=%s>%s</span> <bdi>", page_state_class(state), head);
    page_text(page, text, SENTENCE_BYTES);
    page_put(page, "</bdi></p>");
}

static void put_notes(struct page *page, const struct fleet_view *fleet)
{
    char text[128];

    if (!fleet->linked)
        put_note(page, STATE_WARN, "Not linked, so that this agent acts by its own verdict:", page->texts ? fleet->why : "");
    if (fleet->wide) {
        snprintf(text, sizeof text, "%u of %u instances have %.40s at once", (unsigned)fleet->wide_sharing,
                 (unsigned)fleet->wide_of, fleet->wide_cause);
        put_note(page, STATE_FAIL, "Fault of the whole fleet:", text);
    }
    if (*fleet->sentence)
        put_note(page, fleet->held ? STATE_WARN : STATE_UNKNOWN, "This instance:", fleet->sentence);
    if (*fleet->rollout.sentence)
        put_note(page, STATE_UNKNOWN, "Deploy:", fleet->rollout.sentence);
}

static void put_findings(struct page *page, const struct fleet_view *fleet, size_t begin)
{
    for (size_t i = 0; i < fleet->finding_count; i++) {
        const struct fleet_finding_view *finding = &fleet->findings[i];

        if (page->out->len - begin > FINDINGS_BYTES) {
            page_printf(page, "<p class=meta>and %zu more of this kind</p>", fleet->finding_count - i);
            return;
        }
        page_put(page, "<p class=fault><span class=bad><code>");
        page_text(page, finding->cause, NAME_BYTES);
        page_put(page, "</code></span> <bdi>");
        page_text(page, page->texts ? finding->sentence : finding->plain, SENTENCE_BYTES);
        page_put(page, "</bdi><br><em>");
        page_text(page, finding->advice, SENTENCE_BYTES);
        page_put(page, "</em></p>");
    }
}

static void put_head(struct page *page, const struct fleet_view *fleet)
{
    const struct fleet_region_view all = report_fleet_sum(fleet);

    page_put(page, "<h2>Fleet</h2><p class=tally>");
    report_fleet_counts(&all, page->out);
    page_put(page, "</p><dl class=facts><div><dt>Group<dd><bdi>");
    page_text(page, fleet->group, NAME_BYTES);
    page_put(page, "</bdi> by <bdi>");
    page_text(page, fleet->broker, NAME_BYTES);
    page_printf(page, "</bdi></div><div><dt>Linked<dd>%s</div><div><dt>min_ready<dd>%s</div></dl>", fleet->linked ? "yes" : "no",
                fleet->watcher      ? "none: this agent only watches"
                : *fleet->min_ready ? fleet->min_ready
                                    : "off");
}

void page_fleet(struct page *page)
{
    struct table table = { .fleet = page->view->fleet, .text = BUF_INIT(2 * PAGE_FLEET_BYTES) };
    struct buf matrix = BUF_INIT(2 * PAGE_FLEET_BYTES);
    struct page frame = *page, picture = *page;
    size_t begin = page->out->len, used;

    if (!table.fleet || !page->ops)
        return;
    put_head(page, table.fleet);
    put_notes(page, table.fleet);
    put_findings(page, table.fleet, begin);
    look(&table);
    frame.out = &table.text;
    put_members(&frame, &table); /* without a row */
    used = page->out->len - begin + table.text.len;
    buf_reset(&table.text);
    picture.out = &matrix;
    page_matrix(&picture);
    if (used + matrix.len + ROWS_BYTES > PAGE_FLEET_BYTES)
        buf_reset(&matrix);
    used += matrix.len;
    fill(page, &table, used < PAGE_FLEET_BYTES ? PAGE_FLEET_BYTES - used : 0);
    put_members(page, &table);
    buf_append_slice(page->out, buf_slice(&matrix));
    buf_fini(&matrix);
    buf_fini(&table.text);
}
