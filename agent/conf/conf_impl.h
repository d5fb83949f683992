/*
 * What the files of the configuration share among themselves, and with nobody else: the tree of a YAML document with positions, and
 * variables. Errors have a header of their own, conf_errors.h.
 *   conf_yaml.c    text to tree          conf_errors.c  errors, sorted and placed      conf_vars.c  ${NAME}
 *   conf_read.c    tree to fields        conf_rules.c   across options                 conf_rows.c  the schema
 *   conf_read_values.c  JSON, matches    conf_read_items.c  sections, lists of structs, ranges
 *   conf.c         generations           conf_show.c    `config show`                  conf_write.c starter, manual
 *   conf_brokers.c, conf_dialects.c, conf_notify.c  reading and rules                   conf_schema.c JSON Schema
 *   conf_checks.c  makes checks          conf_valid.c  of one value
 */
#ifndef WSHEALTHD_CONF_CONF_IMPL_H
#define WSHEALTHD_CONF_CONF_IMPL_H

#include "agent/conf/conf.h"
#include "agent/conf/conf_errors.h"
#include "agent/conf/probe_type.h"

/* --- the document ---------------------------------------------------------------------------------------------------------- */

enum { NODES_MAX = 1 << 16, KEYS_MAX = 1024 };
enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };
struct node {
    enum node_kind kind;
    bool quoted;    /* a scalar in quotes, or a block: never null, never a number */
    bool duplicate; /* its key was there before: an error was added, and it is skipped */
    struct mark mark;
    char *text; /* scalars; terminated, no NUL inside */
    char *key;  /* of a mapping's child */
    struct mark key_mark;
    struct node *first, *last, *next;
    size_t count; /* of children */
};
/* The tree (an empty document is an empty mapping), or NULL and errors. Syntax only; for duplicate keys an error is added, and
 * they are marked. */
struct node *node_load(struct slice text, struct conf_error_list *found);
void node_free(struct node *node);
bool node_is_null(const struct node *node);                           /* nothing, ~ or null */
const struct node *node_get(const struct node *map, const char *key); /* NULL: none */
const char *node_kind_name(const struct node *node);                  /* "a list" */

/* --- variables ------------------------------------------------------------------------------------------------------------- */

enum { VARS_TOTAL_MAX = 4 << 20 }; /* bytes that all variables and files of one configuration may add up to */
struct vars {
    const char *(*getenv)(const char *name);
    size_t budget;
};
/* Replaces ${…} in text. keep_files leaves markers for opt_expand instead of contents. *replaced: there was something to replace. */
int vars_expand(struct vars *vars, const char *text, bool keep_files, struct buf *out, bool *replaced, struct err *err);

/* --- reading --------------------------------------------------------------------------------------------------------------- */

struct reader {
    const struct conf_env *env;
    struct conf_error_list *errors;
    struct trail trail;
    struct vars vars;
};
struct reader_part { /* rows and the struct that they fill */
    const struct opt *rows;
    void *base;
};
/* Reads a mapping by the rows of up to two parts; keys in `others` (ends with NULL) are for the caller, all further ones are errors. */
void read_map(struct reader *reader, const struct node *map, const struct reader_part parts[2], const char *const *others);
/* A scalar's text with its variables replaced, for keys outside the rows; NULL and an error where it is none. Free it. */
char *read_text(struct reader *reader, const struct node *node, const char *want);

/* For the files of the reader: conf_read.c, conf_read_items.c, conf_read_values.c. */
enum { WANT_MAX = 512, TEXT_MAX = CONF_FILE_MAX + OPT_FILE_MAX, JSON_VALUE_MAX = 64 << 10 };
void reader_refuse(struct reader *reader, struct mark mark, const struct err *err); /* adds the error at the mark */
/* "a list, want a duration such as …"; a text is quoted, unless it is secret. */
void reader_refuse_kind(struct reader *reader, const struct node *node, const char *want, bool secret);
/* The text with its variables replaced in *out. 1: there is a value; 0: variables made it empty, so it is not set; -1: an error
 * has been added. */
int reader_expand(struct reader *reader, const struct node *node, bool keep_files, struct buf *out);
void reader_row(struct reader *reader, const struct opt *row, const struct node *node, void *base);
/* A YAML value as JSON text. 0, or -1 and an error has been added. Texts that are secret are registered: none, those whose key has the
 * name of a secret, or all. */
enum json_secrets { JSON_NO_SECRET, JSON_SECRET_BY_NAME, JSON_SECRET };
int reader_json(struct reader *reader, const struct node *node, enum json_secrets secrets, struct buf *out);
void reader_match(struct reader *reader, const struct opt *row, const struct node *node, struct opt_match *field);
void reader_spec(struct reader *reader, const struct opt *row, const struct node *node, struct match_spec *field);
void reader_json_row(struct reader *reader, const struct opt *row, const struct node *node, char **field);
void reader_ranges(struct reader *reader, const struct opt *row, const struct node *node, struct opt_ranges *field);
void reader_section(struct reader *reader, const struct opt *row, const struct node *node, void *field);
void reader_items(struct reader *reader, const struct opt *row, const struct node *node, struct opt_list *field);

/* --- rules ------------------------------------------------------------------------------------------------------------------- */

void conf_validate_rules(struct conf *conf, const struct conf_env *env, struct conf_error_list *found);
void conf_validate_brokers(struct conf *conf, const struct conf_env *env, struct conf_error_list *found);
void conf_validate_fleet(struct conf *conf, struct conf_error_list *found); /* after the brokers */
void conf_validate_notifiers(struct conf *conf, struct conf_error_list *found);
void conf_validate_dialects(struct conf *conf, const struct conf_env *env,
                            struct conf_error_list *found); /* and fills in what the target takes from its dialect */
/* publish.command of a check or its dialect: it excludes topic and body, its first word is a command of some broker type, and
 * the check's broker has commands. */
void conf_validate_publish_of(const struct conf *conf, const struct conf_env *env, const struct check_conf *check, const char *path,
                              struct conf_error_list *found);
/* A check of a type with needs_subscribe needs a dialect that says how to subscribe. */
void conf_validate_dialect_of(const struct conf *conf, const struct check_conf *check, const char *path,
                              struct conf_error_list *found);
/* {{resume}} and {{offset}} in what a check says over its dialect's `resume`: there must be the pointers to them. */
void conf_validate_resume_of(const struct conf *conf, const struct check_conf *check, const char *path,
                             struct conf_error_list *found);
/* The option `broker` of a check whose type has one; filled in where there is only one broker. */
void conf_validate_broker_of(struct conf *conf, struct check_conf *check, const char *path, struct conf_error_list *found);
/* A message that begins with the name of an option belongs to that option: "within: longer than timeout". rows ends with NULL. */
void conf_error_below(struct conf_error_list *found, const char *path, const struct opt *const *rows, const struct err *err);
void conf_validate_required(struct conf_error_list *found, const char *path, const struct opt *rows, void *base);
void conf_validate_subprotocols(const struct opt_strings *list, const char *path, struct conf_error_list *found);
/* The option of `tls` that only makes sense over TLS, the first that is set; NULL: none. */
const char *conf_tls_wanted(const struct tls_conf *tls);
void conf_validate_tls(const struct tls_conf *tls, const char *path, struct conf_error_list *found);
void conf_validate_share(const struct conf *conf, size_t index, const char *path, struct conf_error_list *found);
void conf_validate_descriptors(const struct conf *conf, struct conf_error_list *found);
void conf_hide_url(const char *text); /* its secrets are registered as such */
void conf_hide_urls(const struct opt *rows, void *base);
bool conf_is_name(const char *text); /* of a check, a broker, a dialect */

/* --- checks (conf_checks.c) -------------------------------------------------------------------------------------------------- */

const struct probe_type *conf_find_type(const struct conf_env *env, const char *name);
int conf_unknown_type(const struct conf_env *env, const char *name, const char *shown,
                      struct err *err); /* why there is none. Returns -1 */
struct check_conf *conf_append_check(struct conf *conf, const struct probe_type *type);
void conf_take_defaults(struct check_conf *check, const struct check_conf *defaults);

/* --- brokers and dialects ---------------------------------------------------------------------------------------------------- */

void conf_read_brokers(struct reader *reader, struct conf *conf, const struct node *list);
void conf_clear_brokers(struct conf *conf);
/* The check that each broker gets by itself, unless there is one. */
void conf_add_broker_checks(struct conf *conf, const struct conf_env *env, const struct check_conf *defaults,
                            struct conf_error_list *found);
const char *conf_default_name(const struct check_conf *check);
void conf_read_notifiers(struct reader *reader, struct conf *conf, const struct node *list);
void conf_clear_notifiers(struct conf *conf);
void conf_read_dialects(struct reader *reader, struct conf *conf, const struct node *map);
void conf_clear_dialects(struct conf *conf);
bool conf_same_dialect(const struct dialect *a, const struct dialect *b);

/* --- shared by conf.c and the writers ---------------------------------------------------------------------------------------- */

extern const struct opt default_rows[];  /* the `defaults` section, fields of struct check_conf */
extern const struct opt tls_rows[];      /* `tls` of the target, a broker, a notifier */
extern const struct opt fleet_rows[];    /* the `fleet` section (conf_fleet.c) */
extern const struct opt identity_rows[]; /* the `identity` section, fields of struct conf */
bool conf_is_url(const struct opt *row); /* may its value hold a password? */

#endif
