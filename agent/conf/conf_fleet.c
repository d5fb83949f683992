/*
 * `fleet` and `readiness.min_ready`: their rows, and the rules that span them and the brokers. Called by agent/conf/conf_rules.c once the
 * brokers are known. What a fleet does with them is agent/fleet.
 */
#include "agent/conf/conf_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/conf/broker_type.h"
#include "agent/proto/heartbeat.h"

enum {
    SHOWN_MAX = 48,
    EVERY_MS = 5000,
    EXPIRE_MS = 20000,
    EVERY_MIN_MS = 100,
    EVERY_MAX_MS = 600000,
    EXPIRE_PART = 3,
    COUNT_DIGITS = 5,
    LIST_TEXT_MAX = 256
};

static const char *const role_words[] = { "server", "watcher", NULL };

#define FLEET(field) offsetof(struct fleet_conf, field)
const struct opt fleet_rows[] = {
    { .name = "broker",
      .kind = OPT_STRING,
      .offset = FLEET(broker),
      .min = 1,
      .max = 64,
      .help = "the broker, by its name in `brokers`, over which the agents tell each other how they are: redis or nats; by default "
              "the only one there is" },
    { .name = "group",
      .kind = OPT_STRING,
      .offset = FLEET(group),
      .min = 1,
      .max = HEARTBEAT_WORD_MAX,
      .help = "the name of the fleet: the instances that stand in for each other. Letters, digits, _ and -. Its topic is "
              "wshealthd.fleet.GROUP" },
    { .name = "every",
      .kind = OPT_DURATION,
      .offset = FLEET(every_ms),
      .default_text = "5s",
      .min = EVERY_MIN_MS,
      .max = EVERY_MAX_MS,
      .help = "how often the agent says how its instance is, when nothing changes; changes are said at once" },
    { .name = "expire",
      .kind = OPT_DURATION,
      .offset = FLEET(expire_ms),
      .default_text = "20s",
      .min = EXPIRE_PART * EVERY_MIN_MS,
      .max = EXPIRE_PART * EVERY_MAX_MS,
      .help = "how long a member that says nothing is remembered; from three fifths of it on it is called silent. At least three "
              "times `every`" },
    { .name = "key",
      .kind = OPT_STRING,
      .offset = FLEET(key),
      .min = 8,
      .max = 4096,
      .flags = OPT_SECRET | OPT_DYNAMIC,
      .help = "a secret that all agents of the group share, best as ${file:/path}: summaries are signed with it (HMAC-SHA256), and "
              "others are not believed. Clocks must then agree to within `expire`" },
    { .name = "role",
      .kind = OPT_ENUM,
      .offset = FLEET(role),
      .default_text = "server",
      .words = role_words,
      .help =
          "what the agent is: beside a server; or a watcher without one, which checks the public URL from its region. A watcher "
          "counts as no instance, all its checks have path: public, and its /ready says that the watcher runs" },
    { 0 },
};

/* "2" or "50%" */
static bool read_min_ready(const char *text, uint32_t *count, bool *percent)
{
    size_t digits = strspn(text, "0123456789");
    bool share = text[digits] == '%' && !text[digits + 1];

    if (!digits || digits > COUNT_DIGITS || (text[digits] && !share))
        return false;
    *count = (uint32_t)strtoul(text, NULL, 10);
    *percent = share;
    return !share || *count <= 100;
}

bool conf_is_watcher(const struct conf *conf)
{
    return conf->fleet.role == 1;
}

/* What a watcher cannot have: no load balancer asks it, and no fault may take it out. */
static void validate_watcher(const struct conf *conf, struct conf_error_list *found)
{
    static const char in_vain[] = "has no effect with fleet.role: watcher: no server is beside it that could leave a rotation";

    if (conf->min_ready_count)
        conf_error_path(found, "readiness.min_ready", in_vain);
    if (conf->shared_faults_fail)
        conf_error_path(found, "readiness.shared_faults", in_vain);
    if (conf->probe_faults_fail)
        conf_error_path(found, "readiness.probe_faults", in_vain);
}

static void validate_min_ready(struct conf *conf, struct conf_error_list *found)
{
    static const char path[] = "readiness.min_ready";
    char shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)];

    conf->min_ready_count = 0;
    conf->min_ready_percent = false;
    if (!conf->min_ready || conf_error_has(found, path))
        return;
    text_excerpt(slice_str(conf->min_ready), SHOWN_MAX, shown, sizeof shown);
    if (!read_min_ready(conf->min_ready, &conf->min_ready_count, &conf->min_ready_percent))
        conf_error_path(found, path, "'%s', want a number of instances or a percentage, such as 2 or 50%%", shown);
    else if (conf->min_ready_count && !conf->fleet_on)
        conf_error_path(found, path, "has no effect without `fleet`: the agent does not know of the other instances");
}

/* The brokers that may carry a fleet. *only: the one, where there is only one. */
static size_t usable_brokers(const struct conf *conf, const struct broker_conf **only)
{
    size_t count = 0;

    for (size_t i = 0; i < conf->broker_count; i++)
        if (conf->brokers[i].type && conf->brokers[i].type->carries_fleet) {
            *only = &conf->brokers[i];
            count++;
        }
    return count;
}

static void list_brokers(const struct conf *conf, char *out, size_t size)
{
    size_t len = 0;

    *out = 0;
    for (size_t i = 0; i < conf->broker_count && len < size; i++)
        if (conf->brokers[i].name)
            len += (size_t)snprintf(out + len, size - len, "%s%s", len ? ", " : "", conf->brokers[i].name);
}

static void validate_broker(struct conf *conf, struct conf_error_list *found)
{
    static const char path[] = "fleet.broker";
    const struct broker_conf *broker = NULL;
    char list[LIST_TEXT_MAX], shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)];

    if (conf_error_has(found, path))
        return;
    if (!conf->fleet.broker && usable_brokers(conf, &broker) == 1 && broker->name)
        conf->fleet.broker = mem_strdup(broker->name);
    if (!conf->fleet.broker) {
        conf_error_path(found, path, "required, but not set: the name of a broker of type redis or nats in `brokers`");
        return;
    }
    broker = conf_find_broker(conf, conf->fleet.broker);
    text_excerpt(slice_str(conf->fleet.broker), SHOWN_MAX, shown, sizeof shown);
    list_brokers(conf, list, sizeof list);
    if (!broker)
        conf_error_path(found, path, "no broker '%s' in `brokers` (%s%s)", shown, *list ? "there are: " : "there are none", list);
    else if (broker->type && !broker->type->carries_fleet)
        conf_error_path(found, path, "'%s' is of type %s, want redis or nats: a fleet needs plain publish and subscribe", shown,
                        broker->type->name);
}

static void validate_group(const struct conf *conf, struct conf_error_list *found)
{
    char word[HEARTBEAT_WORD_MAX + 1], shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)];

    if (conf_error_has(found, "fleet.group"))
        return;
    if (!conf->fleet.group) {
        conf_error_path(found, "fleet.group", "required, but not set: the name that all agents of the fleet have in common");
        return;
    }
    heartbeat_word(conf->fleet.group, word);
    text_excerpt(slice_str(conf->fleet.group), SHOWN_MAX, shown, sizeof shown);
    if (strcmp(word, conf->fleet.group) != 0)
        conf_error_path(found, "fleet.group", "'%s', want 1 to %d letters, digits, _ or -", shown, HEARTBEAT_WORD_MAX);
}

static void validate_times(const struct conf *conf, struct conf_error_list *found)
{
    char every[32], expire[32];

    if (conf_error_has(found, "fleet.every") || conf_error_has(found, "fleet.expire") ||
        conf->fleet.expire_ms >= EXPIRE_PART * conf->fleet.every_ms)
        return;
    text_format_duration(conf->fleet.every_ms, every, sizeof every);
    text_format_duration(conf->fleet.expire_ms, expire, sizeof expire);
    conf_error_path(found, "fleet.expire", "%s, want at least three times fleet.every (%s): a lost summary is no loss of a member",
                    expire, every);
}

void conf_validate_fleet(struct conf *conf, struct conf_error_list *found)
{
    const struct fleet_conf *fleet = &conf->fleet;

    conf->fleet_on = fleet->broker || fleet->group || fleet->key || fleet->every_ms != EVERY_MS || fleet->expire_ms != EXPIRE_MS ||
                     fleet->role || conf_error_has_below(found, "fleet");
    validate_min_ready(conf, found);
    if (!conf->fleet_on || conf_error_has(found, "fleet"))
        return;
    validate_broker(conf, found);
    validate_group(conf, found);
    validate_times(conf, found);
    if (conf_is_watcher(conf))
        validate_watcher(conf, found);
}
