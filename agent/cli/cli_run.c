/*
 * `wshealthd run` and `wshealthd demo`: the commands that keep running. Owns the signals that end the agent. The agent itself
 * reloads, listens and talks to systemd. Called by agent/main.c. Promises that a second signal ends the process at once.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/base/process.h"
#include "agent/base/text.h"
#include "agent/cli/cli.h"
#include "agent/conf/conf.h"
#include "agent/demo/demo.h"
#include "agent/net/loop.h"
#include "agent/run/agent.h"
#include "agent/run/guard.h"
#include "agent/run/sd_notify.h"

struct running {
    struct loop loop;
    struct agent *agent;
    struct loop_signal term, interrupt, quit;
    bool stopping;
};

static void on_stopped(void *user)
{
    struct running *running = user;
    loop_signal_close(&running->term);
    loop_signal_close(&running->interrupt);
    loop_signal_close(&running->quit);
    loop_stop(&running->loop);
}

static void on_signal(void *user, int number)
{
    struct running *running = user;
    if (running->stopping)
        _exit(EXIT_UNKNOWN);
    running->stopping = true;
    if (number == SIGINT) /* somebody sits there and waits */
        agent_stop(running->agent, on_stopped, running);
    else
        agent_leave(running->agent, on_stopped, running);
}

static int run_agent(const struct cli *cli, struct conf *conf, const char *file, const char *url,
                     const struct address_overrides *addresses)
{
    struct running running = { .stopping = false };
    struct err err;
    const struct agent_options options = { .config_file = file, .url = url, .addresses = *addresses, .serve = true };
    int code = EXIT_PASS;
    if (loop_init(&running.loop, &err) < 0)
        return cli_error(cli, "%s", err.text);
    notify_init();
    running.agent = agent_new(&running.loop, conf, &options, &err);
    if (running.agent) {
        loop_signal_open(&running.term, &running.loop, SIGTERM, on_signal, &running);
        loop_signal_open(&running.interrupt, &running.loop, SIGINT, on_signal, &running);
        loop_signal_open(&running.quit, &running.loop, SIGQUIT, on_signal,
                         &running); /* some container images set it as STOPSIGNAL */
        loop_run(&running.loop);
        agent_free(running.agent);
    } else
        code = cli_error(cli, "%s", err.text);
    notify_fini();
    loop_fini(&running.loop);
    return code;
}

/* The flag, or else the variable; NULL: as the file says. */
static const char *address_of(const struct cli *cli, const char *flag, const char *variable)
{
    const char *typed = cli_value(cli, flag), *set = getenv(variable);

    return typed ? typed : set && *set ? set : NULL;
}

/* --watchdog-for: the caller is the agent, or the error has been printed, or the work is done (*code). */
static bool go_behind_guard(const struct cli *cli, int *code)
{
    const char *text = cli_value(cli, "watchdog-for");
    struct err err;
    int64_t pid;

    if (!text)
        return false;
    if (text_parse_int(text, &pid) < 0 || pid <= 1 || pid > INT32_MAX) {
        *code = cli_error(cli, "--watchdog-for '%.60s', want $MAINPID", text);
        return true;
    }
    switch (guard_start((int)pid, &err)) {
    case GUARD_AGENT:
        return false;
    case GUARD_STARTED:
        *code = EXIT_PASS;
        return true;
    default:
        *code = cli_error(cli, "--watchdog-for: %s", err.text);
        return true;
    }
}

int cli_run(struct cli *cli)
{
    int code;
    if (go_behind_guard(cli, &code))
        return code;
    const struct address_overrides addresses = { address_of(cli, "listen", "WSHEALTHD_LISTEN"),
                                                 address_of(cli, "admin", "WSHEALTHD_ADMIN") };
    struct conf_errors errors;
    const char *url = cli->arg_count ? cli->args[0] : NULL, *file;
    process_stay();
    struct conf *conf = cli_load(cli, url, &file);
    if (!conf)
        return EXIT_UNKNOWN;
    conf_errors_init(&errors);
    code =
        addresses_override(conf, &addresses, &errors) < 0 ? cli_conf_errors(&errors) : run_agent(cli, conf, file, url, &addresses);
    conf_errors_fini(&errors);
    conf_unref(conf);
    return code;
}

int cli_demo(struct cli *cli)
{
    const char *port_text = cli_value(cli, "port");
    int64_t port = 0;
    struct err err;
    if (port_text && (text_parse_int(port_text, &port) < 0 || port < 0 || port > 65535))
        return cli_error(cli, "--port '%.60s', want 0 to 65535", port_text);
    process_stay();
    const struct demo_options options = { .port = (uint16_t)port,
                                          .fault = cli_value(cli, "fault"),
                                          .broker = cli_value(cli, "broker"),
                                          .listen = cli_value(cli, "listen") };
    int code = demo_run(&options, &err);
    return code < 0 ? cli_error(cli, "%s", err.text) : code;
}
