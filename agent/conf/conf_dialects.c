/*
 * `dialects:` of the configuration: the user's own, by the rows of agent/conf/dialect.c, and which one the target speaks. Called by
 * agent/conf/conf.c and agent/conf/conf_rules.c.
 */
#include "agent/conf/conf_impl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/conf/broker_type.h"
#include "agent/conf/dialect.h"

enum { SHOWN_MAX = 48, NAMES_MAX = 128, TYPES_TEXT_MAX = 128 };

/* For an environment without built-in dialects: it sends nothing and takes every message. */
static const struct dialect raw = { .name = (char[]){ "raw" } };
static const struct dialect *const raw_only[] = { &raw, NULL };

static const struct dialect *const *built_in(const struct conf_env *env)
{
    return env->dialects && env->dialects[0] ? env->dialects : raw_only;
}

static void read_dialect(struct reader *reader, struct conf *conf, const struct node *node)
{
    struct dialect dialect = { 0 };
    conf_error_place(reader->errors, reader->trail.text, node->mark);
    opt_defaults(dialect_rows, &dialect);
    if (!node_is_null(node)) /* all parts are optional */
        read_map(reader, node, (const struct reader_part[2]){ { dialect_rows, &dialect }, { NULL, NULL } }, NULL);
    dialect.name = mem_strdup(node->key);
    conf->dialects = mem_realloc(conf->dialects, (conf->dialect_count + 1) * sizeof *conf->dialects);
    conf->dialects[conf->dialect_count++] = dialect;
}

void conf_read_dialects(struct reader *reader, struct conf *conf, const struct node *map)
{
    size_t start = trail_key(&reader->trail, "dialects");
    bool bad = true;
    if (map->kind != NODE_MAP)
        conf_error_at(reader->errors, map->mark, reader->trail.text, "%s, want a mapping such as { NAME: { connect: ... } }",
                      node_kind_name(map));
    else if (map->count > CONF_DIALECTS_MAX)
        conf_error_at(reader->errors, map->mark, reader->trail.text, "%zu dialects, want at most %d", map->count,
                      CONF_DIALECTS_MAX);
    else
        bad = false;
    for (const struct node *node = bad ? NULL : map->first; node; node = node->next) {
        size_t cut = trail_key(&reader->trail, node->key);
        char shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)];
        text_excerpt(slice_str(node->key), SHOWN_MAX, shown, sizeof shown);
        if (!node->duplicate && !conf_is_name(node->key))
            conf_error_at(reader->errors, node->key_mark, reader->trail.text, "'%s', want 1 to 64 letters, digits, _ . or -",
                          shown);
        else if (!node->duplicate)
            read_dialect(reader, conf, node);
        trail_cut(&reader->trail, cut);
    }
    trail_cut(&reader->trail, start);
}

void conf_clear_dialects(struct conf *conf)
{
    for (size_t i = 0; i < conf->dialect_count; i++) {
        opt_fini(dialect_rows, &conf->dialects[i]);
        mem_free(conf->dialects[i].name);
    }
    mem_free(conf->dialects);
    conf->dialects = NULL;
    conf->dialect_count = 0;
}

const struct dialect *conf_find_dialect(const struct conf *conf, const struct conf_env *env, const char *name, struct err *err)
{
    const char *names[NAMES_MAX] = { NULL };
    size_t count = 0;
    for (size_t i = 0; i < conf->dialect_count; i++) {
        if (strcmp(conf->dialects[i].name, name) == 0)
            return &conf->dialects[i];
        names[count++] = conf->dialects[i].name;
    }
    for (const struct dialect *const *dialect = built_in(env); *dialect; dialect++) {
        if (strcmp((*dialect)->name, name) == 0)
            return *dialect;
        if (count < NAMES_MAX)
            names[count++] = (*dialect)->name;
    }
    conf_unknown("dialect", name, name, names, count, err);
    return NULL;
}

bool conf_same_dialect(const struct dialect *a, const struct dialect *b)
{
    return a == b || (a && b && strcmp(a->name, b->name) == 0 && opt_equal(dialect_rows, a, b));
}

/* --- rules --------------------------------------------------------------------------------------------------------------------- */

static void complain(struct conf_error_list *found, struct trail *trail, const char *key, const char *text)
{
    size_t cut = trail_key(trail, key);
    conf_error_path(found, trail->text, "%s", text);
    trail_cut(trail, cut);
}

static void validate_path(const char *path, struct trail *trail, struct conf_error_list *found)
{
    if (*path != '/')
        complain(found, trail, "path", "does not begin with a slash");
    for (const char *p = path; *p; p++)
        if (*p <= ' ' || *p == 0x7f || *p == '#')
            complain(found, trail, "path", "holds a blank, a # or a control character");
}

static void validate_keepalive(const struct dialect *dialect, struct trail *trail, struct conf_error_list *found)
{
    const bool asked = !match_spec_empty(&dialect->keepalive.match), answered = dialect->keepalive.send.data;
    const bool pings = dialect->keepalive.ping.data, timed = dialect->keepalive.every_ms != 0;
    if (conf_error_has_below(found, trail->text)) /* it has an error already */
        return;
    if (answered && !asked)
        complain(found, trail, "keepalive.send", "needs match, the message that it answers");
    if (pings && !timed)
        complain(found, trail, "keepalive.beat", "needs every");
    if (timed && !pings)
        complain(found, trail, "keepalive.every", "needs beat");
}

static bool says_hole(const struct opt *row, const void *base, const char *hole)
{
    const struct opt_bytes *text = opt_field(row, (void *)base);
    if (row->kind == OPT_SPEC)
        return opt_spec_mentions((const struct match_spec *)(const void *)text, hole);
    return row->kind == OPT_BYTES && text->data && template_mentions(slice_make(text->data, text->len), hole);
}

/* {{resume}} and {{offset}} are what a pointer finds: without the pointer they would always be empty. */
static void validate_resume(const struct dialect *dialect, const char *path, struct conf_error_list *found)
{
    const struct {
        const char *hole, *key, *pointer;
    } holes[] = { { "resume", "token", dialect->resume.token },
                  { "offset", "offset", dialect->resume.offset ? dialect->resume.offset : dialect->resume.start } };
    char below[TRAIL_MAX];
    for (const struct opt *row = dialect_resume_rows; row->name; row++)
        for (size_t i = 0; i < sizeof holes / sizeof holes[0]; i++) {
            snprintf(below, sizeof below, "%s.resume.%s", path, row->name);
            if (!holes[i].pointer && says_hole(row, dialect, holes[i].hole))
                conf_error_path(found, below, "{{%s}} has no value without resume.%s, the JSON pointer to it", holes[i].hole,
                                holes[i].key);
        }
}

/* What the check says over its dialect's `resume`; NULL: nothing. */
static const struct dialect *resume_of(const struct check_conf *check)
{
    const struct opt *section = check->type ? opt_find(check->type->opts, "resume") : NULL;
    if (!section || section->kind != OPT_SECTION)
        return NULL;
    const struct dialect *over = (const struct dialect *)((const char *)check->opts + section->offset);
    for (const struct opt *row = dialect_resume_rows; row->name; row++)
        if (opt_is_set(row, over))
            return over;
    return NULL;
}

/* A dialect may leave the pointers to its checks. */
static bool checks_say_resume(const struct conf *conf)
{
    for (size_t i = 0; i < conf->check_count; i++)
        if (resume_of(&conf->checks[i]))
            return true;
    return false;
}

void conf_validate_resume_of(const struct conf *conf, const struct check_conf *check, const char *path,
                             struct conf_error_list *found)
{
    const struct dialect *over = resume_of(check);
    struct dialect both;
    if (!over || conf_error_has(found, "target.dialect") || conf_error_has_below(found, path) ||
        conf_error_has_below(found, "dialects"))
        return;
    dialect_overlay(&both, conf->target.dialect, over);
    validate_resume(&both, path, found);
}

/* publish.command excludes publish.topic and publish.body, and its first word must be a command of some broker type. */
static void validate_command(const struct dialect *dialect, const struct conf_env *env, const char *path,
                             struct conf_error_list *found)
{
    const struct opt_strings *command = &dialect->publish.command;
    const char *names[NAMES_MAX] = { NULL };
    char below[TRAIL_MAX];
    struct err err;
    size_t count = 0;
    snprintf(below, sizeof below, "%s.publish.command", path);
    if (!command->count || conf_error_has_below(found, below))
        return;
    if (dialect->publish.topic || dialect->publish.body)
        conf_error_path(found, below, "is set together with publish.%s, want one of the two",
                        dialect->publish.topic ? "topic" : "body");
    for (const struct broker_type *const *type = env->brokers; type && *type; type++)
        for (const char *const *name = (*type)->commands; name && *name && count < NAMES_MAX; name++) {
            if (strcasecmp(*name, command->items[0]) == 0)
                return;
            names[count++] = *name;
        }
    conf_unknown("command", command->items[0], command->items[0], names, count, &err);
    conf_error_path(found, below, "%s", err.text);
}

/* left_to_checks: what belongs together may be there in two parts. */
static void validate_dialect(const struct dialect *dialect, const struct conf_env *env, bool left_to_checks,
                             struct conf_error_list *found)
{
    struct trail trail = { "dialects" };
    trail_key(&trail, dialect->name);
    for (const struct dialect *const *other = built_in(env); *other; other++)
        if (strcmp((*other)->name, dialect->name) == 0)
            conf_error_path(found, trail.text, "is the name of a built-in dialect");
    validate_keepalive(dialect, &trail, found);
    if (dialect->path)
        validate_path(dialect->path, &trail, found);
    validate_command(dialect, env, trail.text, found);
    if (!left_to_checks)
        validate_resume(dialect, trail.text, found);
    size_t cut = trail_key(&trail, "subprotocols");
    conf_validate_subprotocols(&dialect->subprotocols, trail.text, found);
    trail_cut(&trail, cut);
}

/* Nobody who writes a slash behind the port means that the dialect's path is wrong. */
static bool has_own_path(const struct url *url)
{
    return url->has_path && url->target[0] == '/' && url->target[1] && url->target[1] != '?';
}

/* Gives a URL without a path, or with "/" alone, the path of the dialect. The URL's own query is appended. */
static void fill_path(struct url *url, const char *dialect_path, const char *path, struct conf_error_list *found)
{
    char target[URL_TARGET_MAX];
    if (!url->scheme[0] || has_own_path(url) || !dialect_path)
        return;
    const char *query = url->target[0] == '/' && url->target[1] == '?' ? url->target + 2 : NULL;
    int n = snprintf(target, sizeof target, "%s%s%s", dialect_path,
                     !query                      ? ""
                     : strchr(dialect_path, '?') ? "&"
                                                 : "?",
                     query ? query : "");
    if (n < 0 || (size_t)n >= sizeof target) {
        conf_error_path(found, path, "too long with the path of the dialect");
        return;
    }
    memcpy(url->target, target, (size_t)n + 1);
}

static void choose_dialect(struct conf *conf, const struct conf_env *env, struct conf_error_list *found)
{
    static const char path[] = "target.dialect";
    struct target_conf *target = &conf->target;
    struct err err;
    target->dialect = built_in(env)[0];
    if (!target->dialect_name || conf_error_has(found, path) || conf_error_has(found, "dialects"))
        return;
    const struct dialect *named = conf_find_dialect(conf, env, target->dialect_name, &err);
    if (named)
        target->dialect = named;
    else
        conf_error_path(found, path, "%s", err.text);
}

static bool check_says_token(const struct conf *conf)
{
    for (size_t i = 0; i < conf->check_count; i++)
        if (conf->checks[i].type && opt_mentions_token(conf->checks[i].type->opts, conf->checks[i].opts))
            return true;
    return false;
}

static void validate_token(const struct conf *conf, struct conf_error_list *found)
{
    const struct target_conf *target = &conf->target;
    const struct opt_bytes *connect = &target->dialect->connect.send;
    if (target->token_place == TOKEN_MESSAGE && !conf_error_has(found, "target.dialect") &&
        !conf_error_has_below(found, "dialects") && !conf_error_has_below(found, "checks") &&
        !template_mentions(slice_make(connect->data, connect->len), "token") && !check_says_token(conf))
        conf_error_path(found, "target.token_in",
                        "'message' needs {{token}} in the dialect's connect.send, and %s has none there, or in a check's text with "
                        "holes, such as "
                        "a step of a script",
                        target->dialect->name);
}

void conf_validate_dialect_of(const struct conf *conf, const struct check_conf *check, const char *path,
                              struct conf_error_list *found)
{
    const struct opt *row = check->type->needs_subscribe ? opt_find(check->type->opts, "subscribe") : NULL;
    const struct dialect *base = conf->target.dialect;
    struct dialect both;
    char below[TRAIL_MAX];
    if (!row || row->rows != dialect_subscribe_rows || conf_error_has(found, "target.dialect") ||
        conf_error_has_below(found, path) || conf_error_has_below(found, "dialects"))
        return;
    dialect_overlay(&both, base, (const struct dialect *)((const char *)check->opts + row->offset));
    snprintf(below, sizeof below, "%s.type", path);
    if (!both.subscribe.send.data && match_spec_empty(&both.subscribe.expect))
        conf_error_path(found, below, "'%s' needs a dialect that says how to subscribe, and %s does not (see target.dialect)",
                        check->type->name, base->name);
}

/* "redis", or "redis or valkey": the types of brokers that have commands of their own. */
static void list_commanding_types(const struct conf_env *env, char *out, size_t size)
{
    size_t len = 0;
    out[0] = 0;
    for (const struct broker_type *const *type = env->brokers; type && *type && len < size; type++)
        if ((*type)->command)
            len += (size_t)snprintf(out + len, size - len, "%s%s", len ? " or " : "", (*type)->name);
}

void conf_validate_publish_of(const struct conf *conf, const struct conf_env *env, const struct check_conf *check, const char *path,
                              struct conf_error_list *found)
{
    const struct opt *row = opt_find(check->type->opts, "publish"), *named = opt_find(check->type->opts, "broker");
    const struct dialect *over;
    const struct broker_conf *broker;
    struct dialect both;
    char below[TRAIL_MAX], types[TYPES_TEXT_MAX];
    if (!row || row->rows != dialect_publish_rows)
        return;
    over = (const struct dialect *)((const char *)check->opts + row->offset);
    validate_command(over, env, path, found);
    if (!named || conf_error_has(found, "target.dialect") || conf_error_has_below(found, path) ||
        conf_error_has_below(found, "dialects") || conf_error_has_below(found, "brokers"))
        return;
    broker = conf_find_broker(conf, *(char *const *)opt_field(named, check->opts));
    dialect_overlay(&both, conf->target.dialect, over);
    if (!both.publish.command.count || !broker || broker->type->command)
        return;
    snprintf(below, sizeof below, "%s.%s", path, over->publish.command.count ? "publish.command" : "broker");
    list_commanding_types(env, types, sizeof types);
    conf_error_path(found, below, "publish.command%s is of brokers of type %s, and %s is of type %s",
                    over->publish.command.count ? "" : " of the dialect", types, broker->name, broker->type->name);
}

void conf_validate_dialects(struct conf *conf, const struct conf_env *env, struct conf_error_list *found)
{
    struct target_conf *target = &conf->target;
    for (size_t i = 0; i < conf->dialect_count; i++)
        validate_dialect(&conf->dialects[i], env, checks_say_resume(conf), found);
    choose_dialect(conf, env, found);
    validate_token(conf, found);
    target->offers = target->subprotocols.count ? &target->subprotocols : &target->dialect->subprotocols;
    fill_path(&target->local, target->dialect->path, "target.url", found);
    fill_path(&target->public, target->dialect->path, "target.public_url", found);
}
