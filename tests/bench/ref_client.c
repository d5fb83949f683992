/*
 * ref_client PORT COUNT [PAUSE_US]: the least that a correct client can spend. It blocks; it connects, upgrades (and checks the accept
 * value), sends one masked text, awaits its echo, closes by the protocol, COUNT times. Prints "cpu_ns rtt_ns wall_ns": processor time of one
 * exchange, the median round trip of the text, elapsed time of one exchange.
 */
#include "tests/bench/ref.h"

static long long exchange(int port)
{
    unsigned char answer[160];
    char text[40];
    int fd = dial(port);
    upgrade(fd, port);
    int length = snprintf(text, sizeof text, "reference-%016llx", now(CLOCK_MONOTONIC));
    long long start = now(CLOCK_MONOTONIC);
    send_masked(fd, 1, text, (size_t)length);
    need(fd, answer, 2 + (size_t)length);
    long long rtt = now(CLOCK_MONOTONIC) - start;
    if (answer[0] != 0x81 || memcmp(answer + 2, text, (size_t)length) != 0)
        exit(1);
    send_masked(fd, 8, "\x03\xe8", 2);
    need(fd, answer, 4);
    close(fd);
    return rtt;
}

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 0, count = argc > 2 ? atoi(argv[2]) : 1, pause_us = argc > 3 ? atoi(argv[3]) : 0;
    long long *rtt = calloc((size_t)count, sizeof *rtt);
    for (int i = 0; i < 20; i++)
        exchange(port);
    long long cpu = now(CLOCK_PROCESS_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) {
        rtt[i] = exchange(port);
        if (pause_us)
            usleep((unsigned)pause_us);
    }
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall = now(CLOCK_MONOTONIC) - wall;
    qsort(rtt, (size_t)count, sizeof *rtt, by_value);
    printf("%lld %lld %lld\n", cpu / count, rtt[count / 2], wall / count);
    free(rtt);
    return 0;
}
