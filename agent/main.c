/*
 * wshealthd: argv to command. The table below is the specification of the command line: parsing, usage errors, `wshealthd help` and the
 * COMMANDS section of wshealthd(8) come from its rows. Each command lives in a cli_*.c file.
 */
#include <unistd.h>

#include "agent/base/log.h"
#include "agent/base/process.h"
#include "agent/base/program.h"
#include "agent/cli/cli.h"
#include "agent/demo/demo_says.h"
#include "agent/report/screen.h"

#define FLAG_CONFIG "config", "FILE", "the configuration; without it and without a URL: " CLI_CONFIG_FILE, 'c', false
#define FLAG_ASK_CONFIG "config", "FILE", "the agent's configuration file, for the address of its admin socket", 'c', false
#define FLAG_ADMIN "admin", "unix:/PATH", "the agent's admin socket; also WSHEALTHD_ADMIN, or what -c FILE says", 0, false

static const struct cli_flag run_flags[] = {
    { FLAG_CONFIG },
    { "listen", "ADDRESS", "the address of the health endpoints, instead of the file's; also WSHEALTHD_LISTEN", 0, false },
    { "admin", "ADDRESS", "the admin socket, unix:/PATH or off, instead of the file's; also WSHEALTHD_ADMIN", 0, false },
    { "watchdog-for", "PID",
      "for ExecStartPost= in the server's unit, with $MAINPID: runs in the background beside that process, and has systemd restart "
      "it when it hangs",
      0, false },
    { 0 }
};
static const struct cli_example run_examples[] = {
    { "wshealthd ws://127.0.0.1:8080/ws",
      "The default checks against that server: handshake, ping and hold. `run` may be left out." },
    { "wshealthd -c /etc/wshealthd/wshealthd.yaml", "The checks of the file. SIGHUP reads it again, SIGTERM ends the agent." },
    { "curl -i http://127.0.0.1:9717/ready", "What a load balancer asks." },
    { 0 }
};

static const struct cli_flag check_flags[] = {
    { FLAG_CONFIG },
    { "type", "TYPE", "this check type only (see 'wshealthd help checks')", 0, true },
    { "timeout", "D", "the deadline of each round, every phase included, such as 2s", 0, false },
    { "slo", "D", "warns if a round takes longer than this", 0, false },
    { "quiet", NULL, "prints one line: the verdict and why", 'q', false },
    { "json", NULL, "prints the JSON of /status on one line; indented if stdout is a terminal", 0, false },
    { "nagios", NULL, "prints one plugin line with performance data", 0, false },
    { "header", "NAME:VALUE", "sends this header with the upgrade", 0, true },
    { "origin", "ORIGIN", "sends this Origin", 0, false },
    { "subprotocol", "NAME", "offers this subprotocol", 0, true },
    { "token-file", "FILE", "sends the token in this file as Authorization: Bearer", 0, false },
    { "dialect", "DIALECT", "the protocol of the server: socket.io, pusher, stomp and others, or a dialect of the file", 0, false },
    { "channel", "NAME", "subscribes to this channel, instead of those in the file", 0, false },
    { "send", "TEXT", "what the echo check sends; without it, a unique text", 0, false },
    { "expect", "TEXT", "what the answer must contain; without it, what was sent", 0, false },
    { "ca", "FILE", "trusts the authorities in this PEM file, and no others", 0, false },
    { "insecure", NULL, "does not verify the server's certificate", 0, false },
    { "http", "1.1|2|both", "the version of HTTP that the WebSocket begins with; 2 is RFC 8441", 0, false },
    { "trace", NULL, "prints the whole conversation: addresses, certificates, heads, each frame in both directions", 0, false },
    { 0 }
};
static const struct cli_example check_examples[] = {
    { "wshealthd check ws://127.0.0.1:8080/ws", "One round of handshake and ping, with the time that each phase took." },
    { "wshealthd check wss://chat.example.com/ws --type handshake --type tls", "Only these checks." },
    { "wshealthd check ws://127.0.0.1:8080/ws --send '{\"op\":\"ping\"}' --expect pong --slo 200ms", "An echo check as well." },
    { "wshealthd check http://127.0.0.1:8080/health", "The server's own health URL." },
    { "wshealthd check --trace wss://chat.example.com/ws", "All that is said, as curl -v shows it." },
    { "wshealthd check -q wss://chat.example.com/ws || echo broken", "For a script: the exit code, and one line." },
    { "wshealthd check -c /etc/wshealthd/wshealthd.yaml --json", "Every check of the file, for a program." },
    { "wshealthd check --nagios ws://127.0.0.1:8080/ws", "For a Nagios, Icinga or Checkmk plugin." },
    { 0 }
};

static const struct cli_flag status_flags[] = {
    { FLAG_ASK_CONFIG },
    { FLAG_ADMIN },
    { "json", NULL, "prints the JSON of /status on one line; indented if stdout is a terminal", 0, false },
    { "watch", NULL, "stays, and shows each change at once: on a terminal the whole report, else a line for each", 'w', false },
    { "evidence", "CHECK", "prints what was said in this check's last round that failed, and in the last that passed", 0, false },
    { 0 }
};
static const struct cli_flag fleet_flags[] = {
    { FLAG_ASK_CONFIG },
    { FLAG_ADMIN },
    { "json", NULL, "prints the JSON of /fleet on one line; indented if stdout is a terminal", 0, false },
    { "watch", NULL, "stays, and shows each change: on a terminal the whole, else a line for each", 'w', false },
    { "group", "GROUP", "gate: the group that must be well", 0, false },
    { "for", "D", "gate: for so long, without a break (60s)", 0, false },
    { "min-ready", "N|N%", "gate: how many of the instances must be ready (100%)", 0, false },
    { "timeout", "D", "gate: gives up after this time (10m)", 0, false },
    { "url", "URL", "gate: asks the agent at http://host:port instead of the admin socket", 0, false },
    { 0 }
};
static const struct cli_example fleet_examples[] = {
    { "wshealthd fleet", "Who is there, how each is, and what min_ready does." },
    { "wshealthd fleet --watch", "The same, kept up to date; q quits." },
    { "wshealthd fleet gate --group chat --min-ready 6",
      "In a deploy pipeline: passes when six instances have been ready for a minute." },
    { "wshealthd fleet --json | jq -r '.members[] | select(.state != \"ready\").id'", "Those that are not ready." },
    { 0 }
};
static const struct cli_example status_examples[] = {
    { "wshealthd status", "The verdict of the running agent, also as the exit code." },
    { "wshealthd status --json | jq -r .diagnosis.sentence", "One field of it." },
    { "wshealthd status --watch", "The same, kept up to date; q quits." },
    { "wshealthd status --json --watch | jq -c '[.at, .diagnosis.cause]'", "For a program: one JSON object for each change." },
    { "wshealthd status --evidence ping", "What the server said when the check ping failed last." },
    { 0 }
};

static const struct cli_flag wait_flags[] = {
    { FLAG_ASK_CONFIG },
    { FLAG_ADMIN },
    { "for", "ready|live|startup", "the state to wait for; ready if not given", 0, false },
    { "timeout", "D", "gives up after this time (30s)", 0, false },
    { "url", "URL", "asks the agent at http://host:port instead of the admin socket", 0, false },
    { 0 }
};
static const struct cli_example wait_examples[] = {
    { "ExecStartPost=/usr/bin/wshealthd wait --timeout 30s --url http://127.0.0.1:9717",
      "In the server's unit: it has started when the server takes connections." },
    { "wshealthd wait --for startup", "The same through the admin socket, for a user who may open it." },
    { 0 }
};

static const struct cli_flag drain_flags[] = {
    { FLAG_ASK_CONFIG },
    { FLAG_ADMIN },
    { "wait", "D", "waits until clients have left, at most so long; the exit code says whether they have", 0, false },
    { "until", "N", "with --wait: until at most so many client connections are left (0)", 0, false },
    { "min", "D", "with --wait: not shorter than this, so that load balancers have seen it even if no client is there", 0, false },
    { 0 }
};
static const struct cli_example drain_examples[] = {
    { "wshealthd drain", "/ready turns to 503 at once and stays there until `wshealthd resume`." },
    { "wshealthd drain --wait 60s && systemctl restart chat", "Restarts the server when the last client has left." },
    { "wshealthd drain --wait 10m --until 20 --min 5s", "Leaves up to 20 clients behind; takes at least 5 s." },
    { 0 }
};

static const struct cli_flag ask_flags[] = { { FLAG_ASK_CONFIG }, { FLAG_ADMIN }, { 0 } };
static const struct cli_flag reload_flags[] = {
    { FLAG_ASK_CONFIG },
    { FLAG_ADMIN },
    { "signal", "PID", "for ExecReload=, with $MAINPID: sends SIGHUP if there is no admin socket", 0, false },
    { 0 }
};
static const struct cli_example resume_examples[] = {
    { "wshealthd resume", "The checks decide again whether the instance is ready." }, { 0 }
};
static const struct cli_example reload_examples[] = {
    { "wshealthd config check && wshealthd reload", "The same as SIGHUP, with the errors on this terminal." }, { 0 }
};

static const struct cli_flag config_flags[] = {
    { "config", "FILE", "the same as the argument FILE", 'c', false },
    { "short", NULL, "init: a dozen lines instead of every key", 0, false },
    { "dry-run", NULL, "init URL: tells what was found, and writes nothing", 0, false },
    { "origin", "ORIGIN", "init URL: sends this Origin", 0, false },
    { "header", "NAME:VALUE", "init URL: sends this header with the upgrade", 0, true },
    { "token-file", "FILE", "init URL: the token in this file is sent where the protocol wants it", 0, false },
    { "ca", "FILE", "init URL: trusts the authorities in this PEM file, and no others", 0, false },
    { "insecure", NULL, "init URL: does not verify the server's certificate", 0, false },
    { 0 }
};
static const struct cli_example config_examples[] = {
    { "wshealthd config init > wshealthd.yaml", "A commented start; with FILE it is written there unless the file exists." },
    { "wshealthd config init --short wshealthd.yaml", "A dozen lines to begin with." },
    { "wshealthd config init ws://127.0.0.1:8080 wshealthd.yaml",
      "One that fits the server found there, with a comment for each finding." },
    { "wshealthd config init ws://127.0.0.1:8080 --dry-run", "What was found, and how surely." },
    { "wshealthd config check wshealthd.yaml", "All errors at once, each with line and column." },
    { "wshealthd config show wshealthd.yaml", "What holds after defaults and variables; secrets are ***." },
    { "wshealthd config schema > wshealthd.schema.json", "For an editor." },
    { 0 }
};

static const struct cli_example explain_examples[] = {
    { "wshealthd explain server_hung", "What leads to this cause, what it means, and what to do." },
    { "wshealthd explain closed_abnormal", "What this reason is, and the causes that it may lead to." },
    { "wshealthd explain", "All words." },
    { 0 }
};

static const struct cli_flag notify_flags[] = { { "config", "FILE", "reads this file", 'c', false }, { 0 } };
static const struct cli_example notify_examples[] = {
    { "wshealthd notify -c chat.yaml", "The notifiers of a configuration, and where they send to." },
    { "wshealthd notify test ops -c chat.yaml",
      "Sends a test message by the one called ops, and says what its receiver answered." },
    { 0 }
};

static const struct cli_flag demo_flags[] = {
    { "fault", "FAULT", "switches a fault on from the start (see 'wshealthd help faults')", 0, false },
    { "port", "N", "the port of the WebSocket server; without it, or with 0, any free one", 0, false },
    { "broker", "URL", "the broker that server and agent use, redis://... or nats://...; without it, one inside the process", 0,
      false },
    { "listen", "ADDRESS", "the address of the health listener; without it 127.0.0.1:9717, or a free port if that is taken", 0,
      false },
    { 0 }
};
static const struct cli_example demo_examples[] = {
    { "wshealthd demo", "Then type the name of a fault, and look at http://127.0.0.1:9717/ready." },
    { "wshealthd demo --fault silent-drop", "The fault is on from the start." },
    { "wshealthd demo --broker redis://127.0.0.1:6379", "On a real broker, which can then be stopped, frozen or made read-only." },
    { 0 }
};

static const struct cli_example completion_examples[] = {
    { "source <(wshealthd completion bash)", "In this shell, or in ~/.bashrc." },
    { "wshealthd completion zsh > ~/.zfunc/_wshealthd", "For zsh, in a directory of $fpath." },
    { "wshealthd completion fish > ~/.config/fish/completions/wshealthd.fish", "For fish." },
    { 0 }
};

static const struct cli_flag help_flags[] = { { "roff", NULL, NULL, 0, false }, /* for `make docs` */
                                              { 0 } };

static const struct cli_command commands[] = {
    { "run", "[-c FILE] [URL]", "runs the agent",
      "Serves /ready, /live, /startup, /health, /status and /metrics on `listen` ([::]:9717) until SIGTERM or SIGINT; a second "
      "signal ends it at once. A URL replaces the file's target.",
      1, run_flags, run_examples, cli_run },
    { "check", "[-c FILE] [URL] [FLAG]...", "does one round of every check and prints the result",
      "For a bare ws:// or wss:// URL the checks are handshake and ping, for http:// and https:// http, for tcp:// tcp. A "
      "failed round is exit code 2, also of a check that gates nothing. Secrets come from files, never from flags.",
      1, check_flags, check_examples, cli_check },
    { "status", "[--json] [--watch] [--evidence CHECK]", "shows the verdict and the checks of the running agent",
      "Asks through the admin socket. The exit code is the verdict, with --watch the last one. --watch draws the report again with "
      "each "
      "change; if stdout is no terminal, it prints a line when a state, the verdict or the cause changes, and with --json the JSON "
      "of "
      "/status, with the time as `at`. It says when the agent is lost, and goes on when it is back. Keys: q, Ctrl-C and Ctrl-D "
      "quit; "
      "arrows, PgUp and PgDn scroll.",
      0, status_flags, status_examples, cli_status },
    { "fleet", "[gate] [--json] [--watch]", "shows the other agents of the fleet, or waits until they are well",
      "Asks through the admin socket. The exit code is 0 when all members that are heard are ready, 1 when some are not, 2 when "
      "none is, and 3 when there "
      "is no agent to ask or no fleet is configured; with --watch that of the last state. gate asks once a second, and ends with 0 "
      "when the agent is linked, no fault is "
      "fleet-wide, and enough instances have been ready for the whole of --for; 2 when the time is over: one sentence says what is "
      "missing; 3 when the agent is "
      "of another group, or did not answer at the end. Only the state ready counts. An instance that is gone without a word counts "
      "as not ready until it is back.",
      1, fleet_flags, fleet_examples, cli_fleet },
    { "wait", "[--for ready|live|startup] [--timeout D] [--url URL]",
      "waits until the agent answers ready, live or startup with 200",
      "Exit code 0 when it does, 2 when the time is over, 3 when no agent has answered at all.", 0, wait_flags, wait_examples,
      cli_wait },
    { "drain", "[--wait D] [--until N] [--min D]", "takes the instance out of rotation",
      "Existing connections are left alone. With --wait it shows how many clients are left, the agent's own connections aside, and "
      "ends with 0 when enough have left, 1 when the time is over, 2 when somebody has resumed the instance, 3 when no agent "
      "answers. Where clients cannot be counted (the server is on another host, the kernel does not tell) it says so, and waits "
      "for the whole time. Ctrl-C ends the command; the agent goes on draining.",
      0, drain_flags, drain_examples, cli_drain },
    { "resume", "", "ends draining", NULL, 0, ask_flags, resume_examples, cli_resume },
    { "reload", "", "makes the agent read its configuration again",
      "A file with errors changes nothing: they are printed, and the exit code is 3. Checks that are the same keep their history "
      "and their connections.",
      0, reload_flags, reload_examples, cli_reload },
    { "explain", "[CAUSE|REASON]", "says what a cause or a reason means, and what to do",
      "The words are those of the diagnosis and of the checks, as `status`, the log, /status and the metrics have them. Without "
      "one, all are listed.",
      1, NULL, explain_examples, cli_explain },
    { "notify", "[test NAME] [-c FILE]", "lists the notifiers, or sends a test message by one of them",
      "The message goes from this command, in one try, and no agent has to run. The exit code is 0 when the receiver took it, and "
      "2 when it "
      "did not: the line says what it answered. Where files or the network are the agent's alone, run it as the agent's user.",
      2, notify_flags, notify_examples, cli_notify },
    { "config", "check|show|init|schema [URL] [FILE]", "validates, shows or begins a configuration file",
      "With a URL, init asks the server there what it is: a few connections one after the other, within 10 s, in which each "
      "protocol of "
      "`help dialects` says what its clients say first; where none is recognised one short text is sent, to see whether it is "
      "echoed. "
      "Nothing is subscribed to and nothing is published. It also looks at this host's processes and connections. The exit code is "
      "0 "
      "when the server takes clients, and 2 when it refuses or is not there: the file says why.",
      3, config_flags, config_examples, cli_config },
    { "demo", "[--fault FAULT] [--port N] [--broker URL]",
      "runs a WebSocket server with switchable faults, and the agent beside it", NULL, 0, demo_flags, demo_examples, cli_demo },
    { "help", "[COMMAND|TABLE]", "shows the commands, one of them, or a table", NULL, 1, help_flags, NULL, cli_help },
    { "completion", "bash|zsh|fish", "prints the completion for a shell",
      "The package has them where the shells look. They are made from the table of commands.", 1, NULL, completion_examples,
      cli_complete },
    { "version", "", "prints the version", NULL, 0, NULL, NULL, cli_version },
    { 0 }
};

int main(int argc, char **argv)
{
    struct cli cli;
    struct err err;
    process_init();
    program_learn(argc > 0 ? argv[0] : NULL);
    log_open();
    log_ascii(isatty(STDERR_FILENO) == 1 && screen_is_ascii());
    int failed = cli_parse(&cli, commands, argc, argv, &err);
    if (!failed && cli.command->run == cli_demo)
        demo_says_open();
    process_hide();
    if (failed) {
        screen_tell(err.text);
        screen_tell("\n");
        return EXIT_UNKNOWN;
    }
    if (cli.help) {
        struct buf out = BUF_INIT(CLI_TEXT_MAX);
        cli_write_help(commands, cli.command, &out);
        int code = cli_print_text(&cli, &out, EXIT_PASS);
        buf_fini(&out);
        return code;
    }
    return cli.command->run(&cli);
}
