/* Text for the manual pages (agent/proto/roff.h). Called by the code that writes tables of the manual. Pure. */
#include "agent/proto/roff.h"

void roff_text(struct buf *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        buf_append_str(out, "\\&");
    for (; *text; text++) {
        if (*text == '\\')
            buf_append_str(out, "\\e");
        else if (*text == '-')
            buf_append_str(out, "\\-");
        else if (*text == '\n')
            buf_append_char(out, ' ');
        else
            buf_append_char(out, *text);
    }
}
