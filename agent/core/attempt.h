/*
 * One connection with an Origin or a token of its own, and how the server took it: for checks that ask what a server refuses (auth, origin).
 * What that means is the check's judgement; what says nothing about Origin or token (nothing listens, no answer in time) comes with its own
 * reason.
 *
 * Async contract: attempt_start never calls back inside itself. Then on_end comes once; with `keeps`, after ATTEMPT_TAKEN, once more when the
 * connection ends by the server's doing. An attempt may be started again or closed inside on_end.
 */
#ifndef WSHEALTHD_CORE_ATTEMPT_H
#define WSHEALTHD_CORE_ATTEMPT_H

#include "agent/client/conn_offer.h"
#include "agent/client/dialogue.h"
#include "agent/core/probe.h"
#include "agent/proto/match.h"
#include "agent/proto/words.h"

enum attempt_end {
    ATTEMPT_TAKEN,   /* open, behind the dialect's connect, and not refused for a while */
    ATTEMPT_OPEN,    /* open, and the owner's deadline has passed in that while (attempt_expire) */
    ATTEMPT_STATUS,  /* the upgrade was answered with a status other than 101: `code` */
    ATTEMPT_CLOSED,  /* the server sent a close frame: `code` */
    ATTEMPT_MESSAGE, /* the server refused it in a message */
    ATTEMPT_CUT,     /* the connection was ended without a word, before an answer to the upgrade or behind it */
    ATTEMPT_FAILED,  /* err->reason says what happened; it says nothing about Origin or token */
};

struct attempt_outcome {
    enum attempt_end end;
    int code;              /* the status or the close code; 1006 of ATTEMPT_CUT */
    const struct err *err; /* NULL: taken or open. Valid during the call */
};

struct attempt_options {
    const char *what; /* of the dialect's connect: which client it is, for logs of the server ({{id}}) */
    struct conn_override override;
    const struct opt_match *refusal; /* a message that refuses; NULL: the dialect's own */
    bool keeps;                      /* a connection that was taken stays open */
    uint64_t settle_ms;              /* how long a refusal may take, once it is ready; 0: attempt_settle_ms */
};

struct attempt {
    struct run *run;
    struct dialogue *dialogue;
    struct dialect dialect; /* the target's, with the refusal in it. Borrows */
    struct conn_override override;
    char *origin, *token; /* of the override, so that the caller need not keep them */
    const struct opt_match *refusal;
    struct conn_report report;
    struct timer settle;
    uint64_t opened_ns, ready_ns; /* 0: not yet */
    uint64_t settle_ms;           /* how long it was given; 0: the server said yes, and nothing was waited for */
    int64_t skew_s;
    char said[WORDS_BYTES]; /* the first message once it was ready, which refuses nothing that is configured; "": none */
    bool keeps, taken, looked_again;
    void (*on_end)(void *user, const struct attempt_outcome *outcome);
    void (*on_message)(void *user, const struct ws_message *message); /* of a kept one; may be NULL */
    void *user;
};

enum { ATTEMPT_SETTLE_MAX_MS = 1000, ATTEMPT_SETTLE_SHARE = 4, ATTEMPT_PAUSE_MS = 600000, ATTEMPT_TOO_MANY = 429 };

void attempt_init(struct attempt *attempt, struct run *run, void (*on_end)(void *user, const struct attempt_outcome *outcome),
                  void *user);
/* 0, or -1 and agent_error: a file of the target cannot be read. */
int attempt_start(struct attempt *attempt, const struct attempt_options *options, struct err *err);
bool attempt_busy(const struct attempt *attempt); /* started, and neither ended nor closed */
/* How long a connection must stay open to count as taken where nobody says it: a quarter of the timeout, at most ATTEMPT_SETTLE_MAX_MS. */
uint64_t attempt_settle_ms(const struct run *run);
/* The owner's deadline has passed: on_end comes inside this call. */
void attempt_expire(struct attempt *attempt, uint64_t timeout_ms);
void attempt_close(struct attempt *attempt); /* politely; no callback comes */
void attempt_fini(struct attempt *attempt);  /* as that, and frees everything */

/* The round's report: the phases of this attempt. */
void attempt_report(const struct attempt *attempt);
/* Ends the round with that error, in the phase of its reason. */
void attempt_finish(const struct attempt *attempt, const struct err *err);
/* The server counts bad tries (status 429): how long none is to be made, at least ATTEMPT_PAUSE_MS. */
uint64_t attempt_pause_ms(const struct attempt *attempt);
/* "status 401", "close code 4401", "a message", "a cut connection": how it was refused. */
void attempt_words(const struct attempt_outcome *outcome, char *out, size_t size);
/* How far the server's clock is ahead of ours by the Date of its answer, in seconds; 0 where it gave none, or within the accuracy of a Date. */
int64_t attempt_skew_s(const struct attempt *attempt);

#endif
