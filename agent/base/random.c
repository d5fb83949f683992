/*
 * Random bytes from the kernel through a small pool: masks and keys cost no system call each. Bytes are wiped when they are handed
 * out. For the loop's thread only, and for a process that does not fork after its first call.
 */
#include "agent/base/random.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "agent/base/mem.h"

enum { POOL_SIZE = 256 }; /* getrandom(2) never returns less than is asked for up to this size */

static uint8_t pool[POOL_SIZE];
static size_t pool_left;

static void fill(uint8_t *out, size_t len)
{
    while (len > 0) {
        ssize_t n = getrandom(out, len, 0);
        if (n < 0) {
            panic_if(errno != EINTR);
            continue;
        }
        out += n;
        len -= (size_t)n;
    }
}

void random_bytes(void *out, size_t len)
{
    if (len == 0)
        return;
    if (len > POOL_SIZE) {
        fill(out, len);
        return;
    }
    if (len > pool_left) {
        fill(pool, sizeof pool);
        pool_left = sizeof pool;
    }
    uint8_t *from = pool + sizeof pool - pool_left;
    memcpy(out, from, len);
    explicit_bzero(from, len);
    pool_left -= len;
}

uint32_t random_below(uint32_t bound)
{
    if (bound == 0)
        return 0;
    uint32_t threshold = (uint32_t)-bound % bound; /* values below it would make the small results likelier */
    uint32_t value;
    do {
        random_bytes(&value, sizeof value);
    } while (value < threshold);
    return value % bound;
}
