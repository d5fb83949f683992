/* What the report_*.c files share: texts made fit for one line. For them only. */
#ifndef WSHEALTHD_REPORT_REPORT_IMPL_H
#define WSHEALTHD_REPORT_REPORT_IMPL_H

#include "agent/proto/json_out.h"
#include "agent/report/report.h"

enum { REPORT_ELAPSED_MAX = 32 };

/* report_server.c: a server check's figures, as the member `server` of its row in /status, and as one line for people ("": nothing known). */
void report_server_json(struct json_out *json, const struct server_stats *server, bool full);
void report_server_line(const struct server_stats *server, char *out, size_t size);
/* report_fleet.c: the member `fleet` of /status. */
void report_fleet_status(struct json_out *json, const struct fleet_view *fleet, bool full);
/* report_matrix.c: the member `findings` of /fleet and of the fleet's part in /status; and with `matrix` and `delays`. */
void report_findings_json(struct json_out *json, const struct fleet_view *fleet, bool full);
void report_matrix_json(struct json_out *json, const struct fleet_view *fleet, bool full);
/* Appends text of unknown origin: control characters, C1 included, become blanks, so that it stays one line and moves no cursor. */
void report_put(struct buf *out, const char *text);

#endif
