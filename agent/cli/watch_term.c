/* See agent/cli/watch_term.h. */
#include "agent/cli/watch_term.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { ROWS = 24, COLUMNS = 80, WRITE_WAIT_MS = 1000, PIECE_BYTES = 256, SEQUENCE_MAX = 8 };

/* Alternate screen, no wrapping at the right edge, no cursor. */
static const char enter[] = "\033[?1049h\033[?7l\033[?25l\033[H\033[2J";
static const char leave[] = "\033[?25h\033[?7h\033[0m\033[?1049l";

static struct termios before;
static bool is_on, known, keyed, leaves_at_exit; /* known: before; keyed: stdin is a terminal, whose keys are read */

bool watch_term_can(void)
{
    const char *term = getenv("TERM");

    return isatty(STDOUT_FILENO) == 1 && term && *term && strcmp(term, "dumb") != 0;
}

/* A terminal that takes nothing for so long, as after Ctrl-S, is left behind: what it missed is drawn again with the next change. */
void watch_term_write(struct slice bytes)
{
    while (bytes.len) {
        struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
        int room = poll(&out, 1, WRITE_WAIT_MS);
        ssize_t done = room > 0 ? write(STDOUT_FILENO, bytes.data, bytes.len < PIECE_BYTES ? bytes.len : PIECE_BYTES) : -1;

        if (done > 0)
            bytes = slice_skip(bytes, (size_t)done);
        else if (room == 0 || done == 0 || (errno != EINTR && errno != EAGAIN))
            return;
    }
}

static bool in_foreground(void)
{
    pid_t group = tcgetpgrp(STDOUT_FILENO);

    return group < 0 || group == getpgrp();
}

/* Signals of the keyboard stay: Ctrl-C, Ctrl-Z and Ctrl-\\ do what they do everywhere. */
bool watch_term_on(void)
{
    struct termios raw;

    if (is_on)
        return true;
    if (!in_foreground()) /* to change the terminal would stop us */
        return false;
    if (!leaves_at_exit)
        leaves_at_exit = atexit(watch_term_off) == 0;
    is_on = true;
    keyed = tcgetattr(STDIN_FILENO, &raw) == 0;
    if (keyed && !known)
        before = raw;
    known = known || keyed;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    if (keyed)
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    watch_term_write(slice_str(enter));
    return true;
}

void watch_term_off(void)
{
    if (!is_on)
        return;
    is_on = false;
    watch_term_write(slice_str(leave));
    if (keyed)
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
}

void watch_term_forget(void)
{
    is_on = false;
}

bool watch_term_is_on(void)
{
    return is_on;
}

void watch_term_size(unsigned *rows, unsigned *columns)
{
    struct winsize size = { 0 };

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        size.ws_row = size.ws_col = 0;
    *rows = size.ws_row ? size.ws_row : ROWS;
    *columns = size.ws_col ? size.ws_col : COLUMNS;
}

size_t watch_term_read(void *out, size_t size)
{
    struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };

    if (!is_on || !keyed || !in_foreground() || poll(&in, 1, 0) <= 0 || !(in.revents & POLLIN))
        return 0;
    ssize_t got = read(STDIN_FILENO, out, size);
    return got > 0 ? (size_t)got : 0;
}

/* --- keys ---------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *bytes;
    enum watch_key key;
} keys[] = {
    { "q", KEY_QUIT },          { "Q", KEY_QUIT },      { "\003", KEY_QUIT },
    { "\004", KEY_QUIT },       { "k", KEY_UP },        { "j", KEY_DOWN },
    { "\033[A", KEY_UP },       { "\033OA", KEY_UP },   { "\033[B", KEY_DOWN },
    { "\033OB", KEY_DOWN },     { "\n", KEY_DOWN },     { "\r", KEY_DOWN },
    { "\033[5~", KEY_PAGE_UP }, { "b", KEY_PAGE_UP },   { "\033[6~", KEY_PAGE_DOWN },
    { " ", KEY_PAGE_DOWN },     { "\033[H", KEY_HOME }, { "\033OH", KEY_HOME },
    { "\033[1~", KEY_HOME },    { "g", KEY_HOME },      { "\033[F", KEY_END },
    { "\033OF", KEY_END },      { "\033[4~", KEY_END }, { "G", KEY_END },
    { "\014", KEY_REDRAW },
};

/* The length of a sequence that no key above has: "\033[1;5A". 0: it is not whole. */
static size_t unknown_len(struct slice typed)
{
    size_t at = 2;

    if (typed.data[0] != '\033')
        return 1;
    if (typed.len < 2)
        return 0;
    if (typed.data[1] != '[' && typed.data[1] != 'O')
        return 1;
    while (at < typed.len && at < SEQUENCE_MAX && (typed.data[at] < 0x40 || typed.data[at] > 0x7e))
        at++;
    if (at == SEQUENCE_MAX)
        return at;
    return at < typed.len ? at + 1 : 0;
}

enum watch_key watch_key_of(struct slice typed, size_t *len)
{
    *len = 0;
    if (!typed.len)
        return KEY_NONE;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        *len = strlen(keys[i].bytes);
        if (*len <= typed.len && memcmp(typed.data, keys[i].bytes, *len) == 0)
            return keys[i].key;
    }
    *len = unknown_len(typed);
    return KEY_NONE;
}
