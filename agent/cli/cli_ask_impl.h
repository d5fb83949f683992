/* What the commands that ask a running agent share (cli_ask.c, cli_watch.c, cli_nobody.c, cli_drain.c): whom to ask, one request, and what is said when nobody
 * answers. */
#ifndef WSHEALTHD_CLI_CLI_ASK_IMPL_H
#define WSHEALTHD_CLI_CLI_ASK_IMPL_H

#include "agent/cli/cli.h"
#include "agent/proto/url.h"

enum { ASK_TIMEOUT_MS = 5000 };

/* Whom to ask: the admin socket's path, or a URL. */
struct whom {
    char path[URL_UNIX_MAX]; /* "" where url says it */
    bool usual;              /* the path was not named by the user: the agent may also be at another of the usual places */
    const char *file;        /* the configuration that has named the path; NULL: none has */
    char url[URL_TARGET_MAX];
};

struct loop;
struct answer {
    struct loop *loop;
    int status; /* 0: none came */
    struct buf body;
    struct err err;
};

/* Finds the admin socket in the order that `run` has: --admin, WSHEALTHD_ADMIN, -c, the usual file, the usual places. EXIT_PASS, or
 * the error has been printed. */
int ask_find_admin(const struct cli *cli, struct whom *whom);
/* One request; waits for its answer. 0, or -1 and answer->err. The caller frees the answer's body in both cases. */
int ask_once(const struct whom *whom, const char *method, const char *target, uint64_t timeout_ms, struct answer *answer);
/* cli_nobody.c. The error without the address, which the caller's sentence has, and without advice that is about targets. */
void ask_shorten(const struct err *err, char *out, size_t size);
int ask_no_agent(const struct cli *cli, const struct whom *whom, const struct err *err); /* prints it; EXIT_UNKNOWN */
bool ask_is_forbidden(const char *path);                                                 /* the socket there is another user's */
/* For those that wait: is stderr a terminal on which a line can be drawn again; a signal that ends the command says "wshealthd SAYS"
 * and its exit code is EXIT_UNKNOWN; a pause. */
bool ask_redraws(void);
void ask_catch_interrupts(const char *says);
void ask_sleep(uint64_t ms);
/* Prints the agent's answer to a request that failed: its lines, or else its status. EXIT_UNKNOWN. */
int ask_refused(const struct cli *cli, struct answer *answer);
/* POST to the admin socket. Prints the answer, or `done` if it is empty. Returns the exit code. */
int ask_command(struct cli *cli, const char *target, uint64_t timeout_ms, const char *done);

/* Of /status and of events: the exit code of the verdict; whether the value at a JSON pointer is this one, itself JSON. */
int ask_exit_code(struct slice json);
int ask_code_of(struct slice word); /* of a verdict's: pass, warn, fail */
bool ask_json_has(struct slice json, char *pointer, char *value);
/* The target of the report at that path for this screen; `evidence` is "" or "evidence=CHECK". */
void ask_text_target(const char *path, bool verdict_first, const char *evidence, char *out, size_t size);

/* cli_ask.c: --url of those that may ask the health listener instead. whom->url is "" without it. EXIT_PASS, or the error has been printed. */
int ask_find(const struct cli *cli, struct whom *whom);

/* cli_gate.c: `fleet gate`. */
int cli_gate(struct cli *cli);

/* cli_watch.c: `status --watch`, `fleet --watch`. The agent has answered before. Returns the exit code. */
int cli_watch(struct cli *cli, const struct whom *whom, bool fleet);

#endif
