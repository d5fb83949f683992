/*
 * What the reference clients of the benchmarks have in common: clocks, blocking reads and writes, the upgrade. Each gives up by exiting with 1
 * when its peer does what it does not expect.
 */
#ifndef WSHEALTHD_BENCH_REF_H
#define WSHEALTHD_BENCH_REF_H

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline long long now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline int by_value(const void *a, const void *b)
{
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

static inline void need(int fd, unsigned char *data, size_t want)
{
    for (size_t have = 0; have < want;) {
        ssize_t n = read(fd, data + have, want - have);
        if (n <= 0)
            exit(1);
        have += (size_t)n;
    }
}

static inline void send_masked(int fd, int opcode, const char *text, size_t length)
{
    unsigned char out[160], key[4];
    getrandom(key, sizeof key, 0);
    out[0] = (unsigned char)(0x80 | opcode);
    out[1] = (unsigned char)(0x80 | length);
    memcpy(out + 2, key, 4);
    for (size_t i = 0; i < length; i++)
        out[6 + i] = (unsigned char)text[i] ^ key[i & 3];
    if (write(fd, out, 6 + length) != (ssize_t)(6 + length))
        exit(1);
}

static inline int dial(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        exit(1);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static inline void upgrade(int fd, int port)
{
    unsigned char random[16], digest[20];
    char key[32], text[1024], want[64];
    getrandom(random, sizeof random, 0);
    EVP_EncodeBlock((unsigned char *)key, random, sizeof random);
    int n = snprintf(text, sizeof text,
                     "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
                     port, key);
    if (write(fd, text, (size_t)n) != n)
        exit(1);
    size_t have = 0;
    do {
        ssize_t got = read(fd, text + have, sizeof text - 1 - have);
        if (got <= 0)
            exit(1);
        have += (size_t)got;
        text[have] = 0;
    } while (!strstr(text, "\r\n\r\n"));
    char joined[64];
    snprintf(joined, sizeof joined, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    SHA1((unsigned char *)joined, strlen(joined), digest);
    EVP_EncodeBlock((unsigned char *)want, digest, sizeof digest);
    if (strncmp(text, "HTTP/1.1 101", 12) != 0 || !strstr(text, want))
        exit(1);
}

#endif
