/*
 * Where a running agent is reached: the values of the command line and the environment that replace the file's `listen` and
 * `admin`, and the places of the admin socket for `admin: auto`. Called by the agent, which binds the socket, and by the commands,
 * which look in the same places in the same order.
 */
#ifndef WSHEALTHD_RUN_ADDRESSES_H
#define WSHEALTHD_RUN_ADDRESSES_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/conf/conf.h"

struct address_overrides {
    const char *listen, *admin; /* NULL: as the file says */
};
/* 0, or -1 and errors. If something has changed, the configuration is sealed again. */
int addresses_override(struct conf *conf, const struct address_overrides *overrides, struct conf_errors *errors);

/*
 * The paths of `admin: auto` in their order: in $RUNTIME_DIRECTORY (set by systemd), in /run/wshealthd, in
 * $XDG_RUNTIME_DIR/wshealthd. Writes the i-th of them; false: there are only i.
 */
bool admin_place(size_t i, char *out, size_t size);
/* Makes the directory of a socket, but not its parents. Ignores errors: binding the socket reports them. */
void admin_make_directory(const char *path);
/* The first of these sockets that this user may open, else the first that exists, else the first path. */
void admin_find(char *out, size_t size);

#endif
