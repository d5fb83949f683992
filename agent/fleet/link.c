/*
 * Owns the life of the link (agent/fleet/link.h): its topic, its timers, what is published and when. Called by agent/run/agent_fleet.c, the broker
 * and the loop. Promises that a peer can make it neither wait nor grow. Leaves the rules to the pure modules, and the view to link_view.c.
 */
#include "agent/fleet/link.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/core/event.h"
#include "agent/fleet/link_impl.h"

enum {
    KEY_MAX = 4096,
    TICK_MS = 1000,
    PUBLISH_MS = 2000,
    LOST_AFTER_MS = 10000,
    AGAIN_MS = 30000,
    SILENCE_PART = 3,
    SILENCE_OF = 5
};

/* --- the key --- */

/* The file is read anew once a second. What cannot be read leaves the key as it was. */
static void read_key(struct fleet_link *link)
{
    struct buf key = BUF_INIT(KEY_MAX);
    struct err err;

    if (!link->key_text)
        return;
    if (opt_expand(link->key_text, &key, &err) < 0 || !key.len) {
        if (link->keyless)
            snprintf(link->why, sizeof link->why, "fleet.key: %.140s", key.len ? "empty" : err.text);
        buf_wipe(&key);
        return;
    }
    buf_wipe(&link->key);
    link->key = key;
    link->keyless = false;
}

static struct slice key_of(const struct fleet_link *link)
{
    return buf_slice(&link->key);
}

/* --- out --- */

bool fleet_link_is_linked(const struct fleet_link *link)
{
    return link->min_ready.linked_ms != 0;
}

bool fleet_link_doubts_all(const struct fleet_link *link, uint64_t now_ms)
{
    return link->doubted_ms && now_ms - link->doubted_ms <= members_expire_ms(link->members) && !members_count(link->members);
}

static bool may_speak(const struct fleet_link *link)
{
    return broker_is_up(link->broker) && link->listener.confirmed && !link->keyless;
}

static void arm(struct fleet_link *link)
{
    uint64_t now_ms = clock_now_ms(), due_ms = announce_due_ms(&link->announce);

    if (link->left || !may_speak(link))
        timer_stop(&link->due);
    else
        timer_start(&link->due, due_ms > now_ms ? due_ms - now_ms : 0);
}

static void compose(struct fleet_link *link, struct summary *out)
{
    uint64_t now_ms = clock_now_ms();

    *out = (struct summary){
        .run_ms = link->run_ms,
        .nonce = link->nonce,
        .seq = ++link->seq,
        .watcher = link->options.watcher,
        .sent_ms = clock_wall_ms(),
        .every_ms = link->every_ms,
        .word = link->say.word,
        .since_ms = now_ms - link->word_since_ms,
        .stand = link->min_ready.stand,
        .min = link->options.min,
        .fault = link->fault,
        .scope = link->fault      ? SCOPE_LOCAL
                 : link->cause[0] ? link->say.scope
                                  : SCOPE_NONE,
        .have_connections = link->say.have_connections,
        .connections = link->say.connections,
        .taken = link->say.taken,
        .refused = link->say.refused,
        .beats = link->beats,
        .row_count = link->row_count,
        .public_path = link->say.public_path,
        .public_age_ms = now_ms - link->say.public_at_ms,
    };
    memcpy(out->row, link->row, link->row_count * sizeof *link->row);
    snprintf(out->id, sizeof out->id, "%s", link->id);
    snprintf(out->region, sizeof out->region, "%s", link->region);
    snprintf(out->group, sizeof out->group, "%s", link->group);
    snprintf(out->version, sizeof out->version, "%s", link->version);
    snprintf(out->release, sizeof out->release, "%s", link->release);
    snprintf(out->cause, sizeof out->cause, "%s", link->cause);
    if (!link->fault)
        return;
    out->fault_key_ms = link->fault_key_ms;
    out->fault_for_ms = now_ms - link->fault_since_ms;
}

static void on_answer(void *user, const struct err *err, uint64_t rtt_ns)
{
    struct fleet_link *link = user;

    (void)rtt_ns;
    if (err)
        snprintf(link->why, sizeof link->why, "%.150s", err->text);
}

/* A summary that the broker has not answered yet gives way to the newer one: it is sent, or the connection is at its end. */
static void publish(struct fleet_link *link, uint64_t timeout_ms)
{
    struct buf line = BUF_INIT(SUMMARY_WIRE_MAX);
    struct summary *summary = mem_alloc(sizeof *summary);

    compose(link, summary);
    if (summary_write(summary, key_of(link), &line) == 0) {
        broker_request_cancel(&link->request);
        link->request = (struct broker_request){ .on_answer = on_answer, .user = link };
        broker_publish(link->broker, &link->request, slice_str(link->listener.topic), buf_slice(&line), timeout_ms);
    }
    mem_free(summary);
    buf_fini(&line);
}

static void on_due(struct timer *timer, void *user)
{
    struct fleet_link *link = user;
    uint64_t now_ms = clock_now_ms();
    uint32_t random;

    (void)timer;
    if (!may_speak(link))
        return;
    if (announce_is_due(&link->announce, now_ms)) {
        random_bytes(&random, sizeof random);
        announce_sent(&link->announce, link->every_ms, random, now_ms);
        publish(link, PUBLISH_MS);
    }
    arm(link);
}

static void announce_now(struct fleet_link *link)
{
    announce_change(&link->announce, clock_now_ms());
    arm(link);
}

/* --- in --- */

static void news_in(struct fleet_link *link, uint64_t ms)
{
    if (!link->news.slot)
        timer_start(&link->news, ms);
}

static void on_news(struct timer *timer, void *user)
{
    struct fleet_link *link = user;

    (void)timer;
    link->view_stale = true;
    if (!link->left)
        link->options.on_news(link->options.user);
}

/* A flood is dropped before it is looked at: what it may cost is so much a second, whoever sends it. */
static bool may_read(struct fleet_link *link, uint64_t now_ms)
{
    uint64_t more = now_ms > link->refilled_ms ? (now_ms - link->refilled_ms) * LINK_PER_MS : 0;

    if (more) {
        link->allowance = more < LINK_BURST - link->allowance ? link->allowance + more : LINK_BURST;
        link->refilled_ms = now_ms;
    }
    if (!link->allowance) {
        link->flooded++;
        return false;
    }
    link->allowance--;
    return true;
}

static void on_message(void *user, struct slice body, uint64_t received_ns)
{
    struct fleet_link *link = user;
    uint64_t now_ms = clock_now_ms(), twin_ms = members_own_twin_ms(link->members);
    const struct member *member = NULL;
    enum fleet_refusal why = FLEET_REFUSED_NONE;
    enum members_news news;

    (void)received_ns;
    if (link->left || link->keyless || !may_read(link, now_ms))
        return;
    news = members_take(link->members, body, key_of(link), now_ms, clock_wall_ms(), &member, &why);
    if (why == FLEET_REFUSED_UNSIGNED || why == FLEET_REFUSED_BAD_SIGNATURE || why == FLEET_REFUSED_CLOCK) {
        link->doubted = why;
        link->doubted_ms = now_ms;
    }
    if (news == MEMBERS_REFUSED)
        return;
    if (news != MEMBERS_HEARD && news != MEMBERS_ECHO)
        link->order_stale = true;
    if (news == MEMBERS_OWN_TWIN &&
        (!twin_ms || now_ms - twin_ms >= members_expire_ms(link->members))) /* told once, not for each line of it */
        event_log(EVENT_FLEET_TWIN, "id", link->id, "group", link->group, NULL);
    if (member)
        rollout_note(&link->rollout, member, now_ms);
    announce_heard(&link->announce, news, member, members_count(link->members), now_ms);
    arm(link);
    news_in(link, members_count(link->members) > LINK_MANY ? LINK_NEWS_MANY_MS : LINK_NEWS_MS);
}

/* --- the way --- */

static void way_changed(struct fleet_link *link, const struct err *err)
{
    if (err)
        snprintf(link->why, sizeof link->why, "%.150s", err->text);
    if (may_speak(link))
        announce_now(link);
    else
        arm(link);
    timer_stop(&link->news);
    news_in(link, 0);
}

static void on_topic(void *user, bool confirmed, const struct err *err)
{
    (void)confirmed;
    way_changed(user, err);
}

static void on_broker(void *user, bool up, const struct err *err)
{
    way_changed(user, up ? NULL : err);
}

/* The subscription was refused, or is confirmed and nothing comes: the broker may have lost it. */
static void mend(struct fleet_link *link, uint64_t now_ms)
{
    uint64_t silence_ms = (uint64_t)members_expire_ms(link->members) * SILENCE_PART / SILENCE_OF;
    uint64_t heard_ms = members_echo_ms(link->members) > link->begun_ms ? members_echo_ms(link->members) : link->begun_ms;

    if (now_ms - link->asked_again_ms < AGAIN_MS || now_ms - heard_ms < silence_ms || !broker_is_up(link->broker))
        return;
    link->asked_again_ms = now_ms;
    broker_listen_again(&link->listener);
}

static void say_linked(struct fleet_link *link, uint64_t now_ms)
{
    bool linked = fleet_link_is_linked(link);

    if (linked == link->was_linked && (linked || link->told_lost || now_ms - link->begun_ms < LOST_AFTER_MS))
        return;
    if (linked) {
        link->why[0] = 0;
        event_log(EVENT_FLEET_LINKED, "group", link->group, "broker", link->broker_name, NULL);
    } else if (!link->told_lost) {
        event_log(EVENT_FLEET_LOST, "group", link->group, "broker", link->broker_name, "message", fleet_link_view(link)->why, NULL);
    }
    link->told_lost = !linked;
    link->was_linked = linked;
}

static void say_doubt(struct fleet_link *link, uint64_t now_ms)
{
    bool doubts = fleet_link_doubts_all(link, now_ms);

    if (doubts && !link->told_doubt)
        event_log(EVENT_FLEET_IGNORED, "group", link->group, "reason", fleet_refusal_name(link->doubted), "message",
                  fleet_refusal_help(link->doubted), NULL);
    link->told_doubt = doubts || (link->told_doubt && !members_count(link->members));
}

static void on_tick(struct timer *timer, void *user)
{
    struct fleet_link *link = user;
    uint64_t now_ms = clock_now_ms();

    timer_start(timer, TICK_MS);
    if (link->left)
        return;
    read_key(link);
    if (members_sweep(link->members, now_ms))
        link->order_stale = true;
    announce_unheard(&link->announce, link->members, link->seq, now_ms);
    mend(link, now_ms);
    arm(link);
    timer_stop(&link->news);
    on_news(&link->news, link);
    say_linked(link, now_ms);
    say_doubt(link, now_ms);
}

/* --- the judgement --- */

static void note_fault(struct fleet_link *link, const struct fleet_own *own, uint64_t now_ms)
{
    bool changed = own->fault != link->fault || (own->fault && strcmp(link->cause, own->cause) != 0);

    if (own->fault && !link->fault) {
        link->fault_since_ms = now_ms;
        link->fault_key_ms = clock_wall_ms();
    }
    if (own->fault)
        snprintf(link->cause, sizeof link->cause, "%s", own->cause);
    link->fault = own->fault;
    if (changed)
        announce_now(link);
}

void fleet_link_judge(struct fleet_link *link, const struct fleet_own *own, struct fleet_judgement *out)
{
    uint64_t now_ms = clock_now_ms();
    const struct min_ready before = link->min_ready;
    bool settled = min_ready_is_settled(&link->min_ready, link->every_ms, now_ms), had_wide = link->wide_own;
    struct min_ready_input input = { .now_ms = now_ms,
                                     .linked = may_speak(link) && !link->left,
                                     .every_ms = link->every_ms,
                                     .min = link->options.min,
                                     .id = link->id,
                                     .last_seq = link->seq };

    note_fault(link, own, now_ms);
    link->wide_own =
        together_judge(&link->together, link->members,
                       &(struct together_own){ settled, own->counts, own->fault, link->cause, link->fault_since_ms }, now_ms) &&
        input.linked;
    input.fault = own->fault && !link->wide_own;
    input.fault_key_ms = link->fault_key_ms;
    out->stand = min_ready_decide(&link->min_ready, link->members, &input);
    out->wide = own->fault && link->wide_own;
    if (link->min_ready.publish || before.stand != link->min_ready.stand)
        announce_now(link);
    if (before.stand != link->min_ready.stand || before.mode != link->min_ready.mode || before.counted != link->min_ready.counted ||
        before.linked_ms != link->min_ready.linked_ms || had_wide != link->wide_own)
        link->view_stale = true;
    say_linked(link, now_ms);
}

bool fleet_link_witness(const struct fleet_link *link, struct witness *witness, unsigned kinds, bool failing, uint64_t since_ms)
{
    uint64_t now_ms = clock_now_ms();
    bool settled = !link->left && min_ready_is_settled(&link->min_ready, link->every_ms, now_ms);

    return witness_judge(witness, link->members, kinds, failing && settled, since_ms, now_ms);
}

void fleet_link_tell(struct fleet_link *link, const struct fleet_say *say)
{
    const struct fleet_say *old = &link->say;
    bool changed = say->word != old->word || say->scope != old->scope || say->taken != old->taken || say->refused != old->refused ||
                   say->public_path != old->public_path || strcmp(link->cause, say->cause) != 0;

    if (say->word != old->word)
        link->word_since_ms = clock_now_ms();
    if (say->public_path != old->public_path)
        link->public_since_ms = clock_now_ms();
    link->say = *say;
    snprintf(link->cause, sizeof link->cause, "%s", say->cause);
    link->say.cause = link->cause;
    if (!changed || link->left)
        return;
    link->view_stale = true;
    announce_now(link);
}

/* --- life --- */

static void take_settings(struct fleet_link *link, const struct fleet_link_options *options)
{
    const struct fleet_conf *conf = options->conf;
    const char *release = options->release ? options->release : "";
    bool same_key = link->options.on_news &&
                    (link->key_text && conf->key ? strcmp(link->key_text, conf->key) == 0 : !link->key_text && !conf->key);

    link->options = *options;
    link->options.conf = NULL;
    if (strcmp(link->release, release) != 0)
        link->version_ms = clock_now_ms();
    snprintf(link->release, sizeof link->release, "%s", release);
    link->every_ms = (uint32_t)conf->every_ms;
    if (same_key)
        return;
    mem_free(link->key_text);
    link->key_text = conf->key ? mem_strdup(conf->key) : NULL;
    buf_wipe(&link->key);
    link->key = BUF_INIT(KEY_MAX);
    link->keyless = link->key_text;
    read_key(link);
}

struct fleet_link *fleet_link_new(const struct fleet_link_options *options)
{
    struct fleet_link *link = mem_alloc(sizeof *link);
    char topic[BROKER_TOPIC_MAX];
    uint64_t seed;

    link->self = link;
    link->loop = options->loop;
    link->broker = options->broker;
    snprintf(link->id, sizeof link->id, "%s", options->id);
    link->who = fleet_hash(link->id);
    snprintf(link->region, sizeof link->region, "%s", options->region);
    snprintf(link->group, sizeof link->group, "%s", options->conf->group);
    snprintf(link->version, sizeof link->version, "%s", options->version);
    link->broker_name = mem_strdup(options->conf->broker);
    take_settings(link, options);
    link->begun_ms = link->version_ms = link->word_since_ms = clock_now_ms();
    link->run_ms = (uint64_t)clock_wall_ms();
    link->say.cause = link->cause;
    random_bytes(&link->nonce, sizeof link->nonce);
    random_bytes(&seed, sizeof seed);
    link->members = members_new(&(struct members_conf){ .id = link->id,
                                                        .group = link->group,
                                                        .run_ms = link->run_ms,
                                                        .nonce = link->nonce,
                                                        .expire_ms = (uint32_t)options->conf->expire_ms,
                                                        .seed = seed });
    link->view_stale = link->order_stale = true;
    timer_init(&link->due, link->loop, on_due, link);
    timer_init(&link->tick, link->loop, on_tick, link);
    timer_init(&link->news, link->loop, on_news, link);
    link->listener = (struct broker_listener){ .in_batches = true, .on_state = on_topic, .on_message = on_message, .user = link };
    link->watcher = (struct broker_watcher){ .on_change = on_broker, .user = link };
    snprintf(topic, sizeof topic, "wshealthd.fleet.%s", link->group);
    broker_watch(link->broker, &link->watcher);
    broker_listen(link->broker, &link->listener, topic);
    timer_start(&link->tick, TICK_MS);
    arm(link);
    return link;
}

bool fleet_link_change(struct fleet_link *link, const struct fleet_link_options *options)
{
    if (link->left || link->broker != options->broker || strcmp(link->group, options->conf->group) != 0 ||
        strcmp(link->id, options->id) != 0 || strcmp(link->region, options->region) != 0)
        return false;
    take_settings(link, options);
    members_set_expire(link->members, (uint32_t)options->conf->expire_ms);
    link->view_stale = true;
    announce_now(link);
    return true;
}

void fleet_link_leave(struct fleet_link *link)
{
    if (link->left)
        return;
    link->say.word = FLEET_LEFT;
    link->word_since_ms = clock_now_ms();
    link->fault = false;
    link->cause[0] = 0;
    link->min_ready.stand = FLEET_STAND_OWN;
    if (may_speak(link))
        publish(link, LINK_GOODBYE_MS);
    link->left = true;
    timer_stop(&link->due);
    timer_stop(&link->news);
}

bool fleet_link_busy(const struct fleet_link *link)
{
    return link->left && link->request.broker;
}

void fleet_link_free(struct fleet_link *link)
{
    if (!link)
        return;
    timer_stop(&link->due);
    timer_stop(&link->tick);
    timer_stop(&link->news);
    broker_request_cancel(&link->request);
    broker_unlisten(&link->listener);
    broker_unwatch(&link->watcher);
    members_free(link->members);
    buf_wipe(&link->key);
    mem_free(link->key_text);
    mem_free(link->broker_name);
    mem_free(link->order);
    mem_free(link->sources);
    mem_free(link);
}
