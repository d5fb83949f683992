/*
 * One try (agent/notify/send.h). Composes the message by the receiver's type, hands it to agent/client/fetch.h or agent/net/child.h, and asks the
 * type what the answer means. Redirects are not followed and proxies are not used. Promises that a receiver costs at most its timeout and
 * ANSWER_MAX bytes: of a longer, slower or endless answer the head decides.
 */
#include "agent/notify/send.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/client/backoff.h"
#include "agent/client/fetch.h"
#include "agent/net/child.h"
#include "agent/notify/told.h"

enum { ANSWER_MAX = 16 << 10, ENV_MAX = 16, ENV_TEXT_MAX = 1024, HEADER_VALUE_MAX = 8 << 10 };

struct sending {
    const struct receiver_type *type;
    struct url url;
    char *server_name; /* a reload may take the configuration away */
    struct fetch *fetch;
    struct child *child;
    void (*on_done)(void *user, const struct sending_result *result);
    void *user;
};

/* --- composing --------------------------------------------------------------------------------------------------------------------- */

static void message_init(struct message_out *message)
{
    *message = (struct message_out){ .method = "POST" };
    buf_init(&message->url, MESSAGE_URL_MAX);
    buf_init(&message->headers, MESSAGE_HEADERS_MAX);
    buf_init(&message->body, MESSAGE_BODY_MAX);
    buf_init(&message->text, MESSAGE_BODY_MAX);
}

static void message_fini(struct message_out *message)
{
    buf_wipe(&message->url);
    buf_wipe(&message->headers);
    buf_wipe(&message->body);
    buf_wipe(&message->text);
    for (size_t i = 0; i < message->arg_count; i++)
        mem_free(message->args[i]);
}

static int put_headers(const struct notifier_conf *conf, struct message_out *message, struct err *err)
{
    for (size_t i = 0; i < conf->headers.count; i++) {
        const struct opt_pair *pair = &conf->headers.items[i];
        char *value = receiver_option(pair->value, pair->name, err);

        if (!value)
            return -1;
        if (opt_name_is_secret(pair->name))
            secret_add(value);
        int rc = buf_printf(&message->headers, "%s: %s\r\n", pair->name, value);
        mem_free(value);
        if (rc < 0)
            return err_set(err, REASON_NONE, 0, "headers: too long");
    }
    if (!opt_pairs_get(&conf->headers, "Content-Type"))
        buf_printf(&message->headers, "Content-Type: %s\r\n",
                   conf->type->content_type ? conf->type->content_type : "application/json");
    return 0;
}

static bool is_json(const struct receiver_type *type)
{
    return type->by == RECEIVER_HTTP ? !type->content_type || strstr(type->content_type, "json") : false;
}

static int put_template(const struct notifier_conf *conf, const struct notice *notice, struct message_out *message, struct err *err)
{
    if (!conf->body)
        return 0;
    if (notice_expand(conf->body, notice, is_json(conf->type), conf->type->escape, &message->text, err) < 0)
        return err_prefix(err, "body");
    message->templated = true;
    if (conf->type->by == RECEIVER_HTTP && !conf->type->has_header)
        buf_append_slice(&message->body, buf_slice(&message->text));
    return 0;
}

static int compose(const struct notifier_conf *conf, const struct notice *notice, struct message_out *message, struct err *err)
{
    if (conf->type->by == RECEIVER_HTTP) {
        if (opt_expand(conf->url, &message->url, err) < 0)
            return err_prefix(err, "url");
        if (opt_is_dynamic(conf->url)) /* it may be another one since the configuration was read, and receivers quote it */
            conf_hide_target(buf_str(&message->url));
        if (put_headers(conf, message, err) < 0)
            return -1;
    }
    if (put_template(conf, notice, message, err) < 0)
        return -1;
    return conf->type->compose(conf, notice, message, err);
}

/* --- the answer ---------------------------------------------------------------------------------------------------------------------- */

static void sending_free(struct sending *sending)
{
    mem_free(sending->server_name);
    mem_free(sending);
}

static void finish(struct sending *sending, struct sending_result *result, struct err *err)
{
    result->taken = !result->err;
    if (result->err && err != result->err)
        *err = *result->err;
    sending->on_done(sending->user, result);
    sending_free(sending);
}

static void judge(const struct sending *sending, struct sending_result *result, struct err *err)
{
    int (*ask)(int, struct slice, bool *, struct err *) = sending->type->judge;
    int rc;

    if (!ask)
        ask = sending->type->by == RECEIVER_HTTP ? receiver_judge_http : receiver_judge_program;
    rc = ask(result->status, result->answer, &result->again, err);
    result->err = rc < 0 ? err : NULL;
    result->again = rc < 0 && result->again;
}

static void on_fetched(void *user, const struct fetch_result *fetched)
{
    struct sending *sending = user;
    struct sending_result result = { .status = -1, .again = true, .err = fetched->err, .answer = fetched->body };
    struct err err;

    if (fetched->head) { /* what it has said counts, also where its body never ended */
        const struct slice *after = http_header_get(fetched->head, "Retry-After");

        result.status = fetched->head->status;
        judge(sending, &result, &err);
        if (after && result.err)
            result.retry_after_ms = backoff_retry_after_ms(*after, clock_wall_ms());
    }
    finish(sending, &result, &err);
}

static void on_ended(void *user, const struct child_result *ended)
{
    struct sending *sending = user;
    struct sending_result result = {
        .status = ended->err ? -1 : ended->status, .again = true, .err = ended->err, .answer = ended->output
    };
    struct err err;

    if (!ended->err)
        judge(sending, &result, &err);
    finish(sending, &result, &err);
}

/* --- the two ways ---------------------------------------------------------------------------------------------------------------------- */

static int start_fetch(struct sending *sending, struct loop *loop, const struct sending_request *request,
                       struct message_out *message, struct err *err)
{
    if (url_parse(buf_str(&message->url), &sending->url, err) < 0)
        return -1;
    if (sending->url.tls && !request->tls)
        return err_set(err, REASON_NONE, 0, "url: it was http:// when the configuration was read, and is https:// now: reload");
    sending->server_name = mem_strdup(request->conf->tls.server_name);
    const struct fetch_request fetch = { .url = &sending->url,
                                         .tls = sending->url.tls ? request->tls : NULL,
                                         .server_name = sending->server_name,
                                         .method = message->method,
                                         .headers = buf_str(&message->headers),
                                         .body = buf_slice(&message->body),
                                         .max_body_bytes = ANSWER_MAX,
                                         .whole = true,
                                         .timeout_ms = request->timeout_ms };

    sending->fetch = fetch_start(loop, &fetch, on_fetched, sending);
    return 0;
}

struct environment {
    char texts[ENV_MAX][ENV_TEXT_MAX];
    char *list[ENV_MAX + 1];
    size_t count;
};

static void put_env(struct environment *env, const char *name, const char *value)
{
    panic_if(env->count == ENV_MAX);
    if (!value)
        return;
    snprintf(env->texts[env->count], ENV_TEXT_MAX, "%s=%s", name, value);
    env->list[env->count] = env->texts[env->count];
    env->list[++env->count] = NULL;
}

/* Nothing of the agent's own environment, which may hold secrets, but these. */
static void fill_env(struct environment *env, const struct sending_request *request)
{
    static const char *const kept[] = { "HOME", "LANG", "TZ", "TMPDIR" };
    const struct notice *notice = request->notice;
    const char *path = getenv("PATH");
    char title[TOLD_TITLE_BYTES];

    told_title(notice, title);
    put_env(env, "PATH", path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        put_env(env, kept[i], getenv(kept[i]));
    put_env(env, "WSHEALTHD_NOTIFIER", request->conf->name);
    put_env(env, "WSHEALTHD_KIND", notice_kind_name(notice->kind));
    put_env(env, "WSHEALTHD_SEVERITY", notice_severity_name(notice->severity));
    put_env(env, "WSHEALTHD_INCIDENT", notice->incident);
    put_env(env, "WSHEALTHD_WORD", notice->word);
    put_env(env, "WSHEALTHD_CAUSE", notice->cause);
    put_env(env, "WSHEALTHD_TITLE", title);
}

static int start_child(struct sending *sending, struct loop *loop, const struct sending_request *request,
                       struct message_out *message, struct err *err)
{
    struct environment *env = mem_alloc(sizeof *env);
    const struct child_request child = {
        .args = message->args, .env = env->list, .input = buf_slice(&message->body), .timeout_ms = request->timeout_ms
    };

    panic_if(!message->arg_count);
    fill_env(env, request);
    sending->child = child_start(loop, &child, on_ended, sending, err);
    mem_free(env);
    return sending->child ? 0 : -1;
}

struct sending *sending_start(struct loop *loop, const struct sending_request *request,
                              void (*on_done)(void *user, const struct sending_result *result), void *user, struct err *err)
{
    struct sending *sending = mem_alloc(sizeof *sending);
    struct message_out message;
    int rc;

    sending->type = request->conf->type;
    sending->on_done = on_done;
    sending->user = user;
    message_init(&message);
    rc = compose(request->conf, request->notice, &message, err);
    if (rc == 0)
        rc = (sending->type->by == RECEIVER_HTTP ? start_fetch : start_child)(sending, loop, request, &message, err);
    message_fini(&message);
    if (rc == 0)
        return sending;
    sending_free(sending);
    return NULL;
}

void sending_cancel(struct sending *sending)
{
    if (sending->fetch)
        fetch_cancel(sending->fetch);
    if (sending->child)
        child_cancel(sending->child);
    sending_free(sending);
}
