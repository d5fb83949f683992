/*
 * Matches. The first byte chooses between a configuration that is read from the input (up to the first zero byte, a hostile
 * configuration) and a fixed one; the rest is the message of a hostile peer. A refused message must come with its sentence.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { REGEX, POINTER, VALUE, EQUALS, FIXED, KINDS };

/* Part of the spec that is taken from the input; the others stay as they are. */
static void fill(struct match_spec *spec, unsigned kind, struct slice text)
{
    char *copy = mem_strndup(text.data, text.len);
    if (kind == REGEX) {
        spec->regex = copy;
    } else if (kind == EQUALS) {
        spec->equals = copy;
        spec->contains = mem_strdup(copy);
    } else {
        spec->json_count = 1;
        spec->json[0].pointer = kind == POINTER ? copy : mem_strdup("/a/0");
        spec->json[0].value = kind == VALUE ? copy : mem_strdup("{\"b\":[1,2.5,null]}");
        if (kind == FIXED)
            mem_free(copy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    struct slice rest = slice_make(data + 1, len - 1), text = rest;
    unsigned kind = data[0] % KINDS;
    if (kind != FIXED) {
        const uint8_t *zero = rest.len ? memchr(rest.data, 0, rest.len) : NULL;
        text.len = zero ? (size_t)(zero - rest.data) : rest.len;
        rest = slice_skip(rest, text.len + 1);
    }
    struct match_spec spec = { 0 };
    struct err err;
    char described[128];
    err_clear(&err);
    fill(&spec, kind, kind == FIXED ? slice_make(NULL, 0) : text);
    match_describe(&spec, described, sizeof described);
    struct match *match = match_new(&spec, &err);
    match_spec_fini(&spec);
    panic_if(!match && err.text[0] == '\0');
    if (match) {
        err_clear(&err);
        panic_if(!match_try(match, rest, &err) && err.text[0] == '\0');
    }
    match_free(match);
    return 0;
}
