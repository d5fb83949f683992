/*
 * What an error reply of Redis means (brokers/redis/redis.h): the code at its front decides the reason, the command decides the advice.
 * Called by the other files of the driver for every error that is reported. The server's text is shown cut and cleaned, and not at all
 * for an unknown answer to AUTH: servers echo an unknown command with its arguments.
 */
#include "brokers/redis/redis.h"

#include <string.h>

#include "agent/base/text.h"

enum { SHOWN_MAX = 120, SHOWN_BYTES = TEXT_EXCERPT_BYTES(SHOWN_MAX) };

struct meaning {
    const char *prefix;
    enum reason reason;
    const char *says; /* behind the name of the server */
    int hint;         /* enum broker_hint */
};

static const char no_password[] = "has no password set, and the URL has one";
static const char redirects[] = "is a node of a cluster and redirects; want mode: cluster";

static const struct meaning meanings[] = {
    { "NOAUTH", REASON_BROKER_AUTH_FAILED, "wants a user or password, and the URL has none", 0 },
    { "WRONGPASS", REASON_BROKER_AUTH_FAILED, "refuses the user or the password", 0 },
    { "ERR invalid password", REASON_BROKER_AUTH_FAILED, "refuses the password", 0 },
    { "ERR AUTH", REASON_BROKER_AUTH_FAILED, no_password, 0 },
    { "ERR Client sent AUTH, but no password is set", REASON_BROKER_AUTH_FAILED, no_password, 0 },
    { "DENIED", REASON_BROKER_AUTH_FAILED, "is in protected mode and takes local clients only: set a password or an ACL there", 0 },
    { "ERR max number of clients", REASON_BROKER_UNREACHABLE, "takes no more clients: maxclients is reached", BROKER_HINT_FULL },
    { "READONLY", REASON_BROKER_READ_ONLY, "takes no writes: it is a replica", 0 },
    { "MASTERDOWN", REASON_BROKER_READ_ONLY, "is a replica that has lost its master", 0 },
    { "MISCONF", REASON_BROKER_READ_ONLY, "refuses writes: it cannot save to disk", 0 },
    { "NOREPLICAS", REASON_BROKER_READ_ONLY, "refuses writes: too few replicas follow it (min-replicas-to-write)", 0 },
    { "OOM", REASON_BROKER_BLOCKED, "refuses writes: its memory is used up (maxmemory)", 0 },
    { "LOADING", REASON_BROKER_BLOCKED, "is still loading its dataset", 0 },
    { "BUSY", REASON_BROKER_BLOCKED, "is busy with a script", 0 },
    { "CLUSTERDOWN", REASON_BROKER_UNREACHABLE, "is in a cluster that is down, or where no node serves the slot", 0 },
    { "MOVED", REASON_BROKER_UNREACHABLE, redirects, 0 },
    { "ASK", REASON_BROKER_UNREACHABLE, redirects, 0 },
};

bool redis_error_is(const struct resp_reply *reply, const char *prefix)
{
    struct slice text = resp_text(reply);
    size_t len = strlen(prefix);
    return resp_kind_of(reply) == RESP_ERROR && text.len >= len && memcmp(text.data, prefix, len) == 0 &&
           (text.len == len || text.data[len] == ' ');
}

static const char *advice(enum redis_doing doing)
{
    switch (doing) {
    case REDIS_DO_WRITE:
        return "the write test: grant +set and the key of write_key, or switch write_test off";
    case REDIS_DO_PUBLISH:
        return "to publish: grant +publish (+spublish) and the channel";
    case REDIS_DO_COMMAND:
        return "publish.command: grant the command and its key";
    case REDIS_DO_SUBSCRIBE:
        return "to subscribe: grant +subscribe (+ssubscribe) and the channel";
    case REDIS_DO_PING:
        return "PING: grant +ping";
    case REDIS_DO_SENTINEL:
        return "to say who is master: grant +sentinel|get-master-addr-by-name";
    case REDIS_DO_AUTH:
        return "AUTH: grant +auth";
    case REDIS_DO_SELECT:
        return "to choose the database: grant +select";
    }
    return "";
}

static enum reason default_reason(enum redis_doing doing)
{
    switch (doing) {
    case REDIS_DO_AUTH:
        return REASON_BROKER_AUTH_FAILED;
    case REDIS_DO_WRITE:
        return REASON_BROKER_READ_ONLY;
    case REDIS_DO_PUBLISH:
    case REDIS_DO_COMMAND:
    case REDIS_DO_SUBSCRIBE:
        return REASON_BROKER_NOT_DELIVERING;
    case REDIS_DO_PING:
    case REDIS_DO_SELECT:
    case REDIS_DO_SENTINEL:
        break;
    }
    return REASON_BROKER_UNREACHABLE;
}

static const char *named(enum redis_doing doing)
{
    static const char *const names[] = { "AUTH",    "SELECT",    "the write test", "PING",
                                         "PUBLISH", "SUBSCRIBE", "SENTINEL",       "publish.command" };
    return names[doing];
}

int redis_judge(const struct redis_link *link, enum redis_doing doing, const struct resp_reply *reply, struct err *err)
{
    char shown[SHOWN_BYTES];
    if (resp_kind_of(reply) != RESP_ERROR)
        return err_set(err, default_reason(doing), 0, "%s answers %s with something else than it should", link->name, named(doing));
    text_excerpt(resp_text(reply), SHOWN_MAX, shown, sizeof shown);
    if (redis_error_is(reply, "NOPERM"))
        return err_set(err, REASON_BROKER_AUTH_FAILED, 0, "%s does not permit this user %s (%s)", link->name, advice(doing), shown);
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (redis_error_is(reply, meanings[i].prefix))
            return err_set(err, meanings[i].reason, meanings[i].hint, "%s %s (%s)", link->name, meanings[i].says, shown);
    if (doing == REDIS_DO_AUTH)
        return err_set(err, REASON_BROKER_AUTH_FAILED, 0, "%s refuses AUTH", link->name);
    return err_set(err, default_reason(doing), 0, "%s refuses %s: %s", link->name, named(doing), shown);
}
