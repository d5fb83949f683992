/*
 * The table of libmosquitto's functions (brokers/mqtt/mqtt_lib.h). Called by brokers/mqtt/mqtt.c on the loop. Promises that a library
 * that is missing, or lacks a function, is an error with a sentence. The library stays open: unloading it while its TLS library is in use
 * is not safe.
 */
#include "brokers/mqtt/mqtt_lib.h"

#include <dlfcn.h>
#include <string.h>

/* The ABI of libmosquitto has had this name since 0.15 of 2012; 1.x and 2.x keep it. */
static const char file[] = "libmosquitto.so.1";
static bool initialised;

struct mqtt_lib mqtt_lib;

static int resolve_all(void *handle, struct err *err)
{
    const struct {
        const char *name;
        void **place;
    } symbols[] = {
#define MQTT_SYMBOL(call) { #call, (void **)(void *)&mqtt_lib.p_##call },
        MQTT_CALLS(MQTT_SYMBOL)
#undef MQTT_SYMBOL
    };
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *found = dlsym(handle, symbols[i].name);
        if (!found)
            return err_set(err, REASON_AGENT_ERROR, 0, "%s has no %s: want 2.0 or later", file, symbols[i].name);
        memcpy(symbols[i].place, &found, sizeof found);
    }
    return 0;
}

int mqtt_lib_open(struct err *err)
{
    static bool loaded;
    if (!loaded) {
        void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
        if (!handle)
            return err_set(err, REASON_AGENT_ERROR, 0, "brokers of type mqtt need libmosquitto, which cannot be opened: %s",
                           dlerror());
        if (resolve_all(handle, err)) {
            dlclose(handle);
            return -1;
        }
        loaded = true;
    }
    if (!initialised && MQTT(lib_init)() != MOSQ_ERR_SUCCESS)
        return err_set(err, REASON_AGENT_ERROR, 0, "libmosquitto does not start");
    initialised = true;
    return 0;
}

void mqtt_lib_end(void)
{
    if (initialised)
        MQTT(lib_cleanup)();
    initialised = false;
}
