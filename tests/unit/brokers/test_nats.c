/*
 * The NATS driver without the core: what it reports, in which order and how often. Against a server of a few lines in a thread, which can
 * be silent, rude and wrong, and against nats-server where the machine has it.
 */
#include "tests/unit/net/support.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "agent/base/clock.h"
#include "agent/core/broker.h"
#include "brokers/mail.h"
#include "brokers/registry.h"

enum { TIMEOUT_MS = 1500 };

/* --- the core's double --- */

struct broker {
    struct loop *loop;
    struct broker_conf conf;
    struct url url;
    void *state;
    int ups, downs, pongs, closed, messages, published, subscribed, dropped, oversized; /* closed is the last */
    struct err down, pong, publish, subscribe;
    uint64_t token, received_ns;
    char topic[BROKER_TOPIC_MAX], body[256];
    size_t body_len;
    bool reported_after_down, in_batches;
};

static void heard_err(struct err *out, const struct err *err)
{
    if (err)
        *out = *err;
    else
        err_clear(out);
}

static void live(struct broker *broker)
{
    broker->reported_after_down = broker->reported_after_down || broker->downs > 0 || broker->closed;
}

const struct broker_conf *broker_get_conf(const struct broker *broker)
{
    return &broker->conf;
}
const void *broker_get_opts(const struct broker *broker)
{
    return broker->conf.opts;
}
void *broker_state(struct broker *broker)
{
    return broker->state;
}
struct loop *broker_loop(struct broker *broker)
{
    return broker->loop;
}
bool broker_topic_in_batches(const struct broker *broker, struct slice topic)
{
    (void)topic;
    return broker->in_batches;
}
int broker_url(const struct broker *broker, struct url *url, struct err *err)
{
    (void)err;
    *url = broker->url;
    return 0;
}
void broker_up(struct broker *broker)
{
    live(broker);
    broker->ups++;
}
void broker_down(struct broker *broker, const struct err *err)
{
    live(broker);
    broker->downs++;
    heard_err(&broker->down, err);
}
void broker_pong(struct broker *broker, const struct err *err)
{
    live(broker);
    broker->pongs++;
    heard_err(&broker->pong, err);
}
void broker_published(struct broker *broker, uint64_t token, const struct err *err)
{
    live(broker);
    broker->published++;
    broker->token = token;
    heard_err(&broker->publish, err);
}
void broker_subscribed(struct broker *broker, struct slice topic, const struct err *err)
{
    live(broker);
    broker->subscribed++;
    snprintf(broker->topic, sizeof broker->topic, "%.*s", (int)topic.len, (const char *)topic.data);
    heard_err(&broker->subscribe, err);
}
void broker_message(struct broker *broker, struct slice topic, struct slice body, uint64_t received_ns)
{
    live(broker);
    broker->messages++;
    broker->received_ns = received_ns;
    broker->body_len = body.len;
    snprintf(broker->topic, sizeof broker->topic, "%.*s", (int)topic.len, (const char *)topic.data);
    snprintf(broker->body, sizeof broker->body, "%.*s", (int)body.len, (const char *)body.data);
}
void broker_dropped(struct broker *broker, uint64_t count)
{
    live(broker);
    broker->dropped += (int)count;
}
void broker_oversized(struct broker *broker, uint64_t count)
{
    live(broker);
    broker->oversized += (int)count;
}
void broker_closed(struct broker *broker)
{
    assert_int_equal(broker->closed, 0);
    broker->closed = 1;
}

static struct loop loop;

static void broker_make(struct broker *broker, uint16_t port)
{
    memset(broker, 0, sizeof *broker);
    broker->loop = &loop;
    broker->conf.type = &broker_nats;
    broker->conf.timeout_ms = TIMEOUT_MS;
    broker->conf.tls.verify = true;
    broker->conf.tls.min_version = 2;
    broker->conf.opts = mem_alloc(broker_nats.opts_size);
    opt_defaults(broker_nats.opts, broker->conf.opts);
    broker->state = mem_alloc(broker_nats.state_size);
    snprintf(broker->url.scheme, sizeof broker->url.scheme, "nats");
    snprintf(broker->url.host, sizeof broker->url.host, "127.0.0.1");
    broker->url.port = port;
}

static void set(struct broker *broker, const char *name, const char *value)
{
    struct err err = { 0 };
    int rc = opt_set(broker_nats.opts, broker->conf.opts, name, value, &err);
    if (rc != 0)
        print_error("%s\n", err.text);
    assert_int_equal(rc, 0);
}

static void broker_unmake(struct broker *broker)
{
    assert_false(broker->reported_after_down);
    opt_fini(broker_nats.opts, broker->conf.opts);
    mem_free(broker->conf.opts);
    mem_free(broker->state);
}

static void open_it(struct broker *broker)
{
    struct err err = { 0 };
    assert_int_equal(broker_nats.open(broker, &err), 0);
    assert_int_equal(broker->ups + broker->downs, 0);
}

static void open_up(struct broker *broker)
{
    int over = 0;
    open_it(broker);
    while (!over) {
        uv_run(&loop.uv, UV_RUN_ONCE);
        over = broker->ups + broker->downs;
    }
    if (broker->ups == 0)
        print_error("down: %s\n", broker->down.text);
    assert_int_equal(broker->ups, 1);
}

static void expect_down(struct broker *broker, enum reason reason, const char *text)
{
    run_until(&loop, &broker->downs);
    if (broker->down.reason != reason || !strstr(broker->down.text, text))
        print_error("down: %s: %s\n", reason_name(broker->down.reason), broker->down.text);
    assert_int_equal(broker->down.reason, reason);
    assert_non_null(strstr(broker->down.text, text));
}

static void close_it(struct broker *broker)
{
    broker_nats.close(broker);
    assert_int_equal(broker->closed, 0);
    run_until(&loop, &broker->closed);
    broker_unmake(broker);
}

/* --- a server in a thread --- */

enum manner {
    SILENT,     /* takes the connection and says nothing */
    GARBAGE,    /* no NATS at all */
    ENDLESS,    /* an INFO without an end */
    REFUSING,   /* Authorization Violation */
    POLITE,     /* answers PING; the next depend on what the client sends then */
    LEAVING,    /* lame duck after the first PUB */
    CUTTING,    /* closes after the first PUB */
    FORBIDDING, /* no permission for any PUB or SUB */
    MUTE_LATER, /* answers the first PING only */
    FLOODING,   /* after the first PUB and the round trip behind it, more messages than anybody takes */
    STREAMING,  /* after the first PUB a message each millisecond, until the client has gone */
    STALLING,   /* wants TLS, and never answers the handshake */
};

struct server {
    int listener;
    uint16_t port;
    enum manner manner;
    pthread_t thread;
    bool due;      /* FLOODING: with the next PING */
    int flood_end; /* the kernel has taken the last message; atomic */
};

static void say(int fd, const char *text)
{
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        return;
}

enum { FLOOD_MESSAGES = 20000, FLOOD_BYTES = 1000 };

/* To the client's first subscription. More than the sockets' buffers hold: the client reads most of it before the last one is sent. */
static void flood(struct server *server, int fd)
{
    char message[FLOOD_BYTES + 64];
    int head = snprintf(message, sizeof message, "MSG news 1 %d\r\n", FLOOD_BYTES);
    memset(message + head, 'x', FLOOD_BYTES);
    snprintf(message + head + FLOOD_BYTES, 3, "\r\n");
    for (int i = 0; i < FLOOD_MESSAGES; i++)
        say(fd, message);
    __atomic_store_n(&server->flood_end, 1, __ATOMIC_RELEASE);
}

/* Answers every PING meanwhile. */
static void stream_news(int fd)
{
    struct pollfd readable = { .fd = fd, .events = POLLIN };
    char line[4096];
    for (ssize_t n = 1; n > 0;) {
        say(fd, "MSG news 1 1\r\nx\r\n");
        if (poll(&readable, 1, 1) == 0)
            continue;
        n = recv(fd, line, sizeof line - 1, 0);
        line[n > 0 ? n : 0] = '\0';
        if (strstr(line, "PING\r\n"))
            say(fd, "PONG\r\n");
    }
}

/* One line of the client's. false: that was all. */
static bool answer(struct server *server, int fd, const char *line, int *pings)
{
    char denial[256], subject[128] = "";
    bool publish = strncmp(line, "PUB ", 4) == 0, subscribe = strncmp(line, "SUB ", 4) == 0;
    if (strncmp(line, "PING", 4) == 0) {
        if (server->manner == REFUSING) {
            say(fd, "-ERR 'Authorization Violation'\r\n");
            return false;
        }
        if (server->manner != MUTE_LATER || (*pings)++ == 0)
            say(fd, "PONG\r\n");
        if (server->due)
            flood(server, fd);
        server->due = false;
    } else if (publish && server->manner == FLOODING) {
        server->due = true;
    } else if (publish && server->manner == STREAMING) {
        stream_news(fd);
    } else if (publish && server->manner == LEAVING) {
        say(fd, "INFO {\"server_id\":\"X\",\"version\":\"2.9.10\",\"max_payload\":1024,\"ldm\":true}\r\n");
    } else if (publish && server->manner == CUTTING) {
        return false;
    } else if ((publish || subscribe) && server->manner == FORBIDDING && !strstr(line, "fine")) {
        sscanf(line + 4, "%127s", subject);
        snprintf(denial, sizeof denial, "-ERR 'Permissions Violation for %s to \"%s\"'\r\n", publish ? "Publish" : "Subscription",
                 subject);
        say(fd, denial);
    }
    return true;
}

static void converse(struct server *server, int fd)
{
    char line[4096];
    size_t len = 0;
    int pings = 0;
    bool going = true;
    while (going && len < sizeof line - 1) {
        ssize_t n = recv(fd, line + len, 1, 0);
        if (n <= 0)
            return;
        if (line[len++] != '\n')
            continue;
        line[len] = '\0';
        len = 0;
        going = answer(server, fd, line, &pings);
    }
}

static void *serve(void *arg)
{
    struct server *server = arg;
    for (int fd; (fd = accept(server->listener, NULL, NULL)) >= 0; close(fd)) {
        char line[4096];
        switch (server->manner) {
        case SILENT:
            while (recv(fd, line, sizeof line, 0) > 0)
                ;
            break;
        case GARBAGE:
            say(fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
            break;
        case ENDLESS:
            say(fd, "INFO {\"server_id\":\"");
            memset(line, 'x', sizeof line);
            for (int i = 0; i < 100 && send(fd, line, sizeof line, MSG_NOSIGNAL) > 0; i++)
                ;
            break;
        case STALLING:
            say(fd, "INFO {\"server_id\":\"X\",\"version\":\"2.9.10\",\"max_payload\":1024,\"tls_required\":true}\r\n");
            converse(server, fd);
            break;
        default:
            say(fd, "INFO {\"server_id\":\"X\",\"version\":\"2.9.10\",\"max_payload\":1024}\r\n");
            converse(server, fd);
        }
    }
    return NULL;
}

static void server_start(struct server *server, enum manner manner)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    server->manner = manner;
    server->due = false;
    server->flood_end = 0;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(server->listener, 16), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &len), 0);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

/* After the client has gone: the thread is in accept. */
static void server_stop(struct server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
}

static int setup(void **state)
{
    (void)state;
    return loop_init(&loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    loop_fini(&loop);
    return 0;
}

/* --- rules --- */

static void expect_rule(const char *name, const char *value, const char *want)
{
    struct broker broker;
    struct err err = { 0 };
    broker_make(&broker, 1);
    set(&broker, name, value);
    if (strcmp(name, "token") == 0)
        set(&broker, "nkey_file", "/nowhere");
    int rc = broker_nats.validate(&broker.conf, &err);
    assert_int_equal(rc, want ? -1 : 0);
    if (want && !strstr(err.text, want))
        print_error("%s\n", err.text);
    assert_true(!want || strstr(err.text, want));
    broker_unmake(&broker);
}

static void test_rules(void **state)
{
    struct broker broker;
    struct err err = { 0 };
    (void)state;
    expect_rule("servers", "nats://10.0.0.1:4222", NULL);
    expect_rule("servers", "tls://[::1]:4222", NULL);
    expect_rule("servers", "http://10.0.0.1", "servers[0]: scheme 'http', want nats or tls");
    expect_rule("servers", "nats://me:secret@10.0.0.1:4222", "credentials belong into url");
    expect_rule("servers", "nats://", "servers[0]");
    expect_rule("token", "t0ken", "exclude each other");
    expect_rule("stream", "EVENTS", NULL);
    expect_rule("stream", "a.b", "want a name without");
    broker_make(&broker, 1);
    broker.conf.tls.min_version = 1;
    assert_int_equal(broker_nats.validate(&broker.conf, &err), -1);
    assert_non_null(strstr(err.text, "tls.min_version"));
    broker_unmake(&broker);
}

static void test_missing_files_are_named_with_their_option(void **state)
{
    static const char *const names[] = { "nkey_file", "credentials_file" };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct broker broker;
        struct err err = { 0 };
        broker_make(&broker, 1);
        set(&broker, names[i], "/nowhere/at/all");
        assert_int_equal(broker_nats.open(&broker, &err), -1);
        assert_int_equal(err.reason, REASON_AGENT_ERROR);
        assert_non_null(strstr(err.text, names[i]));
        broker_unmake(&broker);
    }
}

/* --- connecting --- */

static void test_nobody_listens(void **state)
{
    struct server server;
    struct broker broker;
    (void)state;
    server_start(&server, POLITE);
    server_stop(&server);
    broker_make(&broker, server.port);
    open_it(&broker);
    expect_down(&broker, REASON_BROKER_UNREACHABLE, "127.0.0.1:");
    close_it(&broker);
}

static void expect_manner(enum manner manner, enum reason reason, const char *text)
{
    struct server server;
    struct broker broker;
    server_start(&server, manner);
    broker_make(&broker, server.port);
    open_it(&broker);
    expect_down(&broker, reason, text);
    assert_int_equal(broker.ups, 0);
    close_it(&broker);
    server_stop(&server);
}

static void test_servers_that_are_none(void **state)
{
    (void)state;
    expect_manner(SILENT, REASON_BROKER_TIMEOUT, "no answer");
    expect_manner(GARBAGE, REASON_BROKER_UNREACHABLE, "127.0.0.1");
    expect_manner(ENDLESS, REASON_BROKER_UNREACHABLE, "127.0.0.1");
    expect_manner(REFUSING, REASON_BROKER_AUTH_FAILED, "Authorization Violation");
}

static void test_the_second_server_is_tried(void **state)
{
    struct server silent, polite;
    struct broker broker;
    char url[64];
    (void)state;
    server_start(&silent, SILENT);
    server_start(&polite, POLITE);
    broker_make(&broker, silent.port);
    snprintf(url, sizeof url, "nats://127.0.0.1:%u", polite.port);
    set(&broker, "servers", url);
    open_up(&broker);
    close_it(&broker);
    server_stop(&silent);
    server_stop(&polite);
}

/* The worker sits in the library; closing is answered all the same, and it cleans up behind everybody's back. */
static void test_closing_does_not_wait_for_a_stuck_worker(void **state)
{
    struct server server;
    struct broker broker;
    (void)state;
    server_start(&server, SILENT);
    for (int i = 0; i < 3; i++) {
        broker_make(&broker, server.port);
        broker.conf.timeout_ms = i == 0 ? TIMEOUT_MS : 400;
        open_it(&broker);
        run_for(&loop, 20);
        uint64_t before_ns = clock_now_ns();
        close_it(&broker);
        assert_true(clock_now_ns() - before_ns < (uint64_t)TIMEOUT_MS * NS_PER_MS);
        assert_int_equal(broker.downs, 0);
    }
    server_stop(&server);
}

/* Without an interruption the library would read for ever, and server_stop wait for the end of the connection. */
static void test_a_handshake_that_never_ends(void **state)
{
    struct server server;
    struct broker broker;
    (void)state;
    server_start(&server, STALLING);
    for (int i = 0; i < 3; i++) {
        broker_make(&broker, server.port);
        if (i == 1)
            broker.url.tls = true;
        open_it(&broker);
        run_for(&loop, 200);
        assert_int_equal(broker.downs, 0);
        close_it(&broker);
    }
    server_stop(&server);
}

static void test_closing_at_once(void **state)
{
    struct server server;
    struct broker broker;
    (void)state;
    server_start(&server, POLITE);
    for (int i = 0; i < 20; i++) {
        broker_make(&broker, server.port);
        open_it(&broker);
        if (i % 2)
            run_for(&loop, (uint64_t)i / 2);
        close_it(&broker);
    }
    server_stop(&server);
}

/* --- requests --- */

static void publish(struct broker *broker, const char *topic, const char *body, uint64_t token)
{
    int before = broker->published;
    assert_int_equal(broker_nats.publish(broker, slice_str(topic), slice_str(body), token), 0);
    assert_int_equal(broker->published, before);
    while (broker->published == before && broker->downs == 0)
        uv_run(&loop.uv, UV_RUN_ONCE);
}

static void subscribe(struct broker *broker, const char *topic)
{
    int before = broker->subscribed;
    assert_int_equal(broker_nats.subscribe(broker, slice_str(topic)), 0);
    while (broker->subscribed == before && broker->downs == 0)
        uv_run(&loop.uv, UV_RUN_ONCE);
}

static void ping(struct broker *broker)
{
    int before = broker->pongs;
    assert_int_equal(broker_nats.ping(broker), 0);
    while (broker->pongs == before && broker->downs == 0)
        uv_run(&loop.uv, UV_RUN_ONCE);
}

static void test_asks_are_answered(void **state)
{
    struct server server;
    struct broker broker;
    (void)state;
    server_start(&server, POLITE);
    broker_make(&broker, server.port);
    open_up(&broker);
    ping(&broker);
    assert_int_equal(broker.pong.reason, REASON_NONE);
    publish(&broker, "health.check", "x", 77);
    assert_int_equal(broker.publish.reason, REASON_NONE);
    assert_int_equal(broker.token, 77);
    subscribe(&broker, "health.*");
    assert_int_equal(broker.subscribe.reason, REASON_NONE);
    assert_string_equal(broker.topic, "health.*");
    close_it(&broker);
    server_stop(&server);
}

static void test_subjects_that_would_be_commands(void **state)
{
    static const char *const bad[] = { "", "a b", "a\r\nPUB x 0\r\n", "a..b", ".a", "a.", "a\tb", "a.*", ">" };
    struct server server;
    struct broker broker;
    (void)state;
    server_start(&server, POLITE);
    broker_make(&broker, server.port);
    open_up(&broker);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        publish(&broker, bad[i], "x", i);
        assert_int_equal(broker.publish.reason, REASON_AGENT_ERROR);
        assert_int_equal(broker.token, i);
        if (i < 7) {
            subscribe(&broker, bad[i]);
            assert_int_equal(broker.subscribe.reason, REASON_AGENT_ERROR);
        }
    }
    char large[2000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    publish(&broker, "a", large, 1);
    assert_int_equal(broker.publish.reason, REASON_AGENT_ERROR);
    assert_non_null(strstr(broker.publish.text, "max_payload"));
    ping(&broker);
    assert_int_equal(broker.pong.reason, REASON_NONE);
    close_it(&broker);
    server_stop(&server);
}

static void test_permissions(void **state)
{
    struct server server;
    struct broker broker;
    (void)state;
    server_start(&server, FORBIDDING);
    broker_make(&broker, server.port);
    open_up(&broker);
    for (int i = 0; i < 2; i++) {
        publish(&broker, "secret", "x", 1);
        assert_int_equal(broker.publish.reason, REASON_BROKER_AUTH_FAILED);
        assert_non_null(strstr(broker.publish.text, "\"secret\""));
        subscribe(&broker, "hidden");
        assert_int_equal(broker.subscribe.reason, REASON_BROKER_AUTH_FAILED);
        assert_non_null(strstr(broker.subscribe.text, "\"hidden\""));
        publish(&broker, "fine", "x", 2); /* an older violation is nobody's business */
        assert_int_equal(broker.publish.reason, REASON_NONE);
        ping(&broker);
        assert_int_equal(broker.pong.reason, REASON_NONE);
    }
    assert_int_equal(broker.downs, 0);
    close_it(&broker);
    server_stop(&server);
}

/* A message that is larger than a heartbeat can be is counted apart from those that find no room. */
static void test_what_is_too_large_is_counted(void **state)
{
    static const struct mailbox_type type = { MAIL_PORT_TYPE, .max_mails = 8, .max_bytes = 1 << 20 };
    struct mail_port port = { 0 };
    struct broker broker;
    struct err err;
    char *body = mem_alloc(BROKER_BODY_MAX + 1);
    (void)state;
    memset(body, 'x', BROKER_BODY_MAX + 1);
    broker_make(&broker, 1);
    assert_int_equal(mail_port_open(&port, &broker, &type, &err), 0);
    broker_mail_message(port.box, "news", slice_make(body, BROKER_BODY_MAX + 1));
    broker_mail_message(port.box, "news", slice_make(body, BROKER_BODY_MAX));
    run_until(&loop, &broker.messages);
    assert_int_equal(broker.messages, 1);
    assert_int_equal(broker.body_len, BROKER_BODY_MAX);
    assert_int_equal(broker.oversized, 1);
    assert_int_equal(broker.dropped, 0);
    mail_port_close(&port);
    run_until(&loop, &broker.closed);
    broker_unmake(&broker);
    mem_free(body);
}

/* Several in one batch: each gets its own answer. */
static void test_a_batch(void **state)
{
    enum { MANY = 200 };
    struct server server;
    struct broker broker;
    (void)state;
    server_start(&server, FORBIDDING);
    broker_make(&broker, server.port);
    open_up(&broker);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(broker_nats.publish(&broker, slice_str("fine"), slice_str("x"), (uint64_t)i), 0);
    assert_int_equal(broker_nats.publish(&broker, slice_str("secret"), slice_str("x"), MANY), 0);
    while (broker.published <= MANY)
        uv_run(&loop.uv, UV_RUN_ONCE);
    assert_int_equal(broker.token, MANY); /* in order */
    assert_int_equal(broker.publish.reason, REASON_BROKER_AUTH_FAILED);
    close_it(&broker);
    server_stop(&server);
}

/* While the loop does not turn, more comes than the mailbox and the library's own queue hold: each message is delivered, or counted. */
static void flooded(bool in_batches)
{
    struct timespec nap = { .tv_nsec = 1000000 };
    struct server server;
    struct broker broker;
    server_start(&server, FLOODING);
    broker_make(&broker, server.port);
    broker.in_batches = in_batches;
    open_up(&broker);
    subscribe(&broker, "news");
    publish(&broker, "elsewhere", "x", 1);
    while (!__atomic_load_n(&server.flood_end, __ATOMIC_ACQUIRE))
        nanosleep(&nap, NULL);
    while (broker.messages + broker.dropped < FLOOD_MESSAGES && broker.downs == 0)
        ping(&broker); /* behind the last message; what the library has dropped is told with it */
    assert_int_equal(broker.downs, 0);
    assert_int_equal(broker.messages + broker.dropped, FLOOD_MESSAGES);
    assert_true(broker.dropped > 0 && broker.messages > 0);
    close_it(&broker);
    server_stop(&server);
}

static void test_what_is_dropped_is_counted(void **state)
{
    (void)state;
    flooded(false);
    flooded(true);
}

/* The thread that takes batches waits, or rests, when the subscription ends, the server hangs up, or the broker is closed. */
static void test_batches_end(void **state)
{
    enum { MANY = 200 };
    struct server server;
    struct broker broker;
    (void)state;
    for (int way = 0; way < 4; way++) {
        server_start(&server, way == 3 ? CUTTING : STREAMING);
        broker_make(&broker, server.port);
        broker.in_batches = true;
        open_up(&broker);
        subscribe(&broker, "news");
        publish(&broker, "elsewhere", "x", 1);
        while (way < 2 && broker.messages < MANY)
            uv_run(&loop.uv, UV_RUN_ONCE);
        if (way == 1) {
            broker_nats.unsubscribe(&broker, slice_str("news"));
            ping(&broker);
            ping(&broker);
        }
        if (way == 3)
            run_until(&loop, &broker.downs);
        close_it(&broker);
        server_stop(&server);
    }
}

static void open_and_close(enum reason reason, const char *text)
{
    struct broker broker;
    broker_make(&broker, 1);
    open_it(&broker);
    expect_down(&broker, reason, text);
    close_it(&broker);
}

/*
 * The library then says that nothing accepts connections, as it does where that is so. It is the agent's own fault, and over when descriptors
 * are there again. Connections of earlier tests may give some back meanwhile: those are taken too, and the next attempt counts.
 */
static void test_no_descriptors_are_left(void **state)
{
    enum { FILES_MAX = 256, ATTEMPTS_MAX = 20 };
    struct rlimit before, few;
    struct broker broker;
    int taken[FILES_MAX], count = 0;
    (void)state;
    open_and_close(REASON_BROKER_UNREACHABLE, "nothing accepts connections");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = FILES_MAX;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    broker.down.reason = REASON_NONE;
    for (int i = 0; i < ATTEMPTS_MAX && broker.down.reason != REASON_AGENT_ERROR; i++) {
        while (count < FILES_MAX && (taken[count] = dup(STDIN_FILENO)) >= 0)
            count++;
        broker_make(&broker, 1);
        open_it(&broker);
        run_until(&loop, &broker.downs);
        close_it(&broker);
    }
    while (count > 0)
        close(taken[--count]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(broker.down.reason, REASON_AGENT_ERROR);
    assert_non_null(strstr(broker.down.text, "no file descriptor is left"));
    open_and_close(REASON_BROKER_UNREACHABLE, "nothing accepts connections");
}

static void test_lame_duck(void **state)
{
    struct server server;
    struct broker broker;
    (void)state;
    server_start(&server, LEAVING);
    broker_make(&broker, server.port);
    open_up(&broker);
    assert_int_equal(broker_nats.publish(&broker, slice_str("x"), slice_str("x"), 1), 0);
    expect_down(&broker, REASON_BROKER_UNREACHABLE, "shutting down (lame duck)");
    assert_int_equal(broker_nats.publish(&broker, slice_str("x"), slice_str("x"), 1), -1);
    close_it(&broker);
    server_stop(&server);
}

static void test_cut(void **state)
{
    struct server server;
    struct broker broker;
    (void)state;
    server_start(&server, CUTTING);
    broker_make(&broker, server.port);
    open_up(&broker);
    assert_int_equal(broker_nats.publish(&broker, slice_str("x"), slice_str("x"), 1), 0);
    expect_down(&broker, REASON_BROKER_UNREACHABLE, "127.0.0.1");
    close_it(&broker);
    server_stop(&server);
}

/* Frozen: the request is answered with its timeout, and the connection is given up by the library's own pings. */
static void test_no_answer_any_more(void **state)
{
    struct server server;
    struct broker broker;
    (void)state;
    server_start(&server, MUTE_LATER);
    broker_make(&broker, server.port);
    open_up(&broker);
    ping(&broker);
    assert_int_equal(broker.pongs, 1);
    assert_int_equal(broker.pong.reason, REASON_BROKER_TIMEOUT);
    expect_down(&broker, REASON_BROKER_TIMEOUT, "2 pings");
    close_it(&broker);
    server_stop(&server);
}

/* --- the real one --- */

struct real {
    pid_t pid;
    uint16_t port;
};

static uint16_t free_port(void)
{
    struct server server;
    server_start(&server, POLITE);
    server_stop(&server);
    return server.port;
}

static bool connects(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return good;
}

/* Debian installs it where a user's PATH does not lead. */
static const char *real_path(void)
{
    static const char *const paths[] = { "/usr/sbin/nats-server", "/usr/bin/nats-server", "/usr/local/bin/nats-server" };

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (access(paths[i], X_OK) == 0)
            return paths[i];
    return NULL;
}

static void real_spawn(struct real *real)
{
    char port[8];
    snprintf(port, sizeof port, "%u", real->port);
    real->pid = fork();
    assert_true(real->pid >= 0);
    if (real->pid == 0) {
        /* It neither outlives a test that fails nor holds its output. */
        int null = open("/dev/null", O_RDWR);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execl(real_path(), "nats-server", "-a", "127.0.0.1", "-p", port, "-l", "/dev/null", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && !connects(real->port); i++) {
        struct timespec nap = { .tv_nsec = 20000000 };
        nanosleep(&nap, NULL);
    }
    assert_true(connects(real->port));
}

static void real_start(struct real *real)
{
    if (!real_path())
        skip();
    real->port = free_port();
    real_spawn(real);
}

static void real_end(struct real *real, int number)
{
    kill(real->pid, number);
    assert_int_equal(waitpid(real->pid, NULL, 0), real->pid);
}

static void real_messages(bool in_batches)
{
    struct real real;
    struct broker broker;
    real_start(&real);
    broker_make(&broker, real.port);
    broker.in_batches = in_batches;
    open_up(&broker);
    subscribe(&broker, "health");
    for (int i = 1; i <= 50; i++) {
        uint64_t before_ns = clock_now_ns();
        assert_int_equal(broker_nats.publish(&broker, slice_str("health"), slice_str("beat"), 5), 0);
        while (broker.messages < i || broker.published < i)
            uv_run(&loop.uv, UV_RUN_ONCE);
        assert_string_equal(broker.topic, "health");
        assert_string_equal(broker.body, "beat");
        assert_true(broker.received_ns >= before_ns && broker.received_ns <= clock_now_ns());
    }
    broker_nats.unsubscribe(&broker, slice_str("health"));
    publish(&broker, "health", "nobody hears", 6);
    assert_int_equal(broker.publish.reason, REASON_NONE);
    ping(&broker);
    assert_int_equal(broker.messages, 50);
    subscribe(&broker, "health"); /* and back again */
    publish(&broker, "health", "again", 7);
    while (broker.messages < 51)
        uv_run(&loop.uv, UV_RUN_ONCE);
    close_it(&broker);
    real_end(&real, SIGTERM);
}

static void test_real_messages(void **state)
{
    (void)state;
    real_messages(false);
    real_messages(true);
}

static void test_real_many_subscriptions(void **state)
{
    enum { TOPICS = 1000 };
    struct real real;
    struct broker broker;
    char topic[32];
    (void)state;
    real_start(&real);
    broker_make(&broker, real.port);
    broker.conf.timeout_ms = 10000;
    open_up(&broker);
    for (int i = 0; i < TOPICS; i++) {
        snprintf(topic, sizeof topic, "room.%d", i);
        assert_int_equal(broker_nats.subscribe(&broker, slice_str(topic)), 0);
    }
    while (broker.subscribed < TOPICS)
        uv_run(&loop.uv, UV_RUN_ONCE);
    for (int i = 0; i < TOPICS; i++) {
        snprintf(topic, sizeof topic, "room.%d", i);
        assert_int_equal(broker_nats.publish(&broker, slice_str(topic), slice_str("x"), (uint64_t)i), 0);
    }
    while (broker.messages < TOPICS || broker.published < TOPICS)
        uv_run(&loop.uv, UV_RUN_ONCE);
    assert_int_equal(broker.publish.reason, REASON_NONE);
    close_it(&broker);
    real_end(&real, SIGTERM);
}

static void test_real_killed_and_restarted(void **state)
{
    struct real real;
    struct broker broker;
    (void)state;
    real_start(&real);
    broker_make(&broker, real.port);
    open_up(&broker);
    real_end(&real, SIGKILL);
    expect_down(&broker, REASON_BROKER_UNREACHABLE, "127.0.0.1");
    close_it(&broker);
    broker_make(&broker, real.port);
    open_it(&broker);
    expect_down(&broker, REASON_BROKER_UNREACHABLE, "127.0.0.1");
    close_it(&broker);
    real_spawn(&real);
    broker_make(&broker, real.port);
    open_up(&broker);
    close_it(&broker);
    real_end(&real, SIGTERM);
}

/* The loop's timer goes on while the worker sits in a call to a frozen server. */
static void on_tick(struct timer *timer, void *user)
{
    (*(int *)user)++;
    timer_start(timer, 10);
}

static void test_real_frozen(void **state)
{
    struct real real;
    struct broker broker;
    struct timer tick = { 0 };
    int ticks = 0;
    (void)state;
    real_start(&real);
    broker_make(&broker, real.port);
    open_up(&broker);
    kill(real.pid, SIGSTOP);
    assert_int_equal(waitpid(real.pid, NULL, WUNTRACED), real.pid); /* only now does it answer nothing */
    timer_init(&tick, &loop, on_tick, &ticks);
    timer_start(&tick, 10);
    assert_int_equal(broker_nats.publish(&broker, slice_str("x"), slice_str("x"), 1), 0);
    assert_int_equal(broker_nats.ping(&broker), 0);
    expect_down(&broker, REASON_BROKER_TIMEOUT, "2 pings");
    assert_int_equal(broker.published, 1);
    assert_int_equal(broker.publish.reason, REASON_BROKER_TIMEOUT);
    assert_true(ticks > 20);
    timer_stop(&tick);
    close_it(&broker);
    kill(real.pid, SIGCONT);
    real_end(&real, SIGTERM);
}

/* Past the ceiling requests are refused, and not one more is reported than was taken. */
static void test_too_many_asks(void **state)
{
    enum { TOO_MANY = 20000 };
    struct server server;
    struct broker broker;
    int taken = 0;
    (void)state;
    server_start(&server, SILENT);
    broker_make(&broker, server.port);
    broker.conf.timeout_ms = 600;
    open_it(&broker);
    for (int i = 0; i < TOO_MANY; i++)
        taken += broker_nats.publish(&broker, slice_str("x"), slice_str("y"), 1) == 0;
    assert_true(taken > 100 && taken < TOO_MANY);
    expect_down(&broker, REASON_BROKER_TIMEOUT, "no answer");
    assert_int_equal(broker.published, 0);
    close_it(&broker);
    server_stop(&server);
}

static int group_teardown(void **state)
{
    (void)state;
    broker_nats.end();
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_rules),
        TEST(test_missing_files_are_named_with_their_option),
        TEST(test_nobody_listens),
        TEST(test_servers_that_are_none),
        TEST(test_the_second_server_is_tried),
        TEST(test_closing_does_not_wait_for_a_stuck_worker),
        TEST(test_a_handshake_that_never_ends),
        TEST(test_closing_at_once),
        TEST(test_asks_are_answered),
        TEST(test_subjects_that_would_be_commands),
        TEST(test_permissions),
        TEST(test_what_is_too_large_is_counted),
        TEST(test_a_batch),
        TEST(test_what_is_dropped_is_counted),
        TEST(test_batches_end),
        TEST(test_no_descriptors_are_left),
        TEST(test_lame_duck),
        TEST(test_cut),
        TEST(test_no_answer_any_more),
        TEST(test_too_many_asks),
        TEST(test_real_messages),
        TEST(test_real_many_subscriptions),
        TEST(test_real_killed_and_restarted),
        TEST(test_real_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, group_teardown);
}
