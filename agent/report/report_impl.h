/* What the report_*.c files share: the words for a verdict, and texts made fit for one line. For them only. */
#ifndef WSHEALTHD_REPORT_REPORT_IMPL_H
#define WSHEALTHD_REPORT_REPORT_IMPL_H

#include "agent/proto/json_out.h"
#include "agent/report/report.h"

enum { REPORT_ELAPSED_MAX = 32 };

/* The first line of the answer: "ready", "degraded", "not ready", "draining", "starting"; "live", "dead"; "started", "starting". */
const char *report_word(const struct agent_view *view, enum report_question question);
/* What a check measures, in one figure: its round-trip time where it has one, else the whole round. */
uint64_t report_headline_ns(const struct check_view *check);
/* The fault's sentence: the check's own, or for readers who may not see it, the reason's. */
const char *report_fault_text(const struct check_fault *fault, bool full);
const char *report_sentence(const struct agent_view *view, bool full);
/* report_server.c: a server check's figures, as the member `server` of its row in /status, and as one line for people ("": nothing known). */
void report_server_json(struct json_out *json, const struct server_stats *server, bool full);
void report_server_line(const struct server_stats *server, char *out, size_t size);
/* Appends text of unknown origin: control characters, C1 included, become blanks, so that it stays one line and moves no cursor. */
void report_put(struct buf *out, const char *text);

#endif
