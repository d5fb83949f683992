/*
 * The table of libnats' functions (brokers/nats/nats_lib.h). Called by brokers/nats/nats_worker.c on the loop. Promises that a library
 * that is missing, or is not the one this was built for, is an error with a sentence; one that is open stays open: its threads may end
 * late.
 */
#define NATS_LIB_IS_MAKING_THE_TABLE
#include "brokers/nats/nats_lib.h"

#include "agent/base/library.h"

#define QUOTED(text) QUOTED_AS_IS(text)
#define QUOTED_AS_IS(text) #text

struct nats_lib nats_lib;

int nats_lib_open(struct err *err)
{
    static const struct library library = { QUOTED(NATS_SONAME), /* the Makefile's: what this was built for */
                                            "brokers of type nats need libnats", "it is not the one this was built for" };
    static const struct library_symbol symbols[] = {
#define NATS_SYMBOL(call) { #call, (void **)(void *)&nats_lib.p_##call },
        NATS_CALLS(NATS_SYMBOL)
#undef NATS_SYMBOL
    };
    static bool loaded;

    loaded = loaded || library_open(&library, symbols, sizeof symbols / sizeof symbols[0], err) == 0;
    return loaded ? 0 : -1;
}
