/* `exec`: a program of yours, with the notice as one JSON object on its standard input, or the template of `body`. */
#include <stddef.h>
#include <string.h>

#include "agent/notify/receiver.h"
#include "agent/notify/registry.h"

struct exec_opts {
    struct opt_strings command;
};

static int validate(const struct notifier_conf *conf, struct err *err)
{
    const struct exec_opts *opts = conf->opts;

    for (size_t i = 0; i < opts->command.count; i++)
        if (strlen(opts->command.items[i]) > MESSAGE_ARG_MAX)
            return err_set(err, REASON_NONE, 0, "command: an argument is longer than %d bytes", MESSAGE_ARG_MAX);
    if (opts->command.count && !*opts->command.items[0])
        return err_set(err, REASON_NONE, 0, "command: the first is empty, want a program");
    return 0;
}

static int compose(const struct notifier_conf *conf, const struct notice *notice, struct message_out *out, struct err *err)
{
    const struct exec_opts *opts = conf->opts;

    for (size_t i = 0; i < opts->command.count; i++)
        if (message_arg(out, opts->command.items[i]) < 0)
            return err_set(err, REASON_NONE, 0, "command: too long");
    if (out->templated) {
        buf_append_slice(&out->body, buf_slice(&out->text));
        return 0;
    }
    if (notice_json(notice, &out->body) < 0)
        return err_set(err, REASON_NONE, 0, "the message is too long");
    buf_append_char(&out->body, '\n');
    return 0;
}

static const struct opt rows[] = {
    { .name = "command",
      .kind = OPT_STRINGS,
      .offset = offsetof(struct exec_opts, command),
      .min = 1,
      .max = MESSAGE_ARGS_MAX,
      .flags = OPT_REQUIRED | OPT_REPEATS,
      .help = "the program and its arguments; no shell. It runs as the agent's user, without a descriptor or a variable of the "
              "agent's but PATH, "
              "HOME, LANG, TZ and TMPDIR, and with WSHEALTHD_KIND, _WORD, _CAUSE, _INCIDENT, _TITLE, _SEVERITY and _NOTIFIER" },
    { 0 },
};

const struct receiver_type receiver_exec = {
    .name = "exec",
    .summary = "A program of yours, with one JSON object on its standard input: the incident, and /status as a whole",
    .by = RECEIVER_PROGRAM,
    .example = "command: [/usr/local/bin/on-call]",
    .opts = rows,
    .opts_size = sizeof(struct exec_opts),
    .validate = validate,
    .compose = compose,
};
