/*
 * Other processes as /proc shows them: how to find one, and its figures. Called beside the loop by probes/server_look.c, since /proc can block
 * (a process that is swapped out, a hidden mount). Whatever cannot be read is said to be unknown: another user's descriptors, a process of
 * another pid namespace, a kernel without the file. Bounded in what is read and listed.
 */
#ifndef WSHEALTHD_BASE_PROC_H
#define WSHEALTHD_BASE_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/err.h"

enum { PROC_PIDS_MAX = 256, PROC_UNIT_MAX = 256 };

struct proc_figures {
    bool exists;
    uint64_t started; /* in ticks since boot: with the pid, which process it is */
    bool have_resident, have_fds, have_max_fds, have_cpu, have_threads;
    uint64_t resident_bytes, fds, max_fds; /* max_fds: the soft limit; UINT64_MAX: none */
    double cpu_seconds;                    /* user and system time of all its threads */
    uint64_t threads;
    char name[32];
};
void proc_read(int pid, struct proc_figures *figures);
/* Has it open what readlink calls "socket:[inode]", for one of the sorted inodes? 1: yes, 0: no, -1: its descriptors cannot be read. */
int proc_has_socket(int pid, const uint32_t *inodes, size_t count);

struct proc_pids {
    int items[PROC_PIDS_MAX];
    size_t count;
    size_t hidden; /* processes whose descriptors cannot be read (of another user, mostly) */
    bool cut;      /* there are more, or it took too long */
};
/* All that have one of the sockets. Reads at most a million descriptors, and for at most max_ns. */
void proc_find_by_sockets(const uint32_t *inodes, size_t count, uint64_t max_ns, struct proc_pids *pids);
/* All in the control group of a systemd unit ("chat.service"), in any slice. */
void proc_find_by_unit(const char *unit, uint64_t max_ns, struct proc_pids *pids);
/* The systemd service in whose control group the process is ("chat.service"). *by_user, which may be NULL: it belongs to a user's manager
 * and not to the system's. False: to none, or the file cannot be read. */
bool proc_unit(int pid, char *out, size_t size, bool *by_user);
/* Is /proc mounted so that it hides the processes of others (hidepid=, ProtectProc=)? The first one's figures are open to all otherwise. */
bool proc_is_hidden(void);
/* That process, first, and those that it or they have started, as far as they have not outlived the one that started them. */
void proc_find_family(int pid, uint64_t max_ns, struct proc_pids *pids);
/* The number in the file. -1 and err names what is wrong; the path is the caller's to add. */
int proc_read_pid_file(const char *path, int *pid, struct err *err);

void proc_set_root(const char *root); /* for tests: another directory than /proc. NULL puts that back */

#endif
