/* Shared by cli_config.c and cli_init.c. */
#ifndef WSHEALTHD_CLI_CLI_CONFIG_IMPL_H
#define WSHEALTHD_CLI_CLI_CONFIG_IMPL_H

#include <sys/types.h>

#include "agent/cli/cli.h"

/* To stdout (file NULL), or to a file that does not exist yet. The exit code. */
int cli_write_new(const struct cli *cli, const char *file, const struct buf *out, mode_t mode);
/* config init URL [FILE] */
int cli_init_url(const struct cli *cli, const char *url, const char *file);

#endif
