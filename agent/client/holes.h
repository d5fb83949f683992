/*
 * Texts and matches with holes, filled in for a target: its token is read anew for each of them, and what people and peers have chosen is
 * quoted as each part wants. For dialogues, and for checks that speak texts of their own.
 */
#ifndef WSHEALTHD_CLIENT_HOLES_H
#define WSHEALTHD_CLIENT_HOLES_H

#include "agent/base/secret.h"
#include "agent/client/conn.h"
#include "agent/proto/template.h"

/* Who a text is filled in for. What is NULL is "". */
struct holes {
    const struct target_conf *target;
    const struct conn_override *override; /* NULL: the token is the target's */
    const char *channel, *id, *uuid;
    uint64_t seq;
    bool json; /* the texts are JSON: values are escaped in them */
    const struct template_name *names;
    size_t name_count;
    struct secret_loan *secrets; /* what functions make of a secret is lent here, so that it is masked */
};

/* Appends the text. -1 and agent_error: a file that cannot be read, or past out's ceiling. */
int holes_text(const struct holes *holes, struct slice text, struct buf *out, struct err *err);
/* The same as a string of its own, without zero bytes; NULL stays NULL. */
int holes_string(const struct holes *holes, const char *text, char **out, struct err *err);
/* Fills the holes of a match and compiles it; *out is NULL where the match is empty. */
int holes_match(const struct holes *holes, const struct match_spec *spec, struct match **out, struct err *err);
/* What is awaited, for a sentence, with the holes filled: "JSON with /id = 1". */
void holes_describe(const struct holes *holes, const struct match_spec *spec, char *out, size_t size);

#endif
