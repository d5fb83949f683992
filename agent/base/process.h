/*
 * What the process inherits and changes: descriptors, signals, limits, core dumps. Called by agent/main.c and by the commands that
 * keep running. Where nothing else is said, each function is called once, before there is a loop or a thread.
 */
#ifndef WSHEALTHD_BASE_PROCESS_H
#define WSHEALTHD_BASE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* For every command: descriptors 0 to 2 are open (on /dev/null where they were not), no signal is blocked, SIGPIPE is ignored. */
void process_init(void);
/* For commands that keep running: ignores the signals that only an accident would send, and raises the limit of open files as
 * far as it goes. */
void process_stay(void);
/* No core dump, and no look into the memory for other processes of the same user: it holds tokens. Not with WSHEALTHD_COREDUMP=1. After this
 * /proc/self belongs to root. */
void process_hide(void);
/* How many descriptors this process may have open, after process_stay. */
uint64_t process_files_max(void);
/* The same with the limit raised as far as it goes: for commands that only validate a configuration. */
uint64_t process_files_possible(void);
/* Is there no descriptor left for this process, or on this machine? For callers of a library that does not say so. On any
 * thread. */
bool process_files_short(void);
bool process_in_container(void);

#endif
