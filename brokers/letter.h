/*
 * Letters between a broker's driver on the loop and the thread that owns the calls of its library (agent/net/mailbox.h). A request goes to
 * the thread and comes back as its own answer; news come from the thread. The driver of MQTT uses them; a driver with a library that
 * brings threads needs nothing else to speak to the core.
 */
#ifndef WSHEALTHD_BROKERS_LETTER_H
#define WSHEALTHD_BROKERS_LETTER_H

#include "agent/base/slice.h"
#include "agent/core/broker.h"
#include "agent/net/mailbox.h"

enum { LETTER_TEXT_MAX = 320 };

/* What is wrong, as a thread may say it: err_set masks secrets, and their list belongs to the loop. */
struct letter_fault {
    enum reason reason; /* REASON_NONE: nothing */
    char text[LETTER_TEXT_MAX];
};
void letter_fault_set(struct letter_fault *fault, enum reason reason, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

enum letter_kind { LETTER_PING, LETTER_PUBLISH, LETTER_SUBSCRIBE, LETTER_UNSUBSCRIBE, LETTER_UP, LETTER_DOWN, LETTER_MESSAGE };

struct broker_letter {
    struct letter letter;
    enum letter_kind kind;
    uint64_t token;
    uint64_t at_ns; /* when it was requested, or came from the broker */
    struct letter_fault fault;
    char *topic; /* terminated; into data */
    struct slice body;
    char data[];
};

/* Copies topic and body. */
struct broker_letter *broker_letter_new(enum letter_kind kind, struct slice topic, struct slice body);
void broker_letter_discard(struct letter *letter);

/* On the loop: tells the core what the letter says, and frees it. The core may close the connection meanwhile: the driver's state is not
 * touched afterwards. */
void broker_letter_report(struct broker *broker, struct broker_letter *letter);

#endif
