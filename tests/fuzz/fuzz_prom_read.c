/* The metrics page of somebody else's server. The input up to the first zero byte is the name that is wanted, what is behind it is the page. */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/prom_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint8_t *zero = len ? memchr(data, 0, len) : NULL;
    size_t name_len = zero ? (size_t)(zero - data) : len;
    struct slice page = slice_skip(slice_make(data, len), zero ? name_len + 1 : len);
    char *name = mem_strndup(name_len ? (const void *)data : "", name_len);
    struct err err;
    if (prom_read_validate(name, &err) == 0) {
        struct prom_wanted wanted[2] = { { .name = name }, { .name = "up" } };
        err_clear(&err);
        int rc = prom_read(page, wanted, 2, &err);
        panic_if(rc && (!err.text[0] || wanted[0].found));
        panic_if(!wanted[0].found && wanted[0].value != 0);
    }
    mem_free(name);
    return 0;
}
