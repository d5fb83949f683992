/*
 * Filling struct err. Called by every layer; promises a terminated text of whole characters, free of control characters and of
 * registered secrets, whatever a peer put into its arguments. What becomes of an error is up to the caller.
 */
#include "agent/base/err.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/secret.h"

/* Twice the text, so that a secret that straddles its end is seen whole before the text is cut. */
enum { DRAFT_MAX = 2 * ERR_TEXT_MAX };

/* Blanks instead of C0, DEL and C1 (which some terminals obey even as UTF-8). */
static void blank_controls(char *text)
{
    for (uint8_t *p = (uint8_t *)text; *p; p++) {
        if (*p < 0x20 || *p == 0x7f)
            *p = ' ';
        else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
            p[0] = p[1] = ' ';
    }
}

/* Copies as much as fits without cutting a character in two. */
static void copy_text(char *out, const char *draft)
{
    size_t len = strlen(draft);
    if (len >= ERR_TEXT_MAX) {
        len = ERR_TEXT_MAX - 1;
        while (len > 0 && ((uint8_t)draft[len] & 0xc0) == 0x80)
            len--;
    }
    memcpy(out, draft, len);
    out[len] = '\0';
}

int err_vset(struct err *err, enum reason reason, int code, const char *fmt, va_list args)
{
    if (!err)
        return -1;
    char draft[DRAFT_MAX]; /* the arguments may point into err->text */
    vsnprintf(draft, sizeof draft, fmt, args);
    secret_scrub(draft);
    blank_controls(draft);
    err->reason = reason;
    err->code = code;
    copy_text(err->text, draft);
    return -1;
}

int err_set(struct err *err, enum reason reason, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    err_vset(err, reason, code, fmt, args);
    va_end(args);
    return -1;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    char draft[DRAFT_MAX];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(draft, ERR_TEXT_MAX, fmt, args);
    va_end(args);
    size_t len = n < 0 ? 0 : strlen(draft);
    snprintf(draft + len, sizeof draft - len, ": %s", err->text);
    secret_scrub(draft);
    blank_controls(draft);
    copy_text(err->text, draft);
    return -1;
}

void err_clear(struct err *err)
{
    err->reason = REASON_NONE;
    err->code = 0;
    err->text[0] = '\0';
}
