/*
 * How a target that refuses the probe is treated: all checks of one path of it together slow down, exponentially, to one attempt a minute. A
 * server that bans an address after some failed logins bans the users behind it too. Pure: no clock, no timers.
 */
#ifndef WSHEALTHD_CLIENT_BACKOFF_H
#define WSHEALTHD_CLIENT_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/reason.h"
#include "agent/base/slice.h"

enum { BACKOFF_FIRST_MS = 10000, BACKOFF_MAX_MS = 60000, BACKOFF_RETRY_AFTER_MAX_MS = 600000 };

struct backoff {         /* of one path; zero it to start */
    uint32_t level;      /* refusals in a row; 0: everybody goes at his own pace */
    uint32_t last_level; /* what the level was before something else than a refusal came; the next refusal goes on from there */
    bool behind;         /* the last refusal came after the upgrade: an upgrade that works does not end the back-off */
    uint64_t since_ms;   /* monotonic; of the refusal that raised the level last */
    uint64_t until_ms;   /* monotonic; no attempt before that */
    uint64_t asked_ms;   /* monotonic; no attempt before that, as the server asked (Retry-After) */
};

/* May an attempt be made now? A yes is one attempt: the next one is due as long after it as the level says. */
bool backoff_claim(struct backoff *backoff, uint64_t now_ms);
uint64_t backoff_wait_ms(const struct backoff *backoff, uint64_t now_ms); /* until the next attempt; 0: none */
/* A round that began then was refused. retry_after_ms: what the server asks for; 0: nothing. */
/* For a check that is not refused, but costs the server a connection too: how long until it may go again. It went last then; 0: never. */
uint64_t backoff_rare_wait_ms(const struct backoff *backoff, uint64_t last_ms, uint64_t now_ms);
void backoff_refused(struct backoff *backoff, uint64_t started_ms, uint64_t now_ms, uint64_t retry_after_ms);
/* The server fails in another way: rounds come at the usual pace. The level is kept. */
void backoff_other(struct backoff *backoff);
void backoff_passed(struct backoff *backoff); /* a check that had been refused has passed */

/* A close frame's code, and what it says: rate_limited, login_rejected, or closed_by_server where it says neither. */
enum reason backoff_close_reason(int close_code, struct slice text);
/* Does this reason mean that the probe was refused, and not that the server failed? */
bool backoff_is_refusal(enum reason reason, int close_code);
bool backoff_is_refusing_status(int status); /* of a plain HTTP answer: 401, 403, 429 */
/* The value of a Retry-After field (RFC 9110, 10.2.3), in seconds or as a date; bounded. 0: cannot be read, or is over. */
uint64_t backoff_retry_after_ms(struct slice value, int64_t wall_ms);

#endif
