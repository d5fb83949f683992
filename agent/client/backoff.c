/*
 * The back-off after a refusal (agent/client/backoff.h). Called by the engine (agent/core/check.c) before and after rounds, and by whoever reads
 * a refusal. It decides when an attempt may be made; what a refusal means for /ready is health.c's business.
 *
 * One attempt at a time: the wait is for all checks together, so that ten checks do not make ten attempts a minute. A refusal counts once,
 * also where several rounds were under way when it came.
 */
#include "agent/client/backoff.h"

#include <string.h>

#include "agent/proto/http_date.h"

enum { LEVEL_MAX = 16, WS_POLICY = 1008, WS_UNAUTHORIZED = 3000, WS_FORBIDDEN = 3003 };

static uint64_t delay_ms(uint32_t level)
{
    uint64_t delay = BACKOFF_FIRST_MS;

    for (uint32_t i = 1; i < level && delay < BACKOFF_MAX_MS; i++)
        delay *= 2;
    return delay < BACKOFF_MAX_MS ? delay : BACKOFF_MAX_MS;
}

bool backoff_claim(struct backoff *backoff, uint64_t now_ms)
{
    if (backoff->level == 0)
        return true;
    if (now_ms < backoff->until_ms)
        return false;
    backoff->until_ms = now_ms + delay_ms(backoff->level);
    return true;
}

uint64_t backoff_wait_ms(const struct backoff *backoff, uint64_t now_ms)
{
    return backoff->level && now_ms < backoff->until_ms ? backoff->until_ms - now_ms : 0;
}

void backoff_refused(struct backoff *backoff, uint64_t started_ms, uint64_t now_ms, uint64_t retry_after_ms)
{
    if (retry_after_ms > BACKOFF_RETRY_AFTER_MAX_MS)
        retry_after_ms = BACKOFF_RETRY_AFTER_MAX_MS;
    if (backoff->level == 0 || started_ms >= backoff->since_ms) {
        backoff->level = (backoff->level ? backoff->level : backoff->last_level) + 1;
        if (backoff->level > LEVEL_MAX)
            backoff->level = LEVEL_MAX;
        backoff->since_ms = now_ms;
        backoff->until_ms = now_ms + delay_ms(backoff->level);
    }
    if (backoff->until_ms < now_ms + retry_after_ms)
        backoff->until_ms = now_ms + retry_after_ms;
    if (retry_after_ms && backoff->asked_ms < now_ms + retry_after_ms)
        backoff->asked_ms = now_ms + retry_after_ms;
}

uint64_t backoff_rare_wait_ms(const struct backoff *backoff, uint64_t last_ms, uint64_t now_ms)
{
    uint64_t until_ms = last_ms ? last_ms + BACKOFF_MAX_MS : 0;

    if (until_ms < backoff->asked_ms)
        until_ms = backoff->asked_ms;
    return backoff->level && now_ms < until_ms ? until_ms - now_ms : 0;
}

void backoff_other(struct backoff *backoff)
{
    if (backoff->level)
        backoff->last_level = backoff->level;
    backoff->level = 0;
}

void backoff_passed(struct backoff *backoff)
{
    memset(backoff, 0, sizeof *backoff);
}

/* --- what is a refusal --- */

static bool says_one_of(struct slice text, const char *const *words)
{
    for (; *words; words++) {
        struct slice word = slice_str(*words);

        for (size_t i = 0; i + word.len <= text.len; i++)
            if (slice_equal_nocase(slice_make(text.data + i, word.len), *words))
                return true;
    }
    return false;
}

enum reason backoff_close_reason(int close_code, struct slice text)
{
    static const char *const pace[] = { "rate limit", "rate-limit", "ratelimit", "rate_limit",
                                        "too many",   "throttl",    "slow down", NULL };
    static const char *const login[] = { "token",      "unauthori", "not authori", "authenticat", "forbidden",
                                         "credential", "login",     "jwt",         "banned",      NULL };
    bool policy = close_code == WS_POLICY || close_code == WS_UNAUTHORIZED || close_code == WS_FORBIDDEN ||
                  (close_code >= 4000 && close_code <= 4999);

    if (!policy && close_code != 1013)
        return REASON_CLOSED_BY_SERVER;
    if (close_code == 4429 || says_one_of(text, pace))
        return REASON_RATE_LIMITED;
    if (!policy)
        return REASON_CLOSED_BY_SERVER;
    if (close_code == WS_UNAUTHORIZED || close_code == WS_FORBIDDEN || close_code == 4401 || close_code == 4403 ||
        says_one_of(text, login))
        return REASON_LOGIN_REJECTED;
    return REASON_CLOSED_BY_SERVER;
}

bool backoff_is_refusal(enum reason reason, int close_code)
{
    return reason == REASON_UPGRADE_UNAUTHORIZED || reason == REASON_RATE_LIMITED || reason == REASON_LOGIN_REJECTED ||
           reason == REASON_AUTH_REJECTED || reason == REASON_TLS_CLIENT_CERT_REJECTED ||
           (reason == REASON_CLOSED_BY_SERVER && close_code == WS_POLICY);
}

bool backoff_is_refusing_status(int status)
{
    return status == 401 || status == 403 || status == 429;
}

/* --- Retry-After --- */

uint64_t backoff_retry_after_ms(struct slice value, int64_t wall_ms)
{
    char text[40];
    uint64_t seconds = 0;
    int64_t date;
    size_t i = 0;

    if (value.len == 0 || value.len >= sizeof text)
        return 0;
    memcpy(text, value.data, value.len);
    text[value.len] = 0;
    for (; text[i] >= '0' && text[i] <= '9'; i++)
        if (seconds < BACKOFF_RETRY_AFTER_MAX_MS)
            seconds = seconds * 10 + (uint64_t)(text[i] - '0');
    if (text[i]) {
        date = http_date_s(value);
        if (date < 0 || date * 1000 <= wall_ms)
            return 0;
        seconds = (uint64_t)(date - wall_ms / 1000);
    }
    return seconds < BACKOFF_RETRY_AFTER_MAX_MS / 1000 ? seconds * 1000 : BACKOFF_RETRY_AFTER_MAX_MS;
}
