/*
 * The writing of a mail: header fields (RFC 5322) with words of any language (RFC 2047), and a text in quoted-printable (RFC 2045, 6.7). Lines
 * end with \n, as mailers want them on standard input, and have at most 76 characters. Whatever the texts hold, a field is one field. Pure.
 */
#ifndef WSHEALTHD_NOTIFY_MAIL_H
#define WSHEALTHD_NOTIFY_MAIL_H

#include <stdbool.h>

#include "agent/base/buf.h"

/* "Name: text\n": folded at blanks; as encoded words where it is not printable ASCII. -1: the buffer is full. */
int mail_field(struct buf *out, const char *name, const char *text);
/* "From: text <address>\n". The address is valid already. */
int mail_from(struct buf *out, const char *text, const char *address);
int mail_date(struct buf *out, int64_t wall_ms);   /* "Date: Sun, 22 Nov 2026 10:00:00 +0000\n" */
int mail_text(struct buf *out, struct slice text); /* quoted-printable; lines of the text end with \n */
/* An address for the command line and a header: a local user, or local@domain, in ASCII without quotes; it begins with no dash. */
bool mail_is_address(const char *text);

#endif
