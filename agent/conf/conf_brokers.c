/*
 * `brokers:` of the configuration: reading them with the rows of their types, the rules that span their options, and the check that
 * each gets by itself. Called by agent/conf/conf.c and agent/conf/conf_rules.c. Promises that no password of a URL is in an error.
 * Each driver validates its own options (struct broker_type, validate).
 */
#include "agent/conf/conf_impl.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/conf/broker_type.h"

enum { SHOWN_MAX = 48, SCHEMES_MAX = 64, SCHEME_TEXT_MAX = 32, URL_TEXT_MAX = 8 << 10, LIST_TEXT_MAX = 384 };

/* Brokers that the manual promises and that a build may leave out. */
static const char *const optional_types[] = { "kafka", "mqtt", "mqtts", NULL };

static const struct broker_type *const *types_of(const struct conf_env *env)
{
    static const struct broker_type *const none[] = { NULL };
    return env->brokers ? env->brokers : none;
}

static const struct broker_type *find_type(const struct conf_env *env, const char *name)
{
    for (const struct broker_type *const *type = types_of(env); *type; type++)
        if (strcmp((*type)->name, name) == 0)
            return *type;
    return NULL;
}

/* The next word of a list like "redis rediss", or an empty slice. */
static struct slice next_word(const char **list)
{
    const char *word = *list + strspn(*list, " ");
    size_t len = strcspn(word, " ");
    *list = word + len;
    return slice_make(word, len);
}

static bool is_listed(const char *list, struct slice scheme)
{
    for (struct slice word; (word = next_word(&list)).len;) {
        char text[SCHEME_TEXT_MAX];
        snprintf(text, sizeof text, "%.*s", (int)word.len, (const char *)word.data);
        if (slice_equal_nocase(scheme, text))
            return true;
    }
    return false;
}

static bool has_scheme(const struct broker_type *type, struct slice scheme)
{
    return is_listed(type->schemes, scheme);
}

static const struct broker_type *type_of_scheme(const struct conf_env *env, struct slice scheme)
{
    for (const struct broker_type *const *type = types_of(env); *type; type++)
        if (has_scheme(*type, scheme))
            return *type;
    return NULL;
}

/* What stands before ://, or an empty slice. */
static struct slice scheme_of(const char *url)
{
    const char *end = strstr(url, "://");
    return slice_make(url, end ? (size_t)(end - url) : 0);
}

/* "redis://, rediss:// or redis+unix://" */
static void list_schemes(const struct broker_type *type, char *out, size_t size)
{
    const char *list = type->schemes;
    struct slice word = next_word(&list);
    size_t len = 0;
    out[0] = 0;
    for (bool first = true; word.len && len < size; first = false) {
        struct slice next = next_word(&list);
        int n = snprintf(out + len, size - len, "%s%.*s://",
                         first      ? ""
                         : next.len ? ", "
                                    : " or ",
                         (int)word.len, (const char *)word.data);
        len += n > 0 ? (size_t)n : 0;
        word = next;
    }
}

static const char *const *type_names(const struct conf_env *env, const char *names[SCHEMES_MAX], size_t *count)
{
    *count = 0;
    for (const struct broker_type *const *type = types_of(env); *type && *count < SCHEMES_MAX; type++)
        names[(*count)++] = (*type)->name;
    return names;
}

static bool is_optional(const char *name)
{
    for (const char *const *optional = optional_types; *optional; optional++)
        if (strcmp(*optional, name) == 0)
            return true;
    return false;
}

/* Why there is no such type. */
static int unknown_type(const struct conf_env *env, const char *name, const char *shown, struct err *err)
{
    const char *names[SCHEMES_MAX] = { NULL };
    size_t count;
    type_names(env, names, &count);
    if (is_optional(name))
        return err_set(err, REASON_NONE, 0, "'%s' is not in this build", name);
    return conf_unknown("broker type", name, shown, names, count, err);
}

/* Why no type has that scheme: the nearest one, or all types. */
static int unknown_scheme(const struct conf_env *env, struct slice scheme, struct err *err)
{
    char words[SCHEMES_MAX][SCHEME_TEXT_MAX], shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)], name[SHOWN_MAX];
    const char *names[SCHEMES_MAX] = { NULL };
    size_t count = 0;
    for (const struct broker_type *const *type = types_of(env); *type; type++) {
        const char *list = (*type)->schemes;
        for (struct slice word; count < SCHEMES_MAX && (word = next_word(&list)).len; count++) {
            snprintf(words[count], sizeof words[count], "%.*s", (int)word.len, (const char *)word.data);
            names[count] = words[count];
        }
    }
    text_excerpt(scheme, SHOWN_MAX, shown, sizeof shown);
    snprintf(name, sizeof name, "%.*s", (int)(scheme.len < sizeof name ? scheme.len : sizeof name - 1), (const char *)scheme.data);
    if (is_optional(name))
        return err_set(err, REASON_NONE, 0, "'%s' is not in this build", name);
    const char *near = text_nearest(name, names, count);
    if (near)
        return err_set(err, REASON_NONE, 0, "no type of broker has the scheme %s:// (did you mean '%s://'?)", shown, near);
    names[0] = type_names(env, names, &count)[0];
    err_set(err, REASON_NONE, 0, "no type of broker has the scheme %s://, want the URL of", shown);
    conf_list_names(names, count, err);
    return -1;
}

/* --- reading ------------------------------------------------------------------------------------------------------------------ */

/* Without `type`, the URL's scheme says it. NULL: an error has been added. */
static const struct broker_type *guess_type(struct reader *reader, const struct node *map)
{
    const struct node *node = node_get(map, "url");
    const struct broker_type *type = NULL;
    struct err err;
    if (!node || node_is_null(node)) {
        size_t cut = trail_key(&reader->trail, "type");
        conf_error_at(reader->errors, map->mark, reader->trail.text, "required, but not set");
        trail_cut(&reader->trail, cut);
        return NULL;
    }
    size_t cut = trail_key(&reader->trail, "url");
    char *url = read_text(reader, node, "a URL");
    if (url) {
        struct slice scheme = scheme_of(url);
        type = scheme.len ? type_of_scheme(reader->env, scheme) : NULL;
        if (!scheme.len)
            conf_error_at(reader->errors, node->mark, reader->trail.text, "no scheme, want a URL such as redis://127.0.0.1:6379/0");
        else if (!type && unknown_scheme(reader->env, scheme, &err))
            conf_error_at(reader->errors, node->mark, reader->trail.text, "%s", err.text);
    }
    mem_free(url);
    trail_cut(&reader->trail, cut);
    return type;
}

static const struct broker_type *read_type(struct reader *reader, const struct node *map)
{
    const struct node *node = node_get(map, "type");
    struct err err;
    if (!node || node_is_null(node))
        return guess_type(reader, map);
    size_t cut = trail_key(&reader->trail, "type");
    char *name = read_text(reader, node, "the name of a broker type");
    const struct broker_type *type = name ? find_type(reader->env, name) : NULL;
    conf_error_place(reader->errors, reader->trail.text, node->mark);
    if (name && !type && unknown_type(reader->env, name, node->text, &err))
        conf_error_at(reader->errors, node->mark, reader->trail.text, "%s", err.text);
    mem_free(name);
    trail_cut(&reader->trail, cut);
    return type;
}

/* A broker of a wrong type keeps its place, so that brokers[2] of an error is the third of the file. Such a generation is never
 * handed out. */
static struct broker_conf *append_broker(struct conf *conf, const struct broker_type *type)
{
    conf->brokers = mem_realloc(conf->brokers, (conf->broker_count + 1) * sizeof *conf->brokers);
    struct broker_conf *broker = &conf->brokers[conf->broker_count++];
    *broker = (struct broker_conf){ .type = type };
    if (!type)
        return broker;
    opt_defaults(broker_rows, broker);
    broker->opts = mem_alloc(type->opts_size ? type->opts_size : 1);
    opt_defaults(type->opts, broker->opts);
    for (const struct opt *row = type->opts; row && row->name; row++)
        panic_if(opt_find(broker_rows, row->name) || strcmp(row->name, "type") == 0); /* two meanings for one key */
    return broker;
}

static void read_broker(struct reader *reader, struct conf *conf, const struct node *node)
{
    static const char *const others[] = { "type", NULL };
    const struct broker_type *type = NULL;
    conf_error_place(reader->errors, reader->trail.text, node->mark);
    if (node->kind == NODE_MAP)
        type = read_type(reader, node);
    else
        conf_error_at(reader->errors, node->mark, reader->trail.text,
                      "%s, want a mapping such as { url: redis://127.0.0.1:6379/0 }", node_kind_name(node));
    struct broker_conf *broker = append_broker(conf, type);
    if (type)
        read_map(reader, node, (const struct reader_part[2]){ { broker_rows, broker }, { type->opts, broker->opts } }, others);
}

void conf_read_brokers(struct reader *reader, struct conf *conf, const struct node *list)
{
    size_t index = 0;
    size_t start = trail_key(&reader->trail, "brokers");
    bool bad = true;
    conf_error_place(reader->errors, reader->trail.text, list->mark);
    if (list->kind != NODE_LIST)
        conf_error_at(reader->errors, list->mark, reader->trail.text,
                      "%s, want a list of brokers such as [{ url: redis://127.0.0.1:6379/0 }]", node_kind_name(list));
    else if (list->first && !types_of(reader->env)[0])
        conf_error_at(reader->errors, list->mark, reader->trail.text, "not in this build");
    else if (list->count > CONF_BROKERS_MAX)
        conf_error_at(reader->errors, list->mark, reader->trail.text, "%zu brokers, want at most %d", list->count,
                      CONF_BROKERS_MAX);
    else
        bad = false;
    for (const struct node *node = bad ? NULL : list->first; node; node = node->next) {
        size_t cut = trail_index(&reader->trail, index++);
        read_broker(reader, conf, node);
        trail_cut(&reader->trail, cut);
    }
    trail_cut(&reader->trail, start);
}

void conf_clear_brokers(struct conf *conf)
{
    for (size_t i = 0; i < conf->broker_count; i++) {
        struct broker_conf *broker = &conf->brokers[i];
        opt_fini(broker_rows, broker);
        if (broker->type)
            opt_fini(broker->type->opts, broker->opts);
        mem_free(broker->opts);
    }
    mem_free(conf->brokers);
    conf->brokers = NULL;
    conf->broker_count = 0;
}

const struct broker_conf *conf_find_broker(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->broker_count; i++)
        if (conf->brokers[i].name && strcmp(conf->brokers[i].name, name) == 0)
            return &conf->brokers[i];
    return NULL;
}

bool conf_same_broker(const struct broker_conf *a, const struct broker_conf *b)
{
    return a->type == b->type && opt_equal(broker_rows, a, b) && opt_equal(a->type->opts, a->opts, b->opts);
}

/* --- brokers of checks --------------------------------------------------------------------------------------------------------- */

static const struct opt *broker_row(const struct check_conf *check)
{
    const struct opt *row = check->type ? opt_find(check->type->opts, "broker") : NULL;
    return row && row->kind == OPT_STRING ? row : NULL;
}

/* With only one broker, a check need not name it. */
static void fill_broker(const struct conf *conf, struct check_conf *check)
{
    const struct opt *row = broker_row(check);
    struct err err;
    if (row && !opt_is_set(row, check->opts) && conf->broker_count == 1 && conf->brokers[0].name)
        panic_if(opt_set(check->type->opts, check->opts, "broker", conf->brokers[0].name, &err));
}

void conf_validate_broker_of(struct conf *conf, struct check_conf *check, const char *path, struct conf_error_list *found)
{
    const struct opt *row = broker_row(check);
    char below[TRAIL_MAX];
    struct err err;
    if (!row)
        return;
    if (check->type->needs_broker && !check->type->needs_broker(check->opts) && !*(char **)opt_field(row, check->opts))
        return;
    fill_broker(conf, check);
    snprintf(below, sizeof below, "%s.broker", path);
    const char *name = *(char **)opt_field(row, check->opts);
    if (conf_error_has_below(found, "brokers") || conf_error_has(found, below))
        return;
    if (!conf->broker_count)
        conf_error_path(found, below, "'%s' needs a broker, and `brokers` has none", check->type->name);
    else if (!name)
        conf_error_path(found, below, "required, as there are %zu brokers", conf->broker_count);
    else if (!conf_find_broker(conf, name)) {
        const char *names[CONF_BROKERS_MAX];
        for (size_t i = 0; i < conf->broker_count; i++)
            names[i] = conf->brokers[i].name;
        conf_unknown("broker", name, name, names, conf->broker_count, &err);
        conf_error_path(found, below, "%s", err.text);
    }
}

/* The broker that a check looks at as its own subject (PROBE_BROKER); NULL: it has another subject, or no broker yet. */
static const char *watched_broker(const struct check_conf *check)
{
    const struct opt *row = check->type && check->type->kind == PROBE_BROKER ? broker_row(check) : NULL;
    return row ? *(char **)opt_field(row, check->opts) : NULL;
}

static bool has_own_check(const struct conf *conf, const struct broker_conf *broker)
{
    for (size_t i = 0; i < conf->check_count; i++) {
        const char *name = watched_broker(&conf->checks[i]);
        if (name && strcmp(name, broker->name) == 0)
            return true;
    }
    return false;
}

const char *conf_default_name(const struct check_conf *check)
{
    const char *name = watched_broker(check);
    return name ? name : check->type->name;
}

/* The type of the checks that brokers get by themselves; NULL: this build has none. */
static const struct probe_type *watching_type(const struct conf_env *env)
{
    for (const struct probe_type *const *type = env->probes; *type; type++)
        if ((*type)->kind == PROBE_BROKER)
            return *type;
    return NULL;
}

void conf_add_broker_checks(struct conf *conf, const struct conf_env *env, const struct check_conf *defaults,
                            struct conf_error_list *found)
{
    const struct probe_type *type = watching_type(env);
    struct err err;
    for (size_t i = 0; i < conf->broker_count; i++)
        if (conf->brokers[i].type && !conf->brokers[i].name)
            conf->brokers[i].name = mem_strdup(conf->brokers[i].type->name);
    for (size_t i = 0; i < conf->check_count; i++)
        fill_broker(conf, &conf->checks[i]);
    for (size_t i = 0; type && i < conf->broker_count; i++) {
        const struct broker_conf *broker = &conf->brokers[i];
        char path[64];
        snprintf(path, sizeof path, "brokers[%zu].name", i);
        if (!broker->name || !conf_is_name(broker->name) || has_own_check(conf, broker))
            continue;
        for (size_t j = 0; j < conf->check_count; j++) {
            const struct check_conf *check = &conf->checks[j];
            if (check->type && strcmp(check->name ? check->name : conf_default_name(check), broker->name) == 0)
                conf_error_path(found, path, "'%s' is the name of checks[%zu], but the broker gets a check of that name by itself",
                                broker->name, j);
        }
        if (conf_error_has(found, path))
            continue;
        struct check_conf *check = conf_add_check(conf, type->name, env, &err);
        if (!check) {
            conf_error_path(found, path, "%s, with one for each broker", err.text);
            return;
        }
        conf_take_defaults(check, defaults);
        check->gates = check->type->gates; /* not those of `defaults`: the broker is shared, so its fault only degrades */
        mem_free(check->name);
        check->name = mem_strdup(broker->name);
        panic_if(broker_row(check) && opt_set(check->type->opts, check->opts, "broker", broker->name, &err));
    }
}

/* --- rules --------------------------------------------------------------------------------------------------------------------- */

static void validate_name(const struct conf *conf, size_t index, const char *path, struct conf_error_list *found)
{
    const struct broker_conf *broker = &conf->brokers[index];
    char shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)];
    if (conf_error_has(found, path))
        return;
    text_excerpt(slice_str(broker->name), SHOWN_MAX, shown, sizeof shown);
    if (!conf_is_name(broker->name)) {
        conf_error_path(found, path, "'%s', want 1 to 64 letters, digits, _ . or -", shown);
        return;
    }
    for (size_t i = 0; i < index; i++)
        if (conf->brokers[i].name && strcmp(conf->brokers[i].name, broker->name) == 0)
            conf_error_path(found, path, "'%s' is taken by brokers[%zu]", shown, i);
}

/* The URL with its files read, for looking at it. NULL: an error has been added. */
static char *validate_url(struct broker_conf *broker, const char *path, const struct conf_env *env, struct conf_error_list *found)
{
    char want[LIST_TEXT_MAX], shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)];
    struct buf text = BUF_INIT(URL_TEXT_MAX);
    char *url = NULL;
    struct err err;
    if (conf_error_has(found, path))
        return NULL;
    if (!broker->url)
        broker->url = mem_strdup(broker->type->default_url);
    list_schemes(broker->type, want, sizeof want);
    if (!broker->url) {
        conf_error_path(found, path, "required, but not set: want %s", want);
        return NULL;
    }
    if (opt_expand(broker->url, &text, &err)) {
        conf_error_path(found, path, "%s", err.text);
        goto out;
    }
    struct slice scheme = scheme_of(buf_str(&text));
    conf_hide_url(buf_str(&text));
    text_excerpt(scheme, SHOWN_MAX, shown, sizeof shown);
    if (!scheme.len) {
        conf_error_path(found, path, "no scheme, want %s", want);
    } else if (!has_scheme(broker->type, scheme)) {
        const struct broker_type *other = type_of_scheme(env, scheme);
        conf_error_path(found, path, "scheme %s://, want %s%s%s", shown, want, other ? "; it is one of type " : "",
                        other ? other->name : "");
    } else {
        url = mem_strdup(buf_str(&text));
    }
out:
    buf_fini(&text);
    return url;
}

/* `tls` beside a URL without TLS is an error, and not ignored: the user may believe that the password is encrypted. */
static void validate_tls_in_vain(const struct broker_conf *broker, const char *path, const char *url, struct conf_error_list *found)
{
    const char *wanted = !broker->tls.verify ? "verify" : conf_tls_wanted(&broker->tls);
    struct slice scheme = scheme_of(url), secure = { 0 };
    char below[TRAIL_MAX], hint[SCHEME_TEXT_MAX + 32] = "";
    if (!wanted || !broker->type->plain_schemes || !is_listed(broker->type->plain_schemes, scheme))
        return;
    const char *list = broker->type->schemes;
    for (struct slice word; !secure.len && (word = next_word(&list)).len;)
        if (!is_listed(broker->type->plain_schemes, word))
            secure = word;
    if (secure.len)
        snprintf(hint, sizeof hint, " (%.*s:// has it)", (int)secure.len, (const char *)secure.data);
    snprintf(below, sizeof below, "%s.tls.%s", path, wanted);
    conf_error_path(found, below, "the URL is %.*s://, without TLS%s", (int)scheme.len, (const char *)scheme.data, hint);
}

static void validate_broker(struct conf *conf, size_t index, const struct conf_env *env, struct conf_error_list *found)
{
    struct broker_conf *broker = &conf->brokers[index];
    char path[32], below[TRAIL_MAX];
    struct err err = { 0 };
    if (!broker->type) /* already reported */
        return;
    if (!broker->name)
        broker->name = mem_strdup(broker->type->name);
    snprintf(path, sizeof path, "brokers[%zu]", index);
    snprintf(below, sizeof below, "%s.name", path);
    validate_name(conf, index, below, found);
    snprintf(below, sizeof below, "%s.tls", path);
    conf_validate_tls(&broker->tls, below, found);
    snprintf(below, sizeof below, "%s.retry.min", path);
    if (broker->retry_min_ms > broker->retry_max_ms)
        conf_error_path(found, below, "more than retry.max");
    snprintf(below, sizeof below, "%s.url", path);
    char *url = validate_url(broker, below, env, found);
    if (url)
        validate_tls_in_vain(broker, path, url, found);
    conf_validate_required(found, path, broker->type->opts, broker->opts);
    conf_hide_urls(broker->type->opts, broker->opts);
    if (url && !conf_error_has_below(found, path) && broker->type->validate) {
        struct broker_conf plain = *broker; /* drivers parse the URL, so they get it without markers */
        plain.url = url;
        if (broker->type->validate(&plain, &err))
            conf_error_below(found, path, (const struct opt *const[]){ broker->type->opts, broker_rows, NULL }, &err);
    }
    mem_free(url);
}

void conf_validate_brokers(struct conf *conf, const struct conf_env *env, struct conf_error_list *found)
{
    for (size_t i = 0; i < conf->broker_count; i++)
        validate_broker(conf, i, env, found);
}
