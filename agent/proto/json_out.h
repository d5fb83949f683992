/*
 * A JSON writer. It puts the commas, escapes, and counts the nesting; it emits valid UTF-8 whatever it is given (invalid bytes
 * become U+FFFD). Past the buffer's ceiling it stops writing and json_out_finish says so. jansson reads; this writes (emitting by
 * hand costs no allocation for each value).
 */
#ifndef WSHEALTHD_PROTO_JSON_OUT_H
#define WSHEALTHD_PROTO_JSON_OUT_H

#include <stdbool.h>

#include "agent/base/buf.h"

/* Every name begins with json_out_: libjansson owns json_object and its like. */

struct json_out {
    struct buf *out;
    bool comma, failed;
    int depth;
};

void json_out_begin(struct json_out *json, struct buf *out);
int json_out_finish(struct json_out *json); /* 0, or -1 when the ceiling cut it; asserts that every object and array was closed */
void json_out_object(struct json_out *json);
void json_out_object_end(struct json_out *json);
void json_out_array(struct json_out *json);
void json_out_array_end(struct json_out *json);
void json_out_key(struct json_out *json, const char *key);
void json_out_string(struct json_out *json, const char *value); /* NULL writes null */
void json_out_slice(struct json_out *json, struct slice value);
void json_out_int(struct json_out *json, int64_t value);
void json_out_double(struct json_out *json, double value, int decimals); /* NaN and infinities write null */
void json_out_bool(struct json_out *json, bool value);
void json_out_null(struct json_out *json);

#endif
