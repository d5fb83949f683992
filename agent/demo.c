/*
 * `wshealthd demo` (agent/demo.h): the server to break (agent/demo_server.c), the agent beside it, and a person who types. Called by
 * agent/cli_run.c. It owns the loop, the signals and what is said on stdout; the agent's log is kept to errors, as the changes of the
 * verdict are told here in sentences.
 */
#include "agent/demo.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/core/report.h"
#include "agent/demo_server.h"
#include "agent/net/listen.h"

enum {
    CHECK_INTERVAL_MS = 1000,
    CHECK_TIMEOUT_MS = 800,
    ECHO_SLO_MS = 200,
    LIVENESS_AFTER_MS = 10000,
    HEALTH_PORT = 9717,
    /* A file or /dev/null on stdin cannot be awaited by epoll, so it is looked at now and then. */
    STDIN_POLL_MS = 50,
    LINE_MAX_BYTES = 256,
    TEXT_MAX = 64 << 10,
    EXIT_AT_ONCE = 3,
};

struct demo {
    struct loop loop;
    struct demo_server *server;
    struct conf *conf;
    struct agent *agent;
    struct loop_signal term, interrupt;
    struct timer typing;
    char line[LINE_MAX_BYTES]; /* what has been typed of the next command */
    size_t line_len;
    bool stopping;
    char directory[64]; /* of the admin socket; "" where none could be made */
    char url[64], word[16], cause[64];
    bool live;
};

static void say(struct buf *text)
{
    fputs(buf_str(text), stdout);
    fflush(stdout);
    buf_fini(text);
}

/* --- what the agent thinks --------------------------------------------------------------------------------------------- */

/* The word for the verdict: the first line of /ready. */
static void ready_word(const struct agent_view *view, char *out, size_t size)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    report_plain(view, REPORT_READY, false, true, &text);
    snprintf(out, size, "%.*s", (int)strcspn(buf_str(&text), "\n"), buf_str(&text));
    buf_fini(&text);
}

static void on_change(void *user, const struct agent_view *view)
{
    struct demo *demo = user;
    struct buf text = BUF_INIT(TEXT_MAX);
    char word[sizeof demo->word], stamp[16];
    time_t now = time(NULL);
    struct tm local;

    ready_word(view, word, sizeof word);
    strftime(stamp, sizeof stamp, "%H:%M:%S", localtime_r(&now, &local));
    if (*demo->word && !demo->stopping) {
        if (strcmp(word, demo->word) != 0)
            buf_printf(&text, "%s  %s -> %s: %s\n", stamp, demo->word, word, view->diagnosis.sentence);
        else if (strcmp(view->diagnosis.cause, demo->cause) != 0)
            buf_printf(&text, "%s  still %s: %s\n", stamp, word, view->diagnosis.sentence);
        if (view->verdict.live != demo->live)
            buf_printf(&text, "%s  %s\n", stamp,
                       view->verdict.live ? "dead -> live: /live answers 200 again"
                                          : "live -> dead: /live answers 503, by which Kubernetes would restart the server");
    }
    snprintf(demo->word, sizeof demo->word, "%s", word);
    snprintf(demo->cause, sizeof demo->cause, "%s", view->diagnosis.cause);
    demo->live = view->verdict.live;
    say(&text);
}

static void show_status(struct demo *demo)
{
    const struct report_style style = { .colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") };
    struct buf text = BUF_INIT(TEXT_MAX);
    report_human(agent_view(demo->agent), &style, &text);
    say(&text);
}

/* --- the end ------------------------------------------------------------------------------------------------------------ */

static void on_stopped(void *user)
{
    struct demo *demo = user;
    demo_server_close(demo->server);
    loop_signal_close(&demo->term);
    loop_signal_close(&demo->interrupt);
    loop_stop(&demo->loop);
}

static void demo_stop(struct demo *demo)
{
    if (demo->stopping)
        return;
    demo->stopping = true;
    timer_stop(&demo->typing);
    agent_stop(demo->agent, on_stopped, demo);
}

static void on_signal(void *user, int number)
{
    struct demo *demo = user;
    (void)number;
    if (demo->stopping)
        _exit(EXIT_AT_ONCE);
    demo_stop(demo);
}

/* --- what is typed ------------------------------------------------------------------------------------------------------- */

static void show_faults(struct demo *demo)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    buf_append_str(&text, "Faults (* is on; several can be on at once):\n");
    demo_write_fault_list(demo_server_faults(demo->server), &text);
    say(&text);
}

static void show_help(struct demo *demo)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    (void)demo;
    buf_append_str(&text, "  NAME       switches that fault on          off NAME   switches it off\n"
                          "  clear      switches all of them off        faults     lists them\n"
                          "  status     what the agent thinks now       quit       ends the demo\n");
    say(&text);
}

static void set_faults(struct demo *demo, demo_fault_set faults)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    demo_server_set_faults(demo->server, faults);
    buf_append_str(&text, faults ? "on:" : "no fault is on");
    for (int i = 0; i < DEMO_FAULT_COUNT; i++)
        if (faults & DEMO_FAULT_BIT(i))
            buf_printf(&text, " %s", demo_fault_name((enum demo_fault)i));
    buf_append_str(&text, "\n");
    say(&text);
}

static void clear_faults(struct demo *demo)
{
    set_faults(demo, 0);
}

static const struct command {
    const char *name;
    void (*run)(struct demo *demo);
} commands[] = {
    { "help", show_help },     { "?", show_help },    { "faults", show_faults }, { "status", show_status },
    { "clear", clear_faults }, { "quit", demo_stop }, { "exit", demo_stop },
};

static void switch_fault(struct demo *demo, const char *name, bool on)
{
    demo_fault_set faults = demo_server_faults(demo->server);
    struct err err;
    int fault = demo_fault_find(name, &err);

    if (fault < 0)
        printf("%s; 'help' says what else there is\n", err.text);
    else
        set_faults(demo, on ? faults | DEMO_FAULT_BIT(fault) : faults & ~DEMO_FAULT_BIT(fault));
    fflush(stdout);
}

static void run_line(struct demo *demo, char *line)
{
    char *rest = NULL, *word = strtok_r(line, " \t\r", &rest), *name = word ? strtok_r(NULL, " \t\r", &rest) : NULL;

    if (!word)
        return;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(word, commands[i].name) == 0) {
            commands[i].run(demo);
            return;
        }
    if (strcmp(word, "off") == 0 && !name)
        clear_faults(demo);
    else if ((strcmp(word, "off") == 0 || strcmp(word, "on") == 0) && name)
        switch_fault(demo, name, word[1] == 'n');
    else
        switch_fault(demo, word, true);
}

/* A line that is too long is run as far as it fits: it is no command anyway. */
static void take_typed(struct demo *demo, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && !demo->stopping; i++) {
        if (bytes[i] != '\n') {
            if (demo->line_len < sizeof demo->line - 1)
                demo->line[demo->line_len++] = bytes[i];
            continue;
        }
        demo->line[demo->line_len] = '\0';
        demo->line_len = 0;
        run_line(demo, demo->line);
    }
}

static void on_typing(struct timer *timer, void *user)
{
    struct demo *demo = user;
    struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
    char bytes[LINE_MAX_BYTES];

    if (poll(&in, 1, 0) > 0) {
        ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
            return; /* nobody types any more; the demo goes on */
        if (got > 0)
            take_typed(demo, bytes, (size_t)got);
    }
    if (!demo->stopping)
        timer_start(timer, STDIN_POLL_MS);
}

/* --- the beginning ------------------------------------------------------------------------------------------------------- */

static void on_nobody(void *user, struct stream *stream)
{
    (void)user;
    stream_close_now(stream);
}

/* Is that port of 127.0.0.1 free, and for 0: which one is? The agent binds it a moment later. 0: it is not. */
static uint16_t free_port(struct loop *loop, const char *host, uint16_t port)
{
    struct listen_address address = { .port = port };
    const struct listen_options options = { .fd = -1 };
    struct err err;
    snprintf(address.host, sizeof address.host, "%s", host);
    struct listener *listener = listener_open(loop, &address, &options, on_nobody, NULL, &err);
    if (!listener)
        return 0;
    port = listener_port(listener);
    listener_close(listener);
    return port;
}

/* Where the health face goes: with a port of its own where none was given, so that it can be told. */
static int choose_listen(struct demo *demo, const char *wanted, struct err *err)
{
    struct listen_address address = { .host = "127.0.0.1", .port = HEALTH_PORT };
    if (wanted && listen_address_parse(wanted, &address, err) < 0)
        return err_prefix(err, "--listen");
    mem_free(demo->conf->listen);
    if (address.is_unix) {
        demo->conf->listen = mem_strdup(wanted);
        return 0;
    }
    uint16_t port = address.port;
    if (!port || (!wanted && !free_port(&demo->loop, address.host, port)))
        port = free_port(&demo->loop, address.host, 0);
    demo->conf->listen = mem_printf(strchr(address.host, ':') ? "[%s]:%u" : "%s:%u", address.host, port);
    return 0;
}

/* The admin socket of a demo is its own: no right to /run is needed, and no other agent's socket is in the way. */
static void choose_admin(struct demo *demo)
{
    const char *home = getenv("XDG_RUNTIME_DIR");
    bool fits = home && *home == '/' && strlen(home) < sizeof demo->directory - sizeof "/wshealthd-demo-XXXXXX";
    snprintf(demo->directory, sizeof demo->directory, "%s/wshealthd-demo-XXXXXX", fits ? home : "/tmp");
    if (!mkdtemp(demo->directory))
        demo->directory[0] = '\0';
    mem_free(demo->conf->admin);
    demo->conf->admin = *demo->directory ? mem_printf("unix:%s/admin.sock", demo->directory) : mem_strdup("off");
}

static int conf_failed(struct conf_errors *errors, struct err *err)
{
    const char *text = buf_str(&errors->text);
    err_set(err, REASON_NONE, 0, "%.*s", (int)strcspn(text, "\n"), text);
    conf_errors_fini(errors);
    return -1;
}

static int make_conf(struct demo *demo, const struct demo_options *options, struct err *err)
{
    struct conf_errors errors;
    struct check_conf *echo;

    conf_errors_init(&errors);
    demo->conf = conf_for_url(demo->url, &agent_conf_env, &errors);
    if (!demo->conf)
        return conf_failed(&errors, err);
    echo = conf_add_check(demo->conf, "echo", &agent_conf_env, err);
    if (!echo || choose_listen(demo, options->listen, err) < 0) {
        conf_errors_fini(&errors);
        return -1;
    }
    echo->slo_ms = ECHO_SLO_MS;
    for (size_t i = 0; i < demo->conf->check_count; i++) {
        demo->conf->checks[i].interval_ms = CHECK_INTERVAL_MS;
        demo->conf->checks[i].timeout_ms = CHECK_TIMEOUT_MS;
    }
    demo->conf->liveness_after_ms = LIVENESS_AFTER_MS;
    demo->conf->log_level = LOG_ERROR;
    choose_admin(demo);
    if (conf_seal(demo->conf, &agent_conf_env, &errors) < 0)
        return conf_failed(&errors, err);
    conf_errors_fini(&errors);
    return 0;
}

static void say_hello(const struct demo *demo)
{
    const char *listen = demo->conf->listen;
    struct buf text = BUF_INIT(TEXT_MAX);

    buf_printf(&text,
               "A WebSocket server to break, and the agent beside it.\n\n"
               "  server  %s   echoes; with /push it also says something every second\n",
               demo->url);
    if (strncmp(listen, "unix:", 5) == 0)
        buf_printf(&text,
                   "  agent   %s   asks it every second: handshake, ping, hold, echo\n\nIn another terminal, try:\n"
                   "  curl -i --unix-socket %s 'http://localhost/ready?verbose'\n",
                   listen, listen + 5);
    else
        buf_printf(&text,
                   "  agent   http://%s   asks it every second: handshake, ping, hold, echo\n\nIn another terminal, try:\n"
                   "  curl -i 'http://%s/ready?verbose'\n"
                   "  curl -s http://%s/status\n",
                   listen, listen, listen);
    buf_printf(&text, "  wshealthd check %s\n", demo->url);
    if (*demo->directory)
        buf_printf(&text, "  wshealthd status --admin %s\n", demo->conf->admin);
    buf_append_str(
        &text, "\nThen break the server: type the name of a fault and see what the agent says. 'off NAME' or 'clear' mends it,\n"
               "'status' shows every check, 'help' the other commands; Ctrl-C ends the demo.\n\n");
    demo_write_fault_list(demo_server_faults(demo->server), &text);
    buf_append_str(&text, "\n");
    say(&text);
}

static int start(struct demo *demo, const struct demo_options *options, struct err *err)
{
    const struct agent_options agent_options = { .serve = true, .on_change = on_change, .user = demo };
    int fault = options->fault ? demo_fault_find(options->fault, err) : 0;

    if (fault < 0)
        return -1;
    demo->server = demo_server_open(&demo->loop, options->port, err);
    if (!demo->server)
        return err_prefix(err, "--port");
    if (options->fault)
        demo_server_set_faults(demo->server, DEMO_FAULT_BIT(fault));
    snprintf(demo->url, sizeof demo->url, "ws://127.0.0.1:%u/ws", demo_server_port(demo->server));
    log_configure(LOG_ERROR, LOG_LOGFMT);
    if (make_conf(demo, options, err) == 0)
        demo->agent = agent_new(&demo->loop, demo->conf, &agent_options, err);
    if (demo->agent)
        return 0;
    demo_server_close(demo->server);
    return -1;
}

int demo_run(const struct demo_options *options, struct err *err)
{
    struct demo *demo = mem_alloc(sizeof *demo);
    int rc = loop_init(&demo->loop, err);

    if (rc < 0) {
        mem_free(demo);
        return -1;
    }
    rc = start(demo, options, err);
    if (rc == 0) {
        loop_signal_open(&demo->term, &demo->loop, SIGTERM, on_signal, demo);
        loop_signal_open(&demo->interrupt, &demo->loop, SIGINT, on_signal, demo);
        timer_init(&demo->typing, &demo->loop, on_typing, demo);
        say_hello(demo);
        timer_start(&demo->typing, 0);
        loop_run(&demo->loop);
        agent_free(demo->agent);
    }
    loop_fini(&demo->loop);
    if (demo->conf)
        conf_unref(demo->conf);
    if (*demo->directory)
        rmdir(demo->directory);
    mem_free(demo);
    return rc;
}
