/*
 * The guard (agent/run/guard.h). Owns the agent's process, and a pipe from it. Called by agent/cli/cli_run.c; the agent says through
 * agent/run/agent.c that it lives. Promises to bring down no server by a mistake of its own or of the agent's: it acts only if the agent has
 * said several times in a row that the server is hung, and if systemd says at that moment that the unit runs, neither starts nor stops, and
 * would be started again. When in doubt it does nothing. Leaves to the agent what `hung` is (agent_server_hangs).
 *
 * Time is counted in turns of a second each, so that a guard that was asleep itself counts nothing for that time.
 */
#include "agent/run/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/proc.h"
#include "agent/base/text.h"
#include "agent/core/event.h"
#include "agent/run/sd_notify.h"

enum {
    TURN_MS = 1000,
    FIRST_WORD_TURNS = 30, /* until an agent that starts must have said something */
    SILENT_TURNS = 10,     /* until one that runs counts as hung: WatchdogSec= of wshealthd.service */
    HUNG_WORDS = 3,        /* in a row, before the server is restarted */
    FRESH_TURNS = 2,       /* how old the last of them may be */
    ASK_AGAIN_TURNS = 60,
    CHECK_SETUP_TURNS = 10, /* by then the unit has started, in most cases; the answer is only logged */
    LONG_LIFE_TURNS = 60,   /* an agent that ran for so long is started again at once */
    PAUSE_MAX_TURNS = 60,
    END_TURNS = 2, /* for an agent whose server is gone */
    SYSTEMCTL_MS = 5000,
    LINE_MAX_BYTES = 512,
    EXIT_GUARD = 0,
};

struct unit_state {
    bool known, active, restarts, listens;
    int main_pid; /* 0: none */
};

static struct guard {
    int server_pid;
    int server; /* its pidfd: the server's main process; -1: it has ended */
    char unit[PROC_UNIT_MAX];
    bool by_user; /* a unit of a user's manager */
    int signals;
    pid_t agent; /* 0: none runs */
    int words;   /* the pipe from the agent; -1: none */
    bool spoken, ending, server_gone;
    unsigned turns, life, silent, hung, pause, next_pause, ask_in, end_in;
    char sentence[LINE_MAX_BYTES];
    char line[LINE_MAX_BYTES]; /* what has come of the next word */
    size_t line_len;
} guard;

static int to_guard = -1; /* in the agent: the other end of the pipe */

static int open_pid(int pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
}

/* --- the agent's side ------------------------------------------------------------------------------------------------------------- */

bool guard_is_there(void)
{
    return to_guard >= 0;
}

void guard_tell(const char *hung)
{
    char line[LINE_MAX_BYTES];

    if (to_guard < 0)
        return;
    /* A whole line or nothing: it is shorter than PIPE_BUF. */
    int len = hung ? snprintf(line, sizeof line - 1, "!%s", hung) : snprintf(line, sizeof line, ".");
    size_t size = (size_t)len < sizeof line - 1 ? (size_t)len : sizeof line - 2;
    for (size_t i = 0; i < size; i++)
        if (line[i] == '\n')
            line[i] = ' ';
    line[size++] = '\n';
    (void)!write(to_guard, line, size);
}

/* --- systemd ---------------------------------------------------------------------------------------------------------------------- */

/* Runs `systemctl show` and reads what it says, within SYSTEMCTL_MS. */
static void ask_systemd(char *text, size_t size)
{
    const char *const argv[] = { "systemctl", guard.by_user ? "--user" : "--system",
                                 "show",      "--property=ActiveState,Restart,NotifyAccess,MainPID",
                                 "--",        guard.unit,
                                 NULL };
    uint64_t until_ms = clock_now_ms() + SYSTEMCTL_MS;
    size_t len = 0;
    int fds[2];

    *text = '\0';
    if (pipe2(fds, O_CLOEXEC) < 0)
        return;
    pid_t child = fork();
    if (child == 0) {
        sigset_t none;
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDERR_FILENO) >= 0 && dup2(fds[1], STDOUT_FILENO) >= 0)
            execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(fds[1]);
    while (child > 0) {
        uint64_t now_ms = clock_now_ms();
        struct pollfd wait = { .fd = fds[0], .events = POLLIN };
        if (now_ms >= until_ms || len + 1 >= size || poll(&wait, 1, (int)(until_ms - now_ms)) <= 0)
            break;
        ssize_t n = read(fds[0], text + len, size - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    text[len] = '\0';
    close(fds[0]);
    if (child > 0) {
        kill(child, SIGKILL); /* it has said all, or it is too late */
        waitpid(child, NULL, 0);
    }
}

/* The value of "Restart=always" among the lines; "": there is no such line. */
static void value_of(const char *text, const char *key, char *out, size_t size)
{
    size_t len = strlen(key);

    *out = '\0';
    for (const char *at = text; (at = strstr(at, key)); at += len)
        if ((at == text || at[-1] == '\n') && at[len] == '=') {
            snprintf(out, size, "%.*s", (int)strcspn(at + len + 1, "\n"), at + len + 1);
            return;
        }
}

static struct unit_state unit_state(char *said, size_t size)
{
    /* The values of Restart= that hold for a watchdog, systemd.service(5). */
    static const char *const restarting[] = { "always", "on-failure", "on-abnormal", "on-watchdog" };
    struct unit_state state = { .known = false };
    char text[512], active[32], restart[32], access[32], main_pid[32];
    int64_t pid;

    ask_systemd(text, sizeof text);
    value_of(text, "ActiveState", active, sizeof active);
    value_of(text, "Restart", restart, sizeof restart);
    value_of(text, "NotifyAccess", access, sizeof access);
    value_of(text, "MainPID", main_pid, sizeof main_pid);
    state.main_pid = text_parse_int(main_pid, &pid) == 0 && pid > 0 && pid <= INT32_MAX ? (int)pid : 0;
    state.known = *active && *restart && *access;
    state.active = strcmp(active, "active") == 0;
    state.listens = strcmp(access, "all") == 0;
    for (size_t i = 0; i < sizeof restarting / sizeof *restarting; i++)
        state.restarts = state.restarts || strcmp(restart, restarting[i]) == 0;
    if (!state.known)
        snprintf(said, size, "systemctl does not say whether it runs");
    else
        snprintf(said, size, "ActiveState=%s Restart=%s NotifyAccess=%s", active, restart, access);
    return state;
}

/* Once, so that a set-up under which the server would never be restarted is seen before the day on which it hangs. */
static void check_setup(void)
{
    char said[160];
    struct unit_state state = unit_state(said, sizeof said);

    if (!state.known || !state.restarts || !state.listens)
        event_log(EVENT_RESTART_OFF, "unit", guard.unit, "message", said, "hint",
                  "a hung server is not restarted; the unit needs NotifyAccess=all and Restart=always", NULL);
}

static void restart_server(void)
{
    char said[160];
    struct unit_state state = unit_state(said, sizeof said);

    guard.ask_in = ASK_AGAIN_TURNS;
    if (!state.known || !state.active || !state.restarts || !state.listens) {
        event_log(EVENT_RESTART_OFF, "unit", guard.unit, "message", said, "hint", "the server is hung, and is left alone", NULL);
        return;
    }
    event_log(EVENT_RESTART, "unit", guard.unit, "message", guard.sentence, NULL);
    notify_send("STATUS=wshealthd: %s", guard.sentence);
    notify_send("WATCHDOG=trigger"); /* systemd aborts the unit, this process too, and starts it again */
}

/* --- the agent's process ---------------------------------------------------------------------------------------------------------- */

static void drop_pipe(void)
{
    if (guard.words >= 0)
        close(guard.words);
    guard.words = -1;
    guard.line_len = 0;
}

/* True in the new agent. */
static bool start_agent(void)
{
    int fds[2];

    guard.life = guard.silent = guard.hung = 0;
    guard.spoken = false;
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return false;
    guard.agent = fork();
    if (guard.agent == 0) {
        sigset_t none;
        close(fds[0]);
        if (guard.server >= 0)
            close(guard.server);
        close(guard.signals);
        notify_fini(); /* nothing that the agent says may be taken for the server's: READY, STOPPING */
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        to_guard = fds[1];
        return true;
    }
    close(fds[1]);
    guard.words = fds[0];
    if (guard.agent < 0) {
        guard.agent = 0;
        drop_pipe();
    }
    return false;
}

static void plan_next(void)
{
    guard.pause = guard.life >= LONG_LIFE_TURNS || !guard.next_pause ? 1 : guard.next_pause;
    guard.next_pause = guard.pause * 2 < PAUSE_MAX_TURNS ? guard.pause * 2 : PAUSE_MAX_TURNS;
}

static void agent_ended(int status)
{
    char how[48], when[48];

    drop_pipe();
    guard.agent = 0;
    guard.hung = 0;
    if (guard.ending)
        return;
    plan_next();
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "the agent was ended by signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof how, "the agent ended with exit code %d", WEXITSTATUS(status));
    snprintf(when, sizeof when, "it is started again in %u s", guard.pause);
    event_log(EVENT_AGENT_ERROR, "unit", guard.unit, "message", how, "hint", when, NULL);
}

static void reap(void)
{
    int status;

    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        if (pid == guard.agent)
            agent_ended(status);
}

static void take_word(void)
{
    guard.line[guard.line_len] = '\0';
    guard.spoken = true;
    guard.silent = 0;
    if (guard.line[0] != '!') {
        guard.hung = 0;
        return;
    }
    guard.hung++;
    memcpy(guard.sentence, guard.line + 1, sizeof guard.line - 1);
}

static void read_words(void)
{
    char bytes[1024];
    ssize_t n = read(guard.words, bytes, sizeof bytes);

    if (n == 0) { /* the agent has ended, or will have in a moment */
        drop_pipe();
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] == '\n') {
            take_word();
            guard.line_len = 0;
        } else if (guard.line_len + 1 < sizeof guard.line)
            guard.line[guard.line_len++] = bytes[i];
    }
}

/* --- the guard -------------------------------------------------------------------------------------------------------------------- */

static void end(bool server_gone)
{
    if (guard.agent && (!guard.ending || (server_gone && !guard.server_gone)))
        kill(guard.agent, SIGTERM);
    guard.ending = true;
    if (server_gone && !guard.server_gone)
        guard.end_in = END_TURNS;
    guard.server_gone = guard.server_gone || server_gone;
}

static void read_signals(void)
{
    struct signalfd_siginfo info;

    while (read(guard.signals, &info, sizeof info) == (ssize_t)sizeof info)
        switch (info.ssi_signo) {
        case SIGCHLD:
            reap();
            break;
        case SIGHUP:
            if (guard.agent)
                kill(guard.agent, SIGHUP);
            break;
        default:
            end(false);
        }
}

/* The main process has ended. Another one may have taken its place (nginx, when it changes its program): then the unit goes on. */
static void follow_server(void)
{
    char said[160];
    struct unit_state state = unit_state(said, sizeof said);

    if (state.active && state.main_pid && state.main_pid != guard.server_pid)
        guard.server = open_pid(state.main_pid);
    guard.server_pid = state.main_pid;
    if (guard.server < 0)
        end(true);
}

/* Once in a second at most. True in a new agent. */
static bool turn(void)
{
    guard.turns++;
    guard.life++;
    if (guard.ask_in)
        guard.ask_in--;
    if (guard.server < 0 && !guard.server_gone)
        follow_server();
    if (guard.turns == CHECK_SETUP_TURNS && !guard.ending)
        check_setup();
    if (guard.agent && guard.server_gone && guard.end_in) {
        guard.end_in--;
        if (!guard.end_in)
            kill(guard.agent, SIGKILL);
    }
    if (guard.ending)
        return false;
    if (!guard.agent) {
        if (guard.pause)
            guard.pause--;
        return !guard.pause && start_agent();
    }
    if (++guard.silent > (guard.spoken ? SILENT_TURNS : FIRST_WORD_TURNS)) {
        event_log(EVENT_AGENT_ERROR, "unit", guard.unit, "message", "the agent hangs, and is started again", NULL);
        kill(guard.agent, SIGKILL);
        guard.silent = 0;
    }
    if (guard.hung >= HUNG_WORDS && guard.silent <= FRESH_TURNS && !guard.ask_in)
        restart_server();
    return false;
}

/* Returns in a new agent only. */
static void run_guard(void)
{
    uint64_t turned_ms = clock_now_ms();

    if (start_agent())
        return;
    while (!guard.ending || guard.agent) {
        struct pollfd fds[] = { { .fd = guard.signals, .events = POLLIN },
                                { .fd = guard.words, .events = POLLIN },
                                { .fd = guard.server, .events = POLLIN } };
        (void)poll(fds, sizeof fds / sizeof *fds, TURN_MS);
        if (fds[1].revents)
            read_words();
        if (fds[0].revents)
            read_signals();
        if (fds[2].revents) {
            close(guard.server);
            guard.server = -1; /* systemd may not know yet: it is asked in the next turn */
        }
        if (clock_now_ms() - turned_ms >= TURN_MS) {
            turned_ms = clock_now_ms();
            if (turn())
                return;
        }
    }
    _exit(EXIT_GUARD);
}

/* The process and this one are in the same unit: whatever is said to systemd is taken for that unit's. */
static int find_unit(int pid, struct err *err)
{
    char other[PROC_UNIT_MAX];

    if (!proc_unit(getpid(), guard.unit, sizeof guard.unit, &guard.by_user))
        return err_set(err, REASON_NONE, 0,
                       "this process is in no unit of systemd; it belongs into ExecStartPost= of the server's");
    /* A process that /proc hides is believed to be $MAINPID. */
    if (proc_unit(pid, other, sizeof other, NULL) && strcmp(guard.unit, other) != 0)
        return err_set(err, REASON_NONE, 0, "process %d is not in %s, want $MAINPID of the unit that this runs in", pid,
                       guard.unit);
    return 0;
}

enum guarded guard_start(int pid, struct err *err)
{
    static const int handled[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGCHLD };
    sigset_t signals;

    guard.words = -1;
    guard.server_pid = pid;
    guard.server = open_pid(pid);
    if (guard.server < 0) {
        err_set(err, REASON_NONE, errno, "process %d: %s", pid, strerror(errno));
        return GUARD_FAILED;
    }
    if (find_unit(pid, err) < 0)
        return GUARD_FAILED;
    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaddset(&signals, handled[i]);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    guard.signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    pid_t child = guard.signals < 0 ? -1 : fork();
    if (child < 0) {
        err_set(err, REASON_NONE, errno, "no process can be made: %s", strerror(errno));
        return GUARD_FAILED;
    }
    if (child > 0)
        return GUARD_STARTED;
    notify_init();
    run_guard();
    return GUARD_AGENT;
}
