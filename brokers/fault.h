/*
 * What is wrong with a broker, as a thread of a library's may say it. struct err is for the loop only: err_set masks secrets, and their
 * list belongs to the loop. The drivers of NATS, MQTT and Kafka use it, and the loop turns a fault into a struct err.
 */
#ifndef WSHEALTHD_BROKERS_FAULT_H
#define WSHEALTHD_BROKERS_FAULT_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/err.h"

enum { BROKER_FAULT_TEXT_MAX = 320 };

struct broker_fault {
    enum reason reason; /* REASON_NONE: nothing is wrong */
    int hint;           /* enum broker_hint, or 0 */
    char text[BROKER_FAULT_TEXT_MAX];
};

/* Leaves the hint as it is. */
void broker_fault_set(struct broker_fault *fault, enum reason reason, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Loop only. NULL where nothing is wrong, otherwise err. */
const struct err *broker_fault_err(const struct broker_fault *fault, struct err *err);

/* For libraries that open the files of `tls` by themselves, on a thread that a fifo would hold for ever: each must be a regular file. NULL
 * is skipped. -1: fault names the file. */
int broker_fault_of_files(const char *const *files, size_t count, struct broker_fault *fault);

/* Whether these words of OpenSSL's are an alert by which the broker refuses the agent's client certificate, or asks for one. */
bool broker_refuses_certificate(const char *said);

#endif
