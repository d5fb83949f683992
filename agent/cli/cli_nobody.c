/*
 * What the commands say when no agent answers: where they looked, why that failed, and what to do; and what those share that wait for an agent:
 * `drain --wait` and `fleet gate`. Called by cli_ask.c, cli_drain.c, cli_fleet.c and cli_gate.c.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/program.h"
#include "agent/cli/cli_ask_impl.h"
#include "agent/report/screen.h"
#include "agent/run/addresses.h"

enum { OWNER_MAX = 128 };

void ask_shorten(const struct err *err, char *out, size_t size)
{
    const char *text = err->text, *behind = strncmp(text, "connect to ", 11) == 0 ? strstr(text, ": ") : NULL;
    const char *why = behind ? behind + 2 : text, *advice = strstr(why, " (");
    snprintf(out, size, "%.*s", (int)(advice ? (size_t)(advice - why) : strlen(why)), why);
}

/* "user wshealthd, group adm" of the file, or of what keeps us from seeing it. "": not known. */
static void write_owner(const char *path, char *out, size_t size)
{
    struct stat file;

    *out = 0;
    if (stat(path, &file) != 0)
        return;
    const struct passwd *user = getpwuid(file.st_uid);
    const struct group *group = getgrgid(file.st_gid);
    char uid[24], gid[24];
    snprintf(uid, sizeof uid, "%lu", (unsigned long)file.st_uid);
    snprintf(gid, sizeof gid, "%lu", (unsigned long)file.st_gid);
    snprintf(out, size, " (of user %.40s, group %.40s)", user ? user->pw_name : uid, group ? group->gr_name : gid);
}

bool ask_is_forbidden(const char *path)
{
    return *path && access(path, R_OK | W_OK) < 0 && errno == EACCES;
}

static int refuse_forbidden(const struct cli *cli, const char *path)
{
    char owner[OWNER_MAX];

    write_owner(path, owner, sizeof owner);
    return cli_error(cli,
                     "%s: permission denied: the agent there is another user's%s; use sudo, or join the group that may open it",
                     path, owner);
}

/* The other usual places, each with what is wrong with it. */
static void put_places(const char *first, struct buf *out)
{
    char path[URL_UNIX_MAX];

    for (size_t i = 0; admin_place(i, path, sizeof path); i++) {
        if (strcmp(path, first) == 0)
            continue;
        const char *why = access(path, R_OK | W_OK) == 0 ? "nobody answers" : errno == ENOENT ? "no such socket" : strerror(errno);
        buf_printf(out, "  looked also at:    %s: %s\n", path, why);
    }
}

/* With no socket named, the user may not know yet what an agent is; else the agent of that socket is meant. */
static void put_advice(const struct whom *whom, bool stale, struct buf *out)
{
    const char *program = program_name();

    if (whom->usual)
        put_places(whom->path, out);
    if (stale)
        buf_append_str(out, "  the agent that has made this socket is gone: it has crashed, or was killed\n");
    if (whom->usual)
        buf_printf(out, "  to start one:      %s ws://HOST:PORT/PATH, or systemctl start wshealthd\n", program);
    else if (whom->file)
        buf_printf(out, "  to start one:      %s run -c %s\n", program, whom->file);
    else
        buf_append_str(
            out,
            "  compare it with `admin` in the agent's configuration; without a socket named, the usual places are looked at\n");
    if (whom->usual)
        buf_append_str(out, "  another socket:    --admin unix:/PATH, WSHEALTHD_ADMIN, or -c FILE of that agent\n"
                            "  one without:       curl http://127.0.0.1:9717/status\n");
}

int ask_no_agent(const struct cli *cli, const struct whom *whom, const struct err *err)
{
    struct buf advice = BUF_INIT(CLI_TEXT_MAX);
    char why[ERR_TEXT_MAX];

    ask_shorten(err, why, sizeof why);
    if (ask_is_forbidden(whom->path))
        return refuse_forbidden(cli, whom->path);
    cli_error(cli, "no agent answers on %s: %s", whom->path[0] ? whom->path : whom->url, why);
    if (err->reason == REASON_CONNECT_REFUSED) {
        put_advice(whom, access(whom->path, F_OK) == 0, &advice);
        screen_tell(buf_str(&advice));
    }
    buf_fini(&advice);
    return EXIT_UNKNOWN;
}

/* --- those that wait ---------------------------------------------------------------------------------------------------------- */

static char interrupted_text[640];

static void on_interrupt(int number)
{
    (void)number;
    ssize_t done = write(STDERR_FILENO, interrupted_text, strlen(interrupted_text));
    (void)done;
    _exit(EXIT_UNKNOWN);
}

bool ask_redraws(void)
{
    const char *term = getenv("TERM");

    return isatty(STDERR_FILENO) == 1 && term && *term && strcmp(term, "dumb") != 0;
}

void ask_catch_interrupts(const char *says)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction action = { .sa_handler = on_interrupt };

    snprintf(interrupted_text, sizeof interrupted_text, "%swshealthd %s\n", ask_redraws() ? "\n" : "", says);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        (void)sigaction(numbers[i], &action, NULL);
}

void ask_sleep(uint64_t ms)
{
    const struct timespec pause = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * (long)NS_PER_MS };

    nanosleep(&pause, NULL);
}
