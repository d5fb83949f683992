/*
 * The options of `script`, and the rules between them. Called by the configuration. Promises that every step does something, that what it
 * captures has been expected, and that every name in a text has been captured before.
 */
#include "probes/script.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/text.h"
#include "agent/conf/conf.h"
#include "agent/conf/probe_type.h"
#include "agent/proto/template.h"

enum { TEXT_BYTES_MAX = 64 << 10, NAME_BYTES_MAX = 64, CODE_MIN = 1000, CODE_MAX = 4999 };

/* What has a value in a script, beside what it has captured; the rest is for dialects. */
#define SCRIPT_HOLES "token", "id", "seq", "now", "uuid", "now_s", "seq_u16"
static const char *const script_holes[] = { SCRIPT_HOLES, NULL };

static const struct opt capture_rows[] = {
    { .name = "pointer",
      .kind = OPT_STRING,
      .offset = offsetof(struct script_capture, pointer),
      .max = 256,
      .flags = OPT_POINTER | OPT_SHORT,
      .help = "JSON pointer to the value" },
    { .name = "regex",
      .kind = OPT_STRING,
      .offset = offsetof(struct script_capture, regex),
      .min = 1,
      .max = 1024,
      .help = "a regular expression whose first group is the value" },
    { 0 },
};

static const struct opt step_rows[] = {
    { .name = "name",
      .kind = OPT_STRING,
      .offset = offsetof(struct script_step, name),
      .min = 1,
      .max = NAME_BYTES_MAX,
      .help = "what the step is called in sentences; without it, what it does" },
    { .name = "send",
      .kind = OPT_BYTES,
      .offset = offsetof(struct script_step, send),
      .max = TEXT_BYTES_MAX,
      .flags = OPT_NAMES,
      .help = "what the client says, a text with holes or { base64: ... } for a binary one" },
    { .name = "expect",
      .kind = OPT_SPEC,
      .offset = offsetof(struct script_step, expect),
      .flags = OPT_NAMES,
      .help = "the message that is awaited; others before it are skipped" },
    { .name = "reject",
      .kind = OPT_SPEC,
      .offset = offsetof(struct script_step, reject),
      .flags = OPT_NAMES,
      .help = "a message that refuses, told at once; for expect" },
    { .name = "capture",
      .kind = OPT_MAP,
      .offset = offsetof(struct script_step, capture),
      .max = SCRIPT_NAMES_MAX,
      .rows = capture_rows,
      .size = sizeof(struct script_capture),
      .help = "what is taken from the message just expected, for {{NAME}} in later steps: { NAME: /pointer } or { NAME: { regex: "
              "... } }" },
    { .name = "within",
      .kind = OPT_DURATION,
      .offset = offsetof(struct script_step, within_ms),
      .min = 1,
      .max = 3600000,
      .help = "how long the step may wait; without it, timeout alone counts, for all steps together" },
    { .name = "close",
      .kind = OPT_INT,
      .offset = offsetof(struct script_step, close),
      .min = CODE_MIN,
      .max = CODE_MAX,
      .help = "the client closes with this code, and looks at the server's answer; the last step" },
    { .name = "closed",
      .kind = OPT_RANGES,
      .offset = offsetof(struct script_step, closed),
      .min = CODE_MIN,
      .max = CODE_MAX,
      .help = "the server closes with one of these codes, as in [1000, 4000-4999]; the last step" },
    { 0 },
};

const struct opt script_rows[] = {
    { .name = "steps",
      .kind = OPT_LIST,
      .offset = offsetof(struct script_opts, steps),
      .min = 1,
      .max = SCRIPT_STEPS_MAX,
      .rows = step_rows,
      .size = sizeof(struct script_step),
      .flags = OPT_REQUIRED,
      .help = "the conversation, such as [{ expect: { json: { /type: hello } } }, { send: hi, expect: { contains: welcome } }]" },
    { .name = "reject",
      .kind = OPT_SPEC,
      .offset = offsetof(struct script_opts, reject),
      .holes = script_holes,
      .help = "a message that refuses, whichever step waits" },
    { .name = "reject_codes",
      .kind = OPT_RANGES,
      .offset = offsetof(struct script_opts, reject_codes),
      .min = CODE_MIN,
      .max = CODE_MAX,
      .help = "close codes with which the server refuses, as in [4000-4999]; others are closed_by_server" },
    { .name = "json_holes",
      .kind = OPT_BOOL,
      .offset = offsetof(struct script_opts, json_holes),
      .default_text = "true",
      .help = "whether the texts are JSON, so that quotes and backslashes in what is filled in are escaped" },
    { 0 },
};

void script_name_step(const struct script_opts *opts, size_t index, char *out, size_t size)
{
    const struct script_step *step = script_step_at(opts, index);
    const char *name = step->name                         ? step->name
                       : !match_spec_empty(&step->expect) ? "expect"
                       : step->send.data                  ? "send"
                       : step->capture.count              ? "capture"
                       : step->closed.count               ? "closed"
                                                          : "close";

    snprintf(out, size, "step %zu (%s)", index + 1, name);
}

/* What the steps so far have captured. */
struct known {
    const char *names[SCRIPT_NAMES_MAX];
    size_t count;
};

static int validate_capture(const struct script_capture *capture, struct known *known, struct err *err)
{
    struct buf none = BUF_INIT(1);

    if (!capture->pointer == !capture->regex)
        return err_set(err, REASON_NONE, 0, "want one of pointer and regex");
    if (template_is_reserved(capture->name))
        return err_set(err, REASON_NONE, 0, "{{%s}} has a meaning of its own, want another name", capture->name);
    if (capture->regex && match_group(capture->regex, slice_str(""), &none, err) < 0)
        return -1;
    for (size_t i = 0; i < known->count; i++)
        if (slice_equal_str(slice_str(known->names[i]), capture->name))
            return 0;
    if (known->count >= SCRIPT_NAMES_MAX)
        return err_set(err, REASON_NONE, 0, "more than %d names", SCRIPT_NAMES_MAX);
    known->names[known->count++] = capture->name;
    return 0;
}

/* Where the faults of one step are told. */
struct at_step {
    const struct complaints *to;
    size_t index; /* of the step */
    int64_t timeout_ms;
};

/* "send: text" becomes "steps[2].send: text", which the configuration finds in the file. */
static void complain(const struct at_step *at, const struct err *why)
{
    char head[NAME_BYTES_MAX] = "";
    struct err err;

    snprintf(head, sizeof head, "%.*s", (int)strcspn(why->text, ":. "), why->text);
    err_set(&err, REASON_NONE, 0, opt_find(step_rows, head) ? "steps[%zu].%s" : "steps[%zu]: %s", at->index, why->text);
    at->to->tell(at->to->user, &err);
}

static void validate_captures(const struct at_step *at, const struct script_step *step, struct known *known)
{
    const struct script_capture *captures = step->capture.items;
    struct err err;

    for (size_t i = 0; i < step->capture.count; i++)
        if (validate_capture(&captures[i], known, &err) < 0) {
            err_prefix(&err, "capture.%s", captures[i].name);
            complain(at, &err);
        }
}

static void validate_match(const struct at_step *at, const char *key, const struct match_spec *spec,
                           const struct template_vars *vars)
{
    struct err err;

    if (opt_spec_validate_names(spec, vars, &err) == 0)
        return;
    err_prefix(&err, "%s", key);
    complain(at, &err);
}

/* Every name in its texts was captured by a step before it. */
static void validate_names(const struct at_step *at, const struct script_step *step, const struct known *known)
{
    const char *only[sizeof script_holes / sizeof script_holes[0] + SCRIPT_NAMES_MAX];
    const struct template_vars vars = { .only = only };
    struct err err;
    size_t count = 0;

    while (count < known->count) {
        only[count] = known->names[count];
        count++;
    }
    memcpy(only + count, script_holes, sizeof script_holes);

    if (step->send.data && template_validate_names(slice_make(step->send.data, step->send.len), &vars, &err) < 0) {
        err_prefix(&err, "send");
        complain(at, &err);
    }
    validate_match(at, "expect", &step->expect, &vars);
    validate_match(at, "reject", &step->reject, &vars);
}

__attribute__((format(printf, 2, 3))) static void refuse(const struct at_step *at, const char *fmt, ...)
{
    struct err err;
    char text[128];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err_set(&err, REASON_NONE, 0, "%s", text);
    complain(at, &err);
}

static void validate_within(const struct at_step *at, const struct script_step *step, bool awaits)
{
    char within[32], timeout[32];

    if (step->within_ms && !awaits) {
        refuse(at, "within: nothing is awaited, want it beside expect, close or closed");
    } else if (step->within_ms > at->timeout_ms) {
        text_format_duration(step->within_ms, within, sizeof within);
        text_format_duration(at->timeout_ms, timeout, sizeof timeout);
        refuse(at, "within: %s, want at most timeout (%s), which ends the round before", within, timeout);
    }
}

/* What belongs together in one step. `expected`: the step before it has a message from which more can be taken. */
static void validate_parts(const struct at_step *at, const struct script_step *step, bool expected, bool last)
{
    bool expects = !match_spec_empty(&step->expect);
    const char *end = step->close ? "close" : step->closed.count ? "closed" : NULL;

    if (!step->send.data && !expects && !step->capture.count && !end)
        refuse(at, "does nothing, want send, expect, capture, close or closed");
    if (step->capture.count && !expects && (!expected || step->send.data))
        refuse(at, "capture: no message was expected before it, want expect in this step or the one before");
    if (!match_spec_empty(&step->reject) && !expects)
        refuse(at, "reject: needs expect in the same step");
    validate_within(at, step, expects || end);
    if (step->close && step->closed.count)
        refuse(at, "closed: is set together with close, want one of the two");
    if (end && !last)
        refuse(at, "%s: another step follows, and the connection is gone then", end);
}

void script_validate(const struct check_conf *check, const struct complaints *complaints)
{
    const struct script_opts *script = check->opts;
    struct known known = { .count = 0 };
    bool expected = false; /* by the step before it, perhaps with captures between */

    for (size_t i = 0; i < script->steps.count; i++) {
        const struct script_step *step = script_step_at(script, i);
        const struct at_step at = { complaints, i, check->timeout_ms };

        validate_parts(&at, step, expected, i + 1 == script->steps.count);
        validate_names(&at, step, &known);
        validate_captures(&at, step, &known);
        expected = !match_spec_empty(&step->expect) || (expected && script_only_captures(step));
    }
}
