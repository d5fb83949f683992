/*
 * ref_delivery PORT REDIS_PORT COUNT [PAUSE_US]: the least that one delivery can take. It blocks; one connection publishes on the channel
 * "healthcheck", one WebSocket connection waits until that very text has come. A ping goes before it, as with the agent, so that the first
 * write after a rest is no part of what is measured. Prints "delivery_ns cpu_ns": the median from before the command is written until the
 * message has been read, and the processor time of one exchange, pong and the answer to the command included.
 */
#include "tests/bench/ref.h"

enum { CHANNEL_LENGTH = 11, TEXT_LENGTH = 48, PING_LENGTH = 8, PING = 9 };

static long long exchange(int redis, int websocket)
{
    unsigned char answer[2 + TEXT_LENGTH] = { 0 }, pong[2 + PING_LENGTH], reply[16];
    char command[160], text[64];
    snprintf(text, sizeof text, "reference-%038lld", now(CLOCK_MONOTONIC));
    int length = snprintf(command, sizeof command, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\nhealthcheck\r\n$%d\r\n%s\r\n", CHANNEL_LENGTH,
                          TEXT_LENGTH, text);
    send_masked(websocket, PING, "12345678", PING_LENGTH);
    long long start = now(CLOCK_MONOTONIC);
    if (write(redis, command, (size_t)length) != length)
        exit(1);
    need(websocket, answer, 2);
    int pong_first = answer[0] == 0x8a;
    if (pong_first) {
        need(websocket, pong, PING_LENGTH);
        need(websocket, answer, 2);
    }
    need(websocket, answer + 2, TEXT_LENGTH);
    long long took = now(CLOCK_MONOTONIC) - start;
    if (answer[0] != 0x81 || answer[1] != TEXT_LENGTH || memcmp(answer + 2, text, TEXT_LENGTH) != 0)
        exit(1);
    if (!pong_first)
        need(websocket, pong, 2 + PING_LENGTH);
    if (read(redis, reply, sizeof reply) < 4 || reply[0] != ':') /* ":1\r\n": how many have received it */
        exit(1);
    return took;
}

int main(int argc, char **argv)
{
    int count = argc > 3 ? atoi(argv[3]) : 1, pause_us = argc > 4 ? atoi(argv[4]) : 0;
    if (argc < 3 || count < 1)
        return 1;
    int websocket = dial(atoi(argv[1])), redis = dial(atoi(argv[2]));
    long long *took = calloc((size_t)count, sizeof *took);
    upgrade(websocket, atoi(argv[1]));
    for (int i = 0; i < 20; i++)
        exchange(redis, websocket);
    long long cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < count; i++) {
        took[i] = exchange(redis, websocket);
        if (pause_us)
            usleep((unsigned)pause_us);
    }
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    qsort(took, (size_t)count, sizeof *took, by_value);
    printf("%lld %lld\n", took[count / 2], cpu / count);
    free(took);
    return 0;
}
