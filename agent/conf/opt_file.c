/*
 * Values that live in files: ${file:…} markers of dynamic strings, read again at every use, and whole files with a ceiling. Called
 * by the engine before each connection, and by the configuration. Never hangs on a fifo or a device. Every value that comes from a
 * file is registered as a secret before it is returned.
 */
#include "agent/conf/opt.h"

#include <string.h>

#include "agent/base/file.h"
#include "agent/base/mem.h"
#include "agent/base/secret.h"

int opt_read_file(const char *path, size_t max, bool regular, struct buf *out, struct err *err)
{
    return file_read(path, max, regular ? FILE_REGULAR : FILE_OR_STREAM, out, NULL, err);
}

/* A token or a header's value goes into a line of HTTP: no line breaks, and nothing else that could end it. */
static int validate_line(struct slice content, struct err *err)
{
    for (size_t i = 0; i < content.len; i++)
        if ((content.data[i] < ' ' && content.data[i] != '\t') || content.data[i] == 0x7f)
            return err_set(err, REASON_NONE, 0, "holds a line break or another control character");
    return 0;
}

static int expand_file(const char *path, struct buf *out, struct err *err)
{
    struct buf content = BUF_INIT(OPT_FILE_MAX + 1);
    int rc = opt_read_file(path, OPT_FILE_MAX, true, &content, err);
    if (!rc && content.len && content.data[content.len - 1] == '\n')
        content.len--;
    if (!rc)
        rc = validate_line(buf_slice(&content), err);
    if (rc) {
        err_prefix(err, "%s", path);
    } else {
        secret_add(buf_str(&content));
        if (buf_append(out, content.data, content.len))
            rc = err_set(err, REASON_NONE, 0, "%s: too long", path);
    }
    buf_wipe(&content);
    return rc;
}

int opt_expand(const char *value, struct buf *out, struct err *err)
{
    size_t start = out->len;
    while (*value) {
        const char *mark = strchr(value, OPT_MARK_BEGIN), *end = mark ? strchr(mark, OPT_MARK_END) : NULL;
        size_t plain = end ? (size_t)(mark - value) : strlen(value);
        int rc = buf_append(out, value, plain) ? err_set(err, REASON_NONE, 0, "too long") : 0;
        if (!rc && end) {
            char *path = mem_strndup(mark + 1, (size_t)(end - mark) - 1);
            rc = expand_file(path, out, err);
            mem_free(path);
        }
        if (rc) {
            out->len = start;
            return -1;
        }
        value = end ? end + 1 : value + plain;
    }
    return 0;
}

bool opt_is_dynamic(const char *value)
{
    const char *mark = value ? strchr(value, OPT_MARK_BEGIN) : NULL;
    return mark && strchr(mark, OPT_MARK_END);
}

bool opt_name_is_secret(const char *name)
{
    static const char *const parts[] = { "token", "secret", "key", "password", "auth", "cookie" };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strcasestr(name, parts[i]))
            return true;
    return false;
}
