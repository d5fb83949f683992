/* What is wrong with a broker whose library has threads (brokers/fault.h). Called on the loop and on those threads; keeps no state. */
#include "brokers/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/base/file.h"

void broker_fault_set(struct broker_fault *fault, enum reason reason, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fault->reason = reason;
    vsnprintf(fault->text, sizeof fault->text, fmt, args);
    va_end(args);
}

const struct err *broker_fault_err(const struct broker_fault *fault, struct err *err)
{
    if (fault->reason == REASON_NONE)
        return NULL;
    err_set(err, fault->reason, fault->hint, "%s", fault->text);
    return err;
}

int broker_fault_of_files(const char *const *files, size_t count, struct broker_fault *fault)
{
    /* Without a struct err: whoever sets one reads the list of secrets, which belongs to the loop's thread. */
    for (size_t i = 0; i < count; i++) {
        errno = 0;
        if (files[i] && file_validate(files[i], NULL) < 0) {
            broker_fault_set(fault, REASON_AGENT_ERROR, "tls: %s: %s", files[i], errno ? strerror(errno) : "want a regular file");
            return -1;
        }
    }
    return 0;
}

bool broker_refuses_certificate(const char *said)
{
    static const char *const words[] = { "certificate required", "alert bad certificate", "alert unknown ca", "alert certificate",
                                         "alert handshake failure" };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasestr(said, words[i]))
            return true;
    return false;
}
