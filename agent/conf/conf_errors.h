/*
 * The errors of one configuration while they are being found, and the path of the value that is being read. For the files of
 * agent/conf only: the outside gets struct conf_errors (agent/conf/conf.h), which conf_error_finish writes.
 */
#ifndef WSHEALTHD_CONF_CONF_ERRORS_H
#define WSHEALTHD_CONF_CONF_ERRORS_H

#include "agent/conf/conf.h"

struct mark {
    unsigned line, column; /* from 1; 0: unknown */
};

struct conf_error_list { /* errors as they are found; conf_error_finish puts them in the order of the file */
    const char *file;    /* NULL: no file, as for the command line */
    struct conf_error {
        struct mark mark;
        char *path, *text; /* text begins with the path */
    } *items;
    size_t count;
    bool more; /* than CONF_ERRORS_MAX */
    struct conf_place {
        char *path;
        struct mark mark;
    } *places; /* where known keys stand, so that rules across options can name a line */
    size_t place_count;
};
void conf_error_init(struct conf_error_list *found, const char *file);
void conf_error_at(struct conf_error_list *found, struct mark mark, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* At the place of the path, or of the nearest mapping around it; not if that path has an error already. */
void conf_error_path(struct conf_error_list *found, const char *path, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool conf_error_has(const struct conf_error_list *found, const char *path);       /* an error at the path */
bool conf_error_has_below(const struct conf_error_list *found, const char *path); /* or below it */
void conf_error_place(struct conf_error_list *found, const char *path, struct mark mark);
void conf_error_finish(struct conf_error_list *found, struct conf_errors *errors); /* and frees it */

enum { TRAIL_MAX = 256 };
struct trail { /* "checks[2].expect.json" */
    char text[TRAIL_MAX];
};
size_t trail_key(struct trail *trail, const char *key); /* returns the length before, for trail_cut */
size_t trail_index(struct trail *trail, size_t index);
void trail_cut(struct trail *trail, size_t len);

/* "'hos', no such check type (did you mean 'host'?)", or all names. Returns -1. */
int conf_unknown(const char *what, const char *name, const char *shown, const char *const *names, size_t count, struct err *err);
void conf_list_names(const char *const *names, size_t count, struct err *err); /* appends " a, b, c" */

#endif
