/*
 * The notifiers (agent/notify/notify.h). Called by agent/run with each settled state of the verdict. agent/notify/policy.h decides what is told;
 * here it waits for its turn, is sent (agent/notify/send.h), and tried again. Promises one message under way and at most NOTIFY_QUEUE_MAX
 * that wait for each notifier, and that no text in a message holds a secret that the agent knows.
 *
 * A message that is overtaken before it arrives is not sent late: the end of an incident takes the place of its begin ("failed from … to …"), and a newer
 * state that of an older one.
 */
#include "agent/notify/notify.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/base/version.h"
#include "agent/conf/receiver_type.h"
#include "agent/core/event.h"
#include "agent/net/child.h"
#include "agent/notify/policy.h"
#include "agent/notify/send.h"
#include "agent/report/report.h"

enum {
    STATUS_MAX = 512 << 10,
    STATUS_KEPT_MAX = 400 << 10,
    HOST_MAX = 256,
    KEY_MAX = 160,
    CHECK_NAME_MAX = 72,
    RETRY_LEAST_MS = 100
};

/* What a message says, as it was when it was decided. */
struct told {
    const char *word, *cause; /* of closed sets */
    char sentence[640];
    const char *advice[DIAGNOSIS_ADVICE_MAX]; /* texts of the rules */
    size_t advice_count;
    char because[DIAGNOSIS_BECAUSE_MAX][CHECK_NAME_MAX];
    size_t because_count;
    bool because_more;
};

struct waiting { /* one message */
    struct waiting *next;
    struct policy_say say;
    int64_t begun_ms, at_ms; /* wall */
    uint64_t born_ms;        /* monotonic */
    unsigned tries;
    enum notice_kind sent_as;
    char incident[40];
    struct told told;
};

struct notifier {
    struct notifiers *all;
    struct generation *generation; /* whose configuration it reads */
    const struct notifier_conf *conf;
    struct tls_context *tls;
    struct policy policy;
    struct told told; /* the fault that there is, or was last */
    struct told said; /* what was told last of the incident: its end is told by that, and not by the last step of the recovery */
    struct timer timer;
    struct waiting *queue; /* the first is under way, or the next one */
    struct sending *sending;
    uint64_t retry_at_ms; /* of the first; 0: at once */
    unsigned arrived;     /* the incident of which a message has arrived last */
    unsigned lost;        /* messages that did not arrive, for the next one */
    struct notifier_view view;
};

struct notifiers {
    struct loop *loop;
    const struct agent_view *(*get_view)(void *user);
    void *user;
    struct notifier **items;
    const struct notifier_view **views;
    size_t count;
    struct story_state state; /* the last one */
    bool have_state, leaving;
    char host[HOST_MAX];
};

static void pump(struct notifier *notifier);

/* --- the queue ----------------------------------------------------------------------------------------------------------------------- */

static size_t queue_length(const struct notifier *notifier)
{
    size_t count = 0;

    for (const struct waiting *item = notifier->queue; item; item = item->next)
        count++;
    return count;
}

static void drop_first(struct notifier *notifier)
{
    struct waiting *first = notifier->queue;

    notifier->queue = first->next;
    notifier->retry_at_ms = 0;
    mem_free(first);
}

static bool is_overtaken(const struct notifier *notifier)
{
    const struct waiting *first = notifier->queue;

    return first && first->next && first->next->say.incident == first->say.incident;
}

static void lose_first(struct notifier *notifier, enum notified result)
{
    notifier->view.results[result]++;
    notifier->lost += !notifier->queue->say.refresh + notifier->queue->say.left_out;
    drop_first(notifier);
}

/* A message that waits, and is overtaken by the one behind it. */
static void merge(struct notifier *notifier, struct waiting **place)
{
    struct waiting *old = *place, *next = old->next;

    next->say.changes += old->say.changes;
    next->say.left_out += old->say.left_out;
    notifier->view.results[NOTIFIED_MERGED]++;
    if (old == notifier->queue)
        notifier->retry_at_ms = 0;
    *place = next;
    mem_free(old);
}

/* The end of an incident whose begin has arrived: somebody waits for it. */
static bool is_awaited(const struct notifier *notifier, const struct waiting *item)
{
    return item->say.kind == NOTICE_END && item->say.incident == notifier->arrived;
}

/* The oldest that is not under way and that nobody waits for. */
static void drop_oldest(struct notifier *notifier)
{
    struct waiting **place = notifier->sending ? &notifier->queue->next : &notifier->queue, *old;

    if (is_awaited(notifier, *place) && (*place)->next)
        place = &(*place)->next;
    old = *place;
    notifier->view.results[NOTIFIED_DROPPED]++;
    notifier->lost += !old->say.refresh + old->say.left_out;
    if (old == notifier->queue)
        notifier->retry_at_ms = 0;
    *place = old->next;
    mem_free(old);
}

static void enqueue(struct notifier *notifier, const struct policy_say *say)
{
    struct waiting *item = mem_alloc(sizeof *item), **last = NULL, **end = &notifier->queue;
    int64_t now_ms = (int64_t)clock_now_ms(), wall_ms = clock_wall_ms();

    item->say = *say;
    if (say->kind != NOTICE_END && !say->refresh)
        notifier->said = notifier->told;
    item->told = notifier->said;
    item->born_ms = clock_now_ms();
    item->begun_ms = wall_ms - (now_ms - say->begun_ms);
    item->at_ms = wall_ms - (now_ms - say->at_ms);
    for (; *end; end = &(*end)->next)
        last = end;
    if (say->refresh && last && (*last)->say.incident == say->incident) { /* what is on its way says more */
        mem_free(item);
        return;
    }
    *end = item;
    if (last && (*last)->say.incident == say->incident && !(*last == notifier->queue && notifier->sending))
        merge(notifier, last);
    if (queue_length(notifier) > NOTIFY_QUEUE_MAX)
        drop_oldest(notifier);
}

/* --- a notice -------------------------------------------------------------------------------------------------------------------------- */

static const char *word_of(unsigned fault, const char *otherwise)
{
    switch (fault) {
    case NOTIFY_NOT_LIVE:
        return "not live";
    case NOTIFY_NOT_READY:
        return "not ready";
    case NOTIFY_DEGRADED:
        return "degraded";
    case NOTIFY_WARN:
        return "warning";
    case NOTIFY_DRAINING:
        return "draining";
    default:
        return otherwise;
    }
}

static enum notice_severity severity_of(unsigned fault)
{
    switch (fault) {
    case NOTIFY_NOT_LIVE:
    case NOTIFY_NOT_READY:
        return NOTICE_CRITICAL;
    case NOTIFY_DEGRADED:
    case NOTIFY_WARN:
        return NOTICE_WARNING;
    case NOTIFY_DRAINING:
        return NOTICE_INFO;
    default:
        return NOTICE_OK;
    }
}

/* /status as one line, or NULL. */
static char *status_text(const struct agent_view *view)
{
    struct buf text = BUF_INIT(STATUS_MAX);
    char *copy = NULL;

    report_status_json(view, true, &text);
    while (text.len && text.data[text.len - 1] == '\n')
        text.len--;
    if (text.len && text.len <= STATUS_KEPT_MAX)
        copy = mem_strdup(buf_str(&text));
    buf_fini(&text);
    return copy;
}

struct notice_parts { /* what a notice points to */
    char key[KEY_MAX];
    char *status;
    const char *because[DIAGNOSIS_BECAUSE_MAX];
};

static void make_notice(const struct notifier *notifier, const struct waiting *item, struct notice *notice,
                        struct notice_parts *parts)
{
    const struct notifiers *all = notifier->all;
    const struct conf *conf = notifier->generation->conf;
    const struct agent_view *view = all->get_view(all->user);
    const struct policy_say *say = &item->say;
    bool arrived = notifier->arrived == say->incident, open = say->kind != NOTICE_END;

    snprintf(parts->key, sizeof parts->key, "%s@%s", conf->agent_id, conf->region);
    parts->status = status_text(view);
    for (size_t i = 0; i < item->told.because_count; i++)
        parts->because[i] = item->told.because[i];
    *notice = (struct notice){ .kind = open && !arrived ? NOTICE_BEGIN : say->kind,
                               .severity = severity_of(say->is),
                               .key = parts->key,
                               .was = word_of(arrived || !open ? say->was : 0, "ready"),
                               .word = word_of(say->is, all->state.word),
                               .cause = item->told.cause,
                               .sentence = item->told.sentence,
                               .advice = item->told.advice,
                               .advice_count = item->told.advice_count,
                               .because = parts->because,
                               .because_count = item->told.because_count,
                               .because_more = item->told.because_more,
                               .service = view->service_id,
                               .agent_id = conf->agent_id,
                               .region = conf->region,
                               .host = all->host,
                               .link = conf->page_url,
                               .begun_ms = item->begun_ms,
                               .at_ms = item->at_ms,
                               .changes = say->changes,
                               .left_out = say->left_out,
                               .untold = !open && !arrived,
                               .status_json = parts->status,
                               .version = WSHEALTHD_VERSION };
    snprintf(notice->incident, sizeof notice->incident, "%s-%u", view->nonce, say->incident);
}

void notifiers_make_test(const struct conf *conf, const char *host, struct notice *notice)
{
    static const char *const advice[] = { "Nothing is to be done" };

    *notice = (struct notice){ .kind = NOTICE_TEST,
                               .severity = NOTICE_INFO,
                               .incident = "test",
                               .key = "test",
                               .was = "ready",
                               .word = "ready",
                               .cause = "test",
                               .sentence = "Somebody has run `wshealthd notify test`: messages of this agent arrive here",
                               .advice = advice,
                               .advice_count = 1,
                               .agent_id = conf->agent_id,
                               .region = conf->region,
                               .host = host,
                               .link = conf->page_url,
                               .begun_ms = clock_wall_ms(),
                               .at_ms = clock_wall_ms(),
                               .version = WSHEALTHD_VERSION };
}

/* --- sending ----------------------------------------------------------------------------------------------------------------------------- */

static void set_failing(struct notifier *notifier, const struct err *err)
{
    struct notifier_view *view = &notifier->view;

    snprintf(view->error, sizeof view->error, "%.*s", (int)sizeof view->error - 1, err->text);
    secret_scrub(view->error);
    if (view->failing)
        return;
    view->failing = true;
    view->failing_since_ms = clock_wall_ms();
    event_log(EVENT_NOTIFY_FAILED, "notifier", notifier->conf->name, "type", notifier->conf->type->name, "message", err->text,
              NULL);
}

static void on_taken(struct notifier *notifier)
{
    const struct waiting *item = notifier->queue;

    notifier->arrived = item->say.incident;
    notifier->view.failing = false;
    notifier->view.error[0] = 0;
    notifier->view.sent_ms = clock_wall_ms();
    notifier->view.results[NOTIFIED_SENT]++;
    if (!item->say.refresh)
        event_log(EVENT_NOTIFIED, "notifier", notifier->conf->name, "kind", notice_kind_name(item->sent_as), "incident",
                  item->incident, "word", word_of(item->say.is, notifier->all->state.word), "cause", item->told.cause, NULL);
    drop_first(notifier);
}

/* Full jitter, so that the agents of many instances do not knock together. */
static uint64_t pause_ms(unsigned tries, uint64_t asked_ms)
{
    uint64_t most = NOTIFY_RETRY_MS;

    for (unsigned i = 1; i < tries && most < NOTIFY_RETRY_MAX_MS; i++)
        most *= 2;
    if (most > NOTIFY_RETRY_MAX_MS)
        most = NOTIFY_RETRY_MAX_MS;
    most = RETRY_LEAST_MS + random_below((uint32_t)most);
    return most > asked_ms ? most : asked_ms;
}

/* What still is so, and what somebody waits for, is worth more patience than news of the past. */
static bool is_hopeless(const struct notifier *notifier, uint64_t now_ms)
{
    const struct waiting *item = notifier->queue;
    bool is_so = notifier->policy.fault && notifier->policy.incident == item->say.incident;
    bool matters = is_awaited(notifier, item) || (is_so && !item->next);

    return now_ms - item->born_ms >= (uint64_t)(matters ? NOTIFY_RETRY_OPEN_MS : NOTIFY_RETRY_FOR_MS);
}

static void on_failed(struct notifier *notifier, const struct err *err, bool again, uint64_t asked_ms)
{
    struct waiting *item = notifier->queue;
    uint64_t now_ms = clock_now_ms();

    set_failing(notifier, err);
    if (is_overtaken(notifier)) {
        merge(notifier, &notifier->queue);
        notifier->retry_at_ms = again ? now_ms + pause_ms(1, asked_ms) : 0;
    } else if (notifier->all->leaving) {
        lose_first(notifier, NOTIFIED_FAILED);
    } else if (!again || is_hopeless(notifier, now_ms) || item->say.refresh) {
        lose_first(notifier, NOTIFIED_FAILED);
    } else {
        notifier->view.results[NOTIFIED_RETRIED]++;
        notifier->retry_at_ms = now_ms + pause_ms(item->tries, asked_ms);
    }
}

static void on_sent(void *user, const struct sending_result *result)
{
    struct notifier *notifier = user;

    notifier->sending = NULL;
    if (result->taken)
        on_taken(notifier);
    else
        on_failed(notifier, result->err, result->again, result->retry_after_ms);
    pump(notifier);
}

static void start_first(struct notifier *notifier)
{
    struct waiting *item = notifier->queue;
    int64_t timeout_ms = notifier->conf->timeout_ms;
    struct notice_parts parts = { .status = NULL };
    struct notice notice;
    struct err err;

    if (notifier->all->leaving && timeout_ms > NOTIFY_LEAVE_MS)
        timeout_ms = NOTIFY_LEAVE_MS;
    item->say.left_out += notifier->lost;
    notifier->lost = 0;
    item->tries++;
    make_notice(notifier, item, &notice, &parts);
    item->sent_as = notice.kind;
    memcpy(item->incident, notice.incident, sizeof item->incident);
    if (notifier->tls)
        tls_context_refresh(notifier->tls);
    const struct sending_request request = { notifier->conf, notifier->tls, &notice, (uint64_t)timeout_ms };
    notifier->sending = sending_start(notifier->all->loop, &request, on_sent, notifier, &err);
    mem_free(parts.status);
    if (!notifier->sending)
        on_failed(notifier, &err, true, 0);
}

/* --- what is due ----------------------------------------------------------------------------------------------------------------------- */

static void hear_policy(struct notifier *notifier)
{
    struct policy_say say;

    while (policy_next(&notifier->policy, (int64_t)clock_now_ms(), &say))
        enqueue(notifier, &say);
    notifier->view.results[NOTIFIED_LIMITED] = notifier->policy.limited;
    notifier->view.told = notifier->policy.told;
}

static void arm(struct notifier *notifier)
{
    int64_t now_ms = (int64_t)clock_now_ms(), due_ms = policy_due(&notifier->policy);

    if (notifier->queue && !notifier->sending && (int64_t)notifier->retry_at_ms < due_ms)
        due_ms = (int64_t)notifier->retry_at_ms;
    if (due_ms == INT64_MAX)
        timer_stop(&notifier->timer);
    else
        timer_start(&notifier->timer, due_ms > now_ms ? (uint64_t)(due_ms - now_ms) : 0);
    notifier->view.waiting = (unsigned)queue_length(notifier);
}

/* Sends nothing itself: the agent's view may be in the making. */
static void pump(struct notifier *notifier)
{
    hear_policy(notifier);
    arm(notifier);
}

static void on_timer(struct timer *timer, void *user)
{
    struct notifier *notifier = user;

    (void)timer;
    hear_policy(notifier);
    if (notifier->queue && !notifier->sending && clock_now_ms() >= notifier->retry_at_ms)
        start_first(notifier);
    arm(notifier);
}

static void read_state(const struct notifier *notifier, const struct story_state *state, const struct agent_view *view,
                       struct policy_state *out)
{
    bool draining = strcmp(state->word, "draining") == 0, warns = view->verdict.status != RESULT_PASS;

    *out = (struct policy_state){ .cause = state->cause };
    out->unknown = notifier->all->leaving || view->leaving || strcmp(state->word, "starting") == 0 ||
                   (draining && !(notifier->conf->on & NOTIFY_DRAINING));
    if (draining)
        out->faults = NOTIFY_DRAINING;
    else if (!state->ready)
        out->faults = NOTIFY_NOT_READY;
    else
        out->faults = state->degraded ? NOTIFY_DEGRADED : warns ? NOTIFY_WARN : 0;
    if (!state->live && !draining)
        out->faults |= NOTIFY_NOT_LIVE;
}

/* The cause and its advice, for as long as the fault is there; after it, what was last. */
static void keep_fault(struct told *told, const struct story_state *state, const struct agent_view *view)
{
    const struct diagnosis *diagnosis = &view->diagnosis;
    bool same = strcmp(diagnosis->cause, state->cause) == 0;

    *told = (struct told){ .word = state->word, .cause = state->cause };
    snprintf(told->sentence, sizeof told->sentence, "%s", state->sentence);
    secret_scrub(told->sentence);
    for (size_t i = 0; same && i < diagnosis->advice_count; i++)
        told->advice[told->advice_count++] = diagnosis->advice[i];
    told->because_more = same && diagnosis->because_more;
    for (size_t i = 0; same && i < diagnosis->because_count; i++)
        snprintf(told->because[told->because_count++], CHECK_NAME_MAX, "%s", diagnosis->because[i]);
}

static void tell_one(struct notifier *notifier, const struct agent_view *view)
{
    const struct story_state *state = &notifier->all->state;
    struct policy_state now;

    read_state(notifier, state, view, &now);
    if (!now.unknown && (now.faults & notifier->conf->on))
        keep_fault(&notifier->told, state, view);
    policy_update(&notifier->policy, &now, (int64_t)clock_now_ms());
    pump(notifier);
}

void notifiers_tell(struct notifiers *notifiers, const struct story_state *state)
{
    const struct agent_view *view = notifiers->count ? notifiers->get_view(notifiers->user) : NULL;

    notifiers->state = *state;
    notifiers->have_state = true;
    for (size_t i = 0; i < notifiers->count; i++)
        tell_one(notifiers->items[i], view);
}

/* --- life ---------------------------------------------------------------------------------------------------------------------------------- */

struct notifiers *notifiers_new(struct loop *loop, const struct agent_view *(*view)(void *user), void *user)
{
    struct notifiers *notifiers = mem_alloc(sizeof *notifiers);

    notifiers->loop = loop;
    notifiers->get_view = view;
    notifiers->user = user;
    if (gethostname(notifiers->host, sizeof notifiers->host - 1) < 0)
        notifiers->host[0] = 0;
    return notifiers;
}

static void notifier_free(struct notifier *notifier)
{
    timer_stop(&notifier->timer);
    if (notifier->sending)
        sending_cancel(notifier->sending);
    while (notifier->queue)
        drop_first(notifier);
    generation_unref(notifier->generation);
    mem_free(notifier);
}

static struct notifier *take_same(struct notifiers *notifiers, const struct notifier_conf *conf)
{
    for (size_t i = 0; i < notifiers->count; i++) {
        struct notifier *notifier = notifiers->items[i];

        if (notifier && strcmp(notifier->conf->name, conf->name) == 0 && notifier->conf->type == conf->type) {
            notifiers->items[i] = NULL;
            return notifier;
        }
    }
    return NULL;
}

static void adopt(struct notifier *notifier, struct generation *generation, size_t index, bool fresh)
{
    const struct notifier_conf *conf = &generation->conf->notifiers[index];
    const struct policy_rules rules = { .on = conf->on,
                                        .after_ms = conf->after_ms,
                                        .repeat_ms = conf->repeat_ms,
                                        .refresh_ms = conf->type->refresh_ms,
                                        .max_per_hour = (unsigned)conf->max_per_hour };
    struct generation *old = notifier->generation;
    bool same = fresh || conf_same_notifier(notifier->conf, conf);

    notifier->generation = generation_ref(generation);
    notifier->conf = conf;
    notifier->tls = generation->notifier_tls[index];
    notifier->view.name = conf->name;
    notifier->view.type = conf->type->name;
    if (fresh)
        policy_init(&notifier->policy, &rules, (int64_t)clock_now_ms());
    else
        notifier->policy.rules = rules;
    if (!same && !notifier->queue && notifier->arrived != notifier->policy.incident)
        policy_untell(&notifier->policy); /* the receiver refused it, and may be another one now */
    generation_unref(old);
}

static struct notifier *notifier_new(struct notifiers *notifiers)
{
    struct notifier *notifier = mem_alloc(sizeof *notifier);

    notifier->all = notifiers;
    notifier->told.cause = notifier->told.word = "";
    notifier->said = notifier->told;
    timer_init(&notifier->timer, notifiers->loop, on_timer, notifier);
    return notifier;
}

static void free_items(struct notifiers *notifiers)
{
    for (size_t i = 0; i < notifiers->count; i++)
        if (notifiers->items[i])
            notifier_free(notifiers->items[i]);
    mem_free(notifiers->items);
    mem_free(notifiers->views);
}

void notifiers_configure(struct notifiers *notifiers, struct generation *generation)
{
    const struct conf *conf = generation->conf;
    struct notifier **items = mem_alloc((conf->notifier_count + 1) * sizeof(struct notifier *));
    const struct notifier_view **views = mem_alloc((conf->notifier_count + 1) * sizeof(struct notifier_view *));

    for (size_t i = 0; i < conf->notifier_count; i++) {
        struct notifier *same = take_same(notifiers, &conf->notifiers[i]);

        items[i] = same ? same : notifier_new(notifiers);
        adopt(items[i], generation, i, !same);
        views[i] = &items[i]->view;
    }
    free_items(notifiers);
    notifiers->items = items;
    notifiers->views = views;
    notifiers->count = conf->notifier_count;
    if (!notifiers->have_state || !notifiers->count)
        return;
    const struct agent_view *view = notifiers->get_view(notifiers->user);
    for (size_t i = 0; i < notifiers->count; i++)
        tell_one(notifiers->items[i], view);
}

void notifiers_leave(struct notifiers *notifiers)
{
    if (notifiers->leaving)
        return;
    notifiers->leaving = true;
    for (size_t i = 0; i < notifiers->count; i++) {
        struct notifier *notifier = notifiers->items[i];

        policy_update(&notifier->policy, &(struct policy_state){ .unknown = true, .cause = "" }, (int64_t)clock_now_ms());
        notifier->retry_at_ms = 0;
        arm(notifier);
    }
}

bool notifiers_busy(const struct notifiers *notifiers)
{
    for (size_t i = 0; i < notifiers->count; i++)
        if (notifiers->items[i]->queue)
            return true;
    return child_any();
}

void notifiers_free(struct notifiers *notifiers)
{
    if (!notifiers)
        return;
    free_items(notifiers);
    child_forget_all();
    mem_free(notifiers);
}

const struct notifier_view *const *notifiers_views(const struct notifiers *notifiers, size_t *count)
{
    *count = notifiers->count;
    return notifiers->views;
}
