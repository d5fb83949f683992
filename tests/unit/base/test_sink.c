/* Writing to what others read: never waits, never tears a line, never changes the description that others share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "agent/base/sink.h"

enum { LINES = 2000, LINE = 700 };

static void fill_line(char *line, int number)
{
    memset(line, 'a' + number % 26, LINE);
    for (int at = 7, rest = number; at >= 0; at--, rest /= 10)
        line[at] = (char)('0' + rest % 10);
    line[8] = ' ';
    line[LINE - 1] = '\n';
}

/* What one end holds is a series of whole lines, their numbers rising; returns how many. */
static int whole_lines(const char *text, size_t len)
{
    int count = 0, last = -1;
    assert_int_equal(len % LINE, 0);
    for (size_t at = 0; at < len; at += LINE, count++) {
        char want[LINE];
        int number = atoi(text + at);
        assert_true(number > last);
        fill_line(want, number);
        assert_memory_equal(text + at, want, LINE);
        last = number;
    }
    return count;
}

/* Writes while nobody reads, then while somebody reads a little at a time. */
static void flood(int out, int in, bool reopen)
{
    static struct sink sink;
    static char text[LINES * LINE];
    size_t len = 0;
    char line[LINE];
    int taken = 0;
    fcntl(in, F_SETFL, O_NONBLOCK);
    sink_open(&sink, out, reopen);
    for (int i = 0; i < LINES; i++) {
        fill_line(line, i);
        taken += sink_write(&sink, line, LINE);
        if (i > LINES / 2) {
            ssize_t n = read(in, text + len, 611);
            len += n > 0 ? (size_t)n : 0;
        }
    }
    assert_true(sink.lost > 0);
    assert_int_equal(taken + (int)sink_take_lost(&sink), LINES);
    /* A terminal hands on what was written a moment later. */
    for (int i = 0; i < 50000 && len < (size_t)taken * LINE; i++) {
        ssize_t n = read(in, text + len, sizeof text - len);
        if (n > 0)
            len += (size_t)n;
        else if (sink_ready(&sink))
            usleep(200);
    }
    assert_int_equal(whole_lines(text, len), taken);
    assert_int_equal(fcntl(out, F_GETFL) & O_NONBLOCK, 0);
    if (sink.fd != out)
        close(sink.fd);
}

static void test_a_pipe_opened_anew(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    flood(fds[1], fds[0], true);
    close(fds[0]);
    close(fds[1]);
}

static void test_a_pipe_that_cannot_be_opened_anew(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    flood(fds[1], fds[0], false);
    close(fds[0]);
    close(fds[1]);
}

static void test_a_socket(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    flood(fds[1], fds[0], true);
    close(fds[0]);
    close(fds[1]);
}

/* A terminal whose user pressed Ctrl-S, or whose other end is not read. */
static void test_a_terminal_that_stands_still(void **state)
{
    (void)state;
    struct termios raw;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (slave < 0)
        skip(); /* no /dev/pts here */
    tcgetattr(slave, &raw);
    cfmakeraw(&raw);
    tcsetattr(slave, TCSANOW, &raw);
    flood(slave, master, true);
    close(slave);
    close(master);
}

static void test_a_file(void **state)
{
    (void)state;
    static struct sink sink;
    FILE *file = tmpfile();
    sink_open(&sink, fileno(file), true);
    assert_int_equal(sink.way, SINK_WRITE);
    assert_int_equal(sink.fd, fileno(file)); /* the same offset as before */
    assert_true(sink_write(&sink, "a\n", 2));
    fclose(file);
}

static void test_closed(void **state)
{
    (void)state;
    static struct sink sink;
    sink_open(&sink, 987, true);
    assert_false(sink_write(&sink, "a\n", 2));
    assert_int_equal(sink_take_lost(&sink), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pipe_opened_anew),
        cmocka_unit_test(test_a_pipe_that_cannot_be_opened_anew),
        cmocka_unit_test(test_a_socket),
        cmocka_unit_test(test_a_terminal_that_stands_still),
        cmocka_unit_test(test_a_file),
        cmocka_unit_test(test_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
