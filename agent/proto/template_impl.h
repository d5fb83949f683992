/* What the files of templates share: template.c has the text and its holes, template_call.c the functions. */
#ifndef WSHEALTHD_PROTO_TEMPLATE_IMPL_H
#define WSHEALTHD_PROTO_TEMPLATE_IMPL_H

#include "agent/proto/template.h"

enum { TEMPLATE_NAME_CHARS = 32 }; /* of a name in an error */

/* template.c. Is there such a hole, among those of vars too? */
bool template_knows(struct slice name, const struct template_vars *vars);
/* Appends its value as it is. *secret is set where it is one. -1: past the ceiling. */
int template_put_name(struct slice name, const struct template_vars *vars, struct buf *out, bool *secret);
/* Appends a text that a function has made, escaped as vars says. -1: past the ceiling. */
int template_put_text(struct buf *out, struct slice text, const struct template_vars *vars);
int template_put_json(struct buf *out, struct slice value, bool quotes);
int template_unknown(struct slice name, size_t at, const struct template_vars *vars, struct err *err); /* returns -1 */

/* template_call.c. Is this, what stands between {{ and }}, a function with arguments? */
bool template_is_call(struct slice text);
bool template_is_function(struct slice name);
/* Appends what it gives; with `out` NULL it only validates. `at`: where the hole begins, for errors. */
int template_call(struct slice text, size_t at, const struct template_vars *vars, struct buf *out, struct err *err);
bool template_call_mentions(struct slice text, const char *name);
/* How far it is to }}, not counting those in quotes. -1: there is none. */
ptrdiff_t template_find_end(struct slice text);

#endif
