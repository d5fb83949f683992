/*
 * Generations of the configuration: made from a file, a text or a bare URL, sealed by the rules that span options, counted by
 * reference. Called by the commands and by reload. A configuration with an error gives no generation, and all its errors are
 * collected first.
 */
#include "agent/conf/conf_impl.h"

#include <string.h>

#include "agent/base/mem.h"

static struct conf *conf_new(void)
{
    struct conf *conf = mem_alloc(sizeof *conf);
    conf->refs = 1;
    opt_defaults(conf_rows, conf);
    return conf;
}

static void check_fini(struct check_conf *check)
{
    opt_fini(check_rows, check);
    if (check->type)
        opt_fini(check->type->opts, check->opts);
    mem_free(check->opts);
}

void conf_clear_checks(struct conf *conf)
{
    for (size_t i = 0; i < conf->check_count; i++)
        check_fini(&conf->checks[i]);
    mem_free(conf->checks);
    conf->checks = NULL;
    conf->check_count = 0;
}

struct conf *conf_ref(struct conf *conf)
{
    conf->refs++;
    return conf;
}

void conf_unref(struct conf *conf)
{
    if (!conf || --conf->refs)
        return;
    conf_clear_checks(conf);
    conf_clear_brokers(conf);
    conf_clear_dialects(conf);
    conf_clear_notifiers(conf);
    opt_fini(conf_rows, conf);
    mem_free(conf);
}

bool conf_same_target(const struct conf *a, const struct conf *b)
{
    return opt_equal(target_rows, &a->target, &b->target) && conf_same_dialect(a->target.dialect, b->target.dialect) &&
           strcmp(a->agent_id, b->agent_id) == 0 && strcmp(a->region, b->region) == 0;
}

bool conf_same_check(const struct check_conf *a, const struct check_conf *b)
{
    return a->type == b->type && opt_equal(check_rows, a, b) && opt_equal(a->type->opts, a->opts, b->opts);
}

static void add_default_checks(struct conf *conf, const struct conf_env *env, const struct check_conf *defaults)
{
    struct err err;
    for (const struct probe_type *const *type = env->probes; *type; type++) {
        struct check_conf *check = (*type)->by_default ? conf_add_check(conf, (*type)->name, env, &err) : NULL;
        if (check && defaults)
            conf_take_defaults(check, defaults);
    }
}

/* --- reading ------------------------------------------------------------------------------------------------------------------ */

/* The check's type, or NULL and an error. */
static const struct probe_type *read_type(struct reader *reader, const struct node *map)
{
    const struct node *node = node_get(map, "type");
    const struct probe_type *type = NULL;
    struct err err;
    size_t cut = trail_key(&reader->trail, "type");
    if (!node || node_is_null(node)) {
        conf_error_at(reader->errors, node ? node->mark : map->mark, reader->trail.text, "required, but not set");
    } else {
        char *name = read_text(reader, node, "the name of a check type");
        conf_error_place(reader->errors, reader->trail.text, node->mark);
        type = name ? conf_find_type(reader->env, name) : NULL;
        if (name && !type) {
            conf_unknown_type(reader->env, name, node->text, &err);
            conf_error_at(reader->errors, node->mark, reader->trail.text, "%s", err.text);
        }
        mem_free(name);
    }
    trail_cut(&reader->trail, cut);
    return type;
}

static void read_check(struct reader *reader, struct conf *conf, const struct check_conf *defaults, const struct node *node)
{
    static const char *const others[] = { "type", NULL };
    conf_error_place(reader->errors, reader->trail.text, node->mark);
    const struct probe_type *type = NULL;
    if (node->kind == NODE_MAP)
        type = read_type(reader, node);
    else
        conf_error_at(reader->errors, node->mark, reader->trail.text, "%s, want a mapping such as { type: ping }",
                      node_kind_name(node));
    struct check_conf *check = conf_append_check(conf, type);
    if (!type)
        return;
    conf_take_defaults(check, defaults);
    read_map(reader, node, (const struct reader_part[2]){ { check_rows, check }, { type->opts, check->opts } }, others);
}

static void read_checks(struct reader *reader, struct conf *conf, const struct check_conf *defaults, const struct node *list)
{
    size_t index = 0;
    size_t start = trail_key(&reader->trail, "checks");
    if (list->kind != NODE_LIST)
        conf_error_at(reader->errors, list->mark, reader->trail.text, "%s, want a list of checks such as [{ type: ping }]",
                      node_kind_name(list));
    else if (!list->first)
        conf_error_at(reader->errors, list->mark, reader->trail.text,
                      "an empty list, want at least one check; leave the key out for the default");
    else if (list->count > CONF_CHECKS_MAX)
        conf_error_at(reader->errors, list->mark, reader->trail.text, "%zu checks, want at most %d", list->count, CONF_CHECKS_MAX);
    for (const struct node *node = list->kind == NODE_LIST && list->count <= CONF_CHECKS_MAX ? list->first : NULL; node;
         node = node->next) {
        size_t cut = trail_index(&reader->trail, index++);
        read_check(reader, conf, defaults, node);
        trail_cut(&reader->trail, cut);
    }
    trail_cut(&reader->trail, start);
}

static void read_conf(struct reader *reader, struct conf *conf, const struct node *root)
{
    static const char *const others[] = { "defaults", "brokers", "dialects", "notify", "checks", NULL };
    struct check_conf defaults = { 0 };
    opt_defaults(default_rows, &defaults);
    conf_error_place(reader->errors, "", root->mark);
    read_map(reader, root, (const struct reader_part[2]){ { conf_rows, conf }, { NULL, NULL } }, others);
    if (root->kind != NODE_MAP)
        return;
    const struct node *node = node_get(root, "defaults");
    if (node && !node_is_null(node)) {
        size_t cut = trail_key(&reader->trail, "defaults");
        conf_error_place(reader->errors, reader->trail.text, node->mark);
        read_map(reader, node, (const struct reader_part[2]){ { default_rows, &defaults }, { NULL, NULL } }, NULL);
        trail_cut(&reader->trail, cut);
    }
    node = node_get(root, "brokers");
    if (node && !node_is_null(node))
        conf_read_brokers(reader, conf, node);
    node = node_get(root, "dialects");
    if (node && !node_is_null(node))
        conf_read_dialects(reader, conf, node);
    node = node_get(root, "notify");
    if (node && !node_is_null(node))
        conf_read_notifiers(reader, conf, node);
    node = node_get(root, "checks");
    if (node && !node_is_null(node))
        read_checks(reader, conf, &defaults, node);
    else
        add_default_checks(conf, reader->env, &defaults);
    conf_add_broker_checks(conf, reader->env, &defaults, reader->errors);
}

/* The generation, or NULL if there was any error. */
static struct conf *finish(struct conf *conf, struct conf_error_list *found, struct conf_errors *errors)
{
    bool bad = found->count > 0;
    conf_error_finish(found, errors);
    if (!bad)
        return conf;
    conf_unref(conf);
    return NULL;
}

struct conf *conf_load_text(const char *name, struct slice text, const struct conf_env *env, struct conf_errors *errors)
{
    struct conf_error_list found;
    struct conf *conf = conf_new();
    conf_error_init(&found, name);
    struct node *root = node_load(text, &found);
    if (root) {
        struct reader reader = { .env = env, .errors = &found, .vars = { env->getenv, VARS_TOTAL_MAX } };
        read_conf(&reader, conf, root);
        if (root->kind == NODE_MAP)
            conf_validate_rules(conf, env, &found);
    }
    node_free(root);
    return finish(conf, &found, errors);
}

struct conf *conf_load_file(const char *file, const struct conf_env *env, struct conf_errors *errors)
{
    struct buf text = BUF_INIT(CONF_FILE_MAX + 1);
    struct conf *conf = NULL;
    struct err err;
    if (opt_read_file(file, CONF_FILE_MAX, false, &text, &err)) {
        struct conf_error_list found;
        conf_error_init(&found, file);
        conf_error_at(&found, (struct mark){ 0, 0 }, NULL, "%s", err.text);
        conf_error_finish(&found, errors);
    } else {
        conf = conf_load_text(file, buf_slice(&text), env, errors);
    }
    buf_fini(&text);
    return conf;
}

struct conf *conf_for_url(const char *url, const struct conf_env *env, struct conf_errors *errors)
{
    struct conf_error_list found;
    struct err err;
    struct conf *conf = conf_new();
    conf_error_init(&found, NULL);
    add_default_checks(conf, env, NULL);
    if (opt_set(target_rows, &conf->target, "url", url, &err))
        conf_error_path(&found, "", "%s", err.text);
    else
        conf_validate_rules(conf, env, &found);
    return finish(conf, &found, errors);
}

int conf_seal(struct conf *conf, const struct conf_env *env, struct conf_errors *errors)
{
    struct conf_error_list found;
    conf_error_init(&found, NULL);
    conf_validate_rules(conf, env, &found);
    int rc = found.count ? -1 : 0;
    conf_error_finish(&found, errors);
    return rc;
}
