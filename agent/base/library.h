/*
 * A library that is opened only when it is needed (dlopen), and the table of its functions. For the drivers and codecs whose library most
 * configurations do without.
 */
#ifndef WSHEALTHD_BASE_LIBRARY_H
#define WSHEALTHD_BASE_LIBRARY_H

#include <stddef.h>

#include "agent/base/err.h"

struct library_symbol {
    const char *name;
    void **place; /* where the function's address goes; pointers to functions are filled through this */
};

struct library {
    const char *file;  /* "libnghttp2.so.14" */
    const char *needs; /* begins the sentence where it is missing: "HTTP/2 needs libnghttp2 (Debian: libnghttp2-14)" */
    const char *wrong; /* ends the sentence where a function is missing: "want 1.52 or later" */
};

/* Fills all places. 0: it is open, and stays so: libraries may have threads that end late. -1 and agent_error: it is missing or lacks a
 * function; it is closed again. The caller remembers that it is open. */
int library_open(const struct library *library, const struct library_symbol *symbols, size_t count, struct err *err);

#endif
