/*
 * The table of libnghttp2's functions (agent/proto/h2_lib.h). Called by agent/proto/h2.c. Promises that a library that is missing, or
 * lacks a function, is an error with a sentence. The library stays open.
 */
#include "agent/proto/h2_lib.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

/* The ABI has had this name since 1.0 of 2015. */
static const char file[] = "libnghttp2.so.14";

struct h2_lib h2_lib;

static int resolve_all(void *handle, struct err *err)
{
    const struct {
        const char *name;
        void **place;
    } symbols[] = {
#define H2_SYMBOL(call) { "nghttp2_" #call, (void **)(void *)&h2_lib.p_##call },
        H2_CALLS(H2_SYMBOL)
#undef H2_SYMBOL
    };

    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *found = dlsym(handle, symbols[i].name);

        if (!found)
            return err_set(err, REASON_AGENT_ERROR, 0, "%s has no %s: want 1.52 or later", file, symbols[i].name);
        memcpy(symbols[i].place, &found, sizeof found);
    }
    return 0;
}

int h2_lib_open(struct err *err)
{
    static bool loaded;
    void *handle;

    if (loaded)
        return 0;
    handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return err_set(err, REASON_AGENT_ERROR, 0, "HTTP/2 needs libnghttp2 (Debian: libnghttp2-14), which cannot be opened: %s",
                       dlerror());
    loaded = resolve_all(handle, err) == 0;
    if (!loaded)
        dlclose(handle);
    return loaded ? 0 : -1;
}
