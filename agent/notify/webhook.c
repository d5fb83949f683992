/* `webhook`: the notice as one JSON object, with the whole of /status in it, or the template of `body`. For whatever takes a POST. */
#include <stddef.h>

#include "agent/notify/receiver.h"
#include "agent/notify/registry.h"

static int compose(const struct notifier_conf *conf, const struct notice *notice, struct message_out *out, struct err *err)
{
    (void)conf;
    if (out->templated)
        return 0;
    return notice_json(notice, &out->body) < 0 ? err_set(err, REASON_NONE, 0, "the message is too long") : 0;
}

const struct receiver_type receiver_webhook = {
    .name = "webhook",
    .summary = "A POST of one JSON object to a URL of yours: the incident, and /status as a whole",
    .by = RECEIVER_HTTP,
    .example = "url: http://127.0.0.1:8000/alerts",
    .compose = compose,
};
