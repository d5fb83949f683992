/*
 * `wshealthd fleet`: the members of the fleet as the running agent knows them, as a table or as the JSON of /fleet. `fleet gate` is in cli_gate.c. Called by agent/main.c. The agent
 * makes the table (agent/report/report_fleet_text.c); the exit code comes from `status` of its JSON.
 */
#include <string.h>

#include "agent/cli/cli_ask_impl.h"

enum { TARGET_MAX = 1024, STATUS_OK = 200 };

int cli_fleet(struct cli *cli)
{
    struct whom whom;
    struct answer json, text = { .body = BUF_INIT(0) };
    char target[TARGET_MAX];
    static const char *const gate_flags[] = { "group", "for", "min-ready", "timeout", "url" };

    if (cli->arg_count && strcmp(cli->args[0], "gate") == 0)
        return cli_gate(cli);
    if (cli->arg_count)
        return cli_error(cli, "'%.60s', want gate, or nothing", cli->args[0]);
    for (size_t i = 0; i < sizeof gate_flags / sizeof gate_flags[0]; i++)
        if (cli_has(cli, gate_flags[i]))
            return cli_error(cli, "--%s is for 'fleet gate'", gate_flags[i]);
    int code = ask_find_admin(cli, &whom);
    if (code != EXIT_PASS)
        return code;
    bool asked = ask_once(&whom, "GET", "/fleet", ASK_TIMEOUT_MS, &json) == 0;
    if (asked && json.status == STATUS_OK && cli_has(cli, "watch")) {
        buf_fini(&json.body);
        return cli_watch(cli, &whom, true);
    }
    if (asked && json.status == STATUS_OK && !cli_has(cli, "json")) {
        ask_text_target("/fleet", false, "", target, sizeof target);
        asked = ask_once(&whom, "GET", target, ASK_TIMEOUT_MS, &text) == 0;
        if (!asked)
            json.err = text.err;
    }
    if (!asked)
        code = ask_no_agent(cli, &whom, &json.err);
    else if (json.status != STATUS_OK)
        code = ask_refused(cli, &json);
    else if (cli_has(cli, "json"))
        code = cli_print_json(cli, &json.body, ask_exit_code(buf_slice(&json.body)));
    else
        code = cli_print(cli, &text.body, ask_exit_code(buf_slice(&json.body)));
    buf_fini(&json.body);
    buf_fini(&text.body);
    return code;
}
