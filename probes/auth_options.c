/*
 * The options of `auth` and the rules across them (probes/auth.h). Called by the configuration's reader through the type in auth.c. Keeps
 * nothing.
 */
#include <string.h>

#include "agent/base/text.h"
#include "agent/proto/url.h"
#include "probes/auth.h"

bool auth_needs_tls(const void *opts)
{
    const struct auth_opts *auth = opts;
    struct url url;

    return auth->refresh.url && url_parse(auth->refresh.url, &url, NULL) == 0 && url.tls;
}

static int validate_refresh(const struct auth_opts *auth, struct err *err)
{
    struct url url;

    for (size_t i = 0; i < auth->refresh.headers.count; i++)
        if (!conf_is_header_name(auth->refresh.headers.items[i].name))
            return err_set(err, REASON_NONE, 0, "refresh.headers: '%s' is not a header name", auth->refresh.headers.items[i].name);
    if (!auth->refresh.url)
        return auth->refresh.body || auth->refresh.client_id || auth->refresh.client_secret
                   ? err_set(err, REASON_NONE, 0, "refresh.url: required where something is sent to it")
                   : 0;
    if (auth->mint.key_file)
        return err_set(err, REASON_NONE, 0, "refresh: tokens come from mint or from refresh, not from both");
    if (url_parse(auth->refresh.url, &url, err) < 0)
        return err_prefix(err, "refresh.url");
    if (strncmp(url.scheme, "http", 4) != 0)
        return err_set(err, REASON_NONE, 0, "refresh.url: scheme %s, want http, https or http+unix", url.scheme);
    if (url.user[0] || url.password[0])
        return err_set(err, REASON_NONE, 0, "refresh.url: holds a user or a password, want client_id and client_secret");
    if (auth->refresh.client_secret && !auth->refresh.client_id)
        return err_set(err, REASON_NONE, 0, "refresh.client_id: required with client_secret");
    return 0;
}

static int validate_expiry(const struct auth_opts *auth, struct err *err)
{
    bool renews = auth->expiry.expect == AUTH_EXPECT_RENEW;

    if (!auth_expiry_wanted(auth))
        return renews || auth->expiry.renew.send.data ? err_set(err, REASON_NONE, 0, "expiry.ttl: required, as in { ttl: 5s }") : 0;
    if (!auth->mint.key_file && !auth->refresh.url)
        return err_set(err, REASON_NONE, 0, "expiry: needs mint or refresh, for a token that ends while it is watched");
    if (renews && !auth->expiry.renew.send.data)
        return err_set(err, REASON_NONE, 0, "expiry.renew.send: required with expect: renew");
    return 0;
}

int auth_validate(const void *opts, struct err *err)
{
    const struct auth_opts *auth = opts;

    for (int bad = AUTH_EXPIRED; bad < AUTH_BAD_COUNT; bad++)
        if (auth->reject & 1U << bad && !auth->mint.key_file)
            return err_set(err, REASON_NONE, 0, "reject: %s needs mint.key_file, as the agent has to make such a token",
                           auth_bad_words[bad]);
    if (auth->mint.claims && auth->mint.claims[0] != '{')
        return err_set(err, REASON_NONE, 0, "mint.claims: %s, want a mapping such as { sub: probe }", auth->mint.claims);
    if (!auth->mint.key_file && (auth->mint.claims || auth->mint.kid))
        return err_set(err, REASON_NONE, 0, "mint.key_file: required with mint");
    if (!auth->accept && !auth->reject && !auth_expiry_wanted(auth))
        return err_set(err, REASON_NONE, 0, "reject: nothing is asked with accept: false, no expiry and no bad token");
    return validate_refresh(auth, err) < 0 ? -1 : validate_expiry(auth, err);
}

/* A round that has no time for what it waits for would never say anything of a bad token. */
void auth_validate_time(const struct check_conf *check, const struct complaints *complaints)
{
    const struct auth_opts *auth = check->opts;
    char waits[32], timeout[32];
    struct err err;

    if (auth->refuse_within_ms * 2 < check->timeout_ms)
        return;
    text_format_duration(auth->refuse_within_ms, waits, sizeof waits);
    text_format_duration(check->timeout_ms, timeout, sizeof timeout);
    err_set(&err, REASON_NONE, 0, "refuse_within: %s, want less than half of timeout (%s): a round waits for it twice", waits,
            timeout);
    complaints->tell(complaints->user, &err);
}

#define AT(field) offsetof(struct auth_opts, field)

static const struct opt refuse_rows[] = {
    { .name = "codes",
      .kind = OPT_RANGES,
      .offset = AT(refuse_with.codes) - AT(refuse_with),
      .default_text = "401, 403, 1008, 4000-4999",
      .min = 100,
      .max = 4999,
      .flags = OPT_SHORT,
      .help = "statuses of the upgrade and close codes; 1006 is a connection that ends without a word" },
    { .name = "match",
      .kind = OPT_MATCH,
      .offset = AT(refuse_with.match) - AT(refuse_with),
      .help = "a message that refuses, as well" },
    { 0 },
};

static const char *const expects[] = { "close", "renew", NULL };

static const struct opt renew_rows[] = {
    { .name = "send",
      .kind = OPT_BYTES,
      .offset = AT(expiry.renew.send) - AT(expiry.renew),
      .max = 65536,
      .help = "the message that brings the new {{token}}" },
    { .name = "expect", .kind = OPT_MATCH, .offset = AT(expiry.renew.expect) - AT(expiry.renew), .help = "what confirms it" },
    { 0 },
};

static const struct opt expiry_rows[] = {
    { .name = "ttl",
      .kind = OPT_DURATION,
      .offset = AT(expiry.ttl_ms) - AT(expiry),
      .min = 2000,
      .max = 86400000,
      .flags = OPT_SHORT,
      .help = "how long the token of such a session lives; with it, expiry is asked. With refresh, the token's own exp counts" },
    { .name = "expect",
      .kind = OPT_ENUM,
      .offset = AT(expiry.expect) - AT(expiry),
      .words = expects,
      .default_text = "close",
      .help = "what the server must do at the token's end: close the session, or let it be renewed by a message and go on" },
    { .name = "code",
      .kind = OPT_RANGES,
      .offset = AT(expiry.code) - AT(expiry),
      .default_text = "1008, 4000-4999",
      .min = 1000,
      .max = 4999,
      .help = "close codes that are right then" },
    { .name = "renew",
      .kind = OPT_SECTION,
      .offset = AT(expiry.renew) - AT(expiry),
      .rows = renew_rows,
      .help = "with expect: renew" },
    { .name = "within",
      .kind = OPT_DURATION,
      .offset = AT(expiry.within_ms) - AT(expiry),
      .default_text = "5s",
      .min = 100,
      .max = 3600000,
      .help = "how long after the token's exp the session may still live (servers allow for clocks that differ), and in which a "
              "renewal must be confirmed" },
    { 0 },
};

static const struct opt mint_rows[] = {
    { .name = "alg",
      .kind = OPT_ENUM,
      .offset = AT(mint.alg) - AT(mint),
      .words = jwt_alg_names,
      .default_text = "HS256",
      .help = "how tokens are signed (RFC 7518)" },
    { .name = "key_file",
      .kind = OPT_STRING,
      .offset = AT(mint.key_file) - AT(mint),
      .min = 1,
      .max = 4096,
      .help =
          "the private key in PEM (RSA, EC P-256 or Ed25519), or the shared secret as it is for HS256; read anew for each token" },
    { .name = "claims",
      .kind = OPT_JSON,
      .offset = AT(mint.claims) - AT(mint),
      .max = 4096,
      .help = "the token's claims, such as { sub: probe, aud: chat }; iat and exp are added" },
    { .name = "kid",
      .kind = OPT_STRING,
      .offset = AT(mint.kid) - AT(mint),
      .min = 1,
      .max = 256,
      .help = "the key's name in the token's header" },
    { .name = "ttl",
      .kind = OPT_DURATION,
      .offset = AT(mint.ttl_ms) - AT(mint),
      .default_text = "1m",
      .min = 1000,
      .max = 86400000,
      .help = "how long a valid token lives" },
    { 0 },
};

static const char *const methods[] = { "POST", "GET", NULL };

static const struct opt refresh_rows[] = {
    { .name = "url",
      .kind = OPT_STRING,
      .offset = AT(refresh.url) - AT(refresh),
      .max = URL_TARGET_MAX,
      .help = "http://, https:// or http+unix:// URL that answers with a token in JSON; TLS as the target's" },
    { .name = "method",
      .kind = OPT_ENUM,
      .offset = AT(refresh.method) - AT(refresh),
      .words = methods,
      .default_text = "POST",
      .help = "the request's method" },
    { .name = "headers",
      .kind = OPT_PAIRS,
      .offset = AT(refresh.headers) - AT(refresh),
      .max = 32,
      .flags = OPT_DYNAMIC,
      .help = "further headers of the request" },
    { .name = "body",
      .kind = OPT_STRING,
      .offset = AT(refresh.body) - AT(refresh),
      .max = 65536,
      .flags = OPT_DYNAMIC | OPT_SECRET,
      .help = "the request's body; with client_id, grant_type=client_credentials where nothing is set" },
    { .name = "token",
      .kind = OPT_STRING,
      .offset = AT(refresh.token) - AT(refresh),
      .default_text = "/access_token",
      .max = 1024,
      .flags = OPT_POINTER,
      .help = "where the token stands in the answer" },
    { .name = "client_id",
      .kind = OPT_STRING,
      .offset = AT(refresh.client_id) - AT(refresh),
      .min = 1,
      .max = 1024,
      .help = "of OAuth 2 client credentials (RFC 6749, 4.4), sent as the user of the request" },
    { .name = "client_secret",
      .kind = OPT_STRING,
      .offset = AT(refresh.client_secret) - AT(refresh),
      .max = 4096,
      .flags = OPT_DYNAMIC | OPT_SECRET,
      .help = "its password" },
    { 0 },
};

const struct opt auth_rows[] = {
    { .name = "accept",
      .kind = OPT_BOOL,
      .offset = AT(accept),
      .default_text = "true",
      .help = "a valid token must be taken: target.token, or one of mint or refresh. Without any of them only bad ones are tried. "
              "Taken is a connection that is still open after refuse_within, or that the dialect's connect has confirmed" },
    { .name = "reject",
      .kind = OPT_SET,
      .offset = AT(reject),
      .words = auth_bad_words,
      .default_text = "absent,garbage",
      .help = "what must be refused; expired, wrong_signature and wrong_audience need mint" },
    { .name = "refuse_with",
      .kind = OPT_SECTION,
      .offset = AT(refuse_with),
      .rows = refuse_rows,
      .help = "how a refusal looks, such as [401, 403, 1008, 4000-4999]; another one is a warning" },
    { .name = "refuse_within",
      .kind = OPT_DURATION,
      .offset = AT(refuse_within_ms),
      .min = 50,
      .max = 60000,
      .help =
          "how long after the upgrade, and the dialect's connect, a refusal may come. By default a quarter of timeout, at most 1s, "
          "and for a bad token that seemed to be taken most of the round's time once more. timeout must be more than twice that: a "
          "round waits once with the valid token and once with a bad one" },
    { .name = "expiry",
      .kind = OPT_SECTION,
      .offset = AT(expiry),
      .rows = expiry_rows,
      .help = "a session is held past its token's exp, which outlives a round. One ignored expiry is a warning, the second a "
              "fault. The command check needs "
              "a --timeout of ttl and within together and 2s more" },
    { .name = "mint",
      .kind = OPT_SECTION,
      .offset = AT(mint),
      .rows = mint_rows,
      .help = "tokens (JWT) that the agent makes with a key" },
    { .name = "refresh",
      .kind = OPT_SECTION,
      .offset = AT(refresh),
      .rows = refresh_rows,
      .help = "tokens that an endpoint gives" },
    { .name = "pace",
      .kind = OPT_DURATION,
      .offset = AT(pace_ms),
      .default_text = "1m",
      .min = 1000,
      .max = 86400000,
      .help = "one bad token is tried in this time, in turn, as servers lock out who fails too often; a status 429 stops that for "
              "ten minutes at least. The command check tries each of them once" },
    { 0 },
};
