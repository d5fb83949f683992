/* Which process listens on a port, from /proc, as far as this process may see it. For the sentence of an error. */
#ifndef WSHEALTHD_NET_LISTEN_HOLDER_H
#define WSHEALTHD_NET_LISTEN_HOLDER_H

#include <stddef.h>
#include <stdint.h>

/* "nginx (process 123)"; "" where it cannot be told. */
void listen_holder(uint16_t port, char *out, size_t size);

#endif
