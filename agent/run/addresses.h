/*
 * Where a running agent is reached: what the command line and the environment put over the file's `listen` and `admin`, and where the admin
 * socket is when nobody said so (`admin: auto`). Called by the agent, which binds the socket, and by the commands that ask it, which look
 * in the same places in the same order.
 */
#ifndef WSHEALTHD_RUN_ADDRESSES_H
#define WSHEALTHD_RUN_ADDRESSES_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/conf/conf.h"

struct address_overrides {
    const char *listen, *admin; /* NULL: as the file says */
};
/* 0, or -1 and errors. The configuration is sealed again where something has changed. */
int addresses_override(struct conf *conf, const struct address_overrides *overrides, struct conf_errors *errors);

/*
 * The paths of `admin: auto`, the best first: in $RUNTIME_DIRECTORY where systemd made one, else in /run/wshealthd, else in
 * $XDG_RUNTIME_DIR/wshealthd. false: there are no more than i.
 */
bool admin_place(size_t i, char *out, size_t size);
/* Makes the directory of a socket, its last part only. An error shows when the socket is bound. */
void admin_make_directory(const char *path);
/* The first of these sockets that this user may open, else the first that exists, else the first path. */
void admin_find(char *out, size_t size);

#endif
