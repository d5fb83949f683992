/*
 * Channels of a dialogue: asking for them, what confirms or refuses them, and whose a message is. Called by agent/client/dialogue.c for every
 * message, and by its owner through dialogue_subscribe. Promises one answer to each subscription, and that neither thousands of channels nor
 * a hostile message make the search for a receiver long (struct effort).
 */
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/client/dialogue_impl.h"
#include "agent/client/share.h"
#include "agent/proto/words.h"

enum { EXTRACT_BYTES_MAX = 8 << 20 };

static bool tell_subscribed(struct dialogue *dialogue, const char *channel, const struct err *err)
{
    struct dialogue_call call = dialogue_call_of(dialogue);

    dialogue->events->on_subscribed(dialogue->user, channel, err);
    return dialogue_kept(call);
}

static bool confirm(struct dialogue *dialogue, struct subscription *subscription)
{
    char *channel = mem_strdup(subscription->channel);
    bool there;

    list_remove(&subscription->node);
    list_push(&dialogue->confirmed, &subscription->node);
    subscription->confirmed = true;
    subscription->due_ns = 0;
    there = tell_subscribed(dialogue, channel, NULL);
    mem_free(channel);
    return there;
}

static bool refuse(struct dialogue *dialogue, struct subscription *subscription, struct slice unit)
{
    char shown[WORDS_BYTES], name[SHOWN_BYTES], *channel = subscription->channel;
    struct err err;
    bool there;

    subscription->channel = NULL;
    subscription_free(subscription);
    dialogue->subscription_count--;
    words_of(unit, shown);
    text_excerpt(slice_str(channel), SHOWN_CHARS, name, sizeof name);
    err_set(&err, REASON_SUBSCRIBE_REJECTED, 0, "the server refused channel \"%s\": \"%s\"", name, shown);
    there = tell_subscribed(dialogue, channel, &err);
    mem_free(channel);
    return there;
}

/* Starts the timer for the subscription that is due first. */
static void settle_later(struct dialogue *dialogue)
{
    uint64_t first_ns = 0, now_ns = clock_now_ns();

    list_each (node, &dialogue->pending) {
        const struct subscription *subscription = list_entry(node, struct subscription, node);

        if (subscription->due_ns && (!first_ns || subscription->due_ns < first_ns))
            first_ns = subscription->due_ns;
    }
    if (first_ns)
        timer_start_ns(&dialogue->settle, first_ns > now_ns ? first_ns - now_ns : 0);
}

static struct subscription *first_due(struct dialogue *dialogue, uint64_t now_ns)
{
    list_each (node, &dialogue->pending) {
        struct subscription *subscription = list_entry(node, struct subscription, node);

        if (subscription->due_ns && subscription->due_ns <= now_ns)
            return subscription;
    }
    return NULL;
}

void dialogue_on_settle(struct timer *timer, void *user)
{
    struct dialogue *dialogue = user;
    struct subscription *subscription;
    uint64_t now_ns = clock_now_ns();

    (void)timer;
    dialogue->group->current = &dialogue->conn;
    while ((subscription = first_due(dialogue, now_ns)))
        if (!confirm(dialogue, subscription))
            return;
    dialogue->group->current = NULL;
    settle_later(dialogue);
}

static struct subscription *find_subscription(struct list *head, const char *channel)
{
    list_each (node, head) {
        struct subscription *subscription = list_entry(node, struct subscription, node);

        if (strcmp(subscription->channel, channel) == 0)
            return subscription;
    }
    return NULL;
}

/* When it counts as confirmed without a word. 0: only by one. */
static uint64_t silence_due(const struct dialogue *dialogue, const struct subscription *subscription)
{
    uint64_t settle_ms = subscription->reject ? DIALOGUE_SETTLE_MS : 0;

    if (subscription->expect) {
        if (!dialogue->speaker.dialect->may_confirm || dialogue->confirms)
            return 0;
        settle_ms = DIALOGUE_MAYBE_MS;
    }
    return clock_now_ns() + settle_ms * NS_PER_MS;
}

bool dialogue_confirms(const struct dialogue *dialogue)
{
    return dialogue->guest ? guest_host(dialogue->guest)->confirms || dialogue->confirms : dialogue->confirms;
}

int dialogue_subscribe(struct dialogue *dialogue, const char *channel, struct err *err)
{
    const struct opt_bytes *send;
    struct subscription *subscription;
    bool said;

    if (dialogue->guest) {
        panic_if(!guest_is_ready(dialogue->guest));
        return dialogue_subscribe(guest_host(dialogue->guest), channel, err);
    }
    panic_if(dialogue->stage != STAGE_READY);
    send = &dialogue->speaker.dialect->subscribe.send;
    if (find_subscription(&dialogue->pending, channel))
        return 0;
    subscription = find_subscription(&dialogue->confirmed, channel);
    if (subscription) { /* it comes through the same door as a new one that is confirmed by silence */
        list_remove(&subscription->node);
        subscription->due_ns = clock_now_ns();
    } else {
        if (dialogue->subscription_count >= DIALOGUE_SUBSCRIPTIONS_MAX)
            return err_set(err, REASON_AGENT_ERROR, 0, "more than %d subscriptions over one connection",
                           DIALOGUE_SUBSCRIPTIONS_MAX);
        dialogue->seq++;
        if (send->data && dialogue_say(dialogue, send, channel, &said, err) < 0)
            return -1;
        subscription = subscription_new(&dialogue->speaker, channel, dialogue->seq, err);
        if (!subscription)
            return -1;
        subscription->due_ns = silence_due(dialogue, subscription);
        dialogue->subscription_count++;
    }
    list_push(&dialogue->pending, &subscription->node);
    if (subscription->due_ns && (subscription->confirmed || !timer_active(&dialogue->settle)))
        settle_later(dialogue);
    return 0;
}

void dialogue_awaits(const struct dialogue *dialogue, const char *channel, char *out, size_t size)
{
    const struct match_spec *expect;

    if (dialogue->guest) {
        dialogue_awaits(guest_host(dialogue->guest), channel, out, size);
        return;
    }
    expect = &dialogue->speaker.dialect->subscribe.expect;
    *out = '\0';
    list_each (node, &dialogue->pending) {
        const struct subscription *subscription = list_entry(node, struct subscription, node);

        if (strcmp(subscription->channel, channel) == 0 && !match_spec_empty(expect))
            speaker_describe(&dialogue->speaker, expect, channel, subscription->seq, out, size);
    }
}

/* --- messages --- */

int dialogue_confirmation(struct dialogue *dialogue, struct effort *effort, struct slice unit)
{
    list_each (node, &dialogue->pending) {
        struct subscription *subscription = list_entry(node, struct subscription, node);

        if (subscription->confirmed)
            continue;
        if (effort_try(effort, subscription->reject, unit))
            return refuse(dialogue, subscription, unit) ? 1 : -1;
        if (!effort_try(effort, subscription->expect, unit))
            continue;
        dialogue->confirms = true;
        return confirm(dialogue, subscription) ? 1 : -1;
    }
    return 0;
}

static bool is_for(struct effort *effort, const struct subscription *subscription, struct slice unit)
{
    if (subscription->by_name && slice_find(unit, slice_str(subscription->channel)) < 0)
        return false;
    return effort_try(effort, subscription->message, unit);
}

/* Whose message it is. Those that were quiet longest are asked first: messages tend to come in turns. */
static struct subscription *find_receiver(struct dialogue *dialogue, struct effort *effort, struct slice unit)
{
    list_each (node, &dialogue->confirmed) {
        struct subscription *subscription = list_entry(node, struct subscription, node);

        if (is_for(effort, subscription, unit)) {
            list_remove(&subscription->node);
            list_push(&dialogue->confirmed, &subscription->node);
            return subscription;
        }
    }
    list_each (node, &dialogue->pending) {
        struct subscription *subscription = list_entry(node, struct subscription, node);

        if (is_for(effort, subscription, unit))
            return subscription;
    }
    return NULL;
}

bool dialogue_payload(struct dialogue *dialogue, struct effort *effort, struct slice unit, uint64_t received_ns)
{
    struct buf extracted = BUF_INIT(EXTRACT_BYTES_MAX);
    const struct subscription *receiver = NULL;
    struct dialogue_call call = dialogue_call_of(dialogue);
    struct slice payload;
    char *channel;

    if (dialogue->per_channel) {
        receiver = find_receiver(dialogue, effort, unit);
        if (!receiver)
            return true;
    } else if (dialogue->message && !effort_try(effort, dialogue->message, unit)) {
        return true;
    }
    if (payload_unwrap(dialogue->speaker.dialect, receiver ? receiver->prefix : dialogue->prefix, unit, &extracted, &payload)) {
        channel = mem_strdup(receiver ? receiver->channel : "");
        dialogue->events->on_payload(dialogue->user, channel, payload, received_ns);
        mem_free(channel);
    }
    buf_fini(&extracted);
    return dialogue_kept(call);
}
