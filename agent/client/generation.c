/*
 * A configuration generation with its TLS contexts (agent/client/generation.h). Made by the agent at the start and at each reload: whatever
 * file cannot be read is an error then, and not in the middle of a round.
 */
#include "agent/client/generation.h"

#include <string.h>
#include <strings.h>

#include "agent/base/mem.h"
#include "agent/conf/broker_type.h"
#include "agent/conf/probe_type.h"
#include "agent/conf/receiver_type.h"
#include "agent/proto/h2.h"

static struct tls_context *context_of(const struct tls_conf *tls, bool resume, struct err *err)
{
    static const int versions[] = { 10, 11, 12, 13 };
    struct tls_options options = { tls->ca_file, tls->cert_file, tls->key_file, tls->verify, versions[tls->min_version], resume };

    return tls_context_new(&options, err);
}

/* Is the URL's scheme in the list "rediss amqps"? A file may hold the whole URL; what cannot be read is the driver's to say. */
static bool scheme_in(const char *value, const char *schemes)
{
    struct buf text = BUF_INIT(URL_TARGET_MAX);
    bool found = false;
    const char *url;
    size_t len;

    if (schemes && opt_expand(value, &text, NULL) == 0) {
        url = buf_str(&text);
        len = strcspn(url, ":");
        for (const char *at = schemes; *at && !found; at += strcspn(at, " "), at += strspn(at, " "))
            found = strcspn(at, " ") == len && strncasecmp(at, url, len) == 0;
    }
    buf_fini(&text);
    return found;
}

/* Whoever wants HTTP/2 wants to know at once that its library is missing. */
static int look_for_http2(const struct conf *conf, struct err *err)
{
    for (size_t i = 0; i < conf->check_count; i++) {
        const struct check_conf *check = &conf->checks[i];

        if (check->enabled && conf_http_of(&conf->target, check) != HTTP_1_1)
            return h2_available(err) < 0 ? err_prefix(err, check->http ? "checks.%s.http" : "target.http", check->name) : 0;
    }
    return 0;
}

static int broker_contexts(struct generation *generation, struct err *err)
{
    const struct conf *conf = generation->conf;

    generation->broker_tls = mem_alloc((conf->broker_count + 1) * sizeof *generation->broker_tls);
    for (size_t i = 0; i < conf->broker_count; i++) {
        const struct broker_conf *broker = &conf->brokers[i];

        if (conf_look_at_tls_files(&broker->tls, err) < 0)
            return err_prefix(err, "brokers.%s.tls", broker->name);
        if (!scheme_in(broker->url, broker->type->tls_schemes))
            continue;
        generation->broker_tls[i] = context_of(&broker->tls, false, err);
        if (!generation->broker_tls[i])
            return err_prefix(err, "brokers.%s.tls", broker->name);
    }
    return 0;
}

static int notifier_contexts(struct generation *generation, struct err *err)
{
    const struct conf *conf = generation->conf;

    generation->notifier_tls = mem_alloc((conf->notifier_count + 1) * sizeof *generation->notifier_tls);
    for (size_t i = 0; i < conf->notifier_count; i++) {
        const struct notifier_conf *notifier = &conf->notifiers[i];

        if (notifier->type->by != RECEIVER_HTTP)
            continue;
        if (conf_look_at_tls_files(&notifier->tls, err) < 0)
            return err_prefix(err, "notify.%s.tls", notifier->name);
        if (!scheme_in(notifier->url, "https"))
            continue;
        generation->notifier_tls[i] = context_of(&notifier->tls, false, err);
        if (!generation->notifier_tls[i])
            return err_prefix(err, "notify.%s.tls", notifier->name);
    }
    return 0;
}

struct generation *generation_new(struct conf *conf, struct err *err)
{
    struct generation *generation = mem_alloc(sizeof *generation);
    const struct tls_conf *tls = &conf->target.tls;
    bool needed = conf->target.local.tls || conf->target.public.tls;

    generation->refs = 1;
    generation->conf = conf_ref(conf);
    for (size_t i = 0; i < conf->check_count; i++)
        needed = needed || (conf->checks[i].type->needs_tls && conf->checks[i].type->needs_tls(conf->checks[i].opts));
    if (needed && (!(generation->tls = context_of(tls, false, err)) || !(generation->tls_resume = context_of(tls, true, err)))) {
        err_prefix(err, "target.tls");
        generation_unref(generation);
        return NULL;
    }
    if (broker_contexts(generation, err) < 0 || notifier_contexts(generation, err) < 0 || look_for_http2(conf, err) < 0) {
        generation_unref(generation);
        return NULL;
    }
    return generation;
}

struct generation *generation_ref(struct generation *generation)
{
    generation->refs++;
    return generation;
}

void generation_unref(struct generation *generation)
{
    if (!generation || --generation->refs)
        return;
    tls_context_unref(generation->tls);
    tls_context_unref(generation->tls_resume);
    for (size_t i = 0; generation->broker_tls && i < generation->conf->broker_count; i++)
        tls_context_unref(generation->broker_tls[i]);
    mem_free(generation->broker_tls);
    for (size_t i = 0; generation->notifier_tls && i < generation->conf->notifier_count; i++)
        tls_context_unref(generation->notifier_tls[i]);
    mem_free(generation->notifier_tls);
    conf_unref(generation->conf);
    mem_free(generation);
}
