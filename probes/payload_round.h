/*
 * A round of the payload check, for its files: probes/payload.c holds the conversation, probes/payload_plan.c says which message is next
 * and makes it.
 */
#ifndef WSHEALTHD_PROBES_PAYLOAD_ROUND_H
#define WSHEALTHD_PROBES_PAYLOAD_ROUND_H

#include "agent/base/text.h"
#include "agent/client/session.h"
#include "agent/core/probe.h"
#include "probes/payload.h"

enum { PAYLOAD_SHOWN_CHARS = 60 };
enum { KIND_TEXT = 1, KIND_BINARY = 2 };

struct payload_opts {
    int64_t max, probe_to, every;
    unsigned kinds; /* 0: by default */
    bool fragments;
    char *wrap;
};

struct payload_state {
    bool begun;
    struct session session;
    struct conn_report report;
    struct timer patience;
    struct payload_limit limits[FORM_COUNT];
    unsigned passed; /* forms of which max has passed, as bits */
    unsigned turn;   /* the form that was tried last in turn */
    bool echoes;     /* something has come back once */
    bool looking;    /* for the limit beyond max; goes on over rounds */
    bool look_again; /* what passed beyond max when it was looked for last has to be tried again first */
    unsigned look_form;
    int64_t rounds_to_look;
    uint64_t seq;
    /* Of the round. */
    bool opening, opened;
    unsigned due; /* forms that are still to be tried, as bits */
    bool small_passed, large_passed, any_passed;
    size_t sent;
    unsigned breaks;
    uint64_t opened_ns;
    /* The message that is awaited. */
    bool trying;
    unsigned form;
    size_t size;
    uint64_t sent_ns;
    char id[PAYLOAD_ID_LEN + 1];
    struct buf payload;
    char last[TEXT_EXCERPT_BYTES(PAYLOAD_SHOWN_CHARS)]; /* what came in its place */
};

const struct payload_opts *payload_opts_of(const struct run *run);
size_t payload_max(const struct run *run);
size_t payload_small(const struct run *run);
size_t payload_least(struct run *run); /* of a message with its envelope */
/* A message of so many bytes with all around it, where the envelope leaves room. */
int payload_build(struct run *run, unsigned form, size_t size, struct buf *message, struct err *err);
/* The forms that this connection can be tried with, as bits; and the forms of this round, at its beginning. */
unsigned payload_forms(const struct run *run);
unsigned payload_first_form(unsigned forms);
void payload_choose(struct run *run);
/* The next of what must pass. False: all of it has (no form is due), or the form is known to break, and at which byte. */
bool payload_next_due(struct run *run);
/* The next beyond max; false: nothing is looked for. */
bool payload_next_beyond(struct run *run);
uint64_t payload_patience_ms(const struct run *run);
bool payload_has_room(const struct run *run);

#endif
