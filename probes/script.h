/* What the files of `script` share: script_conf.c has its options and their rules, script.c the conversation. */
#ifndef WSHEALTHD_PROBES_SCRIPT_H
#define WSHEALTHD_PROBES_SCRIPT_H

#include "agent/conf/opt.h"

enum {
    SCRIPT_STEPS_MAX = 64,
    SCRIPT_NAMES_MAX = 32,          /* captured in one round */
    SCRIPT_VALUE_MAX = 16 << 10,    /* bytes of a captured value */
    SCRIPT_CAPTURED_MAX = 64 << 10, /* of all of them */
    SCRIPT_SEND_MAX = 1 << 20,      /* of a message with its holes filled */
};

struct script_capture { /* an item of OPT_MAP */
    char *name;
    char *pointer, *regex; /* one of the two */
};

/* In this order, what is there of it. */
struct script_step {
    char *name;
    struct opt_bytes send;
    struct match_spec expect, reject;
    struct opt_list capture; /* struct script_capture */
    struct opt_ranges closed;
    int64_t close; /* 0: not */
    int64_t within_ms;
};

struct script_opts {
    struct opt_list steps;
    struct match_spec reject;
    struct opt_ranges reject_codes;
    bool json_holes;
};

extern const struct opt script_rows[];
struct check_conf;
struct complaints;
void script_validate(const struct check_conf *check, const struct complaints *complaints);
/* "step 3 (expect)": its name, or what it does. */
void script_name_step(const struct script_opts *opts, size_t index, char *out, size_t size);

static inline const struct script_step *script_step_at(const struct script_opts *opts, size_t index)
{
    return (const struct script_step *)opts->steps.items + index;
}

/* Does it only take from the message that was expected before it? */
static inline bool script_only_captures(const struct script_step *step)
{
    return step->capture.count && !step->send.data && match_spec_empty(&step->expect) && !step->closed.count && !step->close;
}

#endif
