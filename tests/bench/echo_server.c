/*
 * echo_server PORT [CERT KEY]: the peer of the benchmarks, small enough not to be what is measured. One epoll loop; upgrades, echoes whole
 * unfragmented frames of up to 8 KiB, answers pings and closes. A GET without Upgrade is answered with the number of connections so far and
 * now ("accepted open\n"). SIGUSR1 resets the newest WebSocket connection and prints the monotonic time of it in nanoseconds. It is no example
 * of a server: whatever it does not expect, it closes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DATA_MAX = 8192 };

struct peer {
    int fd;
    SSL *ssl; /* NULL: plain */
    int upgraded;
    size_t length;
    unsigned char *data; /* only while something is incomplete */
    struct peer *older, *newer;
};

static struct peer *newest; /* of the upgraded ones */
static unsigned long accepted, opened;

static void peer_free(struct peer *peer)
{
    if (peer->upgraded) {
        if (peer->newer)
            peer->newer->older = peer->older;
        else
            newest = peer->older;
        if (peer->older)
            peer->older->newer = peer->newer;
    }
    if (peer->ssl)
        SSL_free(peer->ssl);
    close(peer->fd);
    free(peer->data);
    free(peer);
    opened--;
}

static int peer_write(struct peer *peer, const void *data, size_t length)
{
    if (peer->ssl)
        return SSL_write(peer->ssl, data, (int)length) == (int)length ? 0 : -1;
    return send(peer->fd, data, length, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -1;
}

static int upgrade(struct peer *peer, char *head)
{
    char text[512], accept[64];
    unsigned char digest[20];
    char *key = strcasestr(head, "\r\nSec-WebSocket-Key:");
    if (!key) {
        snprintf(text, sizeof text, "%lu %lu\n", accepted, opened);
        char answer[256];
        int n = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                         strlen(text), text);
        peer_write(peer, answer, (size_t)n);
        return -1;
    }
    key += strlen("\r\nSec-WebSocket-Key:");
    key += strspn(key, " ");
    int n = snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    SHA1((unsigned char *)text, (size_t)n, digest);
    EVP_EncodeBlock((unsigned char *)accept, digest, sizeof digest);
    n = snprintf(
        text, sizeof text,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
        accept);
    peer->upgraded = 1;
    peer->older = newest;
    if (newest)
        newest->newer = peer;
    newest = peer;
    return peer_write(peer, text, (size_t)n);
}

/* One frame at data; how long it is, 0 when it is not whole yet, -1 to close. */
static ssize_t on_frame(struct peer *peer, unsigned char *data, size_t length)
{
    unsigned char out[DATA_MAX + 4];
    if (length < 2)
        return 0;
    size_t size = data[1] & 127, head = 2;
    if (size == 127 || !(data[1] & 128))
        return -1;
    if (size == 126) {
        if (length < 4)
            return 0;
        size = (size_t)data[2] << 8 | data[3];
        head = 4;
    }
    if (size > DATA_MAX - 16)
        return -1;
    if (length < head + 4 + size)
        return 0;
    unsigned opcode = data[0] & 15;
    out[0] = (unsigned char)(0x80 | (opcode == 9 ? 10 : opcode));
    out[1] = (unsigned char)(size < 126 ? size : 126);
    if (size >= 126) {
        out[2] = (unsigned char)(size >> 8);
        out[3] = (unsigned char)size;
    }
    for (size_t i = 0; i < size; i++)
        out[head + i] = data[head + 4 + i] ^ data[head + (i & 3)];
    if (opcode != 10 && peer_write(peer, out, head + size) < 0)
        return -1;
    return opcode == 8 ? -1 : (ssize_t)(head + 4 + size);
}

/* What has come, in data; -1 to close. */
static int on_bytes(struct peer *peer, unsigned char *data, size_t length)
{
    size_t at = 0;
    if (!peer->upgraded) {
        data[length] = 0;
        char *end = strstr((char *)data, "\r\n\r\n");
        if (end) {
            if (upgrade(peer, (char *)data) < 0)
                return -1;
            at = (size_t)(end + 4 - (char *)data);
        }
    }
    while (peer->upgraded && at < length) {
        ssize_t n = on_frame(peer, data + at, length - at);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    peer->length = length - at;
    if (peer->length) {
        if (!peer->data)
            peer->data = malloc(DATA_MAX + 1);
        memmove(peer->data, data + at, peer->length);
    } else {
        free(peer->data);
        peer->data = NULL;
    }
    return 0;
}

static int on_readable(struct peer *peer)
{
    unsigned char data[DATA_MAX + 1];
    for (;;) {
        if (peer->length)
            memcpy(data, peer->data, peer->length);
        size_t room = DATA_MAX - peer->length;
        if (room == 0)
            return -1;
        ssize_t n;
        if (peer->ssl) {
            n = SSL_read(peer->ssl, data + peer->length, (int)room);
            if (n <= 0)
                return SSL_get_error(peer->ssl, (int)n) == SSL_ERROR_WANT_READ ? 0 : -1;
        } else {
            n = recv(peer->fd, data + peer->length, room, MSG_DONTWAIT);
            if (n <= 0)
                return n < 0 && errno == EAGAIN ? 0 : -1;
        }
        if (on_bytes(peer, data, peer->length + (size_t)n) < 0)
            return -1;
        if (!peer->ssl)
            return 0;
    }
}

static void on_accept(int poll, int listener, SSL_CTX *tls)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct peer *peer = calloc(1, sizeof *peer);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        peer->fd = fd;
        if (tls) {
            peer->ssl = SSL_new(tls);
            SSL_set_fd(peer->ssl, fd);
            SSL_set_accept_state(peer->ssl);
        }
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = peer };
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        accepted++;
        opened++;
    }
}

static void reset_newest(void)
{
    struct linger linger = { 1, 0 };
    struct timespec now;
    if (!newest)
        return;
    setsockopt(newest->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    clock_gettime(CLOCK_MONOTONIC, &now);
    peer_free(newest);
    printf("%lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((unsigned short)(argc > 1 ? atoi(argv[1]) : 0)) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    SSL_CTX *tls = NULL;
    if (argc > 3) {
        tls = SSL_CTX_new(TLS_server_method());
        SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_use_certificate_chain_file(tls, argv[2]);
        SSL_CTX_use_PrivateKey_file(tls, argv[3], SSL_FILETYPE_PEM);
    }
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, poll = epoll_create1(EPOLL_CLOEXEC);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) {
        perror("echo_server");
        return 1;
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    struct epoll_event events[256] = { { .events = EPOLLIN, .data.ptr = &listener } };
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, events);
    events[0].data.ptr = &signals;
    epoll_ctl(poll, EPOLL_CTL_ADD, signals, events);
    for (;;) {
        int n = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct signalfd_siginfo info;
            if (events[i].data.ptr == &listener)
                on_accept(poll, listener, tls);
            else if (events[i].data.ptr != &signals && on_readable(events[i].data.ptr) < 0)
                peer_free(events[i].data.ptr);
            else if (events[i].data.ptr == &signals && read(signals, &info, sizeof info) > 0) {
                reset_newest();
                break; /* the peer may be among the events that are left; they come again */
            }
        }
    }
}
