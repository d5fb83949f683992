/*
 * What the receivers' types share (agent/notify/receiver.h): the arguments of a program, whether an answer is a yes, options that hold files.
 * Called by the types and by notify.c. Pure, but for the files of options.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/notify/receiver.h"

enum { QUOTE_CHARS = 160, PROGRAM_NOT_RUN = 126, PROGRAM_NOT_FOUND = 127 };

int message_arg(struct message_out *message, const char *arg)
{
    if (message->arg_count == MESSAGE_ARGS_MAX || strlen(arg) > MESSAGE_ARG_MAX)
        return -1;
    message->args[message->arg_count++] = mem_strdup(arg);
    message->args[message->arg_count] = NULL;
    return 0;
}

void receiver_quote(struct slice answer, char *out, size_t size)
{
    char shown[TEXT_EXCERPT_BYTES(QUOTE_CHARS)];

    while (answer.len && (answer.data[answer.len - 1] == '\n' || answer.data[answer.len - 1] == '\r'))
        answer.len--;
    text_excerpt(answer, QUOTE_CHARS, shown, sizeof shown);
    snprintf(out, size, "%s%s", *shown ? ": " : "", shown);
}

static bool is_passing(int status)
{
    return status == 408 || status == 425 || status == 429 || status >= 500;
}

int receiver_judge_http(int status, struct slice answer, bool *again, struct err *err)
{
    char quote[TEXT_EXCERPT_BYTES(QUOTE_CHARS) + 2];

    *again = is_passing(status);
    if (status >= 200 && status < 300)
        return 0;
    if (status >= 300 && status < 400)
        return err_set(err, REASON_HTTP_STATUS, status, "status %d, want 2xx: a redirect, which is not followed", status);
    receiver_quote(answer, quote, sizeof quote);
    return err_set(err, REASON_HTTP_STATUS, status, "status %d, want 2xx%s", status, quote);
}

/* sysexits.h: EX_USAGE, EX_DATAERR, EX_NOINPUT, EX_NOUSER, EX_NOHOST, EX_UNAVAILABLE, EX_NOPERM, EX_CONFIG. */
static bool is_final(int code)
{
    return (code >= 64 && code <= 69) || code == 77 || code == 78 || code == PROGRAM_NOT_RUN || code == PROGRAM_NOT_FOUND;
}

int receiver_judge_program(int status, struct slice answer, bool *again, struct err *err)
{
    char quote[TEXT_EXCERPT_BYTES(QUOTE_CHARS) + 2];

    *again = status != 0 && !is_final(status);
    if (status == 0)
        return 0;
    receiver_quote(answer, quote, sizeof quote);
    return err_set(err, REASON_AGENT_ERROR, status, "the program ended with status %d, want 0%s", status, quote);
}

char *receiver_option(const char *value, const char *option, struct err *err)
{
    struct buf text = BUF_INIT(OPT_FILE_MAX);
    char *copy = NULL;

    if (opt_expand(value ? value : "", &text, err) < 0)
        err_prefix(err, "%s", option);
    else
        copy = mem_strdup(buf_str(&text));
    buf_wipe(&text);
    return copy;
}
