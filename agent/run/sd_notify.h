/* sd_notify(3) by datagram, without libsystemd: READY, STATUS, RELOADING, STOPPING, WATCHDOG. Silent where NOTIFY_SOCKET is not set. */
#ifndef WSHEALTHD_RUN_SD_NOTIFY_H
#define WSHEALTHD_RUN_SD_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

void notify_init(void); /* reads and unsets NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID */
void notify_send(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* "STATUS=…"; failures are ignored */
void notify_ready(void);     /* READY=1, once more with the next message if the manager cannot take it now: it waits for this one */
void notify_reloading(void); /* RELOADING=1 with MONOTONIC_USEC (Type=notify-reload) */
uint64_t notify_watchdog_ms(void); /* how often to send WATCHDOG=1 (half of what systemd asks), 0: never */
void notify_fini(void);
/* Socket activation: the first of LISTEN_FDS with that name, or else, with also_nameless, the first without a name (FileDescriptorName=)
 * of its own; -1: none. Unsets the variables. */
int notify_listen_fd(const char *name, bool also_nameless);
/* The name of one that nobody has asked for, which is closed; "": it has none. NULL: no more. */
const char *notify_unused_fd(void);

#endif
