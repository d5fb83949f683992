/* A round that is one dial and a look at what it found: the common part of the checks below WebSocket (tcp, tls). */
#ifndef WSHEALTHD_CORE_DIALING_H
#define WSHEALTHD_CORE_DIALING_H

#include "agent/core/probe.h"
#include "agent/net/dial.h"

struct dialing { /* the first member of the probe's state */
    struct dial_target target;
    struct dial_report report;
    struct dial *dial;
    void (*judge)(struct run *run,
                  const struct dial_report *report); /* connected, and the connection closed again: finish the round */
};

/* What target points at lives as long as the round. A dial that fails finishes the round by itself. */
void dialing_start(struct run *run, const struct dial_target *target,
                   void (*judge)(struct run *run, const struct dial_report *report));
void dialing_on_deadline(struct run *run); /* the type's on_deadline and stop */
void dialing_stop(struct run *run);

#endif
