/*
 * `wshealthd notify`: lists the notifiers of a configuration, and sends a test message by one of them. Called by agent/main.c. Works without a
 * running agent: the message goes from this command, by the same code and with the same deadline as the agent's, and is tried once.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/program.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/cli/cli.h"
#include "agent/client/generation.h"
#include "agent/net/child.h"
#include "agent/notify/notify.h"
#include "agent/notify/send.h"

enum { ANSWER_MAX = 1024, HOST_MAX = 256, PLACE_MAX = 400 };

struct trial {
    struct loop loop;
    uint64_t started_ns;
    bool taken;
    int status;
    char answer[ANSWER_MAX]; /* ": ok" */
    struct err err;
};

static void on_done(void *user, const struct sending_result *result)
{
    struct trial *trial = user;

    trial->taken = result->taken;
    trial->status = result->status;
    receiver_quote(result->answer, trial->answer, sizeof trial->answer);
    if (result->err)
        trial->err = *result->err;
    loop_stop(&trial->loop);
}

/* Where it goes, without what is secret: "https://hooks.slack.com", or the program. */
static void place_of(const struct notifier_conf *conf, char *out, size_t size)
{
    struct buf text = BUF_INIT(MESSAGE_URL_MAX);
    struct url url;

    out[0] = 0;
    if (conf->type->by == RECEIVER_HTTP && opt_expand(conf->url, &text, NULL) == 0 && url_parse(buf_str(&text), &url, NULL) == 0)
        snprintf(out, size, "%s://%s", url.scheme, url.authority);
    else if (conf->type->by == RECEIVER_PROGRAM)
        snprintf(out, size, "a program");
    buf_wipe(&text);
}

static int list(const struct cli *cli, const struct conf *conf)
{
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    char place[PLACE_MAX];

    for (size_t i = 0; i < conf->notifier_count; i++) {
        place_of(&conf->notifiers[i], place, sizeof place);
        buf_printf(&out, "%-16s %-12s %s\n", conf->notifiers[i].name, conf->notifiers[i].type->name, place);
    }
    if (!conf->notifier_count)
        buf_append_str(&out, "No notifier is configured: see `notify` in wshealthd.yaml(5).\n");
    int code = cli_print_text(cli, &out, EXIT_PASS);
    buf_fini(&out);
    return code;
}

static int unknown_name(const struct cli *cli, const struct conf *conf, const char *file, const char *name)
{
    const char *names[CONF_NOTIFIERS_MAX], *nearest;
    char shown[TEXT_EXCERPT_BYTES(60)];

    for (size_t i = 0; i < conf->notifier_count; i++)
        names[i] = conf->notifiers[i].name;
    nearest = text_nearest(name, names, conf->notifier_count);
    text_excerpt(slice_str(name), 60, shown, sizeof shown);
    if (nearest)
        return cli_error(cli, "%s: no notifier '%s' (did you mean '%s'?)", file, shown, nearest);
    return cli_error(cli, "%s: no notifier '%s' (see '%s notify')", file, shown, program_name());
}

/* A program may be busy with its own end. */
static int try_once(struct trial *trial, const struct generation *generation, const struct notifier_conf *conf)
{
    char host[HOST_MAX] = "", service[512];
    size_t index = (size_t)(conf - generation->conf->notifiers);
    struct notice notice;

    (void)gethostname(host, sizeof host - 1);
    url_redact(generation->conf->target.url, service, sizeof service);
    notifiers_make_test(generation->conf, host, &notice);
    notice.service = service;
    if (loop_init(&trial->loop, &trial->err) < 0)
        return -1;
    trial->started_ns = clock_now_ns();
    const struct sending_request request = { conf, generation->notifier_tls[index], &notice, (uint64_t)conf->timeout_ms };
    struct sending *sending = sending_start(&trial->loop, &request, on_done, trial, &trial->err);
    if (sending)
        loop_run(&trial->loop);
    child_forget_all();
    loop_fini(&trial->loop);
    return sending ? 0 : -1;
}

static int tell(const struct cli *cli, const struct notifier_conf *conf, struct trial *trial, bool tried)
{
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    char place[PLACE_MAX], took[32];
    int code;

    place_of(conf, place, sizeof place);
    secret_scrub(trial->answer);
    secret_scrub(trial->err.text);
    text_format_elapsed(clock_now_ns() - trial->started_ns, took, sizeof took);
    buf_printf(&out, "%s (%s): ", conf->name, conf->type->name);
    if (tried && trial->taken && conf->type->by == RECEIVER_PROGRAM)
        buf_printf(&out, "the program ended with %d in %s%s\n", trial->status, took, trial->answer);
    else if (tried && trial->taken)
        buf_printf(&out, "sent to %s, which answered %d in %s%s\n", place, trial->status, took, trial->answer);
    else
        buf_printf(&out, "not sent%s%s: %s\n", conf->type->by == RECEIVER_HTTP ? " to " : "",
                   conf->type->by == RECEIVER_HTTP ? place : "", trial->err.text);
    code = cli_print_text(cli, &out, trial->taken ? EXIT_PASS : EXIT_FAIL);
    buf_fini(&out);
    return code;
}

static int test(const struct cli *cli, struct conf *conf, const struct notifier_conf *notifier)
{
    struct trial trial = { .status = -1 };
    struct generation *generation = generation_new(conf, &trial.err);

    if (!generation)
        return cli_error(cli, "%s", trial.err.text);
    bool tried = try_once(&trial, generation, notifier) == 0;
    int code = tell(cli, notifier, &trial, tried);
    generation_unref(generation);
    return code;
}

int cli_notify(struct cli *cli)
{
    const struct notifier_conf *notifier;
    const char *file;
    int code;

    if (cli->arg_count && strcmp(cli->args[0], "test") != 0)
        return cli_error(cli, "unknown action '%.60s', want test", cli->args[0]);
    struct conf *conf = cli_load(cli, NULL, &file);
    if (!conf)
        return EXIT_UNKNOWN;
    notifier = cli->arg_count > 1 ? conf_find_notifier(conf, cli->args[1]) : NULL;
    if (cli->arg_count < 2)
        code = list(cli, conf);
    else
        code = notifier ? test(cli, conf, notifier) : unknown_name(cli, conf, file, cli->args[1]);
    conf_unref(conf);
    return code;
}
