/*
 * Templates. The input up to the first zero byte is the template (of a hostile configuration), what is behind it fills the holes. Checking
 * and filling must agree, nothing may be left behind by a failure, and the ceiling holds.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/template.h"

static void on_secret(void *user, struct slice value)
{
    *(size_t *)user += value.len; /* every byte of it is there */
    for (size_t i = 0; i < value.len; i++)
        *(size_t *)user += value.data[i];
}

enum { OUT_MAX = 4096, BEFORE = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint8_t *zero = len ? memchr(data, 0, len) : NULL;
    struct slice text = slice_make(data, zero ? (size_t)(zero - data) : len), rest = slice_skip(slice_make(data, len), text.len);
    char *value = mem_strndup(rest.len ? (const void *)rest.data : "", rest.len);
    struct buf out = BUF_INIT(OUT_MAX);
    struct err err;
    err_clear(&err);
    const struct template_name names[] = { { "salt", rest, false, false }, { "session", rest, true, false } };
    const struct template_vars named = { .names = names, .name_count = 2 }, any = { .any_name = true };
    size_t told = 0;
    int checked = template_validate_names(text, &named, &err);
    panic_if(checked && !err.text[0]);
    panic_if(!checked && template_validate_names(text, &any, &err));
    template_mentions(text, "token");
    for (unsigned how = 0; how < 4; how++) {
        const struct template_vars vars = { .channel = value,
                                            .token = value,
                                            .id = value,
                                            .seq = len,
                                            .now_ms = -1,
                                            .payload = rest,
                                            .json = how & 1,
                                            .regex = how & 2,
                                            .names = names,
                                            .name_count = 2,
                                            .on_secret = on_secret,
                                            .user = &told };
        err_clear(&err);
        buf_reset(&out);
        buf_append(&out, "abc", BEFORE);
        int rc = template_expand(text, &vars, &out, &err);
        panic_if(checked && !rc);
        panic_if(rc && (out.len != BEFORE || !err.text[0]));
        panic_if(out.len > OUT_MAX || memcmp(out.data, "abc", BEFORE) != 0);
    }
    buf_fini(&out);
    mem_free(value);
    return 0;
}
