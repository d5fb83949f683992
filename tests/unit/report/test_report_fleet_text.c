/* The fleet for people (agent/report/report_fleet_text.c): fitted to its width, the matrix told apart without colour, and one line without ages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/buf.h"
#include "agent/report/report.h"

static char ids[64][16];

static void member_at(const void *fleet, size_t i, struct fleet_member_view *out)
{
    (void)fleet;
    snprintf(ids[i], sizeof ids[i], "chat-%zu", i + 1);
    *out = (struct fleet_member_view){ .id = ids[i],
                                       .region = "eu-west-1",
                                       .version = "1.2.3-build.20261127",
                                       .word = i == 1 ? "not_ready" : "ready",
                                       .stand = "own",
                                       .cause = i == 1 ? "server_detached_from_broker" : "",
                                       .since_ago_ms = 61000 };
}

static size_t cells_of(const void *fleet, size_t i, struct fleet_cell_view *out, size_t max)
{
    (void)fleet;
    (void)max;
    if (i == 2)
        return 0;
    out[0] = (struct fleet_cell_view){ .from = "chat-1", .state = i == 1 ? "dark" : "lit" };
    out[1] = (struct fleet_cell_view){ .from = "chat-2", .state = i == 1 ? "dark" : "partial" };
    return 2;
}

static struct fleet_view *fleet_of(size_t members)
{
    static struct fleet_view fleet;

    fleet = (struct fleet_view){ .group = "chat",
                                 .broker = "bus",
                                 .linked = true,
                                 .member_count = members,
                                 .member_at = member_at,
                                 .cells_of = cells_of,
                                 .has_matrix = true,
                                 .region_count = 1,
                                 .finding_count = 1 };
    fleet.regions[0] = (struct fleet_region_view){ .region = "eu-west-1", .ready = (uint32_t)members - 1, .not_ready = 1 };
    fleet.findings[0] =
        (struct fleet_finding_view){ .cause = "instance_receives_nothing",
                                     .who = "chat-2",
                                     .sentence = "chat-2 gets nothing from 2 others",
                                     .advice = "Restart the server of chat-2, and look for why its subscription was lost there" };
    return &fleet;
}

static const char *draw(size_t members, struct report_style style, struct buf *out)
{
    struct agent_view view = { .fleet = fleet_of(members) };

    buf_reset(out);
    report_fleet_human(&view, &style, out);
    return buf_str(out);
}

static size_t longest_line(const char *text)
{
    size_t longest = 0;

    for (; *text; text += strcspn(text, "\n") + 1)
        longest = strcspn(text, "\n") > longest ? strcspn(text, "\n") : longest;
    return longest;
}

static void it_fits_its_width(void **state)
{
    struct buf out = BUF_INIT(1 << 16);

    (void)state;
    for (unsigned width = 60; width <= 200; width += 10)
        assert_true(longest_line(draw(40, (struct report_style){ .width = width, .ascii = true }, &out)) <= width);
    const char *text = draw(40, (struct report_style){ .width = 60, .ascii = true }, &out);
    assert_null(strstr(text, "VERSION"));
    assert_non_null(strstr(text, "server_detached"));
    assert_non_null(strstr(text, " 15\n"));
    assert_non_null(strstr(text, "  and 25 more\n"));
    text = draw(40, (struct report_style){ .width = 60, .ascii = true, .one_line = true }, &out);
    assert_non_null(strstr(text, "1.2.3-build.20261127"));
    assert_non_null(strstr(text, "  and 8 more\n"));
    buf_fini(&out);
}

static void the_matrix_without_colour(void **state)
{
    struct buf out = BUF_INIT(1 << 16);

    (void)state;
    const char *text = draw(3, (struct report_style){ .width = 80, .ascii = true }, &out);
    assert_non_null(strstr(text, "  instance_receives_nothing: chat-2 gets nothing from 2 others\n    Restart the server"));
    assert_non_null(strstr(text, "\n  # all  + some  - none  . not known\n             1 2 3\n   1 chat-1  # + .\n   2 chat-2  "
                                 "- - .\n   3 chat-3  . . .\n"));
    text = draw(3, (struct report_style){ .width = 80, .colour = true }, &out);
    assert_non_null(
        strstr(text, "   1 chat-1  \033[32m●\033[0m \033[33m◐\033[0m ·\n   2 chat-2  \033[31m○\033[0m \033[31m○\033[0m ·\n"));
    buf_fini(&out);
}

static void one_line(void **state)
{
    struct buf out = BUF_INIT(4096);

    (void)state;
    report_fleet_line(fleet_of(3), &out);
    assert_string_equal(buf_str(&out),
                        "chat by bus: 1 not ready, 2 ready; chat-2 (eu-west-1) is not ready: server_detached_from_broker; "
                        "instance_receives_nothing: chat-2\n");
    buf_fini(&out);
}

/* min_ready is the instances' own, and off here only because no server is beside it. */
static void a_watcher_says_that_it_only_watches(void **state)
{
    const struct report_style style = { .width = 80 };
    struct fleet_view *fleet = fleet_of(3);
    struct agent_view view = { .fleet = fleet };
    struct buf out = BUF_INIT(1 << 16);

    (void)state;
    assert_non_null(strstr(draw(3, style, &out), "; min_ready off\n"));
    fleet->watcher = true;
    buf_reset(&out);
    report_fleet_human(&view, &style, &out);
    assert_non_null(strstr(buf_str(&out), "; this agent only watches\n"));
    assert_null(strstr(buf_str(&out), "min_ready"));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(it_fits_its_width), cmocka_unit_test(the_matrix_without_colour),
                                        cmocka_unit_test(one_line), cmocka_unit_test(a_watcher_says_that_it_only_watches) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
