/* Preloaded: a host whose kernel has no IPv6 (ipv6.disable=1), as socket(2) tells it. */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

int socket(int family, int type, int protocol)
{
    int (*real)(int, int, int);
    if (family == AF_INET6) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "socket");
    return real(family, type, protocol);
}
