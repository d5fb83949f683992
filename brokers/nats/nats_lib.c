/*
 * The table of libnats' functions (brokers/nats/nats_lib.h). Called by brokers/nats/nats_worker.c on the loop. Promises that a library
 * that is missing, or is not the one this was built for, is an error with a sentence; one that is open stays open: its threads may end
 * late.
 */
#define NATS_LIB_IS_MAKING_THE_TABLE
#include "brokers/nats/nats_lib.h"

#include <dlfcn.h>
#include <string.h>

#define QUOTED(text) QUOTED_AS_IS(text)
#define QUOTED_AS_IS(text) #text
static const char file[] = QUOTED(NATS_SONAME); /* the Makefile's: what this was built for */

struct nats_lib nats_lib;

static int resolve_all(void *handle, struct err *err)
{
    const struct {
        const char *name;
        void **place;
    } symbols[] = {
#define NATS_SYMBOL(call) { #call, (void **)(void *)&nats_lib.p_##call },
        NATS_CALLS(NATS_SYMBOL)
#undef NATS_SYMBOL
    };

    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *found = dlsym(handle, symbols[i].name);

        if (!found)
            return err_set(err, REASON_AGENT_ERROR, 0, "%s has no %s: it is not the one this was built for", file, symbols[i].name);
        memcpy(symbols[i].place, &found, sizeof found);
    }
    return 0;
}

int nats_lib_open(struct err *err)
{
    static bool loaded;
    void *handle;

    if (loaded)
        return 0;
    handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return err_set(err, REASON_AGENT_ERROR, 0, "brokers of type nats need libnats, which cannot be opened: %s", dlerror());
    loaded = resolve_all(handle, err) == 0;
    if (!loaded)
        dlclose(handle);
    return loaded ? 0 : -1;
}
