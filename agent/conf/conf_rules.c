/*
 * Rules that span options, and what is derived from them: addresses, URLs, the token's place. Called when a generation is loaded
 * and again after the command line has set options. An option that has an error already gets no second one.
 */
#include "agent/conf/conf_impl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/proto/heartbeat.h"
#include "agent/proto/upgrade.h"

enum { SHOWN_MAX = 48 };

/* --- the agent's own addresses ------------------------------------------------------------------------------------------------ */

/* Is there to be a listener at that address? */
static bool validate_address(struct conf_error_list *found, const char *name, const char *text, struct listen_address *address)
{
    struct err err;
    bool on = text && strcmp(text, "off") != 0;
    if (on && listen_address_parse(text, address, &err))
        conf_error_path(found, name, "%s", err.text);
    return on;
}

static void refuse_twice(struct conf_error_list *found, const char *name, const char *text, const char *other, const char *taken)
{
    if (text && taken && strcmp(text, taken) == 0)
        conf_error_path(found, name, "the same address as %s", other);
}

static void validate_listen(struct conf *conf, struct conf_error_list *found)
{
    struct err err;
    conf->listen_on = validate_address(found, "listen", conf->listen, &conf->listen_address);
    conf->agent_check_on = validate_address(found, "agent_check", conf->agent_check, &conf->agent_check_address);
    conf->grpc_on = validate_address(found, "grpc", conf->grpc, &conf->grpc_address);
    const char *listen = conf->listen_on ? conf->listen : NULL, *check = conf->agent_check_on ? conf->agent_check : NULL;
    const char *grpc = conf->grpc_on ? conf->grpc : NULL;
    refuse_twice(found, "agent_check", check, "listen", listen);
    refuse_twice(found, "grpc", grpc, "listen", listen);
    refuse_twice(found, "grpc", grpc, "agent_check", check);
    conf->admin_on = conf->admin && strcmp(conf->admin, "off") != 0;
    conf->admin_auto = conf->admin_on && strcmp(conf->admin, "auto") == 0;
    if (!conf->admin_on || conf->admin_auto)
        return;
    if (strncmp(conf->admin, "unix:", 5) != 0)
        conf_error_path(found, "admin", "want unix:/path, auto or off");
    else if (listen_address_parse(conf->admin, &conf->admin_address, &err))
        conf_error_path(found, "admin", "%s", err.text);
    if (conf->listen_on && conf->listen_address.is_unix && strcmp(conf->listen, conf->admin) == 0)
        conf_error_path(found, "admin", "the same address as listen");
}

/* It goes into messages to people: no password, and nothing that would end a link in one of them. */
static bool is_page_url(const char *text)
{
    size_t scheme = strcspn(text, ":"), host = scheme + 3;
    bool http = slice_equal_nocase(slice_make(text, scheme), "http") || slice_equal_nocase(slice_make(text, scheme), "https");
    if (!http || strncmp(text + scheme, "://", 3) != 0)
        return false;
    size_t authority = strcspn(text + host, "/?#");
    if (!authority || memchr(text + host, '@', authority))
        return false;
    for (const char *at = text; *at; at++)
        if (*at <= ' ' || *at >= 0x7f || strchr("\"'<>\\^`{|}", *at))
            return false;
    return true;
}

static void validate_page(const struct conf *conf, struct conf_error_list *found)
{
    if (conf->page_url && !is_page_url(conf->page_url))
        conf_error_path(found, "page.url", "want http://HOST/ or https://HOST/, percent-encoded and without a password");
}

/* --- the target --------------------------------------------------------------------------------------------------------------- */

static void validate_url(struct conf_error_list *found, const char *path, const char *text, struct url *url)
{
    static const char want[] = "want ws://, wss:// or ws+unix://";
    struct err err;
    *url = (struct url){ 0 };
    if (!text)
        return;
    size_t len = strcspn(text, ":/?# ");
    char scheme[TEXT_EXCERPT_BYTES(SHOWN_MAX)];
    text_excerpt(slice_make(text, len), SHOWN_MAX, scheme, sizeof scheme);
    if (strncmp(text + len, "://", 3) != 0)
        conf_error_path(found, path, "no scheme, %s", want);
    else if (!slice_equal_nocase(slice_make(text, len), "ws") && !slice_equal_nocase(slice_make(text, len), "wss") &&
             !slice_equal_nocase(slice_make(text, len), "ws+unix"))
        conf_error_path(found, path, "scheme %s://, %s", scheme, want);
    else if (url_parse(text, url, &err))
        conf_error_path(found, path, "%s", url_complaint(&err));
    if (conf_error_has(found, path))
        *url = (struct url){ 0 };
}

/* "query:NAME": the name behind a word and its colon, or NULL. */
static const char *place_name(const char *text, const char *word)
{
    size_t len = strlen(word);
    return strncmp(text, word, len) == 0 && text[len] == ':' ? text + len + 1 : NULL;
}

static void validate_token_place(struct target_conf *target, struct conf_error_list *found)
{
    static const char path[] = "target.token_in", want[] = "want header, query:NAME, cookie:NAME, subprotocol or message";
    const char *in = target->token_in ? target->token_in : "header";
    const char *query = place_name(in, "query"), *cookie = place_name(in, "cookie");
    char shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)];
    text_excerpt(slice_str(in), SHOWN_MAX, shown, sizeof shown);
    target->token_name = query ? query : cookie;
    target->token_place = query                            ? TOKEN_QUERY
                          : cookie                         ? TOKEN_COOKIE
                          : strcmp(in, "subprotocol") == 0 ? TOKEN_SUBPROTOCOL
                          : strcmp(in, "message") == 0     ? TOKEN_MESSAGE
                                                           : TOKEN_HEADER;
    if (strcmp(in, "query") == 0 || strcmp(in, "cookie") == 0)
        conf_error_path(found, path, "'%s' has no name, %s", shown, want);
    else if (target->token_name && !conf_is_header_name(target->token_name))
        conf_error_path(found, path, "'%s', the name is not one: %s", shown, want);
    else if (target->token_place == TOKEN_HEADER && strcmp(in, "header") != 0)
        conf_error_path(found, path, "'%s', %s", shown, want);
}

/* host or host:port, as in the authority of a URL. */
static bool is_authority(const char *text)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || strchr("/?#@,\"<>\\^`{|}", *p))
            return false;
    return *text != '\0';
}

static void validate_header(const struct opt_pair *header, const char *path, struct conf_error_list *found)
{
    if (!conf_is_header_name(header->name))
        conf_error_path(found, path, "not a header name");
    else if (upgrade_header_reserved(header->name))
        conf_error_path(found, path, "the handshake sets this header itself");
    else if (strcasecmp(header->name, "Host") == 0 && !opt_is_dynamic(header->value) && !is_authority(header->value))
        conf_error_path(found, path, "want a host or host:port");
}

static bool has_user(const struct url *url)
{
    return url->user[0] || url->password[0];
}

static void validate_headers(struct target_conf *target, struct conf_error_list *found)
{
    const bool token = target->token && target->token_place == TOKEN_HEADER;
    const char *user = has_user(&target->local) ? "target.url" : has_user(&target->public) ? "target.public_url" : NULL;
    for (size_t i = 0; i < target->headers.count; i++) {
        const struct opt_pair *header = &target->headers.items[i];
        char shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)], path[TRAIL_MAX];
        text_excerpt(slice_str(header->name), SHOWN_MAX, shown, sizeof shown);
        snprintf(path, sizeof path, "target.headers.%s", shown);
        const bool credentials = strcasecmp(header->name, "Authorization") == 0;
        if (strcasecmp(header->name, "Origin") == 0 && target->origin)
            conf_error_path(found, path, "is also set by target.origin");
        else if (credentials && token)
            conf_error_path(found, path, "is also set by target.token");
        else if (credentials && user)
            conf_error_path(found, path, "is also set by the user in %s", user);
        else
            validate_header(header, path, found);
    }
    if (token && user)
        conf_error_path(found, "target.token", "goes into the same header as the user in %s (see target.token_in)", user);
}

/* Host, header and cookie values: one line each. */
static bool is_line(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    return true;
}

/* Either of the two URLs is the public one. */
static void validate_watched_url(struct target_conf *target, struct conf_error_list *found)
{
    if (!target->public_url || conf_error_has(found, "target.url") || conf_error_has(found, "target.public_url"))
        return;
    if (!target->url)
        target->url = mem_strdup(target->public_url);
    else if (strcmp(target->url, target->public_url) != 0)
        conf_error_path(found, "target.url",
                        "with fleet.role: watcher no server is beside the agent: want target.public_url alone, or the same URL");
}

static void validate_target(struct conf *conf, struct conf_error_list *found)
{
    struct target_conf *target = &conf->target;
    if (conf_is_watcher(conf))
        validate_watched_url(target, found);
    conf_validate_required(found, "target", target_rows, target);
    validate_url(found, "target.url", target->url, &target->local);
    validate_url(found, "target.public_url", target->public_url, &target->public);
    if (conf_is_watcher(conf))
        target->public = target->local;
    conf_hide_urls(target_rows, target);
    validate_token_place(target, found);
    validate_headers(target, found);
    conf_validate_subprotocols(&target->subprotocols, "target.subprotocols", found);
    if (target->origin && !is_line(target->origin))
        conf_error_path(found, "target.origin", "holds a line break or another control character");
    conf_validate_tls(&target->tls, "target.tls", found);
}

/* --- checks ------------------------------------------------------------------------------------------------------------------- */

static void validate_name(struct conf *conf, size_t index, const char *path, struct conf_error_list *found)
{
    struct check_conf *check = &conf->checks[index];
    bool given = check->name;
    char shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)];
    if (conf_error_has(found, path))
        return;
    if (!given)
        check->name = mem_strdup(conf_default_name(check));
    text_excerpt(slice_str(check->name), SHOWN_MAX, shown, sizeof shown);
    if (!conf_is_name(check->name)) {
        conf_error_path(found, path, "'%s', want 1 to 64 letters, digits, _ . or -", shown);
        return;
    }
    for (size_t i = 0; i < index; i++) {
        if (!conf->checks[i].name || strcmp(conf->checks[i].name, check->name) != 0)
            continue;
        if (given)
            conf_error_path(found, path, "'%s' is taken by checks[%zu]", shown, i);
        else
            conf_error_path(found, path, "required, as '%s' is taken by checks[%zu]", shown, i);
        return;
    }
}

struct below { /* a check, for complaints about its options */
    struct conf_error_list *found;
    const char *path;
    const struct opt *rows;
};

static void tell_below(void *user, const struct err *err)
{
    const struct below *below = user;
    conf_error_below(below->found, below->path, (const struct opt *const[]){ below->rows, NULL }, err);
}

static void validate_options(const struct check_conf *check, const char *path, struct conf_error_list *found)
{
    struct below below = { found, path, check->type->opts };
    struct err err = { 0 };
    size_t before = found->count;
    conf_validate_required(found, path, check->type->opts, check->opts);
    conf_hide_urls(check->type->opts, check->opts);
    if (found->count != before || conf_error_has_below(found, path))
        return;
    if (check->type->validate && check->type->validate(check->opts, &err))
        tell_below(&below, &err);
    if (check->type->validate_all)
        check->type->validate_all(check, &(struct complaints){ tell_below, &below });
}

static void validate_each_address(const struct conf *conf, const struct check_conf *check, const struct url *url, const char *path,
                                  struct conf_error_list *found)
{
    char below[TRAIL_MAX];
    if (!check->each_address)
        return;
    snprintf(below, sizeof below, "%s.each_address", path);
    if (!probe_dials_once(check->type))
        conf_error_path(found, below,
                        "not for %s, whose round is not one connection: want handshake, ping, echo, script, tls, http or tcp",
                        check->type->name);
    else if (url->is_unix)
        conf_error_path(found, below, "target.%s is a unix socket, and has no addresses",
                        check->path == PATH_PUBLIC ? "public_url" : "url");
    else if (check->type->elsewhere && *url->scheme && check->type->elsewhere(check->opts, url))
        conf_error_path(found, below, "it is for the target's name, and this check has an address of its own");
    else if (conf_http_of(&conf->target, check) == HTTP_BOTH)
        conf_error_path(found, below,
                        "with http: both a round is done twice already: write one check with http: 1.1 and one with 2");
    else if (check->shares)
        conf_error_path(found, below, "share_connection means one connection, to one address");
}

static void validate_check(struct conf *conf, const struct conf_env *env, size_t index, struct conf_error_list *found)
{
    struct check_conf *check = &conf->checks[index];
    char path[32], below[TRAIL_MAX], timeout_path[64];
    if (!check->type) /* already reported */
        return;
    snprintf(path, sizeof path, "checks[%zu]", index);
    if (conf_is_watcher(conf) && probe_kind_of(check->type) != PROBE_BROKER)
        check->path = PATH_PUBLIC;
    if (conf_is_watcher(conf) && check->type->watches_server && check->enabled) {
        snprintf(below, sizeof below, "%s.type", path);
        conf_error_path(found, below, "'%s' looks at the server's process on this host, and with fleet.role: watcher there is none",
                        check->type->name);
    }
    conf_validate_broker_of(conf, check, path, found);
    conf_validate_dialect_of(conf, check, path, found);
    conf_validate_resume_of(conf, check, path, found);
    conf_validate_publish_of(conf, env, check, path, found);
    snprintf(below, sizeof below, "%s.name", path);
    validate_name(conf, index, below, found);
    snprintf(timeout_path, sizeof timeout_path, "%s.timeout", path);
    snprintf(below, sizeof below, "%s.slo", path);
    if (check->slo_ms >= check->timeout_ms && check->slo_ms && !conf_error_has(found, timeout_path)) {
        char slo[32], timeout[32];
        text_format_duration(check->slo_ms, slo, sizeof slo);
        text_format_duration(check->timeout_ms, timeout, sizeof timeout);
        conf_error_path(found, below, "%s, want less than timeout (%s)", slo, timeout);
    }
    snprintf(below, sizeof below, "%s.path", path);
    if (check->path == PATH_PUBLIC && !conf->target.public_url && !conf_is_watcher(conf) &&
        !conf_error_has(found, "target.public_url"))
        conf_error_path(found, below, "'public' needs target.public_url");
    snprintf(below, sizeof below, "%s.http", path);
    if (check->http && !probe_opens_websocket(check->type))
        conf_error_path(found, below, "a %s check has no WebSocket connection", check->type->name);
    else if (check->http == HTTP_BOTH + 1 && check->type->both == BOTH_NOT)
        conf_error_path(found, below,
                        "%s is not done twice in a round: for both, write one check with http: 1.1 and one with http: 2",
                        check->type->name);
    else if (check->shares && check->enabled && conf_http_of(&conf->target, check) == HTTP_BOTH)
        conf_error_path(found, below, "both means two connections, and share_connection one: want http: 1.1 or 2");
    const struct url *url = check->path == PATH_PUBLIC ? &conf->target.public : &conf->target.local;
    validate_each_address(conf, check, url, path, found);
    snprintf(below, sizeof below, "%s.type", path);
    if (check->type->wants_wss && *url->scheme && !url->tls)
        conf_error_path(found, below, "'%s' needs target.%s to begin with wss://", check->type->name,
                        check->path == PATH_PUBLIC ? "public_url" : "url");
    validate_options(check, path, found);
    conf_validate_share(conf, index, path, found);
    if (check->gates & GATE_OPEN)
        check->gates = (check->gates & ~(unsigned)GATE_OPEN) | check->type->gates_of(check->opts);
    if (check->path == PATH_PUBLIC) /* a restart of the server does not mend what is in front of it */
        check->gates &= ~(unsigned)GATE_LIVE;
}

enum conf_http conf_http_of(const struct target_conf *target, const struct check_conf *check)
{
    enum conf_http http = (enum conf_http)(check->http ? check->http - 1 : target->http);

    if (!probe_opens_websocket(check->type) || (http == HTTP_BOTH && check->type->both == BOTH_NOT))
        return HTTP_1_1;
    return http;
}

/* Does anything use these TLS options: the target's URL, the public URL, or a check that speaks TLS by itself? */
static bool target_speaks_tls(const struct conf *conf)
{
    if (conf->target.local.tls || conf->target.public.tls)
        return true;
    for (size_t i = 0; i < conf->check_count; i++) {
        const struct check_conf *check = &conf->checks[i];
        if (check->type && check->type->needs_tls && check->type->needs_tls(check->opts))
            return true;
    }
    return false;
}

/* TLS options without any TLS are an error, and not ignored: somebody meant something by them. `verify` alone is accepted, as it
 * asks for nothing. */
static void validate_tls_in_vain(const struct conf *conf, struct conf_error_list *found)
{
    const char *wanted = conf_tls_wanted(&conf->target.tls);
    char path[TRAIL_MAX];
    if (!wanted || !*conf->target.local.scheme || conf_error_has_below(found, "target") || conf_error_has_below(found, "checks") ||
        target_speaks_tls(conf))
        return;
    snprintf(path, sizeof path, "target.tls.%s", wanted);
    conf_error_path(found, path, "the URL is %s://, without TLS (wss:// has it)", conf->target.local.scheme);
}

/* --- who the agent is --------------------------------------------------------------------------------------------------------- */

static void make_word(char **field)
{
    char word[HEARTBEAT_WORD_MAX + 1];
    heartbeat_word(*field, word);
    mem_free(*field);
    *field = mem_strdup(word);
}

static void validate_identity(struct conf *conf, struct conf_error_list *found)
{
    static const char path[] = "identity.version", also[] = ".+~";
    const char *version = conf->server_version ? conf->server_version : "";
    bool good = true;
    for (const char *at = version; *at; at++) {
        char word[HEARTBEAT_WORD_MAX + 1], one[2] = { *at, 0 };
        heartbeat_word(one, word);
        good = good && (strchr(also, *at) || word[0] == *at);
    }
    if (!good && !conf_error_has(found, path))
        conf_error_path(found, path, "want 1 to 31 letters, digits, _ - . + or ~");
    char host[256] = "";
    if (!conf->agent_id && gethostname(host, sizeof host - 1) == 0)
        conf->agent_id = mem_strdup(host);
    make_word(&conf->agent_id);
    make_word(&conf->region);
}

static void validate_history(const struct conf *conf, struct conf_error_list *found)
{
    if (conf->history_file && conf->history_file[0] != '/')
        conf_error_path(found, "history.file", "want an absolute path");
}

bool conf_warns(const struct conf *conf, char *text, size_t size)
{
    bool front = false, local = conf_is_watcher(conf);

    for (size_t i = 0; i < conf->check_count; i++) {
        const struct check_conf *check = &conf->checks[i];

        if (!check->enabled || !(check->gates & GATE_READY) || probe_kind_of(check->type) == PROBE_BROKER)
            continue;
        front = front || check->path == PATH_PUBLIC;
        local = local || check->path == PATH_LOCAL;
    }
    if (!front || local || conf->shared_faults_fail)
        return false;
    snprintf(text, size,
             "no check of the local path gates readiness: faults of the public path are shared by all instances, so /ready stays "
             "at 200, degraded, also when this server is down");
    return true;
}

void conf_validate_rules(struct conf *conf, const struct conf_env *env, struct conf_error_list *found)
{
    conf->shared_faults_fail = conf->shared_faults == 1;
    conf->probe_faults_fail = conf->probe_faults == 1;
    validate_listen(conf, found);
    validate_page(conf, found);
    validate_identity(conf, found);
    validate_history(conf, found);
    validate_target(conf, found);
    conf_validate_dialects(conf, env, found);
    conf_validate_brokers(conf, env, found);
    conf_validate_fleet(conf, found);
    conf_validate_notifiers(conf, found);
    for (size_t i = 0; i < conf->check_count; i++)
        validate_check(conf, env, i, found);
    validate_tls_in_vain(conf, found);
    conf_validate_descriptors(conf, found);
}
