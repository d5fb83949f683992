/* Shared by cli_check.c and cli_advise.c. */
#ifndef WSHEALTHD_CLI_CLI_CHECK_IMPL_H
#define WSHEALTHD_CLI_CLI_CHECK_IMPL_H

#include "agent/cli/cli.h"
#include "agent/report/view.h"

/* Asks the server, for three seconds at most, where its advice can be better than the rules'. The advice borrows from `text`. */
void cli_advise(const struct cli *cli, struct agent_view *view, struct buf *text);

#endif
