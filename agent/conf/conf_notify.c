/*
 * `notify:` of the configuration: its rows, reading it with the rows of the receivers' types, and the rules that span its options. Called by
 * agent/conf/conf.c and agent/conf/conf_rules.c. Promises that nothing of a receiver's URL but scheme and host is in an error. Each type
 * validates its own options (struct receiver_type, validate).
 */
#include "agent/conf/conf_impl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/conf/receiver_type.h"

#define SECONDS(n) ((n) * INT64_C(1000))
#define MINUTES(n) SECONDS((n) * 60)
#define HOURS(n) MINUTES((n) * 60)

enum {
    SHOWN_MAX = 48,
    TYPES_MAX = 32,
    URL_TEXT_MAX = 4096,
    BODY_TEXT_MAX = 16 << 10,
    HEADERS_MAX = 16,
    SECRET_TARGET_MIN = 16, /* a shorter path is no token, and masked it would garble other texts */
};

static const char *const on_words[] = { "not_ready", "degraded", "ready", "not_live", "draining", "warn", NULL }; /* NOTIFY_* */
/* notice_expand of agent/notify/notice.h fills them, and the last three are the template's own. */
static const char *const notifier_holes[] = { "title",   "text",   "kind",     "severity", "incident", "key",      "word",
                                              "was",     "cause",  "sentence", "advice",   "because",  "service",  "agent",
                                              "region",  "host",   "link",     "begun",    "at",       "duration", "changes",
                                              "version", "status", "now",      "now_s",    "uuid",     NULL };

#define NOTIFIER(field) offsetof(struct notifier_conf, field)
const struct opt notifier_rows[] = {
    { .name = "name",
      .kind = OPT_STRING,
      .offset = NOTIFIER(name),
      .min = 1,
      .max = 64,
      .help = "its name in logs, metrics and `wshealthd notify test`: letters, digits, _ . and -; by default the type" },
    { .name = "on",
      .kind = OPT_SET,
      .offset = NOTIFIER(on),
      .default_text = "not_ready,degraded,not_live,ready",
      .words = on_words,
      .help =
          "what it tells: not_ready, degraded and not_live are faults, as /ready and /live say them; warn is what only reports; "
          "draining is told only if it is named; ready is the end of whatever was told" },
    { .name = "after",
      .kind = OPT_DURATION,
      .offset = NOTIFIER(after_ms),
      .default_text = "15s",
      .max = HOURS(24),
      .help =
          "a fault that ends earlier is not told; one that comes and goes is, once it has lasted so long in sum. A recovery has to "
          "last so long too, at most a minute" },
    { .name = "repeat",
      .kind = OPT_DURATION,
      .offset = NOTIFIER(repeat_ms),
      .default_text = "4h",
      .max = HOURS(24 * 31),
      .help = "how often a fault that lasts is told again; 0s means never" },
    { .name = "max_per_hour",
      .kind = OPT_INT,
      .offset = NOTIFIER(max_per_hour),
      .default_text = "12",
      .min = 2,
      .max = 120,
      .help = "at most so many messages in any hour. The end of an incident whose begin was told always has room; what is left out "
              "is counted "
              "in the next message" },
    { .name = "timeout",
      .kind = OPT_DURATION,
      .offset = NOTIFIER(timeout_ms),
      .default_text = "10s",
      .min = 100,
      .max = MINUTES(2),
      .help = "a hard deadline on each try, connecting included; a program is killed then, with all that it has started" },
    { .name = "body",
      .kind = OPT_STRING,
      .offset = NOTIFIER(body),
      .min = 1,
      .max = BODY_TEXT_MAX,
      .flags = OPT_TEMPLATE,
      .holes = notifier_holes,
      .help =
          "a template that takes the place of the type's own text, with holes such as {{title}}, {{text}}, {{word}}, {{cause}}, "
          "{{sentence}}, {{advice}}, {{link}} and {{status}}, which is JSON; see NOTIFICATIONS for all. In a body of JSON the "
          "others "
          "are escaped for the inside of a string" },
    { .name = "url",
      .kind = OPT_STRING,
      .offset = NOTIFIER(url),
      .min = 1,
      .max = URL_TEXT_MAX,
      .flags = OPT_DYNAMIC | OPT_SECRET_PATH,
      .help = "where it goes, http:// or https://; ${file:/path} in it is read again for every message. Only scheme and host are "
              "ever shown. "
              "There are no redirects and no proxies" },
    { .name = "headers",
      .kind = OPT_PAIRS,
      .offset = NOTIFIER(headers),
      .max = HEADERS_MAX,
      .flags = OPT_DYNAMIC,
      .help = "further headers of the request, such as Authorization" },
    { .name = "tls", .kind = OPT_SECTION, .offset = NOTIFIER(tls), .rows = tls_rows, .help = "TLS towards the receiver" },
    { 0 },
};

/* --- reading ------------------------------------------------------------------------------------------------------------------ */

static const struct receiver_type *const *types_of(const struct conf_env *env)
{
    static const struct receiver_type *const none[] = { NULL };
    return env->receivers ? env->receivers : none;
}

static int unknown_type(const struct conf_env *env, const char *name, const char *shown, struct err *err)
{
    const char *names[TYPES_MAX] = { NULL };
    size_t count = 0;
    for (const struct receiver_type *const *type = types_of(env); *type && count < TYPES_MAX; type++)
        names[count++] = (*type)->name;
    return conf_unknown("type of notifier", name, shown, names, count, err);
}

static const struct receiver_type *find_type(const struct conf_env *env, const char *name)
{
    for (const struct receiver_type *const *type = types_of(env); *type; type++)
        if (strcmp((*type)->name, name) == 0)
            return *type;
    return NULL;
}

static const struct receiver_type *read_type(struct reader *reader, const struct node *map)
{
    const struct node *node = node_get(map, "type");
    const struct receiver_type *type = NULL;
    struct err err;
    size_t cut = trail_key(&reader->trail, "type");
    if (!node || node_is_null(node)) {
        conf_error_at(reader->errors, node ? node->mark : map->mark, reader->trail.text, "required, but not set");
    } else {
        char *name = read_text(reader, node, "the name of a type of notifier");
        conf_error_place(reader->errors, reader->trail.text, node->mark);
        type = name ? find_type(reader->env, name) : NULL;
        if (name && !type && unknown_type(reader->env, name, node->text, &err))
            conf_error_at(reader->errors, node->mark, reader->trail.text, "%s", err.text);
        mem_free(name);
    }
    trail_cut(&reader->trail, cut);
    return type;
}

/* One of a wrong type keeps its place, as a broker does (agent/conf/conf_brokers.c). */
static struct notifier_conf *append_notifier(struct conf *conf, const struct receiver_type *type)
{
    conf->notifiers = mem_realloc(conf->notifiers, (conf->notifier_count + 1) * sizeof *conf->notifiers);
    struct notifier_conf *notifier = &conf->notifiers[conf->notifier_count++];
    *notifier = (struct notifier_conf){ .type = type };
    if (!type)
        return notifier;
    opt_defaults(notifier_rows, notifier);
    notifier->opts = mem_alloc(type->opts_size ? type->opts_size : 1);
    opt_defaults(type->opts, notifier->opts);
    for (const struct opt *row = type->opts; row && row->name; row++)
        panic_if(opt_find(notifier_rows, row->name) || strcmp(row->name, "type") == 0); /* two meanings for one key */
    return notifier;
}

static void read_notifier(struct reader *reader, struct conf *conf, const struct node *node)
{
    static const char *const others[] = { "type", NULL };
    const struct receiver_type *type = NULL;
    conf_error_place(reader->errors, reader->trail.text, node->mark);
    if (node->kind == NODE_MAP)
        type = read_type(reader, node);
    else
        conf_error_at(reader->errors, node->mark, reader->trail.text,
                      "%s, want a mapping such as { name: ops, type: webhook, url: http://127.0.0.1:8000/alerts }",
                      node_kind_name(node));
    struct notifier_conf *notifier = append_notifier(conf, type);
    if (type)
        read_map(reader, node, (const struct reader_part[2]){ { notifier_rows, notifier }, { type->opts, notifier->opts } },
                 others);
}

void conf_read_notifiers(struct reader *reader, struct conf *conf, const struct node *list)
{
    size_t index = 0;
    size_t start = trail_key(&reader->trail, "notify");
    bool bad = list->kind != NODE_LIST || list->count > CONF_NOTIFIERS_MAX;
    conf_error_place(reader->errors, reader->trail.text, list->mark);
    if (list->kind != NODE_LIST)
        conf_error_at(reader->errors, list->mark, reader->trail.text,
                      "%s, want a list of notifiers such as [{ type: webhook, url: http://127.0.0.1:8000/alerts }]",
                      node_kind_name(list));
    else if (bad)
        conf_error_at(reader->errors, list->mark, reader->trail.text, "%zu notifiers, want at most %d", list->count,
                      CONF_NOTIFIERS_MAX);
    for (const struct node *node = bad ? NULL : list->first; node; node = node->next) {
        size_t cut = trail_index(&reader->trail, index++);
        read_notifier(reader, conf, node);
        trail_cut(&reader->trail, cut);
    }
    trail_cut(&reader->trail, start);
}

void conf_clear_notifiers(struct conf *conf)
{
    for (size_t i = 0; i < conf->notifier_count; i++) {
        struct notifier_conf *notifier = &conf->notifiers[i];
        opt_fini(notifier_rows, notifier);
        if (notifier->type)
            opt_fini(notifier->type->opts, notifier->opts);
        mem_free(notifier->opts);
    }
    mem_free(conf->notifiers);
    conf->notifiers = NULL;
    conf->notifier_count = 0;
}

const struct notifier_conf *conf_find_notifier(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->notifier_count; i++)
        if (conf->notifiers[i].name && strcmp(conf->notifiers[i].name, name) == 0)
            return &conf->notifiers[i];
    return NULL;
}

bool conf_same_notifier(const struct notifier_conf *a, const struct notifier_conf *b)
{
    return a->type == b->type && opt_equal(notifier_rows, a, b) && opt_equal(a->type->opts, a->opts, b->opts);
}

/* --- rules --------------------------------------------------------------------------------------------------------------------- */

void conf_hide_target(const char *text)
{
    const char *authority = strstr(text, "://"), *path = authority ? strpbrk(authority + 3, "/?#") : NULL;
    conf_hide_url(text);
    if (!path || strlen(path) < SECRET_TARGET_MIN)
        return;
    secret_add(path);
    for (const char *part = path; *part;) {
        part += strspn(part, "/?&=#");
        size_t len = strcspn(part, "/?&=#");
        char *copy = len >= SECRET_TARGET_MIN ? mem_strndup(part, len) : NULL;
        secret_add(copy);
        mem_free(copy);
        part += len;
    }
}

static void validate_name(const struct conf *conf, size_t index, const char *path, struct conf_error_list *found)
{
    const struct notifier_conf *notifier = &conf->notifiers[index];
    char shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)];
    if (conf_error_has(found, path))
        return;
    text_excerpt(slice_str(notifier->name), SHOWN_MAX, shown, sizeof shown);
    if (!conf_is_name(notifier->name)) {
        conf_error_path(found, path, "'%s', want 1 to 64 letters, digits, _ . or -", shown);
        return;
    }
    for (size_t i = 0; i < index; i++)
        if (conf->notifiers[i].name && strcmp(conf->notifiers[i].name, notifier->name) == 0)
            conf_error_path(found, path, "'%s' is taken by notify[%zu]", shown, i);
}

static bool is_http(const char *text)
{
    return strncasecmp(text, "http://", strlen("http://")) == 0 || strncasecmp(text, "https://", strlen("https://")) == 0;
}

static void validate_url(struct notifier_conf *notifier, const char *path, struct conf_error_list *found)
{
    struct buf text = BUF_INIT(URL_TEXT_MAX);
    struct url url;
    struct err err;
    if (conf_error_has(found, path))
        return;
    if (!notifier->url)
        notifier->url = mem_strdup(notifier->type->default_url);
    if (!notifier->url) {
        conf_error_path(found, path, "required, but not set: want http:// or https://");
    } else if (opt_expand(notifier->url, &text, &err)) {
        conf_error_path(found, path, "%s", err.text);
    } else {
        conf_hide_target(buf_str(&text));
        if (url_parse(buf_str(&text), &url, &err) < 0)
            conf_error_path(found, path, "%s",
                            is_http(buf_str(&text)) ? url_complaint(&err) : "want http:// or https:// at its beginning");
        else if (strcmp(url.scheme, "http") != 0 && strcmp(url.scheme, "https") != 0)
            conf_error_path(found, path, "scheme %s://, want http:// or https://", url.scheme);
        else if (!url.tls && (!notifier->tls.verify || conf_tls_wanted(&notifier->tls)))
            conf_error_path(found, path, "http:// has no TLS, but `tls` is set: want https://");
    }
    buf_wipe(&text);
}

/* What only makes sense for a URL. */
static void refuse_http(const struct notifier_conf *notifier, const char *path, struct conf_error_list *found)
{
    const struct {
        const char *name;
        bool set;
    } keys[] = { { "url", notifier->url },
                 { "headers", notifier->headers.count },
                 { "tls", !notifier->tls.verify || conf_tls_wanted(&notifier->tls) } };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char below[TRAIL_MAX];
        snprintf(below, sizeof below, "%s.%s", path, keys[i].name);
        if (keys[i].set)
            conf_error_path(found, below, "'%s' runs a program, and has no use for it", notifier->type->name);
    }
}

static void validate_headers(const struct notifier_conf *notifier, const char *path, struct conf_error_list *found)
{
    static const char *const own[] = { "Content-Length", "Connection", "Transfer-Encoding", "Accept-Encoding", "Host", NULL };
    for (size_t i = 0; i < notifier->headers.count; i++) {
        const struct opt_pair *pair = &notifier->headers.items[i];
        char below[TRAIL_MAX], shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)];
        text_excerpt(slice_str(pair->name), SHOWN_MAX, shown, sizeof shown);
        snprintf(below, sizeof below, "%s.headers.%s", path, pair->name);
        if (opt_name_is_secret(pair->name) && !opt_is_dynamic(pair->value))
            secret_add(pair->value);
        if (!conf_is_header_name(pair->name))
            conf_error_path(found, below, "'%s' is not the name of a header", shown);
        for (const char *const *name = own; *name; name++)
            if (slice_equal_nocase(slice_str(pair->name), *name))
                conf_error_path(found, below, "is set by the agent");
        for (const char *at = pair->value; *at; at++)
            if ((unsigned char)*at < ' ' && *at != '\t' && *at != OPT_MARK_BEGIN && *at != OPT_MARK_END) {
                conf_error_path(found, below, "holds a line break or another control character");
                break;
            }
    }
}

static void validate_notifier(struct conf *conf, size_t index, struct conf_error_list *found)
{
    struct notifier_conf *notifier = &conf->notifiers[index];
    char path[32], below[TRAIL_MAX];
    struct err err = { 0 };
    if (!notifier->type) /* already reported */
        return;
    if (!notifier->name)
        notifier->name = mem_strdup(notifier->type->name);
    snprintf(path, sizeof path, "notify[%zu]", index);
    snprintf(below, sizeof below, "%s.name", path);
    validate_name(conf, index, below, found);
    snprintf(below, sizeof below, "%s.on", path);
    if (!(notifier->on & ~(unsigned)NOTIFY_READY) && !conf_error_has_below(found, below))
        conf_error_path(found, below, "no fault is named, want at least one of not_ready, degraded, not_live, warn and draining");
    snprintf(below, sizeof below, "%s.url", path);
    if (notifier->type->by == RECEIVER_HTTP)
        validate_url(notifier, below, found);
    else
        refuse_http(notifier, path, found);
    snprintf(below, sizeof below, "%s.tls", path);
    conf_validate_tls(&notifier->tls, below, found);
    validate_headers(notifier, path, found);
    conf_validate_required(found, path, notifier->type->opts, notifier->opts);
    conf_hide_urls(notifier->type->opts, notifier->opts);
    if (!conf_error_has_below(found, path) && notifier->type->validate && notifier->type->validate(notifier, &err))
        conf_error_below(found, path, (const struct opt *const[]){ notifier->type->opts, notifier_rows, NULL }, &err);
}

void conf_validate_notifiers(struct conf *conf, struct conf_error_list *found)
{
    for (size_t i = 0; i < conf->notifier_count; i++)
        validate_notifier(conf, i, found);
}
