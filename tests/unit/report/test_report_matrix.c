/* The delivery matrix in the JSON of /fleet (agent/report/report_matrix.c): its form, and that readers without full details get no names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/buf.h"
#include "agent/report/report.h"

static void member_at(const void *fleet, size_t i, struct fleet_member_view *out)
{
    (void)fleet;
    *out = (struct fleet_member_view){ .id = i ? "chat-2" : "chat-1", .region = "eu", .word = "ready", .stand = "own" };
}

static size_t cells_of(const void *fleet, size_t i, struct fleet_cell_view *out, size_t max)
{
    (void)fleet;
    if (i == 0 || max < 1)
        return 0;
    *out = (struct fleet_cell_view){ .from = "chat-1", .state = "lit", .got = 12, .have_late = true, .late_ms = 3, .error_ms = 1 };
    return 1;
}

static const char *answer(bool matrix, bool full, struct buf *out)
{
    static struct fleet_view fleet;
    struct agent_view view = { .fleet = &fleet };

    fleet = (struct fleet_view){ .group = "chat",
                                 .broker = "bus",
                                 .member_count = 2,
                                 .member_at = member_at,
                                 .cells_of = cells_of,
                                 .has_matrix = matrix,
                                 .finding_count = 1,
                                 .delay_count = 1 };
    fleet.findings[0] = (struct fleet_finding_view){ .cause = "instance_receives_nothing",
                                                     .who = "chat-2",
                                                     .sentence = "chat-2 receives nothing",
                                                     .plain = "An instance receives nothing",
                                                     .advice = "Restart it" };
    fleet.delays[0] = (struct fleet_delay_view){ "eu", "us", 0.0421 };
    buf_reset(out);
    report_fleet_json(&view, full, out);
    return buf_str(out);
}

static void test_the_form(void **state)
{
    struct buf out = BUF_INIT(65536);
    const char *text = answer(true, true, &out);

    (void)state;
    assert_non_null(strstr(text, "\"findings\":[{\"cause\":\"instance_receives_nothing\",\"who\":\"chat-2\",\"from\":null,"
                                 "\"sentence\":\"chat-2 receives nothing\",\"advice\":\"Restart it\"}]"));
    assert_non_null(strstr(text, "\"matrix\":[{\"to\":\"chat-2\",\"cells\":[{\"from\":\"chat-1\",\"state\":\"lit\",\"got\":12,"
                                 "\"lost\":0,\"late_ms\":3,\"error_ms\":1}]}]"));
    assert_non_null(strstr(text, "\"delays\":[{\"from_region\":\"eu\",\"to_region\":\"us\",\"seconds\":0.0421}]"));
    assert_null(strstr(answer(false, true, &out), "\"matrix\""));
    buf_fini(&out);
}

static void test_no_names_without_full_details(void **state)
{
    struct buf out = BUF_INIT(65536);
    const char *text = answer(true, false, &out);

    (void)state;
    assert_null(strstr(text, "chat-"));
    assert_null(strstr(text, "\"matrix\""));
    assert_non_null(strstr(text, "\"sentence\":\"An instance receives nothing\""));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_form),
        cmocka_unit_test(test_no_names_without_full_details),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
