/*
 * The crowd of a `reconnect` check: many connections at once, as after a lost server, and what they do to a bystander. Called by
 * probes/reconnect.c once its own connection is back; owns its connections and its pace, and ends the round.
 */
#ifndef WSHEALTHD_PROBES_RECONNECT_BURST_H
#define WSHEALTHD_PROBES_RECONNECT_BURST_H

#include "agent/core/probe.h"

enum { BURST_MAX = 1000, BURST_BACK_CHARS = 160 };

struct burst;

struct burst *burst_new(struct run *run, size_t count, int64_t within_ms);
/* Begins a burst if one is due. True: it ends the round, later. False: burst_pass is due. back: how the connection came back. */
bool burst_start(struct burst *burst, const char *back);
bool burst_is_busy(const struct burst *burst);
/* Ends a round without a burst by what the last one came to. */
void burst_pass(const struct burst *burst, const char *back);
/* The round's deadline has passed: ends the round inside this call. */
void burst_expire(struct burst *burst);
/* Another has ended the round, or the check ends: every connection is closed at once. */
void burst_cancel(struct burst *burst);
void burst_free(struct burst *burst);

#endif
