/*
 * The screen of the user (agent/report/screen.h). Called by the commands and the demo. Owns what it knows of the locale.
 */
#include "agent/report/screen.h"

#include <langinfo.h>
#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/base/ascii.h"
#include "agent/base/log.h"
#include "agent/base/program.h"
#include "agent/base/text.h"

enum {
    WIDTH_OF_A_TERMINAL = 80, /* for a terminal that does not tell its width, such as a serial line */
    WIDTH_OF_A_FILE = 100,
    TEXT_MAX = 4 << 20,
};

bool screen_wants_colour(bool terminal, const char *no_color, const char *term)
{
    return terminal && !(no_color && *no_color) && term && *term && strcmp(term, "dumb") != 0;
}

unsigned screen_width(unsigned columns, const char *variable)
{
    int64_t value = columns;
    if (!columns && (!variable || text_parse_int(variable, &value) < 0 || value <= 0))
        return 0;
    return value < SCREEN_WIDTH_MIN ? SCREEN_WIDTH_MIN : value > SCREEN_WIDTH_MAX ? SCREEN_WIDTH_MAX : (unsigned)value;
}

bool screen_is_ascii(void)
{
    static enum { UNKNOWN, ASCII, UTF8 } known;
    if (known == UNKNOWN) {
        locale_t locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
        known = locale && strcasecmp(nl_langinfo_l(CODESET, locale), "UTF-8") == 0 ? UTF8 : ASCII;
        if (locale)
            freelocale(locale);
    }
    return known == ASCII;
}

struct screen screen_look(void)
{
    struct winsize size = { 0 };
    bool terminal = isatty(STDOUT_FILENO) == 1;
    if (terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        size.ws_col = 0;
    unsigned width = screen_width(size.ws_col, getenv("COLUMNS"));
    return (struct screen){
        .terminal = terminal,
        .colour = screen_wants_colour(terminal, getenv("NO_COLOR"), getenv("TERM")),
        .ascii = screen_is_ascii(),
        .fixed = terminal || width,
        .width = width      ? width
                 : terminal ? WIDTH_OF_A_TERMINAL
                            : WIDTH_OF_A_FILE,
    };
}

static unsigned columns(const char *text, size_t len)
{
    unsigned count = 0;
    for (size_t i = 0; i < len; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* The indent after a break: below the second column of "  name   help", else that of the line. */
static unsigned hanging(const char *line, size_t len, unsigned width)
{
    size_t indent = 0, at;
    while (indent < len && line[indent] == ' ')
        indent++;
    for (at = indent; at + 1 < len && !(line[at] == ' ' && line[at + 1] == ' '); at++)
        ;
    while (at < len && line[at] == ' ')
        at++;
    unsigned column = columns(line, at);
    return at < len && column <= width / 2 ? column : (unsigned)indent;
}

/* "  wshealthd check ws://..." and "  curl ..." are not broken, as users copy them; a terminal joins its own breaks when copying. */
static bool is_command(const char *line)
{
    const char *word = line + strspn(line, " "), *program = program_name();
    return word > line && (strncmp(word, "curl ", 5) == 0 || strncmp(word, program, strlen(program)) == 0 ||
                           strncmp(word, program_anywhere(), strlen(program_anywhere())) == 0);
}

static void wrap_line(const char *line, size_t len, unsigned width, struct buf *out)
{
    bool whole = columns(line, len) <= width || is_command(line);
    unsigned hang = whole ? 0 : hanging(line, len, width), column = 0;
    size_t at = 0;
    while (!whole && at < len) {
        size_t blanks = 0, word = 0;
        while (at + blanks < len && line[at + blanks] == ' ')
            blanks++;
        while (at + blanks + word < len && line[at + blanks + word] != ' ')
            word++;
        unsigned wide = columns(line + at + blanks, word);
        if (column > hang && column + blanks + wide > width) {
            buf_printf(out, "\n%*s", (int)hang, "");
            column = hang;
        } else {
            buf_append(out, line + at, blanks);
            column += (unsigned)blanks;
        }
        buf_append(out, line + at + blanks, word);
        column += wide;
        at += blanks + word;
    }
    if (whole)
        buf_append(out, line, len);
}

void screen_wrap(const char *text, unsigned width, struct buf *out)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        wrap_line(text, len, width, out);
        text += len;
        if (*text) {
            buf_append_char(out, '\n');
            text++;
        }
    }
}

static void replace(struct buf *text, struct buf *by)
{
    buf_fini(text);
    *text = *by;
}

void screen_fit(const struct screen *screen, struct buf *text)
{
    if (screen->ascii) {
        struct buf fit = BUF_INIT(TEXT_MAX);
        ascii_put(&fit, buf_slice(text));
        replace(text, &fit);
    }
    if (screen->fixed) {
        struct buf fit = BUF_INIT(TEXT_MAX);
        screen_wrap(buf_str(text), screen->width, &fit);
        replace(text, &fit);
    }
}

/* What is told here is an error, also in systemd's journal, which takes each line for a message of its own. */
static void put_lines(const char *text)
{
    static bool inside; /* a line that is not at its end */
    while (*text) {
        size_t len = strcspn(text, "\n");
        if (!inside && log_in_journal())
            fprintf(stderr, "<%d>", log_priority(LOG_ERROR));
        len += text[len] == '\n';
        fwrite(text, 1, len, stderr);
        inside = text[len - 1] != '\n';
        text += len;
    }
}

void screen_tell(const char *text)
{
    struct buf fit = BUF_INIT(TEXT_MAX);
    if (screen_is_ascii())
        ascii_put(&fit, slice_str(text));
    else
        buf_append_str(&fit, text);
    put_lines(buf_str(&fit));
    buf_fini(&fit);
}
