/* The words of the closed sets that a check's counters are labelled with (agent/core/stats.h). Called by the engine, by probes and reports. */
#include "agent/core/stats.h"

#include "agent/base/mem.h"

static const struct {
    int code;
    const char *name;
} close_rows[CLOSE_LABEL_COUNT] = {
#define CLOSE_ROW(code_) [CLOSE_##code_] = { code_, #code_ },
    CLOSE_LABEL_LIST(CLOSE_ROW)
#undef CLOSE_ROW
        [CLOSE_3XXX] = { 0, "3xxx" },
    [CLOSE_4XXX] = { 0, "4xxx" },
    [CLOSE_OTHER] = { 0, "other" },
};

enum close_label close_label_of(int code)
{
    for (unsigned i = 0; i < CLOSE_3XXX; i++)
        if (close_rows[i].code == code)
            return (enum close_label)i;
    if (code >= 3000 && code <= 3999)
        return CLOSE_3XXX;
    if (code >= 4000 && code <= 4999)
        return CLOSE_4XXX;
    return CLOSE_OTHER;
}

const char *close_label_name(enum close_label label)
{
    panic_if((unsigned)label >= CLOSE_LABEL_COUNT);
    return close_rows[label].name;
}

const char *delivery_leg_name(enum delivery_leg leg)
{
    static const char *const names[LEG_COUNT] = { [LEG_CONTROL] = "control", [LEG_WEBSOCKET] = "websocket" };
    panic_if((unsigned)leg >= LEG_COUNT);
    return names[leg];
}

const char *delivery_result_name(enum delivery_result result)
{
#define DELIVERY_NAME(id, name) name,
    static const char *const names[DELIVERY_COUNT] = { DELIVERY_LIST(DELIVERY_NAME) };
#undef DELIVERY_NAME
    panic_if((unsigned)result >= DELIVERY_COUNT);
    return names[result];
}

const char *server_conn_name(enum server_conn state)
{
#define SERVER_CONN_TEXT(id, name) name,
    static const char *const names[] = { SERVER_CONN_LIST(SERVER_CONN_TEXT) };

    return names[state];
}

const char *server_peer_name(enum server_peer_state state)
{
#define SERVER_PEER_TEXT(id, name) name,
    static const char *const names[] = { SERVER_PEER_LIST(SERVER_PEER_TEXT) };

    return names[state];
}
