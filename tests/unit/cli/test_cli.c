/* What all commands share, and that every table of the help holds the whole of its list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "agent/base/program.h"
#include "agent/base/reason.h"
#include "agent/cli/cli.h"
#include "agent/core/event.h"
#include "brokers/registry.h"
#include "probes/registry.h"

static const struct cli_flag flags[] = {
    { "wait", "D", "waits so long", 'w', false }, { "all", NULL, "everything", 0, true }, { "roff", NULL, NULL, 0, false }, { 0 }
};
static const struct cli_example examples[] = { { "wshealthd rest --wait 2s", "Two seconds." }, { 0 } };
static const struct cli_command commands[] = { { "rest", "[--wait D] [URL]", "does nothing",
                                                 "For a while. \"Quoted\", back\\slash, -dash.", 1, flags, examples, NULL },
                                               { "help", "", "helps", NULL, 1, NULL, NULL, NULL },
                                               { 0 } };

static void durations_have_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = { { "250ms", 250 }, { "1m30s", 90000 }, { "0s", 0 }, { "5", -1 }, { "", -1 }, { "-1s", -1 }, { "soon", -1 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cli cli = { .command = commands, .given = { { flags, rows[i].text } }, .given_count = 1 };
        int64_t ms = 7;
        assert_int_equal(cli_duration(&cli, "wait", &ms), rows[i].ms < 0 ? -1 : 0);
        if (rows[i].ms >= 0)
            assert_int_equal(ms, rows[i].ms);
    }
    struct cli none = { .command = commands };
    int64_t ms = 7;
    assert_int_equal(cli_duration(&none, "wait", &ms), 0);
    assert_int_equal(ms, 7);
}

/* Help shows commands with the name by which the user's shell finds the program. Other sentences keep the name wshealthd. */
static void help_shows_what_to_type(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    program_learn("/no/such/place/wshealthd");
    cli_write_help(commands, commands, &out);
    const char *text = buf_str(&out);
    assert_non_null(strstr(text, "\n  /no/such/place/wshealthd rest --wait 2s\n"));
    assert_non_null(strstr(text, "\nUsage: /no/such/place/wshealthd rest "));
    buf_reset(&out);
    cli_write_help(commands, NULL, &out);
    text = buf_str(&out);
    assert_memory_equal(text, "wshealthd checks a ", 19);
    assert_non_null(strstr(text, "(/no/such/place/wshealthd help NAME)"));
    assert_non_null(strstr(text, "`/no/such/place/wshealthd help COMMAND`"));
    assert_non_null(strstr(text, "\n  /no/such/place/wshealthd ws://"));
    buf_reset(&out);
    assert_true(cli_write_topic(commands, "synopsis", true, &out)); /* the manual is everybody's */
    assert_null(strstr(buf_str(&out), "/no/such/place"));
    program_learn("wshealthd");
    buf_fini(&out);
}

static const char *topic(const char *name, bool roff, struct buf *out)
{
    buf_reset(out);
    assert_true(cli_write_topic(commands, name, roff, out));
    return buf_str(out);
}

static void every_table_is_whole(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    for (int roff = 0; roff < 2; roff++) {
        const char *text = topic("reasons", roff, &out);
        for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++)
            assert_non_null(strstr(text, reason_name((enum reason)reason)));
        text = topic("events", roff, &out);
        for (int event = 0; event < EVENT_COUNT; event++)
            assert_non_null(strstr(text, event_name((enum event)event)));
        text = topic("checks", roff, &out);
        for (size_t i = 0; probe_registry[i]; i++)
            assert_non_null(strstr(text, probe_registry[i]->name));
        text = topic("brokers", roff, &out);
        for (size_t i = 0; broker_registry[i]; i++)
            assert_non_null(strstr(text, broker_registry[i]->name));
        text = topic("dialects", roff, &out);
        assert_non_null(strstr(text, "socket.io"));
        assert_non_null(strstr(topic("options", roff, &out), "public_url"));
        assert_non_null(strstr(topic("metrics", roff, &out), "wshealthd_check_rounds_total"));
        assert_non_null(strstr(topic("causes", roff, &out), "healthy"));
        assert_non_null(strstr(topic("faults", roff, &out), "silent"));
    }
    buf_fini(&out);
}

static void terminals_get_no_roff(void **state)
{
    (void)state;
    static const char *const names[] = { "reasons", "events",  "checks", "brokers", "dialects",
                                         "options", "metrics", "causes", "faults" };
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = topic(names[i], false, &out);
        assert_null(strstr(text, "\\f"));
        assert_null(strstr(text, "\\-"));
        assert_null(strstr(text, "\n."));
        assert_true(text[0] != '.');
        for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
            assert_true(strcspn(line, "\n") <= 160);
    }
    assert_false(cli_write_topic(commands, "nothing", false, &out));
    assert_false(cli_write_topic(commands, "commands", false, &out)); /* the manual's own */
    buf_fini(&out);
}

static void help_begins_with_examples(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    cli_write_help(commands, commands, &out);
    const char *text = buf_str(&out), *usage = strstr(text, "Usage: wshealthd rest [--wait D] [URL]");
    assert_ptr_equal(strstr(text, "Examples:\n  wshealthd rest --wait 2s\n"), text);
    assert_non_null(usage);
    assert_non_null(strstr(usage, "-w, --wait D"));
    assert_non_null(strstr(usage, "(may be repeated)"));
    assert_null(strstr(text, "--roff"));
    buf_reset(&out);
    cli_write_help(commands, NULL, &out);
    assert_non_null(strstr(buf_str(&out), "  rest      does nothing\n"));
    assert_non_null(strstr(buf_str(&out), "  reasons   "));
    buf_fini(&out);
}

static void the_manual_takes_text_literally(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    const char *text = topic("commands", true, &out);
    assert_non_null(strstr(text, ".SS wshealthd rest [\\-\\-wait D] [URL]\n"));
    assert_non_null(strstr(text, "back\\eslash, \\-dash."));
    assert_null(strstr(text, "roff"));
    text = topic("synopsis", true, &out);
    assert_string_equal(text, "\\fBwshealthd rest\\fR [\\-\\-wait D] [URL]\n\\fBwshealthd help\\fR\n");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_have_units),      cmocka_unit_test(help_shows_what_to_type),
        cmocka_unit_test(every_table_is_whole),      cmocka_unit_test(terminals_get_no_roff),
        cmocka_unit_test(help_begins_with_examples), cmocka_unit_test(the_manual_takes_text_literally),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
