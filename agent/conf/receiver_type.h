/*
 * What a type of notification receiver declares: its name and options for the configuration, its functions for agent/notify. What the
 * functions get and fill is agent/notify/receiver.h.
 */
#ifndef WSHEALTHD_CONF_RECEIVER_TYPE_H
#define WSHEALTHD_CONF_RECEIVER_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/err.h"
#include "agent/base/slice.h"
#include "agent/conf/opt.h"

struct notifier_conf;
struct notice;
struct message_out;

enum receiver_by { RECEIVER_HTTP, RECEIVER_PROGRAM };

struct receiver_type {
    const char *name, *summary; /* summary: one sentence, no full stop */
    enum receiver_by by;
    const char *default_url; /* by HTTP; NULL: `url` is required */
    const char *example;     /* a line of YAML for `config init`, such as "url: \"${file:/run/secrets/slack}\"" */
    const struct opt *opts;  /* rows of its own options, or NULL; no name of notifier_rows */
    size_t opts_size;
    const char *
        content_type; /* of the body, by HTTP; NULL: application/json. With JSON, the names in `body` are escaped for a JSON string */
    /* How the format writes a character of a text from outside (told_escape of agent/notify/told.h), so that it mentions nobody and makes no link
     * in a `body` of the operator's own either. NULL: its text is plain. */
    size_t (*escape)(struct slice rest, size_t len, char *out);
    bool has_header;    /* the composed body has a head of its own (mail): the template of `body` is not the whole of it */
    int64_t refresh_ms; /* a fault that is told is told again so often, beyond `repeat` and `max_per_hour`, as the receiver
                         * forgets it otherwise (Alertmanager); 0: never */
    /* Rules across options; the URL is valid and has its files read. Texts begin with the option: "to: …". May be NULL. */
    int (*validate)(const struct notifier_conf *conf, struct err *err);
    /* One message. -1 and *err: it cannot be made (a file that cannot be read); it is tried again. */
    int (*compose)(const struct notifier_conf *conf, const struct notice *notice, struct message_out *out, struct err *err);
    /* Has the receiver taken it? `status` is that of HTTP, or the program's exit code; `answer` is its body, or what the program wrote, cut.
     * 0, or -1 and *err, which says what the receiver said ("status 400, want 202: invalid routing key"); *again: worth another try.
     * NULL: receiver_judge of agent/notify/receiver.h. */
    int (*judge)(int status, struct slice answer, bool *again, struct err *err);
};

#endif
