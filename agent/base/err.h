/*
 * An error for people, machines and callers at once. Functions return 0, or a negative number and fill the err. The text names
 * the thing, the value and what was wanted: "status 503, want 101". It never holds a secret.
 */
#ifndef WSHEALTHD_BASE_ERR_H
#define WSHEALTHD_BASE_ERR_H

#include <stdarg.h>

#include "agent/base/reason.h"

enum { ERR_TEXT_MAX = 512 };

struct err {
    enum reason reason;      /* for machines; REASON_NONE where no verdict depends on it (configuration, usage) */
    int code;                /* errno, HTTP status, close code, …: what the reason makes of it */
    char text[ERR_TEXT_MAX]; /* for people; always terminated; control characters are replaced */
};

/* Fills *err (which may be NULL) and returns -1, so that callers can say `return err_set(…)`. */
int err_set(struct err *err, enum reason reason, int code, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int err_vset(struct err *err, enum reason reason, int code, const char *fmt, va_list args) __attribute__((format(printf, 4, 0)));
/* Puts "prefix: " before the text. Returns -1. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void err_clear(struct err *err);

#endif
