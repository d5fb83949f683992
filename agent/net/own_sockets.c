/* See agent/net/own_sockets.h. Ports are remembered in a table of all of them, by the second: nothing grows, and nothing has to be freed. */
#include "agent/net/own_sockets.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "agent/base/clock.h"

enum { PORTS = 65536, REMEMBERED_S = 120, DESCRIPTORS_DEFAULT = 4096, DESCRIPTORS_MAX = 1 << 20 };

/* The second, plus one; 0: never. After 18 hours the number comes again: small, as every port that was used costs its place. */
static _Atomic uint16_t dialled_s[PORTS];

static uint16_t second(void)
{
    return (uint16_t)(sockdiag_now_ns() / NS_PER_S % UINT16_MAX + 1);
}

static bool local_end(int fd, struct sock_end *end)
{
    struct sockaddr_storage address = { 0 };
    socklen_t len = sizeof address;

    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 &&
           sock_end_from(end, (const struct sockaddr *)(const void *)&address);
}

static bool remote_end(int fd, struct sock_end *end)
{
    struct sockaddr_storage address = { 0 };
    socklen_t len = sizeof address;

    return getpeername(fd, (struct sockaddr *)&address, &len) == 0 &&
           sock_end_from(end, (const struct sockaddr *)(const void *)&address);
}

/* How many descriptors the table has room for; none is above that. */
static int table_size(void)
{
    char line[128];
    long size = DESCRIPTORS_DEFAULT;
    FILE *file = fopen("/proc/self/status", "re");

    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "FDSize:", 7) == 0) {
            size = strtol(line + 7, NULL, 10);
            break;
        }
    if (file)
        fclose(file);
    return size > 0 && size < DESCRIPTORS_MAX ? (int)size : DESCRIPTORS_MAX;
}

/* How many are open; 0: the kernel does not say (before Linux 6.2). The numbers are given from the lowest on, and the table never shrinks. */
static size_t open_count(void)
{
    struct stat status;

    return stat("/proc/self/fd", &status) == 0 && status.st_size > 0 ? (size_t)status.st_size : 0;
}

void own_sockets_each(void (*on_socket)(void *user, uint32_t inode, const struct sock_end *local, const struct sock_end *remote),
                      void *user)
{
    int size = table_size();
    size_t all = open_count(), seen = 0;

    for (int fd = 0; fd < size && (!all || seen < all); fd++) {
        struct sock_end local = { 0 }, remote = { 0 };
        struct stat status;

        if (fstat(fd, &status) < 0)
            continue;
        seen++;
        if (!S_ISSOCK(status.st_mode))
            continue;
        if (!local_end(fd, &local) || !remote_end(fd, &remote))
            local.port = remote.port = 0;
        on_socket(user, (uint32_t)status.st_ino, &local, &remote);
    }
}

void own_sockets_dialled(const struct sockaddr_storage *own)
{
    struct sock_end local;

    if (sock_end_from(&local, (const struct sockaddr *)(const void *)own))
        atomic_store_explicit(&dialled_s[local.port], second(), memory_order_relaxed);
}

bool own_sockets_dialled_from(uint16_t port)
{
    uint16_t when = atomic_load_explicit(&dialled_s[port], memory_order_relaxed);

    return when && (second() + UINT16_MAX - when) % UINT16_MAX < REMEMBERED_S;
}
