/*
 * The rule of min_ready (agent/fleet/min_ready.h, which proves it). Called by the agent's verdict; reads the table of members, and owns nothing.
 * A decision walks the table once.
 */
#include "agent/fleet/min_ready.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/text.h"

enum { PERCENT = 100 };

/* What a walk over the table finds. */
struct count {
    uint32_t members;  /* of the group, this one included */
    uint32_t in;       /* others in rotation, as far as is known */
    uint32_t well;     /* others heard well since base */
    uint32_t behind;   /* others in rotation that fail, come later in the order, and know that this one asks */
    uint32_t out_last; /* others that are out by this rule, and come later in the order */
};

uint32_t min_ready_needed(struct fleet_min min, uint32_t members)
{
    return min.percent ? (uint32_t)(((uint64_t)min.count * members + PERCENT - 1) / PERCENT) : min.count;
}

bool min_ready_parse(const char *text, struct fleet_min *out)
{
    char digits[16];
    size_t len = strlen(text);
    bool percent = len && text[len - 1] == '%';
    int64_t value;

    len -= percent;
    if (len == 0 || len >= sizeof digits || text[0] < '0' || text[0] > '9')
        return false;
    memcpy(digits, text, len);
    digits[len] = 0;
    if (text_parse_int(digits, &value) < 0 || value > (percent ? PERCENT : MEMBERS_MAX))
        return false;
    *out = (struct fleet_min){ .count = (uint32_t)value, .percent = percent };
    return true;
}

static bool comes_later(const struct member *member, const struct min_ready_input *input)
{
    if (member->fault_key_ms != input->fault_key_ms)
        return member->fault_key_ms > input->fault_key_ms;
    return strcmp(member->id, input->id) > 0;
}

static void count_one(const struct min_ready *own, const struct members *members, const struct min_ready_input *input,
                      const struct member *member, struct count *count)
{
    bool fresh = member_is_fresh(members, member, input->now_ms), later = member->fault && comes_later(member, input);

    if (!member_counts(member))
        return;
    count->members++;
    if (member_is_twin(members, member, input->now_ms))
        return;
    count->in += member_is_in(member);
    count->out_last += member->stand == FLEET_STAND_OUT && later;
    if (!own->base_ms || !fresh)
        return;
    count->well += member_is_well(member) && member->heard_ms >= own->base_ms;
    count->behind +=
        member_is_in(member) && later && member->stand != FLEET_STAND_OWN && member->heard_ms >= own->base_ms + MIN_READY_MARGIN_MS;
}

static struct count count_all(const struct min_ready *own, const struct members *members, const struct min_ready_input *input)
{
    struct count count = { .members = 1 };

    for (size_t i = 0; i < members_count(members); i++)
        count_one(own, members, input, members_at(members, i), &count);
    return count;
}

/* Does what this agent publishes come back to it? */
static bool is_proven(const struct members *members, const struct min_ready_input *input)
{
    uint64_t echo_ms = members_echo_ms(members), span_ms = (uint64_t)members_expire_ms(members) * 3 / 5;

    return input->linked && echo_ms && (input->now_ms < echo_ms || input->now_ms - echo_ms <= span_ms);
}

static void stand(struct min_ready *own, enum fleet_stand next, uint64_t now_ms)
{
    if (own->stand == next)
        return;
    own->stand = next;
    own->stand_ms = own->published_ms = now_ms;
    own->allowed_ms = 0;
    own->publish = true;
}

static void ask(struct min_ready *own, const struct min_ready_input *input)
{
    own->asked_ms = own->published_ms = input->now_ms;
    own->ask_seq = input->last_seq + 1;
    own->base_ms = 0;
    own->publish = true;
}

/* The question has come back: from the margin on, what is heard was said by somebody who could know it. */
static void note_echo(struct min_ready *own, const struct members *members)
{
    if (!own->base_ms && own->ask_seq && members_echo_seq(members) >= own->ask_seq)
        own->base_ms = members_echo_ms(members) + MIN_READY_MARGIN_MS;
}

static bool is_over(uint64_t since_ms, uint64_t span_ms, uint64_t now_ms)
{
    return now_ms >= since_ms && now_ms - since_ms >= span_ms;
}

/* Who would remain in rotation if this one went. Those that fail count once everybody has had two rounds to speak. */
static uint32_t remaining(const struct min_ready *own, const struct min_ready_input *input, const struct count *count)
{
    if (!own->base_ms)
        return 0;
    if (!is_over(own->base_ms, 2 * (uint64_t)input->every_ms, input->now_ms))
        return count->well;
    return count->well + count->behind;
}

bool min_ready_is_settled(const struct min_ready *own, uint32_t every_ms, uint64_t now_ms)
{
    return own->linked_ms && is_over(own->linked_ms, 2 * (uint64_t)every_ms + every_ms / 4 + MIN_READY_MARGIN_MS, now_ms);
}

/* In rotation, with a fault: may it go? */
static void consider_going(struct min_ready *own, const struct min_ready_input *input)
{
    uint64_t now_ms = input->now_ms, every_ms = input->every_ms;

    if (own->counted < own->needed || !min_ready_is_settled(own, input->every_ms, now_ms))
        own->allowed_ms = 0;
    else if (!own->allowed_ms)
        own->allowed_ms = now_ms;
    if (own->stand == FLEET_STAND_ASKS) {
        if (own->allowed_ms)
            stand(own, FLEET_STAND_OUT, now_ms);
        else if (own->base_ms && is_over(own->base_ms, every_ms + every_ms / 4, now_ms))
            stand(own, FLEET_STAND_HELD, now_ms);
        else if (is_over(own->published_ms, MIN_READY_AGAIN_MS, now_ms)) {
            own->published_ms = now_ms;
            own->publish = true;
        }
    } else if (own->allowed_ms && is_over(own->allowed_ms, MIN_READY_STEADY_ROUNDS * every_ms, now_ms)) {
        stand(own, FLEET_STAND_OUT, now_ms);
    }
}

/* Out, while the others are too few: those come back first that come last. */
static void consider_coming_back(struct min_ready *own, const struct min_ready_input *input, const struct count *count)
{
    own->counted = count->in;
    if (!min_ready_is_settled(own, input->every_ms, input->now_ms))
        return;
    if (count->in < own->needed && count->out_last < own->needed - count->in)
        stand(own, FLEET_STAND_HELD, input->now_ms);
}

static enum min_ready_mode mode_of(struct min_ready *own, const struct members *members, const struct min_ready_input *input)
{
    bool proven = is_proven(members, input);

    if (!proven)
        own->linked_ms = 0;
    else if (!own->linked_ms)
        own->linked_ms = input->now_ms;
    if (!input->fault || input->min.count == 0)
        return MIN_READY_OFF;
    if (!proven)
        return MIN_READY_UNLINKED;
    return members_met(members) ? MIN_READY_RULES : MIN_READY_ALONE;
}

/* From the own verdict to the rule. Who is not ready already, as the link was away, is out: it does not come in to ask whether it may go. */
static void enter(struct min_ready *own, const struct min_ready_input *input, enum min_ready_mode before)
{
    bool was_out = before == MIN_READY_UNLINKED || before == MIN_READY_ALONE;

    ask(own, input);
    stand(own, was_out ? FLEET_STAND_OUT : FLEET_STAND_ASKS, input->now_ms);
}

enum fleet_stand min_ready_decide(struct min_ready *own, const struct members *members, const struct min_ready_input *input)
{
    enum min_ready_mode before = own->mode;
    bool stalled = own->decided_ms && is_over(own->decided_ms, MIN_READY_STALL_MS, input->now_ms);
    struct count count;

    own->publish = false;
    own->decided_ms = input->now_ms;
    own->mode = mode_of(own, members, input);
    if (own->mode != MIN_READY_RULES) {
        own->base_ms = own->ask_seq = own->members = own->needed = own->counted = 0;
        stand(own, FLEET_STAND_OWN, input->now_ms);
        return own->stand;
    }
    if (own->stand == FLEET_STAND_OWN)
        enter(own, input, before);
    else if (stalled)
        ask(own, input); /* what was heard before the pause is no answer any more */
    note_echo(own, members);
    count = count_all(own, members, input);
    own->members = count.members;
    own->needed = min_ready_needed(input->min, count.members);
    own->counted = remaining(own, input, &count);
    if (own->stand == FLEET_STAND_OUT)
        consider_coming_back(own, input, &count);
    else
        consider_going(own, input);
    return own->stand;
}

void min_ready_say(const struct min_ready *own, struct fleet_min min, char *out, size_t size)
{
    char share[48] = "";

    *out = 0;
    if (min.percent)
        snprintf(share, sizeof share, " (%" PRIu32 " %% of %" PRIu32 ")", min.count, own->members);
    if (own->mode == MIN_READY_UNLINKED)
        snprintf(out, size, "the fleet cannot be asked: the agent acts by its own verdict");
    else if (own->mode == MIN_READY_ALONE)
        snprintf(out, size, "no other agent of the group has been heard: the agent acts by its own verdict");
    else if (own->stand == FLEET_STAND_ASKS)
        snprintf(out, size, "in rotation until the others have answered: %" PRIu32 " so far, and min_ready wants %" PRIu32 "%s",
                 own->counted, own->needed, share);
    else if (own->stand == FLEET_STAND_HELD)
        snprintf(out, size, "held in rotation: without it %" PRIu32 " would remain, and min_ready wants %" PRIu32 "%s",
                 own->counted, own->needed, share);
}
