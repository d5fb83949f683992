/* Names and help of the demo's faults. Called by the demo, its server's test and the help. What a fault does is the server's business. */
#include "agent/demo/demo_faults.h"

#include <string.h>

#include "agent/base/program.h"
#include "agent/base/text.h"

#define FAULT_NAME(id, name, help) name,
#define FAULT_HELP(id, name, help) help,
static const char *const names[] = { DEMO_FAULT_LIST(FAULT_NAME) };
static const char *const helps[] = { DEMO_FAULT_LIST(FAULT_HELP) };

_Static_assert(DEMO_FAULT_COUNT <= 32, "demo_fault_set has a bit for each");

int demo_fault_find(const char *name, struct err *err)
{
    const char *nearest;
    for (int i = 0; i < DEMO_FAULT_COUNT; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    nearest = text_nearest(name, names, DEMO_FAULT_COUNT);
    if (nearest)
        return err_set(err, REASON_NONE, 0, "unknown fault '%.40s' (did you mean '%s'?)", name, nearest);
    return err_set(err, REASON_NONE, 0, "unknown fault '%.40s' ('%s help faults' lists them)", name, program_name());
}

const char *demo_fault_name(enum demo_fault fault)
{
    return names[fault];
}

const char *demo_fault_help(enum demo_fault fault)
{
    return helps[fault];
}

void demo_write_fault_list(demo_fault_set on, struct buf *out)
{
    for (int i = 0; i < DEMO_FAULT_COUNT; i++)
        buf_printf(out, "%s %-16s  %s\n", on & DEMO_FAULT_BIT(i) ? "*" : " ", names[i], helps[i]);
}
