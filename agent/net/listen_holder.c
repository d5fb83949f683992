/*
 * Finds the process that listens on a TCP port: the socket's inode in /proc/net/tcp, then who has it open. Called once, when
 * binding has failed, before anything is served, so the walk through /proc may take its time. The number of processes and
 * descriptors is bounded.
 */
#include "agent/net/listen_holder.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROCESSES_MAX = 10000, DESCRIPTORS_MAX = 4096, LINES_MAX = 100000, STATE_LISTEN = 0x0a };

/* The inode of the first socket that listens on the port; 0: none is found. */
static unsigned long inode_in(const char *table, uint16_t port)
{
    FILE *file = fopen(table, "re");
    char line[512];
    unsigned long found = 0;

    for (int lines = 0; file && !found && lines < LINES_MAX && fgets(line, sizeof line, file); lines++) {
        char address[40];
        unsigned local, state;
        unsigned long inode;

        /* The kernel writes these numbers. NOLINTNEXTLINE(cert-err34-c) */
        if (sscanf(line, " %*u: %39[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu", address, &local, &state, &inode) ==
                4 &&
            local == port && state == STATE_LISTEN)
            found = inode;
    }
    if (file)
        fclose(file);
    return found;
}

static int has_open(const char *pid, const char *socket)
{
    char path[300], link[64];
    int found = 0;

    snprintf(path, sizeof path, "/proc/%.200s/fd", pid);
    DIR *descriptors = opendir(path);
    struct dirent *entry;
    const int at = descriptors ? dirfd(descriptors) : -1;
    for (int i = 0; at >= 0 && !found && i < DESCRIPTORS_MAX && (entry = readdir(descriptors)); i++) {
        ssize_t len = readlinkat(at, entry->d_name, link, sizeof link - 1);
        if (len <= 0)
            continue;
        link[len] = '\0';
        found = strcmp(link, socket) == 0;
    }
    if (descriptors)
        closedir(descriptors);
    return found;
}

static void name_process(const char *pid, char *out, size_t size)
{
    char path[300], name[32] = "";

    snprintf(path, sizeof path, "/proc/%.200s/comm", pid);
    FILE *file = fopen(path, "re");
    if (file && fgets(name, sizeof name, file))
        name[strcspn(name, "\n")] = '\0';
    if (file)
        fclose(file);
    snprintf(out, size, "%s (process %.20s)", *name ? name : "a process", pid);
}

void listen_holder(uint16_t port, char *out, size_t size)
{
    char socket[64];
    unsigned long inode = inode_in("/proc/self/net/tcp", port);

    *out = '\0';
    if (!inode)
        inode = inode_in("/proc/self/net/tcp6", port);
    if (!inode)
        return;
    snprintf(socket, sizeof socket, "socket:[%lu]", inode);
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    for (int i = 0; processes && i < PROCESSES_MAX && (entry = readdir(processes)); i++) {
        if (!isdigit((unsigned char)entry->d_name[0]) || !has_open(entry->d_name, socket))
            continue;
        name_process(entry->d_name, out, size);
        break;
    }
    if (processes)
        closedir(processes);
}
