/* Text for a terminal that has no more than ASCII (agent/base/ascii.h). Pure. Called by reports and by the command line. */
#include "agent/base/ascii.h"

#include <string.h>

int ascii_put(struct buf *out, struct slice text)
{
    static const char ellipsis[] = "…";
    int failed = 0;
    while (text.len && !failed) {
        size_t taken = 1;
        if (text.len >= strlen(ellipsis) && memcmp(text.data, ellipsis, strlen(ellipsis)) == 0) {
            failed = buf_append_str(out, "...");
            taken = strlen(ellipsis);
        } else if (text.data[0] >= 0x80) {
            failed = buf_printf(out, "\\x%02x", text.data[0]);
        } else {
            failed = buf_append_char(out, (char)text.data[0]);
        }
        text = slice_skip(text, taken);
    }
    return failed;
}
