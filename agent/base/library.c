/*
 * Opens a library at run time (agent/base/library.h). Called by the tables of functions: agent/proto/h2_lib.c, and brokers/ in
 * nats_lib.c, mqtt_lib.c and kafka_lib.c. Promises that a library that is missing, or is another one, is an error with a sentence.
 */
#include "agent/base/library.h"

#include <dlfcn.h>
#include <string.h>

int library_open(const struct library *library, const struct library_symbol *symbols, size_t count, struct err *err)
{
    void *handle = dlopen(library->file, RTLD_NOW | RTLD_LOCAL);

    if (!handle)
        return err_set(err, REASON_AGENT_ERROR, 0, "%s, which cannot be opened: %s", library->needs, dlerror());
    for (size_t i = 0; i < count; i++) {
        void *found = dlsym(handle, symbols[i].name);

        if (!found) {
            err_set(err, REASON_AGENT_ERROR, 0, "%s has no %s: %s", library->file, symbols[i].name, library->wrong);
            dlclose(handle);
            return -1;
        }
        memcpy(symbols[i].place, &found, sizeof found);
    }
    return 0;
}
