/*
 * Validates that the process may have enough descriptors for the configuration. Called last of the rules. The listeners, the log,
 * the brokers and every check's next round come first: a check that holds so many connections that nothing is left for these is
 * refused by its name, since it would take down the answers of all the others.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/process.h"
#include "agent/conf/conf_impl.h"
#include "agent/conf/probe_type.h"

/* OWN: standard descriptors, loop, log, listeners, the admin socket and health clients. Libraries of brokers have sockets and
 * pipes of their own. MANY: a check that needs fewer is never refused, as it is not what fills the table. */
enum { OWN = 96, PER_BROKER = 8, PER_CHECK = 2, MANY = 16 };

/* A tenth more than it keeps: while one is replaced, the old one may still be waiting for the server's close frame. */
static uint64_t needs_of(const struct check_conf *check)
{
    int64_t kept = 0;
    if (check->type->keeps)
        memcpy(&kept, (const char *)check->opts + check->type->keeps - 1, sizeof kept);
    return check->enabled ? PER_CHECK + (uint64_t)kept + (uint64_t)kept / 10 : 0;
}

/* The option that says how many; every type calls it as it likes. */
static const char *option_of(const struct probe_type *type)
{
    for (const struct opt *row = type->opts; type->keeps && row && row->name; row++)
        if (row->offset == type->keeps - 1)
            return row->name;
    return "connections";
}

void conf_validate_descriptors(const struct conf *conf, struct conf_error_list *found)
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
    snprintf(path, sizeof path, "checks[%zu].%s", which, option_of(conf->checks[which].type));
    conf_error_path(found, path,
                    "%s needs %llu descriptors, %llu with all else, and this process may have %llu (ulimit -Hn, LimitNOFILE=)",
                    conf->checks[which].name ? conf->checks[which].name : conf->checks[which].type->name, (unsigned long long)most,
                    (unsigned long long)total, (unsigned long long)limit);
}
