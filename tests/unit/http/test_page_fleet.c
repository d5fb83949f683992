/*
 * The fleet on the page: what is said of it in each state, which members have a row, who sees what. test_page.c has its size and hostile
 * texts. PAGE_WRITE=DIRECTORY writes the pages there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/http/page.h"
#include "tests/unit/report/views.h"

#define NOW (WORLD_MS + INT64_C(3600000))

static struct world world;
static struct world_fleet fleet;
static struct buf page;

static int set_up(void **state)
{
    (void)state;
    buf_init(&page, 1 << 20);
    world_init(&world);
    world_add(&world, "handshake", "handshake", "local", GATE_READY);
    world_judge(&world, false, true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&page);
    return 0;
}

/* The section alone, as it is streamed. */
static const char *look_at(bool full, bool public_view)
{
    const struct page_look look = { full, public_view, NOW };
    const char *directory = getenv("PAGE_WRITE");

    if (directory) {
        char path[512];
        static int number;

        buf_reset(&page);
        page_write(&world.view, &look, &page);
        snprintf(path, sizeof path, "%s/fleet-%d.html", directory, number++);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fwrite(page.data, 1, page.len, file);
        fclose(file);
    }
    for (size_t i = 0; i < page_section_count(); i++)
        if (strcmp(page_section_id(i), "fleet") == 0) {
            buf_reset(&page);
            page_section_write(&world.view, &look, i, &page);
        }
    return buf_str(&page);
}

static void assert_in(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no \"%s\" in %s", part, text);
}

static void assert_not_in(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("\"%s\" is in %s", part, text);
}

/* Five instances in two regions: one is well, one is held, one is broken, one is silent, one drains. */
static void make_five(size_t i, struct fleet_member_view *out)
{
    static const char *const ids[] = { "chat-0", "chat-1", "chat-2", "chat-3", "chat-4" };
    static const char *const words[] = { "degraded", "ready", "not_ready", "silent", "draining" };

    out->id = ids[i];
    out->word = words[i];
    out->region = i < 3 ? "north" : "south";
    out->stand = i == 0 ? "held" : "own";
    out->cause = i == 0 ? "server_hung" : i == 2 ? "server_down" : "";
    out->have_connections = i == 1;
    out->connections = 1204;
    out->twin = out->watcher = i == 4;
    out->since_at_ms = NOW - 60000 * (int64_t)i;
}

static void set_five(void)
{
    world_set_fleet(&world, &fleet, 5, make_five);
    fleet.view.regions[0] = (struct fleet_region_view){ .region = "north", .degraded = 1, .ready = 1, .not_ready = 1 };
    fleet.view.regions[1] = (struct fleet_region_view){ .region = "south", .silent = 1, .draining = 1 };
    fleet.view.region_count = 2;
    fleet.view.held = true;
    strcpy(fleet.view.sentence, "held in rotation: without it 1 would remain, and min_ready wants 2");
    strcpy(fleet.view.rollout.sentence, "a roll-out is under way: 2 of 5 instances drained");
}

static void without_a_fleet_there_is_no_section(void **state)
{
    (void)state;
    assert_string_equal(look_at(true, false), "");
}

static void it_says_who_is_in_which_state(void **state)
{
    (void)state;
    set_five();
    const char *text = look_at(true, false);
    assert_in(text, "<p class=tally>1 not ready, 1 silent, 1 degraded, 1 draining, 1 ready</p>");
    assert_in(text, "<b>north</b> <small>1 not ready, 1 degraded, 1 ready</small>");
    assert_in(text, "<bdi>chat-0</bdi> <small>here</small><td class=warn>degraded, held<td>server_hung<td>");
    assert_in(text, "<bdi>chat-1</bdi><td class=good>ready<td>");
    assert_in(text, "<td>1,204<td>");
    assert_in(text, "<bdi>chat-2</bdi><td class=bad>not ready<td>");
    assert_in(text, "<td>server_down");
    assert_in(text, "<bdi>chat-3</bdi><td class=bad>silent<td>");
    assert_in(text, "<bdi>chat-4</bdi> <span class=bad>twice</span><td class=none>watcher, draining<td>");
    assert_in(text, "<time datetime=2026-11-26T10:59:00Z>10:59:00 UTC</time>");
    assert_in(text, "<span class=warn>This instance:</span> <bdi>held in rotation: without it 1 would remain");
    assert_in(text, "<span class=none>Deploy:</span> <bdi>a roll-out is under way: 2 of 5 instances drained</bdi>");
    assert_true(strstr(text, "chat-2") < strstr(text, "<b>south"));
    assert_not_in(text, " more");
}

static void what_is_wrong_with_the_fleet_is_said(void **state)
{
    (void)state;
    set_five();
    fleet.view.linked = false;
    strcpy(fleet.view.why, "the broker is not there: 192.0.2.9: connection refused");
    fleet.view.wide = true;
    fleet.view.wide_cause = "certificate_expired";
    fleet.view.wide_sharing = 9;
    fleet.view.wide_of = 10;
    const char *text = look_at(true, false);
    assert_in(text, "Not linked, so that this agent acts by its own verdict:</span> <bdi>the broker is not there");
    assert_in(text, "9 of 10 instances have certificate_expired at once");
}

static void strangers_see_no_names_and_users_no_fleet(void **state)
{
    (void)state;
    set_five();
    fleet.view.linked = false;
    strcpy(fleet.view.why, "the broker is not there: 192.0.2.9: connection refused");
    const char *text = look_at(false, false);
    assert_not_in(text, "chat-");
    assert_not_in(text, "192.0.2");
    assert_in(text, "<bdi>number 3</bdi><td class=bad>not ready");
    assert_string_equal(look_at(true, true), "");
}

/* Of 500 members 3 are in trouble, far behind; every other region has no row of its own. */
static void make_many(size_t i, struct fleet_member_view *out)
{
    static char id[32];

    snprintf(id, sizeof id, "chat-%zu", i);
    out->id = id;
    out->region = i < 200 ? "north" : i % 2 ? "moon" : "mars";
    out->word = i == 450 ? "not_ready" : i == 470 ? "silent" : i == 499 ? "degraded" : "ready";
}

static void who_is_in_trouble_has_a_row_first(void **state)
{
    (void)state;
    static const char *const rows[] = { "chat-0<", "chat-450<", "chat-470<", "chat-499<", "chat-1<" };

    world_set_fleet(&world, &fleet, 500, make_many);
    fleet.view.regions[1].region = "other";
    fleet.view.region_count = 2;
    const char *text = look_at(true, false);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_in(text, rows[i]);
    assert_in(text, "chat-450</bdi> <small>mars</small>");
    unsigned shown = 0, left_out = 0;
    for (const char *at = text; (at = strstr(at, "<th scope=row>")); at++)
        shown++;
    for (const char *at = text; (at = strstr(at, "and ")); at++)
        left_out += (unsigned)strtoul(at + 4, NULL, 10);
    assert_int_equal(shown + left_out, 500);
    assert_in_range(shown, 20, 40);
}

/* --- the matrix --- */

static size_t cells_of_five(const void *view, size_t i, struct fleet_cell_view *out, size_t max)
{
    static const char *const ids[] = { "chat-0", "chat-1", "chat-2", "chat-3", "chat-4" };
    size_t count = 0;

    (void)view;
    for (size_t from = 0; from < 5 && i < 3 && count < max; from++)
        if (from != i && from != 4)
            out[count++] = (struct fleet_cell_view){ .from = ids[from],
                                                     .state = from == 3   ? "dark"
                                                              : from == 1 ? "partial"
                                                                          : "lit" };
    return count;
}

static void the_matrix_is_a_picture_and_words(void **state)
{
    (void)state;
    set_five();
    assert_not_in(look_at(true, false), "class=cells");
    fleet.view.has_matrix = true;
    fleet.view.cells_of = cells_of_five;
    fleet.view.finding_count = 1;
    fleet.view.findings[0] = (struct fleet_finding_view){ .cause = "instance_publishes_nothing",
                                                          .who = "chat-3",
                                                          .sentence = "nobody receives anything from chat-3",
                                                          .plain = "nobody receives anything from an instance",
                                                          .advice = "Look at its broker" };
    const char *text = look_at(true, false);
    assert_in(text, "<code>instance_publishes_nothing</code></span> <bdi>nobody receives anything from chat-3</bdi><br><em>Look at "
                    "its broker</em>");
    /* Of chat-0: itself, some of chat-1, all of chat-2, nothing of chat-3; chat-4 only watches. */
    assert_in(
        text,
        "<svg class=cells viewBox='0 0 40 10' aria-hidden=true><path class=all d='M25 5h0.1'/>"
        "<path class=warn d='M15 5h0.1'/><path class=bad d='M35 5h0.1'/></svg><td>from 2 of 3; nothing from chat-3; not all from "
        "chat-1");
    assert_in(text, "<path class=none d='M5 5h20.1'/></svg><td>not known yet");
    text = look_at(false, false);
    assert_in(text, "nobody receives anything from an instance");
    assert_in(text, "nothing from number 4; not all from number 2");
    assert_not_in(text, "chat-");
}

static void a_large_fleet_has_a_matrix_by_region(void **state)
{
    (void)state;
    world_set_fleet(&world, &fleet, 500, make_many);
    fleet.view.regions[1].region = "south";
    fleet.view.region_count = 2;
    fleet.view.has_matrix = true;
    fleet.view.cells_of = cells_of_five;
    fleet.view.delays[0] = (struct fleet_delay_view){ "north", "north", 0.01 };
    fleet.view.delays[1] = (struct fleet_delay_view){ "north", "south", 0.08 };
    fleet.view.delay_count = 2;
    fleet.view.findings[0] = (struct fleet_finding_view){
        .cause = "regions_cut", .who = "north", .from = "south", .sentence = "cut", .plain = "cut", .advice = ""
    };
    fleet.view.finding_count = 1;
    const char *text = look_at(true, false);
    assert_in(text, "<bdi>north</bdi><td><svg class=cells viewBox='0 0 20 10'");
    assert_in(text, "<td>from 1 of 2; nothing from south");
    assert_in(text, "<td>from 1 of 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_a_fleet_there_is_no_section, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_says_who_is_in_which_state, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_wrong_with_the_fleet_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strangers_see_no_names_and_users_no_fleet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_in_trouble_has_a_row_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_matrix_is_a_picture_and_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_large_fleet_has_a_matrix_by_region, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
