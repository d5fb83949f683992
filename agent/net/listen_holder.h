/* Who has a port that cannot be listened on: for a sentence, from /proc, as far as the rights of this process go. */
#ifndef WSHEALTHD_NET_LISTEN_HOLDER_H
#define WSHEALTHD_NET_LISTEN_HOLDER_H

#include <stddef.h>
#include <stdint.h>

/* "nginx (process 123)"; "" where it cannot be told. */
void listen_holder(uint16_t port, char *out, size_t size);

#endif
