/*
 * librdkafka by dlopen: the table of its functions (brokers/kafka/kafka.h). Called by the kafka driver on the loop. Promises that a
 * library that is missing or too old is an error with a sentence, and that one that is open stays open: its threads may end late.
 */
#include <dlfcn.h>
#include <string.h>

#include "brokers/kafka/kafka.h"

static const char file[] = "librdkafka.so.1";

struct symbol {
    const char *name;
    void **place;
};

static struct kafka_lib lib;

static int resolve_all(void *handle, struct err *err)
{
    const struct symbol symbols[] = {
#define KAFKA_SYMBOL(call) { "rd_kafka_" #call, (void **)(void *)&lib.call },
        KAFKA_CALLS(KAFKA_SYMBOL)
#undef KAFKA_SYMBOL
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(handle, symbols[i].name);
        if (!found)
            return err_set(err, REASON_AGENT_ERROR, 0, "%s has no %s: it is too old", file, symbols[i].name);
        memcpy(symbols[i].place, &found, sizeof found);
    }
    return 0;
}

const struct kafka_lib *kafka_get_lib(struct err *err)
{
    static bool loaded;
    if (loaded)
        return &lib;
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        err_set(err, REASON_AGENT_ERROR, 0, "brokers of type kafka need librdkafka, which cannot be opened: %s", dlerror());
        return NULL;
    }
    loaded = resolve_all(handle, err) == 0;
    if (loaded)
        return &lib;
    dlclose(handle);
    return NULL;
}
