/* Letters between a driver and its thread (brokers/letter.h). Called on both sides; promises that a letter belongs to one side at a time. */
#include "brokers/letter.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"

void letter_fault_set(struct letter_fault *fault, enum reason reason, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fault->reason = reason;
    vsnprintf(fault->text, sizeof fault->text, fmt, args);
    va_end(args);
}

struct broker_letter *broker_letter_new(enum letter_kind kind, struct slice topic, struct slice body)
{
    struct broker_letter *letter = mem_alloc(sizeof *letter + topic.len + 1 + body.len);
    letter->letter.bytes = sizeof *letter + topic.len + 1 + body.len;
    letter->kind = kind;
    letter->at_ns = clock_now_ns();
    letter->topic = letter->data;
    letter->body = slice_make(letter->data + topic.len + 1, body.len);
    if (topic.len > 0)
        memcpy(letter->data, topic.data, topic.len);
    if (body.len > 0)
        memcpy(letter->data + topic.len + 1, body.data, body.len);
    return letter;
}

void broker_letter_discard(struct letter *letter)
{
    mem_free(list_entry(letter, struct broker_letter, letter));
}

void broker_letter_report(struct broker *broker, struct broker_letter *letter)
{
    struct err err = { 0 };
    const struct err *fault = NULL;
    if (letter->fault.reason != REASON_NONE) {
        err_set(&err, letter->fault.reason, 0, "%s", letter->fault.text);
        fault = &err;
    }
    switch (letter->kind) {
    case LETTER_PING:
        broker_pong(broker, fault);
        break;
    case LETTER_PUBLISH:
        broker_published(broker, letter->token, fault);
        break;
    case LETTER_SUBSCRIBE:
        broker_subscribed(broker, slice_str(letter->topic), fault);
        break;
    case LETTER_UP:
        broker_up(broker);
        break;
    case LETTER_DOWN:
        broker_down(broker, fault);
        break;
    case LETTER_MESSAGE:
        broker_message(broker, slice_str(letter->topic), letter->body, letter->at_ns);
        break;
    case LETTER_UNSUBSCRIBE: /* not answered */
        break;
    }
    broker_letter_discard(&letter->letter);
}
