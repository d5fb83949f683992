/*
 * ${NAME}, ${NAME:-default} and ${file:/path} in values; the path of a file may hold variables (${file:${CREDENTIALS_DIRECTORY}/token}).
 * Called by the reader of the configuration. A value that was put in is not expanded again (a variable that holds "${file:…}" stays that
 * text). The total is bounded. Errors name the variable and never quote its value. `$${` is a literal `${`.
 */
#include "agent/conf/conf_impl.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/proto/utf8.h"

enum { NAME_SHOWN_MAX = 64 };

struct expansion {
    struct vars *vars;
    bool keep_files;
    struct buf *out;
    struct err *err;
};

/* A dynamic value must hold neither a marker's byte nor a line break, as it goes into a line of HTTP. */
static int put(struct expansion *x, struct slice text)
{
    for (size_t i = 0; x->keep_files && i < text.len; i++)
        if ((text.data[i] < ' ' && text.data[i] != '\t') || text.data[i] == 0x7f)
            return err_set(x->err, REASON_NONE, 0, "holds a line break or another control character");
    return buf_append_slice(x->out, text) ? err_set(x->err, REASON_NONE, 0, "too long") : 0;
}

static int put_foreign(struct expansion *x, const char *what, struct slice text)
{
    if (!utf8_valid(text) || (text.len && memchr(text.data, 0, text.len)))
        return err_set(x->err, REASON_NONE, 0, "%s is not UTF-8 text", what);
    if (text.len > x->vars->budget)
        return err_set(x->err, REASON_NONE, 0, "%s: variables and files add up to more than 4 MiB", what);
    x->vars->budget -= text.len;
    return put(x, text);
}

static int put_file(struct expansion *x, struct slice path)
{
    struct buf content = BUF_INIT(OPT_FILE_MAX + 1);
    char *name = mem_strndup(path.data, path.len);
    char shown[TEXT_EXCERPT_BYTES(NAME_SHOWN_MAX)] = "file ";
    int rc;
    text_excerpt(path, NAME_SHOWN_MAX, shown + 5, sizeof shown - 5);
    if (!path.len) {
        rc = err_set(x->err, REASON_NONE, 0, "${file:} names no file");
    } else if (x->keep_files) {
        const char begin = OPT_MARK_BEGIN, end = OPT_MARK_END;
        size_t at = x->out->len;
        rc = buf_append_char(x->out, begin) || put(x, path) || buf_append_char(x->out, end) ? -1 : 0;
        if (!rc) { /* read once now, so that a missing file is an error of the configuration */
            rc = opt_expand(buf_str(x->out) + at, &content, x->err);
        }
    } else {
        rc = opt_read_file(name, OPT_FILE_MAX, true, &content, x->err);
        if (!rc && content.len && content.data[content.len - 1] == '\n')
            content.len--;
        if (rc)
            err_prefix(x->err, "%s", shown);
        else
            secret_add(buf_str(&content));
        if (!rc)
            rc = put_foreign(x, shown, buf_slice(&content));
    }
    buf_wipe(&content);
    mem_free(name);
    return rc;
}

static bool is_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!(isalpha(name.data[i]) || name.data[i] == '_' || (i && isdigit(name.data[i]))))
            return false;
    return name.len > 0;
}

/* inner is what stands between the braces. */
static int put_variable(struct expansion *x, struct slice inner)
{
    ptrdiff_t sep = slice_find(inner, slice_str(":-"));
    struct slice name = { inner.data, sep < 0 ? inner.len : (size_t)sep };
    char shown[TEXT_EXCERPT_BYTES(NAME_SHOWN_MAX)];
    text_excerpt(name, NAME_SHOWN_MAX, shown, sizeof shown);
    if (!is_name(name))
        return err_set(x->err, REASON_NONE, 0,
                       "'${%s}' names no variable, want ${NAME}, ${NAME:-default} or ${file:/path} ($${ for a plain ${)", shown);
    char *text = mem_strndup(name.data, name.len);
    const char *value = x->vars->getenv ? x->vars->getenv(text) : NULL;
    mem_free(text);
    if (sep >= 0 && (!value || !*value))
        return put(x, slice_skip(inner, (size_t)sep + 2));
    if (!value)
        return err_set(x->err, REASON_NONE, 0, "variable %s is not set and has no default", shown);
    char what[sizeof shown + 16];
    snprintf(what, sizeof what, "variable %s", shown);
    return put_foreign(x, what, slice_str(value));
}

static int put_text(struct expansion *x, const char *text, bool in_path, bool *replaced);

/* The end of what began with "${"; NULL: there is none. A file's path may hold variables. */
static const char *find_end(const char *text, bool is_file)
{
    const char *end = strchr(text, '}');

    for (const char *inner = text; is_file && end && (inner = strstr(inner, "${")) && inner < end; inner += 2)
        if (inner[-1] != '$')
            end = strchr(end + 1, '}');
    return end;
}

/* ${file:…} with the variables in its path put in. */
static int put_file_at(struct expansion *x, struct slice path)
{
    struct buf plain = BUF_INIT(OPT_FILE_MAX);
    struct expansion inner = { x->vars, false, &plain, x->err };
    char *text = mem_strndup(path.data, path.len);
    bool replaced;
    int rc = put_text(&inner, text, true, &replaced);

    if (!rc)
        rc = put_file(x, buf_slice(&plain));
    buf_fini(&plain);
    mem_free(text);
    return rc;
}

/* text begins behind "${"; *used counts what it took, with the closing brace. */
static int put_one(struct expansion *x, const char *text, bool in_path, size_t *used)
{
    static const char file[] = "file:";
    const size_t file_len = sizeof file - 1;
    bool is_file = !in_path && strncmp(text, file, file_len) == 0;
    const char *end = find_end(text, is_file);
    if (!end)
        return err_set(x->err, REASON_NONE, 0, "'${' without '}' ($${ for a plain ${)");
    struct slice inner = { (const uint8_t *)text, (size_t)(end - text) };
    *used = inner.len + 1;
    if (is_file)
        return put_file_at(x, slice_skip(inner, file_len));
    if (slice_find(inner, slice_str("${")) >= 0)
        return err_set(x->err, REASON_NONE, 0, "a variable inside a variable is not supported");
    return put_variable(x, inner);
}

static int put_text(struct expansion *x, const char *text, bool in_path, bool *replaced)
{
    *replaced = false;
    while (*text) {
        const char *dollar = strstr(text, "${");
        bool literal = dollar && dollar > text && dollar[-1] == '$';
        size_t plain = !dollar ? strlen(text) : literal ? (size_t)(dollar - text) - 1 : (size_t)(dollar - text);
        size_t used = 0;
        if (put(x, slice_make(text, plain)))
            return -1;
        text += plain;
        if (literal) {
            if (put(x, slice_str("${")))
                return -1;
            text += 3;
        } else if (dollar) {
            *replaced = true;
            if (put_one(x, text + 2, in_path, &used))
                return -1;
            text += 2 + used;
        }
    }
    return 0;
}

int vars_expand(struct vars *vars, const char *text, bool keep_files, struct buf *out, bool *replaced, struct err *err)
{
    struct expansion x = { vars, keep_files, out, err };

    return put_text(&x, text, false, replaced);
}
