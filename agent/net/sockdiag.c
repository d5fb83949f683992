/*
 * Sockets by netlink (agent/net/sockdiag.h): one request for each address family, the answer in datagrams of up to 32 KiB. A socket for each
 * query: what a query has left unread cannot get into the next one. No <uv.h> here: it brings <netinet/tcp.h>, which knows an
 * older struct tcp_info than <linux/tcp.h>.
 */
#include "agent/net/sockdiag_impl.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"

enum { ANSWER_BYTES = 64 << 10, ROWS_MAX = 1000000, WAIT_S = 1, UNIX_NAME_MAX = 108 };

static const char *_Atomic proc_root;
static atomic_bool netlink_refused;

void sockdiag_set_source(const char *proc, bool refuse_netlink)
{
    proc_root = proc;
    netlink_refused = refuse_netlink;
}

static const char *proc_at(void)
{
    const char *root = proc_root;

    return root ? root : "/proc";
}

/* --- what both sources share --- */

uint64_t sockdiag_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

bool sockdiag_tell(struct sockdiag_query *query, const struct sock_row *row)
{
    if (query->rows >= (query->max_rows ? query->max_rows : ROWS_MAX)) {
        query->cut = true;
        return false;
    }
    query->rows++;
    query->on_row(query->user, row);
    return true;
}

bool sockdiag_in_time(struct sockdiag_query *query, uint64_t began_ns)
{
    if (sockdiag_now_ns() - began_ns <= (query->max_ns ? query->max_ns : NS_PER_S))
        return true;
    query->cut = true;
    return false;
}

void sock_end_from_v4(struct sock_end *end, const void *address)
{
    memset(end->address, 0, 10);
    memset(end->address + 10, 0xff, 2);
    memcpy(end->address + 12, address, 4);
}

bool sock_end_from(struct sock_end *end, const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;

    if (address->sa_family == AF_INET) {
        sock_end_from_v4(end, &v4->sin_addr);
        end->port = ntohs(v4->sin_port);
        return true;
    }
    if (address->sa_family != AF_INET6)
        return false;
    memcpy(end->address, &v6->sin6_addr, sizeof end->address);
    end->port = ntohs(v6->sin6_port);
    return true;
}

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

bool sock_end_is_any(const struct sock_end *end)
{
    static const uint8_t zero[16];

    return memcmp(end->address, zero, 16) == 0 ||
           (memcmp(end->address, mapped, 12) == 0 && memcmp(end->address + 12, zero, 4) == 0);
}

bool sock_end_is_loopback(const struct sock_end *end)
{
    static const uint8_t one[16] = { [15] = 1 };

    return memcmp(end->address, one, 16) == 0 || (memcmp(end->address, mapped, 12) == 0 && end->address[12] == 127);
}

bool sock_end_same_address(const struct sock_end *a, const struct sock_end *b)
{
    return memcmp(a->address, b->address, sizeof a->address) == 0;
}

int sock_ends_are_here(const struct sock_end *ends, size_t count)
{
    struct ifaddrs *all = NULL;
    bool here = false;

    for (size_t i = 0; i < count; i++)
        here = here || sock_end_is_loopback(&ends[i]) || sock_end_is_any(&ends[i]);
    if (here || getifaddrs(&all) < 0)
        return here ? 1 : -1;
    for (const struct ifaddrs *one = all; one && !here; one = one->ifa_next) {
        struct sock_end own;

        if (!one->ifa_addr || !sock_end_from(&own, one->ifa_addr))
            continue;
        for (size_t i = 0; i < count; i++)
            here = here || sock_end_same_address(&own, &ends[i]);
    }
    freeifaddrs(all);
    return here;
}

/* --- netlink --- */

/* 0, or an errno. */
static int ask(int fd, void *request, size_t len)
{
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
    ssize_t sent = sendto(fd, request, len, 0, (struct sockaddr *)&kernel, sizeof kernel);

    return sent == (ssize_t)len ? 0 : sent < 0 ? errno : EIO;
}

static int error_of(const struct nlmsghdr *message)
{
    const struct nlmsgerr *error = NLMSG_DATA(message);

    if (message->nlmsg_len < NLMSG_LENGTH(sizeof *error) || error->error >= 0)
        return EIO;
    return -error->error;
}

/* One datagram. 1: more come. 0: that was the last one, or enough. -1: *code is an errno. */
static int read_answer(int fd, uint8_t *buffer, bool (*on_message)(struct sockdiag_query *query, const struct nlmsghdr *message),
                       struct sockdiag_query *query, int *code)
{
    struct sockaddr_nl from = { 0 };
    socklen_t from_len = sizeof from;
    ssize_t got = recvfrom(fd, buffer, ANSWER_BYTES, 0, (struct sockaddr *)&from, &from_len);

    if (got <= 0) {
        *code = got < 0 ? errno : EIO;
        return got < 0 && errno == EINTR ? 1 : -1;
    }
    if (from.nl_pid != 0) /* not the kernel */
        return 1;
    size_t at = 0, all = (size_t)got;
    while (at + sizeof(struct nlmsghdr) <= all) {
        const struct nlmsghdr *message = (const void *)(buffer + at);

        if (message->nlmsg_len < sizeof *message || message->nlmsg_len > all - at)
            break;
        at += NLMSG_ALIGN(message->nlmsg_len);
        if (message->nlmsg_type == NLMSG_DONE)
            return 0;
        if (message->nlmsg_type == NLMSG_ERROR) {
            *code = error_of(message);
            return -1;
        }
        if (message->nlmsg_type == SOCK_DIAG_BY_FAMILY && !on_message(query, message))
            return 0;
    }
    return 1;
}

/* 0, or an errno. */
static int dump(void *request, size_t len, bool (*on_message)(struct sockdiag_query *query, const struct nlmsghdr *message),
                struct sockdiag_query *query, uint64_t began_ns)
{
    struct timeval wait = { .tv_sec = WAIT_S };
    int more = 1, code = 0, fd;

    if (netlink_refused)
        return EPERM;
    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    code = ask(fd, request, len);
    uint8_t *buffer = code == 0 ? mem_alloc(ANSWER_BYTES) : NULL;
    while (code == 0 && more == 1 && sockdiag_in_time(query, began_ns))
        if ((more = read_answer(fd, buffer, on_message, query, &code)) >= 0)
            code = 0;
    mem_free(buffer);
    close(fd);
    return code;
}

/* What follows the fixed part of a message, one at a time: NULL when there is no more. */
static const struct nlattr *next_attr(const struct nlmsghdr *message, size_t *at)
{
    const struct nlattr *attr = (const void *)((const uint8_t *)message + *at);

    if (*at + sizeof *attr > message->nlmsg_len || attr->nla_len < sizeof *attr || attr->nla_len > message->nlmsg_len - *at)
        return NULL;
    *at += NLMSG_ALIGN(attr->nla_len);
    return attr;
}

/* Copies as much as both have; the rest stays as it is. False: another attribute. */
static bool take_attr(const struct nlattr *attr, int type, void *out, size_t size)
{
    size_t len = attr->nla_len - sizeof *attr;

    if (attr->nla_type != type)
        return false;
    memcpy(out, attr + 1, len < size ? len : size);
    return true;
}

/* --- TCP --- */

static void read_info(const struct nlmsghdr *message, size_t at, struct sock_row *row)
{
    struct tcp_info info = { 0 };

    for (const struct nlattr *attr; (attr = next_attr(message, &at));)
        if (take_attr(attr, INET_DIAG_INFO, &info, sizeof info)) {
            row->retransmits = info.tcpi_total_retrans;
            row->stuck = info.tcpi_retransmits;
        }
}

static void read_end(struct sock_end *end, int family, const __be32 address[4], __be16 port)
{
    if (family == AF_INET)
        sock_end_from_v4(end, address);
    else
        memcpy(end->address, address, sizeof end->address);
    end->port = ntohs(port);
}

static bool on_tcp(struct sockdiag_query *query, const struct nlmsghdr *message)
{
    const struct inet_diag_msg *diag = NLMSG_DATA(message);
    struct sock_row row = { 0 };

    if (message->nlmsg_len < NLMSG_LENGTH(sizeof *diag) || (diag->idiag_family != AF_INET && diag->idiag_family != AF_INET6))
        return true;
    if (diag->idiag_state >= SOCK_STATE_COUNT)
        return true;
    row.state = (enum sock_state)diag->idiag_state;
    read_end(&row.local, diag->idiag_family, diag->id.idiag_src, diag->id.idiag_sport);
    read_end(&row.remote, diag->idiag_family, diag->id.idiag_dst, diag->id.idiag_dport);
    /* The kernel has filtered; a sandbox may have ignored what it was asked. */
    if ((query->local_port && row.local.port != query->local_port) || (query->remote_port && row.remote.port != query->remote_port))
        return true;
    row.inode = diag->idiag_inode;
    row.uid = diag->idiag_uid;
    row.in = diag->idiag_rqueue;
    row.out = diag->idiag_wqueue;
    if (query->info)
        read_info(message, NLMSG_SPACE(sizeof *diag), &row);
    return sockdiag_tell(query, &row);
}

static int dump_family(struct sockdiag_query *query, int family, uint64_t began_ns)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 body;
    } request = { 0 };

    request.head.nlmsg_len = sizeof request;
    request.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.body.sdiag_family = (__u8)family;
    request.body.sdiag_protocol = IPPROTO_TCP;
    request.body.idiag_states = query->states;
    request.body.idiag_ext = query->info ? 1 << (INET_DIAG_INFO - 1) : 0;
    request.body.id.idiag_sport = htons(query->local_port);
    request.body.id.idiag_dport = htons(query->remote_port);
    return dump(&request, sizeof request, on_tcp, query, began_ns);
}

static int refused(struct err *err, int by_netlink, int by_proc)
{
    char first[64];

    snprintf(first, sizeof first, "%s", strerror(by_netlink));
    return err_set(err, REASON_AGENT_ERROR, by_netlink,
                   "the kernel does not tell of its sockets: sock_diag says %s, /proc/net says %s", first, strerror(by_proc));
}

int sockdiag_tcp(struct sockdiag_query *query, struct err *err)
{
    uint64_t began_ns = sockdiag_now_ns();
    int code, by_proc;

    query->source = SOCK_FROM_NETLINK;
    query->rows = 0;
    query->cut = false;
    /* Clients of a listener at :: are sockets of IPv6, also those that came by IPv4. */
    code = dump_family(query, AF_INET6, began_ns);
    if (code == ENOENT || code == EAFNOSUPPORT) /* no IPv6 here */
        code = 0;
    if (code == 0)
        code = dump_family(query, AF_INET, began_ns);
    if (code == 0)
        return 0;
    if (query->rows) { /* rows are out already: /proc would tell them again */
        query->cut = true;
        return 0;
    }
    query->source = SOCK_FROM_PROC;
    by_proc = sockdiag_proc_tcp(query, proc_at());
    return by_proc == 0 ? 0 : refused(err, code, by_proc);
}

/* --- unix --- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Where the server runs in another mount namespace, the file has another name there; its inode is the same. On some file systems the
 * device that stat gives is not the kernel's. */
static bool is_ours(const struct sockdiag_query *query, const char *name, const struct unix_diag_vfs *vfs)
{
    if (!vfs->udiag_vfs_ino || !query->file_inode)
        return strcmp(name, query->unix_path) == 0;
    return query->file_inode == vfs->udiag_vfs_ino &&
           (query->file_device == vfs->udiag_vfs_dev || strcmp(base_name(name), base_name(query->unix_path)) == 0);
}

static bool on_unix(struct sockdiag_query *query, const struct nlmsghdr *message)
{
    const struct unix_diag_msg *diag = NLMSG_DATA(message);
    struct sock_row row = { 0 };
    struct unix_diag_vfs vfs = { 0 };
    struct unix_diag_rqlen queue = { 0 };
    char name[UNIX_NAME_MAX + 1] = "";

    if (message->nlmsg_len < NLMSG_LENGTH(sizeof *diag) || diag->udiag_type != SOCK_STREAM ||
        diag->udiag_state >= SOCK_STATE_COUNT || !(query->states & SOCK_BIT(diag->udiag_state)))
        return true;
    size_t at = NLMSG_SPACE(sizeof *diag);
    for (const struct nlattr *attr; (attr = next_attr(message, &at));) {
        (void)take_attr(attr, UNIX_DIAG_NAME, name, sizeof name - 1);
        (void)take_attr(attr, UNIX_DIAG_VFS, &vfs, sizeof vfs);
        (void)take_attr(attr, UNIX_DIAG_PEER, &row.peer_inode, sizeof row.peer_inode);
        (void)take_attr(attr, UNIX_DIAG_RQLEN, &queue, sizeof queue);
    }
    if (!*name || !is_ours(query, name, &vfs)) /* clients have no name, and most sockets are theirs or have another */
        return true;
    row.state = (enum sock_state)diag->udiag_state;
    row.inode = diag->udiag_ino;
    row.in = queue.udiag_rqueue;
    row.out = queue.udiag_wqueue;
    return sockdiag_tell(query, &row);
}

int sockdiag_unix(struct sockdiag_query *query, struct err *err)
{
    struct {
        struct nlmsghdr head;
        struct unix_diag_req body;
    } request = { 0 };
    struct stat file;
    int code, by_proc;

    query->source = SOCK_FROM_NETLINK;
    query->rows = 0;
    query->cut = false;
    query->file_inode = query->file_device = 0;
    if (stat(query->unix_path, &file) == 0) {
        query->file_inode = (uint32_t)file.st_ino;
        query->file_device = major(file.st_dev) << 20 | minor(file.st_dev);
    }
    request.head.nlmsg_len = sizeof request;
    request.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.body.sdiag_family = AF_UNIX;
    request.body.udiag_states = query->states;
    request.body.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN;
    code = dump(&request, sizeof request, on_unix, query, sockdiag_now_ns());
    if (code == 0)
        return 0;
    if (query->rows) {
        query->cut = true;
        return 0;
    }
    query->source = SOCK_FROM_PROC;
    by_proc = sockdiag_proc_unix(query, proc_at());
    return by_proc == 0 ? 0 : refused(err, code, by_proc);
}
