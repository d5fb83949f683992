/*
 * What a refusal of RabbitMQ means (brokers/rabbitmq/rabbitmq.h): the reply code (AMQP 0-9-1, 1.2.2) and the stage of the connection
 * decide on the reason. Called by the other files of the driver. The broker's text is shown cut and cleaned.
 */
#include <string.h>

#include "agent/base/text.h"
#include "brokers/rabbitmq/rabbitmq.h"

enum {
    CODE_CONNECTION_FORCED = 320,
    CODE_ACCESS_REFUSED = 403,
    CODE_NOT_FOUND = 404,
    CODE_RESOURCE_LOCKED = 405,
    CODE_PRECONDITION_FAILED = 406,
    CODE_NOT_ALLOWED = 530,
};

/* Searches the whole text, not the excerpt that is shown: names in front of the words may be long. */
static bool says(struct slice text, const char *words)
{
    return slice_find(text, slice_str(words)) >= 0;
}

static enum reason reason_of(const struct amqp_event *event)
{
    switch (event->code) {
    case CODE_ACCESS_REFUSED:
        return REASON_BROKER_AUTH_FAILED;
    case CODE_NOT_ALLOWED:
        return says(event->text, "refused for user") ? REASON_BROKER_AUTH_FAILED : REASON_BROKER_UNREACHABLE;
    case CODE_NOT_FOUND:
    case CODE_RESOURCE_LOCKED:
    case CODE_PRECONDITION_FAILED:
        return REASON_BROKER_NOT_DELIVERING;
    default:
        return REASON_BROKER_UNREACHABLE;
    }
}

/*
 * One code for four things: "access to vhost 'x' refused for user 'y'", the same with ": connection limit (1) is reached" behind it (of the
 * user's limit likewise), "vhost x not found", and "vhost 'x' is down". Only the first is about credentials.
 */
static void vhost_refusal(const struct rabbitmq *rabbit, const struct amqp_event *event, const char *said, struct err *err)
{
    uint16_t code = event->code;
    if (says(event->text, "limit") && (says(event->text, "reached") || says(event->text, "exceeded")))
        err_set(err, REASON_BROKER_UNREACHABLE, BROKER_HINT_FULL, "the virtual host '%s' takes no more connections: %s",
                rabbit->vhost, said);
    else if (code == CODE_NOT_ALLOWED && says(event->text, "not found"))
        err_set(err, REASON_BROKER_NOT_DELIVERING, BROKER_HINT_ABSENT, "there is no virtual host '%s': %s", rabbit->vhost, said);
    else
        err_set(err, reason_of(event), code, "the broker refused the virtual host '%s': %s", rabbit->vhost, said);
}

void rabbitmq_refusal(const struct rabbitmq *rabbit, const struct amqp_event *event, struct err *err)
{
    uint16_t code = event->code;
    char said[ERR_TEXT_MAX / 2];
    text_excerpt(event->text, 160, said, sizeof said);
    if (code == CODE_CONNECTION_FORCED)
        err_set(err, REASON_BROKER_UNREACHABLE, code, "the broker is closing its connections: %s", said);
    else if (rabbit->stage == STAGE_LOGIN && code == CODE_ACCESS_REFUSED)
        err_set(err, REASON_BROKER_AUTH_FAILED, code, "the broker refused the credentials: %s", said);
    else if (code == CODE_ACCESS_REFUSED && strstr(said, "'amq.default'"))
        err_set(err, REASON_BROKER_AUTH_FAILED, code,
                "the broker refused a ping, which needs permission to write to amq.default: %s", said);
    else if (rabbit->stage == STAGE_OPENING)
        vhost_refusal(rabbit, event, said, err);
    else if (code == CODE_NOT_FOUND)
        err_set(err, REASON_BROKER_NOT_DELIVERING, BROKER_HINT_ABSENT, "the broker does not have what was asked for: %s", said);
    else
        err_set(err, reason_of(event), code, "the broker refused: %s", said);
}
