/*
 * `wshealthd demo` (agent/demo/demo.h). Owns the loop, the signals, and the commands that the user types. Called by
 * agent/cli/cli_run.c. The configuration is in demo_conf.c, the server in demo_server.c, its broker connection in demo_bus.c, the
 * agent in agent/run; demo_says.c writes to stdout. The agent logs errors only: changes of the verdict are printed here as
 * sentences.
 */
#include "agent/demo/demo.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/mem.h"
#include "agent/base/program.h"
#include "agent/base/text.h"
#include "agent/core/check.h"
#include "agent/demo/demo_bus.h"
#include "agent/demo/demo_conf.h"
#include "agent/demo/demo_says.h"
#include "agent/demo/demo_server.h"
#include "agent/report/report.h"
#include "agent/report/screen.h"
#include "agent/run/agent.h"

enum {
    /* Stdin is polled: epoll refuses a regular file and /dev/null. */
    STDIN_POLL_MS = 50,
    LINES_AT_ONCE = 64,
    LINE_MAX_BYTES = 256,
    TEXT_MAX = 64 << 10,
    EXIT_AT_ONCE = 3,
};

struct demo {
    struct loop loop;
    struct demo_server *server;
    struct demo_bus *bus;
    struct demo_setup setup;
    struct generation *generation; /* for the server's broker: its configuration and TLS */
    struct agent *agent;
    struct loop_signal term, interrupt;
    struct timer typing;
    char line[LINE_MAX_BYTES]; /* the part of the next command that has been read */
    size_t line_len;
    bool stopping;
    char url[64];
};

/* --- what the agent thinks --------------------------------------------------------------------------------------------- */

static void on_told(void *user, const struct story_line *line)
{
    struct demo *demo = user;
    struct buf text = BUF_INIT(TEXT_MAX);
    char stamp[16];
    time_t now = time(NULL);
    struct tm local;

    if (demo->stopping)
        return;
    strftime(stamp, sizeof stamp, "%H:%M:%S", localtime_r(&now, &local));
    if (line->event == EVENT_LIVE || line->event == EVENT_DEAD)
        buf_printf(&text, "%s  %s\n", stamp,
                   line->event == EVENT_LIVE ? "dead -> live: /live answers 200 again"
                                             : "live -> dead: /live answers 503, by which Kubernetes would restart the server");
    else if (strcmp(line->was->word, line->is->word) == 0)
        buf_printf(&text, "%s  still %s: %s\n", stamp, line->is->word, line->is->sentence);
    else if (line->event != EVENT_DEGRADED || line->was->ready)
        buf_printf(&text, "%s  %s -> %s: %s\n", stamp, line->was->word, line->is->word, line->is->sentence);
    demo_says(&text);
}

static void show_status(struct demo *demo)
{
    const struct screen screen = screen_look();
    const struct report_style style = {
        .colour = screen.colour, .width = screen.width, .ascii = screen.ascii, .program = program_anywhere()
    };
    struct buf text = BUF_INIT(TEXT_MAX);
    report_human(agent_current_view(demo->agent), &style, &text);
    demo_says_page(&text);
}

/* --- the end ------------------------------------------------------------------------------------------------------------ */

static void on_bus_closed(void *user)
{
    struct demo *demo = user;
    demo_server_close(demo->server);
    loop_signal_close(&demo->term);
    loop_signal_close(&demo->interrupt);
    loop_stop(&demo->loop);
}

static void on_stopped(void *user)
{
    struct demo *demo = user;
    demo_bus_close(demo->bus, on_bus_closed, demo);
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
    demo_says(&text);
}

static void show_help(struct demo *demo)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    (void)demo;
    buf_append_str(&text, "  NAME       switches that fault on          off NAME   switches it off\n"
                          "  clear      switches all of them off        faults     lists them\n"
                          "  status     the verdict and the checks      quit       ends the demo\n");
    demo_says(&text);
}

static void set_faults(struct demo *demo, demo_fault_set faults)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    demo_server_set_faults(demo->server, faults);
    demo_bus_set_faults(demo->bus, faults);
    buf_append_str(&text, faults ? "on:" : "no fault is on");
    for (int i = 0; i < DEMO_FAULT_COUNT; i++)
        if (faults & DEMO_FAULT_BIT(i))
            buf_printf(&text, " %s", demo_fault_name((enum demo_fault)i));
    buf_append_str(&text, "\n");
    demo_says(&text);
}

static void clear_faults(struct demo *demo)
{
    agent_forget_refusals(demo->agent); /* else the checks would stay slow for half a minute after `unauthorized` */
    set_faults(demo, 0);
}

static const struct command {
    const char *name;
    void (*run)(struct demo *demo);
} commands[] = {
    { "help", show_help },     { "?", show_help },    { "faults", show_faults }, { "status", show_status },
    { "clear", clear_faults }, { "quit", demo_stop }, { "exit", demo_stop },
};

/* -1 and err: no fault has that name, or it belongs to the broker inside the demo and --broker named a real one. */
static int find_fault(const struct demo *demo, const char *name, struct err *err)
{
    int fault = demo_fault_find(name, err);
    if (fault >= 0 && !demo->setup.in_process && DEMO_FAULT_BIT(fault) & DEMO_BROKER_FAULTS)
        return err_set(err, REASON_NONE, 0,
                       "'%s' is for the broker inside the demo; yours is real: stop it, or freeze it, yourself", name);
    return fault;
}

/* The command that was probably meant, or NULL. */
static const char *nearest_command(const char *typed)
{
    enum { COMMANDS = sizeof commands / sizeof *commands };
    const char *names[COMMANDS];

    for (size_t i = 0; i < COMMANDS; i++)
        names[i] = commands[i].name;
    return text_nearest(typed, names, COMMANDS);
}

static void switch_fault(struct demo *demo, const char *name, bool on)
{
    demo_fault_set faults = demo_server_faults(demo->server);
    struct err err;
    int fault = find_fault(demo, name, &err);

    const char *near = fault < 0 && on ? nearest_command(name) : NULL;

    if (fault >= 0) {
        set_faults(demo, on ? faults | DEMO_FAULT_BIT(fault) : faults & ~DEMO_FAULT_BIT(fault));
        return;
    }
    struct buf text = BUF_INIT(TEXT_MAX);
    if (near)
        buf_printf(&text, "unknown command '%.40s' (did you mean '%s'?); 'help' says what there is\n", name, near);
    else
        buf_printf(&text, "%s; 'help' says what else there is\n", err.text);
    demo_says(&text);
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

/* A line that is too long is cut. No command is that long, so it ends in an error. */
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

/* A terminal gives one line for each read. */
static void on_typing(struct timer *timer, void *user)
{
    struct demo *demo = user;
    struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
    char bytes[LINE_MAX_BYTES];

    for (int i = 0; i < LINES_AT_ONCE && !demo->stopping && poll(&in, 1, 0) > 0; i++) {
        ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
            return; /* end of stdin: the demo goes on without commands */
        if (got > 0)
            take_typed(demo, bytes, (size_t)got);
    }
    if (!demo->stopping)
        timer_start(timer, STDIN_POLL_MS);
}

/* --- the beginning ------------------------------------------------------------------------------------------------------- */

static void write_broker(const struct demo *demo, struct buf *text)
{
    char shown[256];

    url_redact(demo->setup.conf->brokers[0].url, shown, sizeof shown);
    buf_printf(text, "  broker  %s   the server passes on its channels %s and %s\n",
               demo->setup.in_process ? "in this process (--broker URL: a real one)" : shown, DEMO_CHANNEL, DEMO_NEWS);
}

static void write_agent(const struct demo *demo, struct buf *text)
{
    static const char asks[] = "asks every second: handshake, ping, hold, echo, delivery, and the broker";
    const char *listen = demo->setup.conf->listen;

    if (strncmp(listen, "unix:", 5) == 0)
        buf_printf(text,
                   "  agent   %s   %s\n\nIn another terminal, try:\n"
                   "  curl -i --unix-socket %s 'http://localhost/ready?verbose'\n",
                   listen, asks, listen + 5);
    else
        buf_printf(text,
                   "  agent   http://%s   %s\n\nOpen http://%s/ in a browser. In another terminal, try:\n"
                   "  curl -i 'http://%s/ready?verbose'\n"
                   "  curl -s http://%s/status\n",
                   listen, asks, listen, listen, listen);
}

static void say_hello(const struct demo *demo)
{
    struct buf text = BUF_INIT(TEXT_MAX);

    buf_printf(&text,
               "A WebSocket server to break, its message broker, and the agent beside them.\n\n"
               "  server  %s   echoes; with /push it also says something every second\n",
               demo->url);
    write_broker(demo, &text);
    write_agent(demo, &text);
    buf_printf(&text, "  %s check %s\n", program_anywhere(), demo->url);
    if (*demo->setup.directory)
        buf_printf(&text, "  %s status --admin %s\n", program_anywhere(), demo->setup.conf->admin);
    buf_printf(&text,
               "\nThen break something: type the name of a fault and see what the agent says.\n"
               "'off NAME' or 'clear' mends it, 'status' shows every check, 'help' the other commands; Ctrl-C ends the demo.\n"
               "Try detach-broker first: a check of the socket alone does not see it.\n"
               "%s is no fault of this server: /ready stays 200 and says degraded.\n\n",
               demo->setup.in_process ? "broker-down" : "A broker that you stop or freeze");
    demo_write_fault_list(demo_server_faults(demo->server), &text);
    buf_append_str(&text, "\n");
    demo_says(&text);
}

static void on_published(void *user, struct slice body)
{
    struct demo *demo = user;
    demo_server_say(demo->server, body);
}

static int start_beside(struct demo *demo, const struct demo_options *options, struct err *err)
{
    const struct agent_options agent_options = { .serve = true, .on_told = on_told, .user = demo };
    int fault;

    if (demo_conf_make(&demo->setup, &demo->loop, demo->url, options, err) < 0)
        return -1;
    fault = options->fault ? find_fault(demo, options->fault, err) : 0;
    if (fault < 0 || !(demo->generation = generation_new(demo->setup.conf, err)))
        return -1;
    demo->agent = agent_new(&demo->loop, demo->setup.conf, &agent_options, err);
    if (!demo->agent)
        return -1;
    demo->bus = demo_bus_open(&demo->loop, &demo->setup.conf->brokers[0], demo->generation->broker_tls[0], on_published, demo);
    if (options->fault) {
        demo_server_set_faults(demo->server, DEMO_FAULT_BIT(fault));
        demo_bus_set_faults(demo->bus, DEMO_FAULT_BIT(fault));
    }
    return 0;
}

static int start(struct demo *demo, const struct demo_options *options, struct err *err)
{
    demo->server = demo_server_open(&demo->loop, options->port, err);
    if (!demo->server)
        return err_prefix(err, "--port");
    snprintf(demo->url, sizeof demo->url, "ws://127.0.0.1:%u/ws", demo_server_port(demo->server));
    log_configure(LOG_ERROR, LOG_LOGFMT);
    if (start_beside(demo, options, err) == 0)
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
    demo_says_begin(&demo->loop);
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
    demo_says_end();
    loop_fini(&demo->loop);
    generation_unref(demo->generation);
    demo_conf_fini(&demo->setup);
    mem_free(demo);
    return rc;
}
