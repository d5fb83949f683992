/*
 * Does the configuration fit into the descriptors that the process may have? Called last of the rules. The faces, the log, the brokers and
 * every check's next round come first: a check that holds so many connections that nothing is left for these is refused by its name,
 * since it would take down the answers of all the others.
 */
#include <stdio.h>

#include "agent/base/process.h"
#include "agent/core/conf_parts.h"
#include "agent/core/probe.h"

/* OWN: standard descriptors, loop, log, listeners, the admin socket and health clients. Libraries of brokers have sockets and pipes of their
 * own. MANY: below this a check is not what fills the table, and is never refused. */
enum { OWN = 96, PER_BROKER = 8, PER_CHECK = 2, MANY = 16 };

static uint64_t needs_of(const struct check_conf *check)
{
    uint64_t (*descriptors)(const void *opts) = check->type->descriptors;
    return check->enabled ? PER_CHECK + (descriptors ? descriptors(check->opts) : 0) : 0;
}

void conf_check_descriptors(const struct conf *conf, struct report *report)
{
    uint64_t limit = process_files_possible(), total = OWN + PER_BROKER * (uint64_t)conf->broker_count, most = 0;
    size_t which = 0;
    char path[48];
    for (size_t i = 0; i < conf->check_count; i++) {
        uint64_t needs = conf->checks[i].type ? needs_of(&conf->checks[i]) : 0;
        total += needs;
        if (needs > most) {
            most = needs;
            which = i;
        }
    }
    if (total <= limit || most < MANY)
        return;
    snprintf(path, sizeof path, "checks[%zu].connections", which);
    report_path(report, path,
                "%s needs %llu descriptors, %llu with all else, and this process may have %llu (ulimit -Hn, LimitNOFILE=)",
                conf->checks[which].name ? conf->checks[which].name : conf->checks[which].type->name, (unsigned long long)most,
                (unsigned long long)total, (unsigned long long)limit);
}
