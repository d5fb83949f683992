/*
 * Validates `share_connection`. Called by the rules for each check. What cannot be done over one connection is refused, with what
 * to do instead, so that no check silently does less than its type says.
 */
#include <stdio.h>

#include "agent/conf/conf_impl.h"
#include "agent/conf/probe_type.h"

/* Only one check of a shared connection may subscribe: the connection has one dialect, which tells its messages from others. */
static const struct check_conf *other_subscriber(const struct conf *conf, size_t index)
{
    const struct check_conf *check = &conf->checks[index];

    for (size_t i = 0; i < index; i++) {
        const struct check_conf *other = &conf->checks[i];

        if (other->type && other->type->delivers && other->shares && other->enabled && other->path == check->path)
            return other;
    }
    return NULL;
}

void conf_validate_share(const struct conf *conf, size_t index, const char *path, struct conf_error_list *found)
{
    const struct check_conf *check = &conf->checks[index], *other;
    const struct probe_type *type = check->type;
    struct err err = { 0 };
    char below[64];

    if (!check->shares || !check->enabled)
        return;
    snprintf(below, sizeof below, "%s.share_connection", path);
    if (!type->shares && !probe_speaks_websocket(type))
        conf_error_path(found, below, "a %s check has no WebSocket connection to share", type->name);
    else if (!type->shares)
        conf_error_path(
            found, below,
            "a %s check is about a new connection in each round, and can share none: where the server allows one session for a "
            "token, remove the check; the others find what is wrong with the shared connection when they open it",
            type->name);
    else if (type->validate_share && type->validate_share(check->opts, &err))
        conf_error_below(found, path, (const struct opt *const[]){ type->opts, NULL }, &err);
    else if (type->delivers && (other = other_subscriber(conf, index)))
        conf_error_path(found, below, "%s has it already, and one delivery check can: give that one both channels",
                        other->name ? other->name : other->type->name);
}
