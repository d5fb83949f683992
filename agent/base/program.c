/*
 * The program's own name (agent/base/program.h). Owns both texts, which are there for as long as the process; they are written once, before
 * there is a thread. Called by agent/main.c, read wherever a command is named.
 */
#include "agent/base/program.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/buf.h"

enum { NAME_MAX_BYTES = 2 * PATH_MAX };

/* Empty until something is learnt: with a first value, all of it would lie in the file and in memory. */
static char typed[NAME_MAX_BYTES], anywhere[NAME_MAX_BYTES];

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Is that file the first of its name that a shell would start? An empty entry of the PATH is the current directory. */
static bool shell_finds(const char *name, const struct stat *self)
{
    char path[PATH_MAX];
    const char *entry = getenv("PATH");
    while (entry) {
        size_t len = strcspn(entry, ":");
        struct stat found;
        struct buf text = BUF_INIT(sizeof path - 1);
        bool fits = buf_printf(&text, "%.*s/%s", len ? (int)len : 1, len ? entry : ".", name) == 0;
        memcpy(path, buf_str(&text), text.len + 1);
        buf_fini(&text);
        if (fits && stat(path, &found) == 0 && S_ISREG(found.st_mode) && access(path, X_OK) == 0)
            return same_file(&found, self);
        entry = entry[len] ? entry + len + 1 : NULL;
    }
    return false;
}

/* As a shell reads it: between quotes where a character means something to it. False: it cannot be shown. */
static bool quote(const char *text, char out[NAME_MAX_BYTES])
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@%:,=";
    bool quoted = text[strspn(text, plain)] != '\0';
    struct buf word = BUF_INIT(NAME_MAX_BYTES - 1);
    bool fits = !quoted || buf_append_char(&word, '\'') == 0;
    for (; *text && fits; text++) {
        bool control = (unsigned char)*text < 0x20 || *text == 0x7f;
        fits = !control && (*text == '\'' ? buf_append_str(&word, "'\\''") : buf_append_char(&word, *text)) == 0;
    }
    fits = fits && (!quoted || buf_append_char(&word, '\'') == 0);
    if (fits)
        memcpy(out, buf_str(&word), word.len + 1);
    buf_fini(&word);
    return fits;
}

void program_learn(const char *argv0)
{
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL, *name = slash ? slash + 1 : argv0;
    char quoted[NAME_MAX_BYTES], absolute[PATH_MAX];
    struct stat self;
    if (!name || !*name)
        return;
    bool known = stat("/proc/self/exe", &self) == 0 || stat(argv0, &self) == 0;
    /* Without a slash the shell has found it on the PATH. */
    bool found = !slash || (known && shell_finds(name, &self));
    if (!quote(found ? name : argv0, quoted))
        return;
    memcpy(typed, quoted, strlen(quoted) + 1);
    if (!found && *argv0 != '/' && realpath(argv0, absolute) && !quote(absolute, quoted))
        return;
    memcpy(anywhere, quoted, strlen(quoted) + 1);
}

const char *program_name(void)
{
    return typed[0] ? typed : "wshealthd";
}

const char *program_anywhere(void)
{
    return anywhere[0] ? anywhere : "wshealthd";
}
