/*
 * Mail between a driver and its worker (brokers/mail.h). The mails are called on both sides, and promise that one belongs to one side at a
 * time; the port is called on the loop only.
 */
#include "brokers/mail.h"

#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"

struct broker_mail *broker_mail_new(enum mail_kind kind, struct slice topic, struct slice body)
{
    struct broker_mail *mail = mem_alloc(sizeof *mail + topic.len + 1 + body.len);
    mail->base.bytes = sizeof *mail + topic.len + 1 + body.len;
    mail->kind = kind;
    mail->at_ns = clock_now_ns();
    mail->topic = mail->data;
    mail->body = slice_make(mail->data + topic.len + 1, body.len);
    if (topic.len > 0)
        memcpy(mail->data, topic.data, topic.len);
    if (body.len > 0)
        memcpy(mail->data + topic.len + 1, body.data, body.len);
    return mail;
}

struct broker_mail *broker_mail_news(enum mail_kind kind)
{
    struct broker_mail *mail = broker_mail_new(kind, slice_str(NULL), slice_str(NULL));
    mail->base.owed = true;
    return mail;
}

void broker_mail_discard(struct mail *mail)
{
    mem_free(list_entry(mail, struct broker_mail, base));
}

void broker_mail_post(struct mailbox *box, struct broker_mail *mail)
{
    if (mailbox_post(box, &mail->base) < 0)
        broker_mail_discard(&mail->base);
}

struct broker_mail *broker_mail_of_message(const char *topic, struct slice body)
{
    if (body.len > BROKER_BODY_MAX || strlen(topic) >= BROKER_TOPIC_MAX)
        return broker_mail_new(MAIL_OVERSIZED, slice_str(NULL), slice_str(NULL));
    return broker_mail_new(MAIL_MESSAGE, slice_str(topic), body);
}

void broker_mail_message(struct mailbox *box, const char *topic, struct slice body)
{
    broker_mail_post(box, broker_mail_of_message(topic, body));
}

/* --- the port --- */

static void report(struct mail_port *port, const struct broker_mail *mail)
{
    struct err err = { 0 };
    const struct err *fault = broker_fault_err(&mail->fault, &err);
    switch (mail->kind) {
    case MAIL_PING:
        port->requests--;
        broker_pong(port->broker, fault);
        break;
    case MAIL_PUBLISH:
        port->requests--;
        broker_published(port->broker, mail->token, fault);
        break;
    case MAIL_SUBSCRIBE:
        port->requests--;
        broker_subscribed(port->broker, slice_str(mail->topic), fault);
        break;
    case MAIL_UP:
        broker_up(port->broker);
        break;
    case MAIL_DOWN:
        port->over = true;
        broker_down(port->broker, fault);
        break;
    case MAIL_MESSAGE:
        broker_message(port->broker, slice_str(mail->topic), mail->body, mail->at_ns);
        break;
    case MAIL_OVERSIZED:
        broker_oversized(port->broker, 1);
        break;
    case MAIL_UNSUBSCRIBE:
        break;
    }
}

void mail_port_on_mail(void *user, struct mail *mail)
{
    struct mail_port *port = user;
    if (!port->over)
        report(port, list_entry(mail, struct broker_mail, base));
    broker_mail_discard(mail);
}

void mail_port_on_closed(void *user)
{
    struct mail_port *port = user;
    broker_closed(port->broker);
}

void mail_port_on_lost(void *user, size_t count)
{
    struct mail_port *port = user;
    broker_dropped(port->broker, count);
}

int mail_port_open(struct mail_port *port, struct broker *broker, const struct mailbox_type *type, struct err *err)
{
    port->broker = broker;
    port->max_requests = (unsigned)type->max_mails;
    port->box = mailbox_new(broker_loop(broker), type, port, err);
    return port->box ? 0 : -1;
}

void mail_port_fail(struct mail_port *port, const struct err *err)
{
    struct broker_mail *mail = broker_mail_news(MAIL_DOWN);
    broker_fault_set(&mail->fault, err->reason, "%s", err->text);
    broker_mail_post(port->box, mail);
}

int mail_port_request(struct mail_port *port, enum mail_kind kind, struct slice topic, struct slice body, uint64_t token)
{
    if (port->over || port->requests >= port->max_requests || topic.len >= BROKER_TOPIC_MAX || body.len > BROKER_BODY_MAX)
        return -1;
    struct broker_mail *mail = broker_mail_new(kind, topic, body);
    mail->token = token;
    mail->base.owed = kind == MAIL_UNSUBSCRIBE;
    if (mailbox_send(port->box, &mail->base) < 0) {
        broker_mail_discard(&mail->base);
        return -1;
    }
    if (kind != MAIL_UNSUBSCRIBE)
        port->requests++;
    return 0;
}

void mail_port_close(struct mail_port *port)
{
    port->over = true;
    mailbox_close(port->box);
}
