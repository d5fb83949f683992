/* Filling what a round measured (struct run_report) from what the transport reports. Called by probes and by talk. */
#ifndef WSHEALTHD_CORE_RUN_REPORT_H
#define WSHEALTHD_CORE_RUN_REPORT_H

#include "agent/client/conn.h"
#include "agent/core/probe.h"
#include "agent/net/dial.h"

void run_report_phase(struct run *run, enum phase phase, bool have, uint64_t ns);
/* The times of resolve, connect and tls, and the certificate. `tls`: is TLS spoken there? */
void run_report_dial(struct run *run, const struct dial_report *dial, bool tls);
/* That, and the upgrade's time, status and signs of life; nothing of a connection that was joined, which another check has opened. */
void run_report_conn(struct run *run, const struct conn_report *report, bool tls);

#endif
