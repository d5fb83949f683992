/*
 * The table of libnghttp2's functions (agent/proto/h2_lib.h). Called by agent/proto/h2.c. Promises that a library that is missing, or
 * lacks a function, is an error with a sentence. The library stays open.
 */
#include "agent/proto/h2_lib.h"

#include <stdbool.h>

#include "agent/base/library.h"

/* The ABI has had this name since 1.0 of 2015. */
#define FILE_NAME "libnghttp2.so.14"

struct h2_lib h2_lib;

int h2_lib_open(struct err *err)
{
    static const struct library library = { FILE_NAME, "HTTP/2 needs libnghttp2 (Debian: libnghttp2-14)", "want 1.52 or later" };
    static const struct library_symbol symbols[] = {
#define H2_SYMBOL(call) { "nghttp2_" #call, (void **)(void *)&h2_lib.p_##call },
        H2_CALLS(H2_SYMBOL)
#undef H2_SYMBOL
    };
    static bool loaded;

    loaded = loaded || library_open(&library, symbols, sizeof symbols / sizeof symbols[0], err) == 0;
    return loaded ? 0 : -1;
}
