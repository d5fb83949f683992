/*
 * bridge_server PORT BROKER_PORT redis|nats: a WebSocket server that rides on a broker, small enough not to be what is measured. One epoll
 * loop; whatever is published on any channel goes as one text to every client. Clients are answered pings and closes, and nothing else. A
 * connection to the broker that is lost is made anew. It is no example of a server: whatever it does not expect, it closes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENT_MAX = 2048, BROKER_MAX = 256 << 10, BODY_MAX = 60000, RETRY_MS = 20 };

struct client {
    int fd;
    int upgraded;
    size_t length;
    unsigned char data[CLIENT_MAX + 1];
    struct client *next, **link;
};

static struct client *clients;
static int poller, broker = -1, broker_port, with_nats;
static char data[BROKER_MAX];
static size_t length;

static void watch(int fd, void *user)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = user };
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

/* --- clients --- */

static void client_free(struct client *client)
{
    *client->link = client->next;
    if (client->next)
        client->next->link = client->link;
    close(client->fd);
    free(client);
}

static int say(int fd, const void *bytes, size_t count)
{
    return send(fd, bytes, count, MSG_NOSIGNAL) == (ssize_t)count ? 0 : -1;
}

static int upgrade(struct client *client, const char *head)
{
    char text[512], accept[64];
    unsigned char digest[20];
    const char *key = strcasestr(head, "\r\nSec-WebSocket-Key: ");
    if (!key)
        return -1;
    int n = snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + strlen("\r\nSec-WebSocket-Key: "));
    SHA1((unsigned char *)text, (size_t)n, digest);
    EVP_EncodeBlock((unsigned char *)accept, digest, sizeof digest);
    n = snprintf(
        text, sizeof text,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
        accept);
    client->upgraded = 1;
    return say(client->fd, text, (size_t)n);
}

/* One control frame, which is short; its length, 0 when it is not whole yet, -1 to close. */
static ssize_t on_frame(const struct client *client, const unsigned char *frame, size_t have)
{
    unsigned char out[127];
    if (have < 2)
        return 0;
    size_t size = frame[1] & 127;
    unsigned opcode = frame[0] & 15;
    if (size > 125 || !(frame[1] & 128))
        return -1;
    if (have < 6 + size)
        return 0;
    out[0] = (unsigned char)(0x80 | (opcode == 9 ? 10 : opcode));
    out[1] = (unsigned char)size;
    for (size_t i = 0; i < size; i++)
        out[2 + i] = frame[6 + i] ^ frame[2 + (i & 3)];
    if ((opcode == 8 || opcode == 9) && say(client->fd, out, 2 + size) < 0)
        return -1;
    return opcode == 8 ? -1 : (ssize_t)(6 + size);
}

static int on_client(struct client *client)
{
    ssize_t n = recv(client->fd, client->data + client->length, CLIENT_MAX - client->length, MSG_DONTWAIT);
    size_t at = 0;
    if (n <= 0)
        return n < 0 && errno == EAGAIN ? 0 : -1;
    client->length += (size_t)n;
    client->data[client->length] = 0;
    if (!client->upgraded) {
        const char *end = strstr((char *)client->data, "\r\n\r\n");
        if (!end)
            return client->length < CLIENT_MAX ? 0 : -1;
        if (upgrade(client, (char *)client->data) < 0)
            return -1;
        at = (size_t)(end + 4 - (char *)client->data);
    }
    while (at < client->length) {
        n = on_frame(client, client->data + at, client->length - at);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    client->length -= at;
    memmove(client->data, client->data + at, client->length);
    return 0;
}

static void on_accept(int listener)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *client = calloc(1, sizeof *client);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        client->fd = fd;
        client->next = clients;
        client->link = &clients;
        if (clients)
            clients->link = &client->next;
        clients = client;
        watch(fd, client);
    }
}

/* To every client; one that does not take it whole is shut, and freed when its end is seen. */
static void forward(const char *body, size_t size)
{
    unsigned char out[4 + BODY_MAX];
    size_t head = size < 126 ? 2 : 4;
    if (size > BODY_MAX)
        return;
    out[0] = 0x81;
    out[1] = (unsigned char)(size < 126 ? size : 126);
    if (head == 4) {
        out[2] = (unsigned char)(size >> 8);
        out[3] = (unsigned char)size;
    }
    memcpy(out + head, body, size);
    for (struct client *client = clients; client; client = client->next)
        if (client->upgraded && say(client->fd, out, head + size) < 0)
            shutdown(client->fd, SHUT_RDWR);
}

/* --- the broker --- */

static void broker_open(void)
{
    static const char redis_says[] = "*2\r\n$10\r\nPSUBSCRIBE\r\n$1\r\n*\r\n",
                      nats_says[] = "CONNECT {\"verbose\":false}\r\nSUB > 1\r\n";
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((unsigned short)broker_port) };
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    length = 0;
    broker = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(broker, (struct sockaddr *)&address, sizeof address) < 0 ||
        say(broker, with_nats ? nats_says : redis_says, strlen(with_nats ? nats_says : redis_says)) < 0) {
        close(broker);
        broker = -1;
        return;
    }
    setsockopt(broker, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(broker, &broker);
}

/* The line at *at, without its end, which *at is moved behind; NULL when it is not whole. */
static const char *line(size_t *at)
{
    const char *start = data + *at, *end = memchr(start, '\n', length - *at);
    if (!end)
        return NULL;
    *at = (size_t)(end + 1 - data);
    return start;
}

/* ["pmessage", pattern, channel, body] and the three items of a confirmation: the last item of an array is what counts. */
static ssize_t take_redis(size_t at)
{
    const char *text = line(&at), *body = NULL;
    size_t size = 0;
    if (!text)
        return 0;
    if (*text != '*')
        return -1;
    int items = atoi(text + 1);
    for (int i = 0; i < items; i++) {
        text = line(&at);
        if (!text)
            return 0;
        if (*text != '$')
            continue;
        size = (size_t)atoi(text + 1);
        if (length - at < size + 2)
            return 0;
        body = data + at;
        at += size + 2;
    }
    if (items == 4 && body)
        forward(body, size);
    return (ssize_t)at;
}

/* MSG subject sid [reply-to] size */
static ssize_t take_nats(size_t at)
{
    const char *text = line(&at);
    if (!text)
        return 0;
    if (strncmp(text, "PING", 4) == 0)
        return say(broker, "PONG\r\n", 6) < 0 ? -1 : (ssize_t)at;
    if (strncmp(text, "MSG ", 4) != 0)
        return (ssize_t)at;
    const char *number = data + at - 2;
    while (number[-1] != ' ')
        number--;
    size_t size = (size_t)atoi(number);
    if (length - at < size + 2)
        return 0;
    forward(data + at, size);
    return (ssize_t)(at + size + 2);
}

static void on_broker(void)
{
    ssize_t n = recv(broker, data + length, sizeof data - length, MSG_DONTWAIT), took = 0;
    size_t at = 0;
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0) {
        length += (size_t)n;
        while (at < length && (took = with_nats ? take_nats(at) : take_redis(at)) > 0)
            at = (size_t)took;
        length -= at;
        memmove(data, data + at, length);
    }
    if (n <= 0 || took < 0 || length == sizeof data) {
        close(broker);
        broker = -1;
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    struct epoll_event events[64];
    if (argc < 4) {
        fputs("usage: bridge_server PORT BROKER_PORT redis|nats\n", stderr);
        return 1;
    }
    address.sin_port = htons((unsigned short)atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    broker_port = atoi(argv[2]);
    with_nats = strcmp(argv[3], "nats") == 0;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    poller = epoll_create1(EPOLL_CLOEXEC);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    broker_open();
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 128) < 0) {
        perror("bridge_server");
        return 1;
    }
    watch(listener, &listener);
    for (;;) {
        int n = epoll_wait(poller, events, 64, broker < 0 ? RETRY_MS : -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &listener)
                on_accept(listener);
            else if (events[i].data.ptr == &broker)
                on_broker();
            else if (on_client(events[i].data.ptr) < 0)
                client_free(events[i].data.ptr);
        }
        if (broker < 0)
            broker_open();
    }
}
