/*
 * Many channels, a few at a time: what `channel`, `channels` and `sample` of a check name, and which of them a round tries. Entries of
 * the list may be patterns: room-{1..5000}, room-{001..100} (as many digits), {eu,us}-news; several braces in one entry multiply. Pure.
 *
 * How a check uses it:
 *     check()       channels_check(opts->channel, &opts->channels, err)
 *     first round   state->channels = channels_new(opts->channel, &opts->channels, opts->sample);
 *     each round    n = channels_round(state->channels); for (i = 0; i < n; i++) … channels_name(state->channels, i) …
 *     a fault       channels_failed(state->channels, i): it is among the next round's, too, so that `fall` can count
 *     at the end    channels_free(state->channels)
 * The order is scattered and begins at random: agents beside each other try different ones, neighbours (which may share a shard) are not
 * tried together, and count / sample rounds, rounded up, have tried every channel.
 */
#ifndef WSHEALTHD_CORE_CHANNELS_H
#define WSHEALTHD_CORE_CHANNELS_H

#include "agent/base/err.h"
#include "agent/conf/opt.h"

enum { CHANNELS_MAX = 10000, CHANNELS_SAMPLE_MAX = 1000, CHANNELS_AGAIN_MAX = 16, CHANNEL_NAME_MAX = 255 };
#define CHANNELS_NONE ((size_t)-1)

struct channels;

/* For the configuration: are there any (`channel` may be NULL, `list` empty), are the patterns well formed, are there too many? */
int channels_check(const char *channel, const struct opt_strings *list, struct err *err);
/* What channels_check has let pass, each name once. sample 0: all of them, as far as CHANNELS_SAMPLE_MAX goes. */
struct channels *channels_new(const char *channel, const struct opt_strings *list, int64_t sample);
void channels_free(struct channels *channels); /* NULL is fine */
size_t channels_count(const struct channels *channels);

/* Begins a round: how many channels it tries, each once. At least 1. */
size_t channels_round(struct channels *channels);
const char *channels_name(const struct channels *channels, size_t i);    /* of this round; lives as long as `channels` */
size_t channels_find(const struct channels *channels, const char *name); /* its place in this round, or CHANNELS_NONE */
void channels_failed(struct channels *channels, size_t i);

#endif
