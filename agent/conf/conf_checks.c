/*
 * Makes the checks of a configuration: finds a type, adds a check of it, gives it the file's defaults. Called by the reader and by
 * the command line. agent/conf/conf_rules.c validates the checks.
 */
#include "agent/conf/conf_impl.h"

#include <string.h>

#include "agent/base/mem.h"

const struct probe_type *conf_find_type(const struct conf_env *env, const char *name)
{
    for (const struct probe_type *const *type = env->probes; *type; type++)
        if (strcmp((*type)->name, name) == 0)
            return *type;
    return NULL;
}

/* Why there is no such type. */
int conf_unknown_type(const struct conf_env *env, const char *name, const char *shown, struct err *err)
{
    const char *names[CONF_CHECKS_MAX] = { NULL };
    size_t count = 0;
    for (const struct probe_type *const *type = env->probes; *type && count < CONF_CHECKS_MAX; type++)
        names[count++] = (*type)->name;
    return conf_unknown("check type", name, shown, names, count, err);
}

/* One more check of that type with its defaults, still without a name. With type NULL it keeps the place of a check of a wrong
 * type, so that checks[2] of an error is the third of the file; such a generation is never handed out. */
struct check_conf *conf_append_check(struct conf *conf, const struct probe_type *type)
{
    conf->checks = mem_realloc(conf->checks, (conf->check_count + 1) * sizeof *conf->checks);
    struct check_conf *check = &conf->checks[conf->check_count++];
    *check = (struct check_conf){ .type = type };
    if (!type)
        return check;
    opt_defaults(check_rows, check);
    check->gates = type->gates_of ? GATE_OPEN : type->gates;
    check->opts = mem_alloc(type->opts_size ? type->opts_size : 1);
    opt_defaults(type->opts, check->opts);
    for (const struct opt *row = type->opts; row && row->name; row++)
        panic_if(opt_find(check_rows, row->name) || strcmp(row->name, "type") == 0); /* two meanings for one key */
    return check;
}

static bool name_taken(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->check_count; i++)
        if (conf->checks[i].name && strcmp(conf->checks[i].name, name) == 0)
            return true;
    return false;
}

struct check_conf *conf_add_check(struct conf *conf, const char *type, const struct conf_env *env, struct err *err)
{
    const struct probe_type *found = conf_find_type(env, type);
    if (!found) {
        conf_unknown_type(env, type, type, err);
        return NULL;
    }
    if (conf->check_count >= CONF_CHECKS_MAX) {
        err_set(err, REASON_NONE, 0, "more than %d checks", CONF_CHECKS_MAX);
        return NULL;
    }
    char *name = mem_strdup(type);
    for (unsigned n = 2; name_taken(conf, name); n++) {
        mem_free(name);
        name = mem_printf("%s-%u", type, n);
    }
    struct check_conf *check = conf_append_check(conf, found);
    check->name = name;
    return check;
}

void conf_take_defaults(struct check_conf *check, const struct check_conf *defaults)
{
    check->interval_ms = defaults->interval_ms;
    check->fast_ms = defaults->fast_ms;
    check->timeout_ms = defaults->timeout_ms;
    check->rise = defaults->rise;
    check->fall = defaults->fall;
    check->jitter_percent = defaults->jitter_percent;
}
