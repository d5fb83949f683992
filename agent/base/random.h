/* Randomness from the kernel. random_bytes is unpredictable (keys, masks, payloads); random_below is for jitter. */
#ifndef WSHEALTHD_BASE_RANDOM_H
#define WSHEALTHD_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *out,
                  size_t len);         /* served from a pool filled by getrandom(2), so that a mask does not cost a system call */
uint32_t random_below(uint32_t bound); /* uniform in [0, bound); bound 0 gives 0 */

#endif
