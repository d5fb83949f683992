/* What can be broken in the in-process broker: for `wshealthd demo` and for tests. */
#ifndef WSHEALTHD_BROKERS_MEMORY_H
#define WSHEALTHD_BROKERS_MEMORY_H

enum memory_fault {
    MEMORY_WELL,
    MEMORY_DOWN,      /* disconnects everybody and refuses to come back */
    MEMORY_READ_ONLY, /* answers, and takes no message */
    MEMORY_MUTE,      /* takes messages and delivers none */
};
/* Of all memory brokers of the process; in force at once, heard of in the next turn of their loops. */
void memory_set_fault(enum memory_fault fault);

#endif
