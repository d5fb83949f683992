/*
 * Owns nothing but the order of the places. Called by agent/run/agent_listeners.c, agent/run/agent_reload.c and the commands. It
 * never removes or binds anything.
 */
#include "agent/run/addresses.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/mem.h"
#include "agent/net/listen.h"
#include "agent/run/agent.h"

enum { PLACES = 3 };

static void put(char **field, const char *value)
{
    mem_free(*field);
    *field = mem_strdup(value);
}

int addresses_override(struct conf *conf, const struct address_overrides *overrides, struct conf_errors *errors)
{
    if (!overrides->listen && !overrides->admin)
        return 0;
    if (overrides->listen)
        put(&conf->listen, overrides->listen);
    if (overrides->admin)
        put(&conf->admin, overrides->admin);
    return conf_seal(conf, &agent_conf_env, errors);
}

/* systemd separates several directories by colons; the unit has one. */
static bool place_below(const char *directory, const char *rest, char *out, size_t size)
{
    size_t len = directory ? strcspn(directory, ":") : 0;

    if (!len || *directory != '/' || len + strlen(rest) >= size || len + strlen(rest) >= URL_UNIX_MAX)
        return false;
    snprintf(out, size, "%.*s%s", (int)len, directory, rest);
    return true;
}

bool admin_place(size_t i, char *out, size_t size)
{
    for (size_t place = 0; place < PLACES; place++) {
        bool there = place == 0   ? place_below(getenv("RUNTIME_DIRECTORY"), "/admin.sock", out, size)
                     : place == 1 ? place_below("/run", "/wshealthd/admin.sock", out, size)
                                  : place_below(getenv("XDG_RUNTIME_DIR"), "/wshealthd/admin.sock", out, size);
        if (there && i-- == 0)
            return true;
    }
    return false;
}

void admin_make_directory(const char *path)
{
    char directory[URL_UNIX_MAX];
    char *slash;

    snprintf(directory, sizeof directory, "%s", path);
    slash = strrchr(directory, '/');
    if (!slash || slash == directory)
        return;
    *slash = 0;
    mkdir(directory, 0755);
}

void admin_find(char *out, size_t size)
{
    char path[URL_UNIX_MAX];
    bool closed = false;

    admin_place(0, out, size);
    for (size_t i = 0; admin_place(i, path, sizeof path); i++) {
        if (access(path, R_OK | W_OK) == 0) {
            snprintf(out, size, "%s", path);
            return;
        }
        if (errno == EACCES && !closed) {
            closed = true;
            snprintf(out, size, "%s", path);
        }
    }
}
