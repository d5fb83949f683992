/* The engine's side of a talk (agent/core/talk.h is the probe's). One talk for each check that has steps, used for round after round. */
#ifndef WSHEALTHD_CORE_TALK_ENGINE_H
#define WSHEALTHD_CORE_TALK_ENGINE_H

#include "agent/client/conn.h"
#include "agent/core/probe.h"

struct talk *talk_engine_new(struct run *run);
void talk_engine_start(struct talk *talk, struct conn_group *group); /* ends in run_finish */
void talk_engine_late(struct talk *talk);                            /* the round's deadline has passed: finishes the run */
void talk_engine_stop(struct talk *talk, bool failed);               /* says goodbye; callable at any time */
void talk_engine_free(struct talk *talk);
/* Copies the handshake's times and status into a run's report; for probes that hold connections of their own, too. */
void talk_engine_report(struct run *run, const struct conn_report *report, bool tls);

#endif
