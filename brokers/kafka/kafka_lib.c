/*
 * librdkafka by dlopen: the table of its functions (brokers/kafka/kafka.h). Called by the kafka driver on the loop. Promises that a
 * library that is missing or too old is an error with a sentence, and that one that is open stays open: its threads may end late.
 */
#include "agent/base/library.h"
#include "brokers/kafka/kafka.h"

static struct kafka_lib lib;

const struct kafka_lib *kafka_get_lib(struct err *err)
{
    static const struct library library = { "librdkafka.so.1", "brokers of type kafka need librdkafka", "it is too old" };
    static const struct library_symbol symbols[] = {
#define KAFKA_SYMBOL(call) { "rd_kafka_" #call, (void **)(void *)&lib.call },
        KAFKA_CALLS(KAFKA_SYMBOL)
#undef KAFKA_SYMBOL
    };
    static bool loaded;

    loaded = loaded || library_open(&library, symbols, sizeof symbols / sizeof symbols[0], err) == 0;
    return loaded ? &lib : NULL;
}
