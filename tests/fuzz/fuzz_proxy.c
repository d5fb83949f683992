/* PROXY preambles: what is found lies within what was given and within the limit, and is found again in every longer input; a part of it
 * is a part. */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/proxy_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct proxy_source source, again;
    struct err err;
    size_t taken, part;
    uint8_t *copy = mem_alloc(len + 1);
    if (len)
        memcpy(copy, data, len);
    enum proxy_found found = proxy_read(slice_make(copy, len), &source, &taken, &err);
    panic_if(found == PROXY_BAD && (err.text[0] == '\0' || err.code != 400));
    panic_if(found != PROXY_FOUND && source.loopback);
    if (found == PROXY_FOUND) {
        panic_if(taken == 0 || taken > len || taken > PROXY_READ_MAX);
        for (size_t i = 0; i < taken; i += 1 + taken / 64)
            panic_if(proxy_read(slice_make(copy, i), &again, &part, &err) != PROXY_PART);
        panic_if(proxy_read(slice_make(copy, taken), &again, &part, &err) != PROXY_FOUND || part != taken ||
                 again.loopback != source.loopback || again.known != source.known);
    }
    mem_free(copy);
    return 0;
}
