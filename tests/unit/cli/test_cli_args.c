/* The grammar of the command line, on a small table of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "agent/cli/cli.h"

static const struct cli_flag check_flags[] = { { "config", "FILE", "a file", 'c', false },
                                               { "timeout", "D", "a duration", 0, false },
                                               { "header", "K:V", "a header", 0, true },
                                               { "json", NULL, "as JSON", 0, false },
                                               { "quiet", NULL, "says less", 'q', false },
                                               { "roff", NULL, NULL, 0, false },
                                               { 0 } };
static const struct cli_command commands[] = {
    { "run", "[URL]", "runs", NULL, 1, check_flags, NULL, NULL }, { "check", "[URL]", "checks", NULL, 1, check_flags, NULL, NULL },
    { "status", "", "shows", NULL, 0, NULL, NULL, NULL },         { "help", "[COMMAND]", "helps", NULL, 1, NULL, NULL, NULL },
    { "version", "", "prints", NULL, 0, NULL, NULL, NULL },       { 0 }
};

static struct cli cli;
static struct err err;

/* Words up to a NULL, behind the program's name. */
static int parse(const char *first, ...)
{
    char *argv[CLI_GIVEN_MAX * 2 + 8];
    static char words[CLI_GIVEN_MAX * 2 + 8][128];
    int argc = 0;
    va_list args;
    argv[argc++] = strcpy(words[0], "wshealthd");
    va_start(args, first);
    for (const char *word = first; word; word = va_arg(args, const char *)) {
        snprintf(words[argc], sizeof words[argc], "%s", word);
        argv[argc] = words[argc];
        argc++;
    }
    va_end(args);
    err_clear(&err);
    return cli_parse(&cli, commands, argc, argv, &err);
}

#define good(...) assert_int_equal(parse(__VA_ARGS__, NULL), 0)
#define bad(want, ...)                                   \
    do {                                                 \
        assert_int_equal(parse(__VA_ARGS__, NULL), -1);  \
        assert_string_equal(err.text, "wshealthd" want); \
    } while (0)

static void reads_flags_in_every_form(void **state)
{
    (void)state;
    good("check", "--timeout", "2s", "-c", "a.yaml", "--json", "ws://h/");
    assert_string_equal(cli.command->name, "check");
    assert_string_equal(cli_value(&cli, "timeout"), "2s");
    assert_string_equal(cli_value(&cli, "config"), "a.yaml");
    assert_true(cli_has(&cli, "json"));
    assert_false(cli_has(&cli, "quiet"));
    assert_int_equal(cli.arg_count, 1);
    assert_string_equal(cli.args[0], "ws://h/");

    good("check", "ws://h/", "--timeout=1m30s", "-cb.yaml", "-q");
    assert_string_equal(cli_value(&cli, "timeout"), "1m30s");
    assert_string_equal(cli_value(&cli, "config"), "b.yaml");
    assert_true(cli_has(&cli, "quiet"));

    good("check", "--header=A: b=c", "--timeout=", "--header", "--json");
    assert_string_equal(cli_value(&cli, "timeout"), "");
    size_t at = 0;
    assert_string_equal(cli_next(&cli, "header", &at), "A: b=c");
    assert_string_equal(cli_next(&cli, "header", &at), "--json");
    assert_null(cli_next(&cli, "header", &at));
    assert_false(cli_has(&cli, "json"));
}

static void two_dashes_end_the_flags(void **state)
{
    (void)state;
    good("check", "--json", "--", "--timeout");
    assert_string_equal(cli.args[0], "--timeout");
    good("check", "-");
    assert_string_equal(cli.args[0], "-");
    bad(" check: '--' is one argument too many, want: wshealthd check [URL]", "check", "--", "x", "--");
}

static void run_may_be_left_out(void **state)
{
    (void)state;
    good("ws://127.0.0.1:8080/ws");
    assert_string_equal(cli.command->name, "run");
    assert_string_equal(cli.args[0], "ws://127.0.0.1:8080/ws");
    good("-c", "a.yaml");
    assert_string_equal(cli.command->name, "run");
    good("--config=a.yaml", "ws://h/");
    assert_string_equal(cli.command->name, "run");
    assert_int_equal(parse(NULL), 0);
    assert_string_equal(cli.command->name, "run");
    assert_int_equal(cli.arg_count, 0);
}

static void help_and_version_are_flags_too(void **state)
{
    (void)state;
    good("--help");
    assert_string_equal(cli.command->name, "help");
    good("-h", "check");
    assert_string_equal(cli.command->name, "help");
    assert_string_equal(cli.args[0], "check");
    good("--version");
    assert_string_equal(cli.command->name, "version");
    good("-V");
    assert_string_equal(cli.command->name, "version");
    good("check", "--json", "-h");
    assert_string_equal(cli.command->name, "check");
    assert_true(cli.help);
    good("status", "--help");
    assert_true(cli.help);
}

static void a_typo_gets_the_nearest_name(void **state)
{
    (void)state;
    bad(" check: unknown flag --timout (did you mean '--timeout'?)", "check", "--timout", "2s");
    bad(" check: unknown flag --hedaer (did you mean '--header'?)", "check", "--hedaer=a");
    bad(": unknown command 'chekc' (did you mean 'check'?)", "chekc", "ws://h/");
    bad(": unknown command 'frobnicate' (see 'wshealthd help')", "frobnicate");
    bad(" check: unknown flag --frobnicate (see 'wshealthd help check')", "check", "--frobnicate");
    bad(" status: unknown flag --json (see 'wshealthd help status')", "status", "--json");
    bad(" check: unknown flag -x (see 'wshealthd help check')", "check", "-x");
    bad(" check: unknown flag -json (did you mean '--json'?)", "check", "-json");
    bad(" check: unknown flag -qq (see 'wshealthd help check')", "check", "-qq");
    bad(" run: unknown flag --confg (did you mean '--config'?)", "--confg", "a.yaml");
    bad(": 'localhost:8080' is neither a command nor a URL (a URL begins with ws:// or wss://)", "localhost:8080");
}

static void a_hidden_flag_is_not_suggested(void **state)
{
    (void)state;
    good("check", "--roff");
    bad(" check: unknown flag --rofff (see 'wshealthd help check')", "check", "--rofff");
}

static void values_are_counted(void **state)
{
    (void)state;
    bad(" check: --timeout needs a value: --timeout D", "check", "--timeout");
    bad(" check: --config needs a value: --config FILE", "check", "-c");
    bad(" check: --json takes no value", "check", "--json=1");
    bad(" check: --timeout is given twice", "check", "--timeout", "1s", "--timeout=2s");
    bad(" check: --json is given twice", "check", "--json", "--json");
    bad(" check: 'b' is one argument too many, want: wshealthd check [URL]", "check", "a", "b");
    bad(" status: 'now' is one argument too many, want: wshealthd status", "status", "now");
}

static void what_is_typed_cannot_break_the_line(void **state)
{
    (void)state;
    assert_int_equal(parse("check", "--a\nb\x1b[31m", NULL), -1);
    assert_null(strpbrk(err.text, "\n\x1b"));
    assert_int_equal(parse("x\ny", NULL), -1);
    assert_null(strchr(err.text, '\n'));
}

static void flags_have_a_ceiling(void **state)
{
    (void)state;
    char *argv[CLI_GIVEN_MAX + 4];
    char program[] = "wshealthd", command[] = "check", flag[] = "--header=a:b";
    int argc = 0;
    argv[argc++] = program;
    argv[argc++] = command;
    while (argc < CLI_GIVEN_MAX + 2)
        argv[argc++] = flag;
    assert_int_equal(cli_parse(&cli, commands, argc, argv, &err), 0);
    assert_int_equal(cli.given_count, CLI_GIVEN_MAX);
    argv[argc++] = flag;
    assert_int_equal(cli_parse(&cli, commands, argc, argv, &err), -1);
    assert_string_equal(err.text, "wshealthd check: more than 64 flags");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_flags_in_every_form),    cmocka_unit_test(two_dashes_end_the_flags),
        cmocka_unit_test(run_may_be_left_out),          cmocka_unit_test(help_and_version_are_flags_too),
        cmocka_unit_test(a_typo_gets_the_nearest_name), cmocka_unit_test(a_hidden_flag_is_not_suggested),
        cmocka_unit_test(values_are_counted),           cmocka_unit_test(what_is_typed_cannot_break_the_line),
        cmocka_unit_test(flags_have_a_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
