/*
 * Owns the buckets of one check: rounds counted by five minutes of wall time, durations by bins (agent/report/history_impl.h). Called by
 * history.c and history_file.c. Pure. Promises that a bucket only ever holds what belongs to its five minutes, however the clock jumps.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/core/view.h"
#include "agent/report/history_impl.h"

/* --- bins --------------------------------------------------------------------------------------------------------------- */

enum { BIN_FIRST_NS = 8000 };
static const double octave_parts[HISTORY_OCTAVE_BINS] = { 1.0, 1.122462048, 1.259921050, 1.414213562, 1.587401052, 1.781797436 };
static const double half_bin = 1.059463094; /* from a bin's lower bound to its middle, as a factor */

static unsigned bin_of(uint64_t ns)
{
    double part = (double)ns / BIN_FIRST_NS;
    unsigned octave = 0, bin = 0;

    if (part < 1)
        return 0;
    for (; part >= 2; octave++)
        part /= 2;
    if (octave >= HISTORY_OCTAVES)
        return HISTORY_BINS - 1;
    while (bin + 1 < HISTORY_OCTAVE_BINS && part >= octave_parts[bin + 1])
        bin++;
    return 1 + octave * HISTORY_OCTAVE_BINS + bin;
}

static uint64_t middle_us(unsigned bin)
{
    unsigned octave;

    if (bin == 0)
        return BIN_FIRST_NS / 1000;
    octave = (bin - 1) / HISTORY_OCTAVE_BINS;
    double low_ns = BIN_FIRST_NS * octave_parts[(bin - 1) % HISTORY_OCTAVE_BINS] * (double)(UINT64_C(1) << octave);
    return (uint64_t)(low_ns * (bin == HISTORY_BINS - 1 ? 1 : half_bin) / 1000 + 0.5);
}

static uint64_t count_bins(const uint32_t counts[HISTORY_BINS])
{
    uint64_t total = 0;

    for (unsigned i = 0; i < HISTORY_BINS; i++)
        total += counts[i];
    return total;
}

static const unsigned quantile_percents[HISTORY_QUANTILES] = { 50, 95, 99 };

/* The bins in which the quantiles lie, by nearest rank. False: nothing was counted. */
static bool find_quantiles(const uint32_t counts[HISTORY_BINS], uint8_t out[HISTORY_QUANTILES])
{
    uint64_t total = count_bins(counts);

    for (int q = 0; q < HISTORY_QUANTILES && total; q++) {
        uint64_t rank = (total * quantile_percents[q] + 99) / 100, seen = 0;
        unsigned bin = 0;

        for (; bin < HISTORY_BINS - 1 && (seen += counts[bin]) < rank;)
            bin++;
        out[q] = (uint8_t)bin;
    }
    return total > 0;
}

static void add_counts(uint32_t counts[HISTORY_BINS], const uint16_t bins[HISTORY_BINS])
{
    for (unsigned i = 0; i < HISTORY_BINS; i++)
        counts[i] += bins[i];
}

/* --- the ring ----------------------------------------------------------------------------------------------------------- */

static size_t place_of(int64_t number)
{
    return (size_t)(number % HISTORY_BUCKETS);
}

static bool has_bins(const struct history_check *check, int64_t number)
{
    return number <= check->newest && number > check->newest - HISTORY_HOUR;
}

int64_t history_number(int64_t now_ms)
{
    return now_ms > 0 ? now_ms / HISTORY_BUCKET_MS : 0;
}

bool history_is_kept(const struct history_check *check, int64_t number)
{
    return check->begun && number >= 0 && number <= check->newest && number > check->newest - HISTORY_BUCKETS;
}

static void clear_bucket(struct history_check *check, int64_t number)
{
    size_t place = place_of(number);

    check->rounds[place] = check->failures[place] = check->warnings[place] = 0;
    memset(check->quantiles[place], HISTORY_NO_BIN, HISTORY_QUANTILES);
    memset(check->bins[number % HISTORY_HOUR], 0, sizeof check->bins[0]);
    if (check->connections)
        check->connections[place] = 0;
}

/* Its counts will make room for another bucket's: the quantiles stay. */
static void settle(struct history_check *check, int64_t number)
{
    uint32_t counts[HISTORY_BINS] = { 0 };

    add_counts(counts, check->bins[number % HISTORY_HOUR]);
    find_quantiles(counts, check->quantiles[place_of(number)]);
}

/* Of all buckets, where that is a day or more. */
static void clear_between(struct history_check *check, int64_t after, int64_t last)
{
    int64_t first = last - after > HISTORY_BUCKETS ? last - HISTORY_BUCKETS + 1 : after + 1;

    for (int64_t number = first; number <= last; number++)
        clear_bucket(check, number);
}

size_t history_advance(struct history_check *check, int64_t number)
{
    if (!check->begun) {
        check->begun = true;
        check->newest = number;
    } else if (number > check->newest) {
        settle(check, check->newest);
        clear_between(check, check->newest, number);
        check->newest = number;
    } else if (number < check->newest - 1) {
        clear_between(check, number, check->newest);
        check->newest = number;
    }
    return place_of(number);
}

/* --- noting ------------------------------------------------------------------------------------------------------------- */

static void count(uint16_t *counter, unsigned more)
{
    *counter = more > (unsigned)(UINT16_MAX - *counter) ? UINT16_MAX : (uint16_t)(*counter + more);
}

/* No more than can be counted, so that the sum of failures and warnings is never above the rounds. */
static void count_rounds(struct history_check *check, size_t place, unsigned rounds, unsigned failures, unsigned warnings)
{
    if (rounds > (unsigned)(UINT16_MAX - check->rounds[place]))
        return;
    count(&check->rounds[place], rounds);
    count(&check->failures[place], failures);
    count(&check->warnings[place], warnings);
}

/* The first round-trip time says that the type has them: what was counted of whole rounds is another measure. */
static void begin_rtt(struct history_check *check)
{
    check->rtt = true;
    memset(check->bins, 0, sizeof check->bins);
    memset(check->quantiles, HISTORY_NO_BIN, sizeof check->quantiles);
}

static void note_duration(struct history_check *check, const struct check_view *view, int64_t number)
{
    bool whole = !view->have_rtt && view->status != RESULT_FAIL && !check->rtt;

    if (view->have_rtt && !check->rtt)
        begin_rtt(check);
    if ((!view->have_rtt && !whole) || !has_bins(check, number))
        return;
    count(&check->bins[number % HISTORY_HOUR][bin_of(view->have_rtt ? view->rtt_ns : view->total_ns)], 1);
    if (number != check->newest)
        settle(check, number);
}

static void note_connections(struct history_check *check, const struct server_stats *server, size_t place)
{
    uint64_t seen = server->connections[SERVER_ESTABLISHED];
    uint32_t kept = seen < UINT32_MAX ? (uint32_t)seen + 1 : UINT32_MAX;

    if (!check->connections)
        check->connections = mem_alloc(HISTORY_BUCKETS * sizeof *check->connections);
    if (kept > check->connections[place])
        check->connections[place] = kept;
}

void history_note_round(struct history *history, const struct check_view *view, int64_t now_ms)
{
    struct history_check *check;
    int64_t number = history_number(now_ms);
    size_t place;

    if (!view->judged)
        return;
    check = history_find_or_add(history, view->name, view->type, check_is_public(view));
    if (check->last_ms == view->last_ms)
        return;
    check->last_ms = view->last_ms;
    place = history_advance(check, number);
    count_rounds(check, place, 1, view->status == RESULT_FAIL, view->status == RESULT_WARN);
    note_duration(check, view, number);
    if (view->stats.server && view->stats.server->have_connections)
        note_connections(check, view->stats.server, place);
}

/* --- reading ------------------------------------------------------------------------------------------------------------ */

static bool read_quantiles(const struct history_check *check, int64_t number, uint8_t out[HISTORY_QUANTILES])
{
    uint32_t counts[HISTORY_BINS] = { 0 };

    memcpy(out, check->quantiles[place_of(number)], HISTORY_QUANTILES);
    if (number == check->newest) {
        add_counts(counts, check->bins[number % HISTORY_HOUR]);
        find_quantiles(counts, out);
    }
    return out[0] != HISTORY_NO_BIN;
}

bool history_bucket_at(const struct history_check *check, unsigned ago, int64_t now_ms, struct history_bucket *out)
{
    int64_t number = history_number(now_ms) - (int64_t)ago;
    size_t place = place_of(number < 0 ? 0 : number);
    uint8_t quantiles[HISTORY_QUANTILES];

    if (ago >= HISTORY_BUCKETS || !history_is_kept(check, number))
        return false;
    *out = (struct history_bucket){ .start_ms = number * HISTORY_BUCKET_MS,
                                    .rounds = check->rounds[place],
                                    .failures = check->failures[place],
                                    .warnings = check->warnings[place] };
    out->have_connections = check->connections && check->connections[place];
    if (out->have_connections)
        out->connections = check->connections[place] - 1;
    out->have_rtt = read_quantiles(check, number, quantiles);
    if (out->have_rtt) {
        out->p50_us = middle_us(quantiles[0]);
        out->p95_us = middle_us(quantiles[1]);
        out->p99_us = middle_us(quantiles[2]);
    }
    return out->rounds || out->have_connections;
}

bool history_hour(const struct history_check *check, int64_t now_ms, struct history_quantiles *out)
{
    int64_t last = history_number(now_ms);
    uint32_t counts[HISTORY_BINS] = { 0 };
    uint8_t quantiles[HISTORY_QUANTILES];

    for (int64_t number = last > HISTORY_HOUR ? last - HISTORY_HOUR + 1 : 0; number <= last; number++)
        if (history_is_kept(check, number) && has_bins(check, number))
            add_counts(counts, check->bins[number % HISTORY_HOUR]);
    if (!find_quantiles(counts, quantiles))
        return false;
    *out =
        (struct history_quantiles){ count_bins(counts), middle_us(quantiles[0]), middle_us(quantiles[1]), middle_us(quantiles[2]) };
    return true;
}

bool history_has_rtt(const struct history_check *check)
{
    return check->rtt;
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

struct history_check *history_check_new(const char *name, const char *type, bool is_public)
{
    struct history_check *check = mem_alloc(sizeof *check);

    snprintf(check->name, sizeof check->name, "%s", name);
    snprintf(check->type, sizeof check->type, "%s", type);
    check->is_public = is_public;
    memset(check->quantiles, HISTORY_NO_BIN, sizeof check->quantiles);
    return check;
}

void history_check_free(struct history_check *check)
{
    mem_free(check->connections);
    mem_free(check);
}

static void add_bucket(struct history_check *check, const struct history_check *later, int64_t number)
{
    size_t place = history_advance(check, number), from = place_of(number);

    count_rounds(check, place, later->rounds[from], later->failures[from], later->warnings[from]);
    if (later->connections && later->connections[from]) {
        if (!check->connections)
            check->connections = mem_alloc(HISTORY_BUCKETS * sizeof *check->connections);
        if (later->connections[from] > check->connections[place])
            check->connections[place] = later->connections[from];
    }
    if (has_bins(check, number) && has_bins(later, number))
        for (unsigned i = 0; i < HISTORY_BINS; i++)
            count(&check->bins[number % HISTORY_HOUR][i], later->bins[number % HISTORY_HOUR][i]);
    settle(check, number);
}

void history_check_add(struct history_check *check, const struct history_check *later)
{
    if (later->rtt && !check->rtt)
        begin_rtt(check);
    check->last_ms = later->last_ms;
    for (int64_t number = later->newest - HISTORY_BUCKETS + 1; later->begun && number <= later->newest; number++)
        if (number >= 0 && later->rounds[place_of(number)])
            add_bucket(check, later, number);
}
