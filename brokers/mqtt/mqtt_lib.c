/*
 * The table of libmosquitto's functions (brokers/mqtt/mqtt_lib.h). Called by brokers/mqtt/mqtt.c on the loop. Promises that a library
 * that is missing, or lacks a function, is an error with a sentence. The library stays open: unloading it while its TLS library is in use
 * is not safe.
 */
#include "brokers/mqtt/mqtt_lib.h"

#include "agent/base/library.h"

/* The ABI of libmosquitto has had this name since 0.15 of 2012; 1.x and 2.x keep it. */
#define FILE_NAME "libmosquitto.so.1"
static bool initialised;

struct mqtt_lib mqtt_lib;

int mqtt_lib_open(struct err *err)
{
    static const struct library library = { FILE_NAME, "brokers of type mqtt need libmosquitto", "want 2.0 or later" };
    static const struct library_symbol symbols[] = {
#define MQTT_SYMBOL(call) { #call, (void **)(void *)&mqtt_lib.p_##call },
        MQTT_CALLS(MQTT_SYMBOL)
#undef MQTT_SYMBOL
    };
    static bool loaded;

    loaded = loaded || library_open(&library, symbols, sizeof symbols / sizeof symbols[0], err) == 0;
    if (!loaded)
        return -1;
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
