/*
 * Owns the lifetimes that a hold check has observed (probes/hold_lives.h), and their sentences. Called by probes/hold.c when a connection ends,
 * and once a round.
 */
#include "probes/hold_lives.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/text.h"

enum {
    MEMORY_S = 3600,
    SIMILAR_MS = 250,
    SURVIVALS = 3, /* so many full lives since the last cut: it is over */
    MARGIN = 80,   /* per cent of the shortest life: pings that come later than that are too close to a cut */
};

static bool similar(uint64_t a_ns, uint64_t b_ns)
{
    uint64_t more_ns = a_ns > b_ns ? a_ns : b_ns, less_ns = a_ns > b_ns ? b_ns : a_ns;
    return more_ns - less_ns <= more_ns / 5 + SIMILAR_MS * NS_PER_MS;
}

void hold_lives_ended(struct hold_lives *lives, uint64_t now_ns, uint64_t length_ns, bool cut)
{
    if (lives->count == HOLD_LIVES_MAX)
        memmove(lives->lives, lives->lives + 1, --lives->count * sizeof lives->lives[0]);
    lives->lives[lives->count++] = (struct hold_life){ now_ns, length_ns, cut };
}

void hold_lives_control(struct hold_lives *lives, uint64_t age_ns)
{
    lives->control_ns = age_ns > lives->control_ns ? age_ns : lives->control_ns;
}

void hold_lives_control_cut(struct hold_lives *lives, uint64_t now_ns, uint64_t age_ns, uint64_t silence_ns)
{
    if (silence_ns > age_ns / 2) /* it had said nothing for as long as the others: pinged too seldom to tell */
        return;
    lives->control_cut_ns = age_ns;
    lives->control_cut_at_ns = now_ns;
}

void hold_lives_pinged(struct hold_lives *lives, uint64_t gap_ns)
{
    if (lives->gap_count == HOLD_GAPS_MAX)
        memmove(lives->gaps_ns, lives->gaps_ns + 1, --lives->gap_count * sizeof lives->gaps_ns[0]);
    lives->gaps_ns[lives->gap_count++] = gap_ns;
}

/* The newest cut that is still remembered, unless enough connections have lived to their end since. */
static const struct hold_life *newest_cut(const struct hold_lives *lives, uint64_t now_ns)
{
    unsigned survived = 0;
    for (size_t i = lives->count; i-- > 0;) {
        const struct hold_life *life = &lives->lives[i];
        if (now_ns - life->ended_ns > MEMORY_S * NS_PER_S)
            return NULL;
        if (life->cut)
            return survived < SURVIVALS ? life : NULL;
        survived++;
    }
    return NULL;
}

static enum hold_control control_of(const struct hold_lives *lives, uint64_t now_ns, const struct hold_figures *figures)
{
    bool cut_lately = lives->control_cut_at_ns && now_ns - lives->control_cut_at_ns <= MEMORY_S * NS_PER_S;
    if (cut_lately && similar(lives->control_cut_ns, figures->longest_ns))
        return HOLD_CONTROL_CUT;
    return lives->control_ns > figures->longest_ns + figures->longest_ns / 5 + SIMILAR_MS * NS_PER_MS ? HOLD_CONTROL_LIVES
                                                                                                      : HOLD_CONTROL_UNKNOWN;
}

void hold_lives_read(const struct hold_lives *lives, uint64_t now_ns, struct hold_figures *figures)
{
    const struct hold_life *newest = newest_cut(lives, now_ns);
    *figures = (struct hold_figures){ .idle = figures->idle };
    for (size_t i = 0; i < lives->gap_count; i++)
        figures->ping_ns = lives->gaps_ns[i] > figures->ping_ns ? lives->gaps_ns[i] : figures->ping_ns;
    for (size_t i = 0; newest && i < lives->count; i++) {
        const struct hold_life *life = &lives->lives[i];
        if (now_ns - life->ended_ns > MEMORY_S * NS_PER_S)
            continue;
        figures->of++;
        if (!life->cut || !similar(life->length_ns, newest->length_ns))
            continue;
        figures->shortest_ns = figures->cut && figures->shortest_ns < life->length_ns ? figures->shortest_ns : life->length_ns;
        figures->longest_ns = figures->longest_ns > life->length_ns ? figures->longest_ns : life->length_ns;
        figures->cut++;
    }
    if (figures->cut)
        figures->control = control_of(lives, now_ns, figures);
}

bool hold_lives_too_close(const struct hold_figures *figures)
{
    return figures->idle && figures->cut >= 2 && figures->ping_ns > figures->shortest_ns / 100 * MARGIN;
}

/* "the server pings every 45.0s, want less than 24.0s" */
static void say_pings(const struct hold_figures *figures, char *out, size_t size)
{
    char every[32], want[32];
    text_format_elapsed(figures->ping_ns, every, sizeof every);
    text_format_elapsed(figures->shortest_ns / 100 * MARGIN, want, sizeof want);
    snprintf(out, size, "the server pings every %s, want less than %s", every, want);
}

void hold_lives_say(const struct hold_figures *figures, bool public_path, char *out, size_t size)
{
    char shortest[32], longest[32], pings[128];
    const char *where = public_path ? " on the way" : "";
    size_t len;
    text_format_elapsed(figures->shortest_ns, shortest, sizeof shortest);
    text_format_elapsed(figures->longest_ns, longest, sizeof longest);
    snprintf(out, size, "idle connections are cut after %s of silence (%u of %u, %s to %s)", longest, figures->cut, figures->of,
             shortest, longest);
    len = strlen(out);
    if (figures->control == HOLD_CONTROL_LIVES)
        snprintf(out + len, size - len, "; the pinged one lives: an idle timeout%s, not a maximum age", where);
    else if (figures->control == HOLD_CONTROL_CUT)
        snprintf(out + len, size - len, "; the pinged one is cut at that age too: a maximum age%s, not an idle timeout", where);
    len = strlen(out);
    if (figures->control != HOLD_CONTROL_LIVES || len >= size)
        return;
    say_pings(figures, pings, sizeof pings);
    if (hold_lives_too_close(figures))
        snprintf(out + len, size - len, "; %s", pings);
    else if (!figures->ping_ns)
        snprintf(out + len, size - len, "; the server sends no pings of its own");
}

void hold_lives_say_margin(const struct hold_figures *figures, char *out, size_t size)
{
    char pings[128], shortest[32];
    say_pings(figures, pings, sizeof pings);
    text_format_elapsed(figures->shortest_ns, shortest, sizeof shortest);
    snprintf(out, size, "%s: idle connections were cut after %s of silence, %u of %u", pings, shortest, figures->cut, figures->of);
}
