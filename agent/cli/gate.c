/* See agent/cli/gate.h. */
#include "agent/cli/gate.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/proto/json_out.h"
#include "agent/report/explain.h"

enum {
    WORD_CHARS = 48,
    WHY_CHARS = 120,
    SHOWN = 3,
    REGIONS_MAX = 64,
    COUNT_MAX = 1000000,
    EVERY_MAX_MS = 600000,
    SECOND_MS = 1000
};

struct gate_seen {
    char id[GATE_WORD_MAX], region[GATE_WORD_MAX];
    bool here, lost;
};

/* --- reading ---------------------------------------------------------------------------------------------------------------- */

static void take_text(const json_t *object, const char *key, size_t chars, char *out, size_t size)
{
    const json_t *value = json_object_get(object, key);

    text_excerpt(slice_make(json_string_value(value), json_string_length(value)), chars, out, size);
}

static void take_word(const json_t *object, const char *key, char out[GATE_WORD_MAX])
{
    take_text(object, key, WORD_CHARS, out, GATE_WORD_MAX);
}

static uint64_t number_of(const json_t *object, const char *key, uint64_t max)
{
    json_int_t value = json_integer_value(json_object_get(object, key)); /* 0 for anything else */

    return value < 0 ? 0 : (uint64_t)value > max ? max : (uint64_t)value;
}

static bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static bool is_fleet(const json_t *root)
{
    const json_t *members = json_object_get(root, "members"), *regions = json_object_get(root, "regions");

    return json_is_string(json_object_get(root, "group")) && json_is_boolean(json_object_get(root, "linked")) &&
           json_is_array(members) && json_is_array(regions) && json_is_integer(json_object_get(root, "member_count")) &&
           json_array_size(members) <= GATE_MEMBERS_MAX && json_array_size(regions) <= REGIONS_MAX;
}

/* --- the members ------------------------------------------------------------------------------------------------------------ */

static const char *const states[GATE_LACKS] = {
    [GATE_NOT_READY] = "not_ready", [GATE_VANISHED] = "vanished", [GATE_TWIN] = "twin",         [GATE_SILENT] = "silent",
    [GATE_DEGRADED] = "degraded",   [GATE_STARTING] = "starting", [GATE_DRAINING] = "draining", [GATE_ODD] = "unknown"
};

static enum gate_lack lack_of(const char *state)
{
    int lack = GATE_NOT_READY;

    while (lack < GATE_ODD && strcmp(states[lack], state) != 0)
        lack++;
    return (enum gate_lack)lack;
}

static void name(struct gate *gate, const struct gate_member *member)
{
    if (gate->named_count < GATE_NAMED_MAX)
        gate->named[gate->named_count++] = *member;
}

/* Where it was last, it is again, as a rule: the list has an order. Who finds no room is not missed when it vanishes. */
static struct gate_seen *seen_of(struct gate *gate, const char *id)
{
    for (size_t i = 0; i < gate->seen_count; i++) {
        size_t at = (gate->seen_at + i) % gate->seen_count;

        if (strcmp(gate->seen[at].id, id) == 0) {
            gate->seen_at = at + 1;
            return &gate->seen[at];
        }
    }
    if (!gate->seen)
        gate->seen = mem_alloc(GATE_SEEN_MAX * sizeof *gate->seen);
    if (gate->seen_count == GATE_SEEN_MAX)
        return NULL;
    snprintf(gate->seen[gate->seen_count].id, GATE_WORD_MAX, "%s", id);
    return &gate->seen[gate->seen_count++];
}

struct tally {
    uint32_t ready, of, young; /* young: ready for less than the time since the last answer */
    bool whole;                /* all are in the list, and named */
};

static void count_member(struct gate *gate, const json_t *row, uint64_t gap_ms, struct tally *tally)
{
    struct gate_member member = { .for_ms = number_of(row, "since_ms", INT64_MAX) };
    char state[GATE_WORD_MAX];

    take_word(row, "id", member.id);
    take_word(row, "region", member.region);
    take_word(row, "state", state);
    take_word(row, "cause", member.cause);
    tally->whole = tally->whole && *member.id;
    struct gate_seen *seen = *member.id ? seen_of(gate, member.id) : NULL;
    bool counts = strcmp(state, "left") != 0 && !is_true(row, "watcher"), twin = is_true(row, "twin");
    if (seen) {
        seen->here = counts;
        seen->lost = false;
        memcpy(seen->region, member.region, sizeof seen->region);
    }
    tally->of += counts;
    if (!counts)
        return;
    if (strcmp(state, "ready") == 0 && !twin) {
        tally->ready++;
        tally->young += member.for_ms < gap_ms;
        return;
    }
    member.lack = twin ? GATE_TWIN : lack_of(state);
    if (member.lack == GATE_SILENT)
        member.for_ms = number_of(row, "heard_ms", INT64_MAX);
    name(gate, &member);
}

/* Those that were there at the last answer, and are in this one in no way. */
static void count_lost(struct gate *gate, struct tally *tally)
{
    for (size_t i = 0; i < gate->seen_count; i++) {
        struct gate_seen *seen = &gate->seen[i];
        struct gate_member member = { .lack = GATE_VANISHED };

        if (!seen->lost)
            continue;
        tally->of++;
        memcpy(member.id, seen->id, sizeof member.id);
        memcpy(member.region, seen->region, sizeof member.region);
        name(gate, &member);
    }
}

static void count_regions(struct gate *gate, const json_t *root, struct tally *tally)
{
    static const char *const words[] = { "ready", "degraded", "not_ready", "draining", "starting", "silent" };
    uint64_t counted = 0, watchers = 0, ready = 0, all = number_of(root, "member_count", COUNT_MAX);
    const json_t *regions = json_object_get(root, "regions");

    for (size_t i = 0; i < json_array_size(regions); i++) {
        const json_t *region = json_array_get(regions, i);

        for (size_t j = 0; j < sizeof words / sizeof words[0]; j++)
            counted += number_of(region, words[j], COUNT_MAX);
        ready += number_of(region, "ready", COUNT_MAX);
        watchers += number_of(region, "watchers", COUNT_MAX);
    }
    uint32_t left = all > counted + watchers ? (uint32_t)(all - counted - watchers) : 0;
    uint32_t gone = left > gate->left ? left - gate->left : 0, most = gate->of > gone ? gate->of - gone : 0;
    gate->left = left;
    if (tally->whole)
        return;
    tally->ready = (uint32_t)ready;
    tally->of = counted > most ? (uint32_t)counted : most;
}

static void count(struct gate *gate, const json_t *root, uint64_t gap_ms, struct tally *tally)
{
    const json_t *members = json_object_get(root, "members");
    size_t i;

    gate->named_count = 0;
    for (i = 0; i < gate->seen_count; i++) {
        gate->seen[i].lost = gate->seen[i].lost || gate->seen[i].here;
        gate->seen[i].here = false;
    }
    for (i = 0; i < json_array_size(members); i++)
        count_member(gate, json_array_get(members, i), gap_ms, tally);
    tally->whole = tally->whole && number_of(root, "left_out", COUNT_MAX) == 0;
    if (tally->whole)
        count_lost(gate, tally);
    else
        for (i = 0; i < gate->seen_count; i++) /* who is in no list may be well */
            gate->seen[i].lost = false;
    count_regions(gate, root, tally);
}

/* --- the verdict ------------------------------------------------------------------------------------------------------------ */

int gate_parse_min(const char *text, struct gate *gate)
{
    size_t len = strlen(text);
    char digits[8];
    int64_t value;

    gate->percent = len && text[len - 1] == '%';
    len -= gate->percent;
    if (len >= sizeof digits)
        return -1;
    snprintf(digits, sizeof digits, "%.*s", (int)len, text);
    if (text_parse_int(digits, &value) < 0 || value < 1 || value > (gate->percent ? 100 : GATE_MEMBERS_MAX))
        return -1;
    gate->min = (uint32_t)value;
    return 0;
}

void gate_miss(struct gate *gate, const char *why)
{
    text_excerpt(slice_str(why), WHY_CHARS, gate->why, sizeof gate->why);
    gate->wide_cause[0] = 0;
    gate->answered = false;
    gate->well_since_ms = 0;
    gate->named_count = 0;
}

static void look_at_whole(struct gate *gate, const json_t *root)
{
    char why[TEXT_EXCERPT_BYTES(WHY_CHARS)];

    gate->why[0] = gate->wide_cause[0] = 0;
    take_text(root, "message", WHY_CHARS, why, sizeof why);
    if (!is_true(root, "linked"))
        snprintf(gate->why, sizeof gate->why, "the agent is not linked to the others of %.48s%s%s", gate->group, *why ? ": " : "",
                 why);
    else if (is_true(root, "fleet_wide_fault")) {
        take_word(root, "wide_cause", gate->wide_cause);
        snprintf(gate->why, sizeof gate->why, "nearly all instances of %.48s have the same fault at once (fleet_wide_fault): %s",
                 gate->group, gate->wide_cause);
    }
}

static enum gate_turn judge(struct gate *gate, const struct tally *tally, uint64_t now_ms)
{
    uint64_t needed = gate->percent ? ((uint64_t)tally->of * gate->min + 99) / 100 : gate->min;

    gate->ready = tally->ready;
    gate->of = tally->of;
    gate->needed = needed ? (uint32_t)needed : 1;
    bool well = !*gate->why && gate->ready >= gate->needed, steady = gate->ready >= gate->needed + tally->young;
    if (!well)
        gate->well_since_ms = 0;
    else if (!gate->well_since_ms || !steady)
        gate->well_since_ms = now_ms;
    return well && now_ms - gate->well_since_ms >= gate->need_ms ? GATE_PASSES : GATE_WAITS;
}

static enum gate_turn take_fleet(struct gate *gate, const json_t *root, uint64_t now_ms, struct err *err)
{
    struct tally tally = { .whole = true };
    char group[GATE_WORD_MAX];
    uint64_t heard_ms = number_of(root, "every_ms", EVERY_MAX_MS) * 3 / 2;

    take_word(root, "group", group);
    if (strcmp(group, gate->group) != 0) {
        (void)err_set(err, REASON_NONE, 0, "the agent is of group '%s', and --group wants '%s'", group, gate->group);
        return GATE_WRONG;
    }
    look_at_whole(gate, root);
    count(gate, root, gate->answered ? now_ms - gate->last_ms : 0, &tally);
    gate->need_ms = gate->for_ms > heard_ms ? gate->for_ms : heard_ms;
    gate->answered = true;
    gate->last_ms = now_ms;
    return judge(gate, &tally, now_ms);
}

enum gate_turn gate_take(struct gate *gate, struct slice json, uint64_t now_ms, struct err *err)
{
    json_t *root = json_loadb((const char *)json.data, json.len, 0, NULL);
    enum gate_turn turn = GATE_WAITS;

    if (is_fleet(root))
        turn = take_fleet(gate, root, now_ms, err);
    else
        gate_miss(gate, "the answer is not that of /fleet");
    json_decref(root);
    return turn;
}

void gate_fini(struct gate *gate)
{
    mem_free(gate->seen);
    gate->seen = NULL;
}

/* --- words ------------------------------------------------------------------------------------------------------------------ */

static void put_age(uint64_t ms, struct buf *out)
{
    char age[32];

    text_format_duration((int64_t)(ms / SECOND_MS * SECOND_MS), age, sizeof age);
    buf_printf(out, " for %s", age);
}

static void put_member(const struct gate_member *member, bool ages, struct buf *out)
{
    static const char *const says[GATE_LACKS] = { [GATE_NOT_READY] = "is not ready",
                                                  [GATE_VANISHED] = "is gone without a word",
                                                  [GATE_TWIN] = "has an id that two agents use",
                                                  [GATE_SILENT] = "is silent",
                                                  [GATE_DEGRADED] = "is degraded",
                                                  [GATE_STARTING] = "is starting",
                                                  [GATE_DRAINING] = "is draining",
                                                  [GATE_ODD] = "is in a state unknown here" };

    buf_printf(out, "%s%s%s%s %s", *member->id ? member->id : "an instance", *member->region ? " (" : "", member->region,
               *member->region ? ")" : "", says[member->lack]);
    if (*member->cause && member->lack != GATE_TWIN && member->lack != GATE_SILENT)
        buf_printf(out, ": %s", member->cause);
    if (ages && member->for_ms >= SECOND_MS)
        put_age(member->for_ms, out);
}

static void put_lacking(const struct gate *gate, bool ages, struct buf *out)
{
    size_t shown = 0, lacking = gate->of > gate->ready ? gate->of - gate->ready : 0;

    for (int lack = 0; lack < GATE_LACKS; lack++)
        for (size_t i = 0; i < gate->named_count && shown < SHOWN; i++)
            if (gate->named[i].lack == (enum gate_lack)lack) {
                buf_append_str(out, shown++ ? "; " : ": ");
                put_member(&gate->named[i], ages, out);
            }
    if (lacking > shown)
        buf_printf(out, shown ? " and %zu more" : "; of %zu it is not known which they are", lacking - shown);
}

void gate_say(const struct gate *gate, bool ages, uint64_t now_ms, struct buf *out)
{
    if (*gate->why) {
        buf_append_str(out, gate->why);
        return;
    }
    buf_printf(out, "%u of %u instances of %s are ready", (unsigned)gate->ready, (unsigned)gate->of, gate->group);
    put_lacking(gate, ages, out);
    if (!gate->well_since_ms)
        buf_printf(out, "; want %u%s", (unsigned)gate->min, gate->percent ? "%" : "");
    else if (ages) {
        char need[32];

        if (gate->need_ms > SECOND_MS && gate->need_ms % SECOND_MS) /* as a person says it: 7.5s */
            snprintf(need, sizeof need, "%.1fs", (double)gate->need_ms / SECOND_MS);
        else
            text_format_duration((int64_t)gate->need_ms, need, sizeof need);
        buf_append_str(out, "; well");
        put_age(now_ms - gate->well_since_ms, out);
        buf_printf(out, " of %s%s", need, gate->need_ms > gate->for_ms ? ", in which each agent speaks" : "");
    }
}

const char *gate_advice(const struct gate *gate)
{
    const struct gate_member *worst = NULL;

    if (gate->well_since_ms || !gate->answered)
        return NULL;
    if (*gate->wide_cause)
        return explain_advice(gate->wide_cause);
    for (size_t i = 0; !*gate->why && i < gate->named_count; i++)
        if (gate->named[i].cause[0] && (!worst || gate->named[i].lack < worst->lack))
            worst = &gate->named[i];
    return worst ? explain_advice(worst->cause) : NULL;
}

static void put_text(struct json_out *json, const char *key, const char *text)
{
    json_out_key(json, key);
    json_out_string(json, text && *text ? text : NULL);
}

static void put_number(struct json_out *json, const char *key, uint64_t value)
{
    json_out_key(json, key);
    json_out_int(json, (int64_t)value);
}

void gate_json(const struct gate *gate, bool passed, uint64_t waited_ms, uint64_t now_ms, struct buf *out)
{
    struct buf sentence = BUF_INIT(4 * GATE_WHY_MAX + 16 * GATE_WORD_MAX);
    struct json_out json;

    gate_say(gate, true, now_ms, &sentence);
    json_out_begin(&json, out);
    json_out_object(&json);
    json_out_key(&json, "passed");
    json_out_bool(&json, passed);
    put_text(&json, "group", gate->group);
    put_number(&json, "ready", gate->ready);
    put_number(&json, "of", gate->of);
    put_number(&json, "needed", gate->needed);
    put_number(&json, "waited_ms", waited_ms);
    put_text(&json, "sentence", buf_str(&sentence));
    put_text(&json, "advice", gate_advice(gate));
    json_out_key(&json, "not_ready");
    json_out_array(&json);
    for (size_t i = 0; i < gate->named_count; i++) {
        json_out_object(&json);
        put_text(&json, "id", gate->named[i].id);
        put_text(&json, "region", gate->named[i].region);
        put_text(&json, "state", states[gate->named[i].lack]);
        put_text(&json, "cause", gate->named[i].cause);
        put_number(&json, "for_ms", gate->named[i].for_ms);
        json_out_object_end(&json);
    }
    json_out_array_end(&json);
    json_out_object_end(&json);
    (void)json_out_finish(&json);
    buf_append_char(out, '\n');
    buf_fini(&sentence);
}
