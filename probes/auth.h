/*
 * What the files of the check `auth` share. probes/auth.c is its rounds, auth_verdict.c what is known and said, auth_token.c
 * where tokens come from, auth_expiry.c the session that outlives its token, auth_options.c the configuration.
 */
#ifndef WSHEALTHD_PROBES_AUTH_H
#define WSHEALTHD_PROBES_AUTH_H

#include "agent/base/secret.h"
#include "agent/client/fetch.h"
#include "agent/core/attempt.h"
#include "agent/core/ban.h"
#include "agent/net/jwt_sign.h"
#include "agent/proto/jwt.h"

/* Bad tokens; as bits in auth_opts.reject, in the order of their words. */
enum auth_bad { AUTH_ABSENT, AUTH_GARBAGE, AUTH_EXPIRED, AUTH_WRONG_SIGNATURE, AUTH_WRONG_AUDIENCE, AUTH_BAD_COUNT };
extern const char *const auth_bad_words[AUTH_BAD_COUNT + 1];
enum { AUTH_EXPECT_CLOSE, AUTH_EXPECT_RENEW };

struct auth_opts {
    bool accept;
    unsigned reject;
    struct {
        struct opt_ranges codes; /* statuses and close codes */
        struct opt_match match;
    } refuse_with;
    struct {
        int64_t ttl_ms, within_ms; /* ttl_ms 0: not asked */
        int expect;
        struct opt_ranges code;
        struct {
            struct opt_bytes send;
            struct opt_match expect;
        } renew;
    } expiry;
    struct {
        int alg; /* enum jwt_alg */
        char *key_file, *claims, *kid;
        int64_t ttl_ms;
    } mint;
    struct {
        char *url;
        int method;
        struct opt_pairs headers;
        char *body, *token, *client_id, *client_secret;
    } refresh;
    int64_t refuse_within_ms; /* 0: attempt_settle_ms */
    int64_t pace_ms;
};

extern const struct opt auth_rows[];
int auth_validate(const void *opts, struct err *err);
void auth_validate_time(const struct check_conf *check, const struct complaints *complaints);
bool auth_needs_tls(const void *opts);

/* --- tokens --- */

/* A token from refresh.url, kept while it is fresh. Zero it before its first use. */
struct auth_source {
    struct run *run;
    struct secret_loan *loan;
    struct url url;
    struct fetch *fetch;
    char *token;   /* NULL: none yet */
    int64_t exp_s; /* wall clock; 0: it does not say */
    uint64_t got_ns;
    uint64_t next_ns, wait_ms; /* after a failure: not before that */
    struct err failure;        /* the last one */
    void (*on_token)(void *user, const struct err *err);
    void *user;
};

/* A token made with `mint`: valid for ttl_ms, or bad in one way. Its text is lent to `loan`. To be freed with mem_free_secret; NULL and *err. */
char *auth_mint(const struct auth_opts *opts, int64_t ttl_ms, struct secret_loan *loan, struct err *err);
char *auth_mint_bad(const struct auth_opts *opts, enum auth_bad bad, struct secret_loan *loan, struct err *err);
/* Asks refresh.url, one question at a time; on_token comes later, with NULL once source->token is there. -1 and auth_refresh_failed: it
 * comes not. */
int auth_source_ask(struct auth_source *source, void (*on_token)(void *user, const struct err *err), void *user, struct err *err);
bool auth_source_fresh(const struct auth_source *source);
void auth_source_forget(struct auth_source *source); /* it was refused: the next one is asked for */
void auth_source_expire(struct auth_source *source); /* the round's deadline: on_token comes now */
void auth_source_cancel(struct auth_source *source); /* on_token does not come; harmless when nothing was asked */
void auth_source_fini(struct auth_source *source);

/* Why the server's clock makes this token bad, by its Date: ", whose clock is 1h ahead of the agent's: for it the token has expired". "" where
 * it does not. */
void auth_explain_clock(const char *token, int64_t skew_s, char *out, size_t size);

/* --- a session that outlives its token --- */

enum auth_stage { AUTH_IDLE, AUTH_FETCHING, AUTH_OPENING, AUTH_HELD, AUTH_RENEWING, AUTH_RENEWED, AUTH_OVERDUE };

struct auth_expiry {
    struct run *run;
    struct attempt attempt;
    struct auth_source source;
    struct secret_loan loan;
    struct timer timer;
    enum auth_stage stage;
    char *token;
    int64_t exp_ms, look_ms; /* wall clock */
    uint64_t next_ns;        /* the next session begins not before that */
    bool looked_again;       /* what came meanwhile has been read: the agent may have been the late one */
    unsigned ignored;        /* sessions in a row that outlived their token */
    bool judged;             /* at least one has been */
    struct err fault;        /* of the last session that could be judged; REASON_NONE: it went well */
    bool mild;               /* the fault is a warning */
    char words[96];          /* how it went well */
    void (*on_judged)(void *user);
    void *user;
};

void auth_expiry_init(struct auth_expiry *expiry, struct run *run, void (*on_judged)(void *user), void *user);
bool auth_expiry_wanted(const struct auth_opts *opts);
void auth_expiry_go_on(struct auth_expiry *expiry); /* begins a session where one is due */
bool auth_expiry_busy(const struct auth_expiry *expiry);
void auth_expiry_fini(struct auth_expiry *expiry);

/* --- rounds --- */

/* SILENT: still open, but the server, which greets who has a valid token, has said nothing. */
enum auth_found { AUTH_UNKNOWN, AUTH_TAKEN, AUTH_REFUSED, AUTH_OTHERWISE, AUTH_SILENT };

/* What is known of one bad token. */
struct auth_trial {
    enum auth_found found;
    bool sure;              /* AUTH_TAKEN: for the second time, and longer; or nothing more can be learnt */
    uint64_t waited_ms;     /* AUTH_TAKEN, AUTH_SILENT: it was still open after that; 0: the server said yes */
    char words[40];         /* how it was refused */
    struct err err;         /* of AUTH_OTHERWISE */
    char said[WORDS_BYTES]; /* of AUTH_TAKEN: what the server said then */
};

enum auth_asking { AUTH_ASK_VALID, AUTH_ASK_BAD };
enum auth_origin { AUTH_FROM_NOWHERE, AUTH_FROM_TARGET, AUTH_FROM_MINT, AUTH_FROM_REFRESH };

struct auth_state {
    struct attempt attempt;
    struct auth_source source;
    struct auth_expiry expiry;
    struct secret_loan loan;
    struct auth_trial trials[AUTH_BAD_COUNT];
    enum auth_bad next, trying;
    enum auth_asking asking;
    enum auth_origin from;
    char *token;        /* under way; NULL: the target's own, or none */
    size_t asked;       /* of the round */
    bool begun, over;   /* over: the deadline of the round has passed */
    bool taken;         /* of the round: the valid token was taken */
    bool greets;        /* the server has said something to the last valid one that it took */
    bool short_of_wait; /* a bad token's connection was open, and the round over, before refuse_within was */
    struct ban ban;
    uint64_t late_ms;   /* refusals take longer than usual: so long */
    bool short_of_time; /* the only round is too short for expiry */
    uint64_t next_ns;   /* no bad token before that */
};

static inline const struct auth_opts *auth_opts_of(const struct run *run)
{
    return run->opts;
}

/* Ends the round with the worst that is known. */
void auth_conclude(struct run *run);
/* Which bad token was taken, or refused in another way than configured; AUTH_BAD_COUNT: none. */
enum auth_bad auth_worst(const struct run *run);
bool auth_refused_as_wanted(const struct auth_opts *opts, const struct attempt_outcome *outcome);

#endif
