/*
 * The same rows from /proc/net/tcp, tcp6 and unix (agent/net/sockdiag.h). A text line for each socket of the namespace: several times
 * slower, without the length that an accept queue may have, and without retransmits.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/net/sockdiag_impl.h"

enum { LINE_BYTES = 512, LINES_A_LOOK = 256 };

/* "0100007F:1F90", or 32 digits: words of the host's byte order. False: no address. */
static bool read_end(const char *text, struct sock_end *end)
{
    unsigned words[4], port;
    const char *colon = strchr(text, ':');

    if (!colon || sscanf(colon + 1, "%4X", &port) != 1)
        return false;
    end->port = (uint16_t)port;
    if (colon - text == 8 && sscanf(text, "%8X", &words[0]) == 1) {
        sock_end_from_v4(end, &words[0]);
        return true;
    }
    if (colon - text != 32 || sscanf(text, "%8X%8X%8X%8X", &words[0], &words[1], &words[2], &words[3]) != 4)
        return false;
    memcpy(end->address, words, sizeof end->address);
    return true;
}

/* sl local remote st tx:rx tr:when retrnsmt uid timeout inode */
static bool read_tcp(const char *line, struct sock_row *row)
{
    char local[48], remote[48];
    unsigned state, out, in, uid, inode;

    if (sscanf(line, " %*[^:]: %47s %47s %2X %8X:%8X %*s %*s %u %*s %u", local, remote, &state, &out, &in, &uid, &inode) != 7 ||
        !read_end(local, &row->local) || !read_end(remote, &row->remote))
        return false;
    row->state = (enum sock_state)state;
    row->in = in;
    row->out = row->state == SOCK_LISTEN ? 0 : out;
    row->uid = uid;
    row->inode = inode;
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
    unsigned flags, type, state, inode;
    int path = 0;

    line[strcspn(line, "\n")] = '\0';
    if (sscanf(line, "%*s %*s %*s %8X %4X %2X %u %n", &flags, &type, &state, &inode, &path) < 4 || !path ||
        strcmp(line + path, query->unix_path) != 0)
        return false;
    row->state = flags & 0x10000 ? SOCK_LISTEN : state == 3 ? SOCK_ESTABLISHED : SOCK_CLOSE;
    row->inode = inode;
    return type == 1;
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
