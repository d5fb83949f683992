/*
 * Owns the rows of the event list as data. Called through event_log by core and above, and by the manual's tables. Promises that every
 * event has a name, a level and a help text; what is logged with an event is the caller's business.
 */
#include "agent/core/event.h"

#include "agent/base/mem.h"

static const struct {
    const char *name;
    enum log_level level;
    const char *help;
} rows[EVENT_COUNT] = {
#define EVENT_ROW(id, name_, level_, help_) [EVENT_##id] = { name_, level_, help_ },
    EVENT_LIST(EVENT_ROW)
#undef EVENT_ROW
};

const char *event_name(enum event event)
{
    panic_if((unsigned)event >= EVENT_COUNT);
    return rows[event].name;
}

const char *event_help(enum event event)
{
    panic_if((unsigned)event >= EVENT_COUNT);
    return rows[event].help;
}

enum log_level event_level(enum event event)
{
    panic_if((unsigned)event >= EVENT_COUNT);
    return rows[event].level;
}

bool event_is_verdict(enum event event)
{
    return event == EVENT_READY || event == EVENT_NOT_READY || event == EVENT_DEGRADED || event == EVENT_DEAD ||
           event == EVENT_LIVE;
}
