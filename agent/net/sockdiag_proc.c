/*
 * The same rows from /proc/net/tcp, tcp6 and unix (agent/net/sockdiag.h). A text line for each socket of the namespace: several times
 * slower, without the length that an accept queue may have, and without retransmits.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/net/sockdiag_impl.h"

enum { LINE_BYTES = 512, LINES_A_LOOK = 256, WORDS_MAX = 16 };

/* The words of a line, ended in place. */
static unsigned split(char *line, char *words[WORDS_MAX])
{
    unsigned count = 0;
    char *rest = NULL;

    for (char *word = strtok_r(line, " \t\n", &rest); word && count < WORDS_MAX; word = strtok_r(NULL, " \t\n", &rest))
        words[count++] = word;
    return count;
}

/* So many digits. False: there are not so many. */
static bool read_hex(const char *text, size_t digits, uint32_t *number)
{
    char part[9];

    if (digits >= sizeof part || strspn(text, "0123456789ABCDEFabcdef") < digits)
        return false;
    memcpy(part, text, digits);
    part[digits] = '\0';
    *number = (uint32_t)strtoul(part, NULL, 16);
    return true;
}

/* "0100007F:1F90", or 32 digits: words of the host's byte order. False: no address. */
static bool read_end(const char *text, struct sock_end *end)
{
    const char *colon = strchr(text, ':');
    size_t digits = colon ? (size_t)(colon - text) : 0;
    uint32_t parts[4], port;

    if ((digits != 8 && digits != 32) || !read_hex(colon + 1, 4, &port))
        return false;
    for (size_t i = 0; i < digits / 8; i++)
        if (!read_hex(text + 8 * i, 8, &parts[i]))
            return false;
    end->port = (uint16_t)port;
    if (digits == 8)
        sock_end_from_v4(end, &parts[0]);
    else
        memcpy(end->address, parts, sizeof end->address);
    return true;
}

/* sl local remote st tx:rx tr:when retrnsmt uid timeout inode */
static bool read_tcp(char *line, struct sock_row *row)
{
    enum { LOCAL = 1, REMOTE = 2, STATE = 3, QUEUES = 4, UID = 7, INODE = 9, COUNT = 10 };
    char *words[WORDS_MAX];
    uint32_t state;

    if (split(line, words) < COUNT || !read_end(words[LOCAL], &row->local) || !read_end(words[REMOTE], &row->remote) ||
        !read_hex(words[STATE], 2, &state) || !read_hex(words[QUEUES], 8, &row->out) || words[QUEUES][8] != ':' ||
        !read_hex(words[QUEUES] + 9, 8, &row->in))
        return false;
    row->state = (enum sock_state)state;
    if (row->state == SOCK_LISTEN)
        row->out = 0;
    row->uid = (uint32_t)strtoul(words[UID], NULL, 10);
    row->inode = (uint32_t)strtoul(words[INODE], NULL, 10);
    return true;
}

static bool wanted(const struct sockdiag_query *query, const struct sock_row *row)
{
    return row->state < SOCK_STATE_COUNT && (query->states & SOCK_BIT(row->state)) &&
           (!query->local_port || row->local.port == query->local_port) &&
           (!query->remote_port || row->remote.port == query->remote_port);
}

/* Num RefCount Protocol Flags Type St Inode Path. A socket that listens has the flag 0x10000; connected ones are in state 3. */
static bool read_unix(const struct sockdiag_query *query, char *line, struct sock_row *row)
{
    enum { FLAGS = 3, TYPE = 4, STATE = 5, INODE = 6, PATH = 7, STREAM = 1, CONNECTED = 3, LISTENS = 0x10000 };
    char *words[WORDS_MAX];
    uint32_t flags, type, state;

    if (split(line, words) <= PATH || strcmp(words[PATH], query->unix_path) != 0 || !read_hex(words[FLAGS], 8, &flags) ||
        !read_hex(words[TYPE], 4, &type) || !read_hex(words[STATE], 2, &state))
        return false;
    row->state = flags & LISTENS ? SOCK_LISTEN : state == CONNECTED ? SOCK_ESTABLISHED : SOCK_CLOSE;
    row->inode = (uint32_t)strtoul(words[INODE], NULL, 10);
    return type == STREAM;
}

static int read_file(struct sockdiag_query *query, const char *proc, const char *name)
{
    char path[256], line[LINE_BYTES];
    bool is_unix = query->unix_path, more = true;
    uint64_t began_ns = sockdiag_now_ns();
    unsigned lines = 0;
    FILE *file;

    snprintf(path, sizeof path, "%s/net/%s", proc, name);
    file = fopen(path, "re");
    if (!file)
        return errno;
    while (more && fgets(line, sizeof line, file)) {
        struct sock_row row = { 0 };

        if ((is_unix ? read_unix(query, line, &row) : read_tcp(line, &row)) && wanted(query, &row))
            more = sockdiag_tell(query, &row);
        if (++lines % LINES_A_LOOK == 0)
            more = more && sockdiag_in_time(query, began_ns);
    }
    fclose(file);
    return 0;
}

int sockdiag_proc_tcp(struct sockdiag_query *query, const char *proc)
{
    int code = read_file(query, proc, "tcp"), code6 = read_file(query, proc, "tcp6");

    return code == 0 || code6 == 0 ? 0 : code;
}

int sockdiag_proc_unix(struct sockdiag_query *query, const char *proc)
{
    return read_file(query, proc, "unix");
}
