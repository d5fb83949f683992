/*
 * Where the tokens of the check `auth` come from (probes/auth.h): made here with a key (`mint`), or asked for at an endpoint (`refresh`; OAuth 2
 * client credentials, RFC 6749, 4.4). Called by auth.c and auth_expiry.c. Owns the tokens and masks them in every text; leaves to its callers
 * what a token is used for.
 *
 * What fails here is the agent's own: the key file (agent_error, the round is void), or the endpoint (auth_refresh_failed, scope probe).
 * An endpoint that fails is asked again after ten seconds, then twenty, at most once a minute.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/base/clock.h"
#include "agent/base/file.h"
#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/base/text.h"
#include "agent/client/conn_offer.h"
#include "agent/proto/base64.h"
#include "agent/proto/words.h"
#include "probes/auth.h"

enum {
    HOUR_S = 3600,
    KEY_FILE_MAX = 64 << 10,
    ANSWER_MAX = 256 << 10,
    HEADERS_MAX = 32 << 10,
    BODY_MAX = 64 << 10,
    RETRY_MIN_MS = 10000,
    RETRY_MAX_MS = 60000,
    KEPT_MS = 300000, /* a token that does not say how long it lives */
    MARGIN_S = 10,
    LIFE_MAX_S = 1000000000,
};

/* --- made here --- */

static int64_t now_s(void)
{
    return clock_wall_ms() / 1000;
}

/* A shared secret must not show up anywhere. A key in PEM never goes into a text. */
static void mask_key(enum jwt_alg alg, struct buf *file)
{
    char *text;

    if (alg != JWT_HS256)
        return;
    text = mem_strdup(buf_str(file));
    text[strcspn(text, "\r\n")] = 0;
    secret_add(text);
    mem_free_secret(text);
}

static char *mint(const struct auth_opts *opts, const struct jwt_claims *claims, enum jwt_signer signer, struct secret_loan *loan,
                  struct err *err)
{
    struct buf file = BUF_INIT(KEY_FILE_MAX), token = BUF_INIT(JWT_MAX);
    enum jwt_alg alg = (enum jwt_alg)opts->mint.alg;
    char *text = NULL;

    if (file_read(opts->mint.key_file, KEY_FILE_MAX, FILE_REGULAR, &file, NULL, err) == 0) {
        mask_key(alg, &file);
        if (jwt_compose(claims, &token, err) == 0 && jwt_sign(alg, buf_slice(&file), signer, &token, err) == 0)
            text = mem_strdup(buf_str(&token));
    }
    if (text)
        secret_lend(loan, text);
    else
        err_prefix(err, strncmp(err->text, "claims:", 7) == 0 ? "mint" : "mint.key_file %s", opts->mint.key_file);
    if (!text)
        err->reason = REASON_AGENT_ERROR;
    buf_wipe(&file);
    buf_wipe(&token);
    return text;
}

static struct jwt_claims claims_of(const struct auth_opts *opts, int64_t iat_s, int64_t exp_s)
{
    return (struct jwt_claims){
        .json = opts->mint.claims, .alg = jwt_alg_names[opts->mint.alg], .kid = opts->mint.kid, .iat_s = iat_s, .exp_s = exp_s
    };
}

char *auth_mint(const struct auth_opts *opts, int64_t ttl_ms, struct secret_loan *loan, struct err *err)
{
    struct jwt_claims claims = claims_of(opts, now_s(), (clock_wall_ms() + ttl_ms + 999) / 1000);

    return mint(opts, &claims, JWT_OURS, loan, err);
}

char *auth_mint_bad(const struct auth_opts *opts, enum auth_bad bad, struct secret_loan *loan, struct err *err)
{
    struct jwt_claims claims = claims_of(opts, now_s(), now_s() + opts->mint.ttl_ms / 1000);

    if (bad == AUTH_EXPIRED)
        claims = claims_of(opts, now_s() - 2 * HOUR_S, now_s() - HOUR_S);
    if (bad == AUTH_WRONG_AUDIENCE)
        claims.audience = "wshealthd-other-audience.invalid";
    return mint(opts, &claims, bad == AUTH_WRONG_SIGNATURE ? JWT_STRANGER : JWT_OURS, loan, err);
}

/* --- asked for --- */

static void source_done(struct auth_source *source, const struct err *err)
{
    uint64_t wait_ms = source->wait_ms * 2 > RETRY_MIN_MS ? source->wait_ms * 2 : RETRY_MIN_MS;

    source->wait_ms = !err ? 0 : wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS;
    source->next_ns = clock_now_ns() + source->wait_ms * NS_PER_MS;
    if (err)
        source->failure = *err;
    source->on_token(source->user, err);
}

/* What goes into a header, a path or a message as one word. */
static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f)
            return false;
    return text.len > 0 && text.len <= JWT_MAX;
}

/* Of expires_in, which is the endpoint's: any number may stand there, 1e300 too, or a text. 0: it does not say. */
static int64_t exp_of(const char *expires_in)
{
    double life_s = strtod(expires_in, NULL);

    if (!(life_s >= 1)) /* NaN is not either */
        return 0;
    return now_s() + (life_s < (double)LIFE_MAX_S ? (int64_t)life_s : LIFE_MAX_S);
}

/* An endpoint that hands out old tokens (a cache) is not the server's fault. */
static int check_age(struct auth_source *source, struct err *err)
{
    int64_t ago_s = now_s() - source->exp_s;
    char ago[32];

    if (ago_s < 0)
        return 0;
    text_format_duration(ago_s * 1000, ago, sizeof ago);
    auth_source_forget(source);
    return err_set(err, REASON_AUTH_REFRESH_FAILED, 0, "the token in the answer expired %s ago, by its own exp: want a fresh one",
                   ago);
}

static int take_answer(struct auth_source *source, struct slice body, struct err *err)
{
    const struct auth_opts *opts = auth_opts_of(source->run);
    struct buf token = BUF_INIT(ANSWER_MAX), life = BUF_INIT(64);
    int rc = -1;

    if (match_extract_word(body, opts->refresh.token, &token) < 0)
        err_set(err, REASON_AUTH_REFRESH_FAILED, 0, "the answer has no %s (refresh.token), want JSON with a token there",
                opts->refresh.token);
    else if (!is_token(buf_slice(&token)))
        err_set(err, REASON_AUTH_REFRESH_FAILED, 0, "%s in the answer is no token: want one word of at most %d bytes",
                opts->refresh.token, JWT_MAX);
    else
        rc = 0;
    if (rc == 0) {
        mem_free_secret(source->token);
        source->token = mem_strdup(buf_str(&token));
        source->got_ns = clock_now_ns();
        secret_lend(source->loan, source->token);
        if (!jwt_exp(slice_str(source->token), &source->exp_s))
            source->exp_s = match_extract(body, "/expires_in", &life) == 0 ? exp_of(buf_str(&life)) : 0;
        else
            rc = check_age(source, err);
    }
    buf_wipe(&token);
    buf_fini(&life);
    return rc;
}

static void on_done(void *user, const struct fetch_result *result)
{
    struct auth_source *source = user;
    char words[WORDS_BYTES];
    struct err err = { 0 };

    source->fetch = NULL;
    if (result->err) {
        err = *result->err;
    } else if (result->head->status < 200 || result->head->status > 299) {
        words_of_response(result->head, result->body, words);
        err_set(&err, REASON_AUTH_REFRESH_FAILED, 0, "status %d, want 200%s%s%s", result->head->status, *words ? ": \"" : "", words,
                *words ? "\"" : "");
    } else if (fetch_validate_coding(result, &err) == 0 && take_answer(source, result->body, &err) == 0) {
        source_done(source, NULL);
        return;
    }
    err_prefix(&err, "refresh.url");
    err.reason = REASON_AUTH_REFRESH_FAILED;
    source_done(source, &err);
}

/* Appends as application/x-www-form-urlencoded has it. */
static void append_form(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c);

        if (plain)
            buf_append_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

/* RFC 6749, 2.3.1: both encoded as in a form, then as a user and a password. */
static int append_client(const struct auth_opts *opts, struct buf *lines, struct err *err)
{
    struct buf secret = BUF_INIT(OPT_FILE_MAX), pair = BUF_INIT(HEADERS_MAX / 2);
    char *basic;
    int rc = 0;

    if (opts->refresh.client_secret)
        rc = opt_expand(opts->refresh.client_secret, &secret, err);
    if (rc < 0) {
        err_prefix(err, "refresh.client_secret");
    } else {
        append_form(&pair, opts->refresh.client_id);
        buf_append_char(&pair, ':');
        append_form(&pair, buf_str(&secret));
        basic = mem_alloc(BASE64_LEN(pair.len) + 1);
        base64_encode(buf_slice(&pair), basic);
        secret_add(basic);
        buf_printf(lines, "Authorization: Basic %s\r\n", basic);
        mem_free_secret(basic);
    }
    buf_wipe(&secret);
    buf_wipe(&pair);
    return rc;
}

static int write_headers(const struct auth_opts *opts, struct slice body, struct buf *lines, struct err *err)
{
    const struct opt_pairs *headers = &opts->refresh.headers;

    for (size_t i = 0; i < headers->count; i++) {
        char *value = conn_header_value("refresh.headers", headers->items[i].value, err);

        if (!value)
            return -1;
        buf_printf(lines, "%s: %s\r\n", headers->items[i].name, value);
        mem_free_secret(value);
    }
    if (!opt_pairs_get(headers, "Accept"))
        buf_append_str(lines, "Accept: application/json\r\n");
    if (body.len && !opt_pairs_get(headers, "Content-Type"))
        buf_printf(lines, "Content-Type: %s\r\n", body.data[0] == '{' ? "application/json" : "application/x-www-form-urlencoded");
    if (opts->refresh.client_id && !opt_pairs_get(headers, "Authorization"))
        return append_client(opts, lines, err);
    return 0;
}

static int write_body(const struct auth_opts *opts, struct buf *body, struct err *err)
{
    if (opts->refresh.body)
        return opt_expand(opts->refresh.body, body, err) < 0 ? err_prefix(err, "refresh.body") : 0;
    if (opts->refresh.client_id)
        buf_append_str(body, "grant_type=client_credentials");
    return 0;
}

int auth_source_ask(struct auth_source *source, void (*on_token)(void *user, const struct err *err), void *user, struct err *err)
{
    static const char *const methods[] = { "POST", "GET" };
    const struct auth_opts *opts = auth_opts_of(source->run);
    struct buf lines = BUF_INIT(HEADERS_MAX), body = BUF_INIT(BODY_MAX);
    struct fetch_request request = {
        .url = &source->url, .max_body_bytes = ANSWER_MAX, .whole = true, .method = methods[opts->refresh.method]
    };

    if (source->wait_ms && clock_now_ns() < source->next_ns) {
        *err = source->failure;
        return -1;
    }
    source->on_token = on_token;
    source->user = user;
    url_parse(opts->refresh.url, &source->url, NULL); /* auth_validate has seen it */
    if (write_body(opts, &body, err) == 0 && write_headers(opts, buf_slice(&body), &lines, err) == 0) {
        request.tls = source->url.tls ? source->run->tls : NULL;
        request.headers = buf_str(&lines);
        request.body = buf_slice(&body);
        request.timeout_ms = (uint64_t)source->run->conf->timeout_ms;
        source->fetch = fetch_start(source->run->loop, &request, on_done, source);
    }
    buf_wipe(&lines);
    buf_wipe(&body);
    if (source->fetch)
        return 0;
    err->reason = REASON_AGENT_ERROR;
    return -1;
}

bool auth_source_fresh(const struct auth_source *source)
{
    uint64_t age_ms = (clock_now_ns() - source->got_ns) / NS_PER_MS;

    if (!source->token)
        return false;
    return source->exp_s ? now_s() < source->exp_s - MARGIN_S : age_ms < KEPT_MS;
}

void auth_source_forget(struct auth_source *source)
{
    mem_free_secret(source->token);
    source->token = NULL;
}

void auth_source_expire(struct auth_source *source)
{
    fetch_expire(source->fetch);
}

void auth_source_cancel(struct auth_source *source)
{
    if (source->fetch)
        fetch_cancel(source->fetch);
    source->fetch = NULL;
}

void auth_source_fini(struct auth_source *source)
{
    auth_source_cancel(source);
    auth_source_forget(source);
}

/* --- clocks --- */

void auth_explain_clock(const char *token, int64_t skew_s, char *out, size_t size)
{
    struct jwt_times times;
    int64_t server_s = now_s() + skew_s;
    char far[32];
    const char *why = NULL;

    *out = '\0';
    if (!token || !skew_s || !jwt_times_of(slice_str(token), &times))
        return;
    if (times.exp_s && times.exp_s <= server_s)
        why = "has expired";
    else if (times.nbf_s > server_s || times.iat_s > server_s)
        why = "is not valid yet";
    text_format_duration(llabs(skew_s) * 1000, far, sizeof far);
    if (why)
        snprintf(out, size, "the server's clock is %s %s the agent's by its Date, and for it the token %s", far,
                 skew_s > 0 ? "ahead of" : "behind", why);
}
