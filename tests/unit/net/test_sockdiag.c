/* The kernel's sockets (agent/net/sockdiag.h), from netlink and from /proc/net: both must tell the same of the same server. */
#include "tests/unit/net/support.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "agent/net/own_sockets.h"
#include "agent/net/sockdiag.h"

enum { ROWS = 64 };

static struct sock_row rows[ROWS];
static size_t row_count;
static bool by_proc;

static void on_row(void *user, const struct sock_row *row)
{
    (void)user;
    if (row_count < ROWS)
        rows[row_count++] = *row;
}

static void ask(struct sockdiag_query *query)
{
    struct err err;
    int (*call)(struct sockdiag_query *, struct err *) = query->unix_path ? sockdiag_unix : sockdiag_tcp;

    row_count = 0;
    query->on_row = on_row;
    if (call(query, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(query->source, by_proc ? SOCK_FROM_PROC : SOCK_FROM_NETLINK);
    assert_int_equal(query->rows, row_count);
}

static int use_netlink(void **state)
{
    (void)state;
    sockdiag_set_source(NULL, false);
    by_proc = false;
    return 0;
}

static int use_proc(void **state)
{
    (void)state;
    sockdiag_set_source(NULL, true);
    by_proc = true;
    return 0;
}

/* A listener of one family; *port is set. */
static int listener(int family, uint16_t *port, int backlog, bool reuse)
{
    struct sockaddr_storage address = { .ss_family = (sa_family_t)family };
    socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    assert_true(fd >= 0);
    if (family == AF_INET) {
        struct sockaddr_in *v4 = (void *)&address;
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        v4->sin_port = htons(*port);
    } else {
        ((struct sockaddr_in6 *)(void *)&address)->sin6_port = htons(*port);
    }
    if (reuse)
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(family == AF_INET ? ((struct sockaddr_in *)(void *)&address)->sin_port
                                    : ((struct sockaddr_in6 *)(void *)&address)->sin6_port);
    return fd;
}

static int client(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Clients that came by IPv4 to a listener at :: are there, once, with an address of IPv4; the one that waits has no inode. */
static void test_dual_stack(void **state)
{
    uint16_t port = 0;
    int fd = listener(AF_INET6, &port, 7, false), first = client(port), second = client(port), taken;
    struct sockdiag_query query = { .states = SOCK_BIT(SOCK_LISTEN), .local_port = port };
    size_t accepted = 0;
    struct stat status;

    (void)state;
    ask(&query);
    assert_int_equal(row_count, 1);
    assert_int_equal(rows[0].state, SOCK_LISTEN);
    assert_true(sock_end_is_any(&rows[0].local));
    assert_int_equal(rows[0].in, 2);
    assert_int_equal(rows[0].out, by_proc ? 0 : 7);
    assert_int_equal(rows[0].uid, getuid());
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(rows[0].inode, status.st_ino);
    taken = accept(fd, NULL, NULL);
    query.states = SOCK_BIT(SOCK_ESTABLISHED);
    ask(&query);
    assert_int_equal(row_count, 2);
    for (size_t i = 0; i < row_count; i++) {
        accepted += rows[i].inode != 0;
        assert_true(sock_end_is_loopback(&rows[i].remote) && sock_end_same_address(&rows[i].remote, &rows[i].local));
        assert_int_equal(rows[i].local.port, port);
    }
    assert_int_equal(accepted, 1);
    query = (struct sockdiag_query){ .states = SOCK_BIT(SOCK_ESTABLISHED), .remote_port = port };
    ask(&query); /* the clients' side */
    assert_int_equal(row_count, 2);
    query = (struct sockdiag_query){ .states = SOCK_ALL, .local_port = port, .max_rows = 1 };
    ask(&query);
    assert_true(query.cut);
    close(taken);
    close(first);
    close(second);
    close(fd);
}

static void test_reuseport(void **state)
{
    uint16_t port = 0;
    int a = listener(AF_INET, &port, 5, true), b = listener(AF_INET, &port, 9, true);
    struct sockdiag_query query = { .states = SOCK_BIT(SOCK_LISTEN), .local_port = port };

    (void)state;
    ask(&query);
    assert_int_equal(row_count, 2);
    assert_int_equal(rows[0].out + rows[1].out, by_proc ? 0 : 14);
    close(a);
    close(b);
}

/* What one end has not read and the other has not acknowledged. */
static void test_bytes_that_wait(void **state)
{
    uint16_t port = 0;
    int fd = listener(AF_INET, &port, 5, false), sender = client(port), taken = accept(fd, NULL, NULL);
    struct sockdiag_query query = { .states = SOCK_BIT(SOCK_ESTABLISHED), .local_port = port, .info = true };

    (void)state;
    assert_int_equal(send(sender, "12345", 5, 0), 5);
    for (int i = 0; i < 1000; i++) {
        ask(&query);
        assert_int_equal(row_count, 1);
        if (rows[0].in == 5)
            break;
        usleep(10000);
    }
    assert_int_equal(rows[0].in, 5);
    assert_int_equal(rows[0].out, 0);
    assert_int_equal(rows[0].retransmits, 0);
    close(taken);
    close(sender);
    close(fd);
}

static void test_unix(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char root[] = "/tmp/test_sockdiag.XXXXXX", other[64];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), clients[3], taken;
    struct sockdiag_query query = { .states = SOCK_BIT(SOCK_LISTEN), .unix_path = address.sun_path };
    struct stat status;

    (void)state;
    assert_non_null(mkdtemp(root));
    snprintf(address.sun_path, sizeof address.sun_path, "%s/chat.sock", root);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 6), 0);
    for (int i = 0; i < 3; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&address, sizeof address), 0);
    }
    taken = accept(fd, NULL, NULL);
    ask(&query);
    assert_int_equal(row_count, 1);
    if (!by_proc) {
        assert_int_equal(rows[0].in, 2);
        assert_int_equal(rows[0].out, 6);
    }
    query.states = SOCK_BIT(SOCK_ESTABLISHED);
    ask(&query);
    size_t accepted = 0;
    for (size_t i = 0; i < row_count; i++)
        if (rows[i].inode) {
            accepted++;
            assert_int_equal(fstat(clients[0], &status), 0);
            assert_int_equal(rows[i].peer_inode, by_proc ? 0 : status.st_ino);
        }
    assert_int_equal(accepted, 1);
    /* The same socket by another name, as another mount namespace has it. */
    if (!by_proc) {
        snprintf(other, sizeof other, "%s/../%s/chat.sock", root, strrchr(root, '/') + 1);
        query.unix_path = other;
        ask(&query);
        assert_true(row_count >= 1);
    }
    query.unix_path = "/tmp/nothing.here";
    ask(&query);
    assert_int_equal(row_count, 0);
    close(taken);
    for (int i = 0; i < 3; i++)
        close(clients[i]);
    close(fd);
    unlink(address.sun_path);
    rmdir(root);
}

/* Neither source: an error that names both, and no row. */
static void test_refused(void **state)
{
    struct sockdiag_query query = { .states = SOCK_ALL, .on_row = on_row };
    struct err err;

    (void)state;
    sockdiag_set_source("/nowhere", true);
    assert_int_equal(sockdiag_tcp(&query, &err), -1);
    assert_int_equal(err.reason, REASON_AGENT_ERROR);
    assert_non_null(strstr(err.text, "sock_diag says Operation not permitted"));
    query.unix_path = "/x";
    assert_int_equal(sockdiag_unix(&query, &err), -1);
    sockdiag_set_source(NULL, false);
}

static void put_file(const char *root, const char *name, const char *text)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/net/%s", root, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Lines that no kernel writes are left out, as are those of other ports. */
static void test_odd_proc_files(void **state)
{
    char root[] = "/tmp/test_sockdiag.XXXXXX", path[64], command[64];
    struct sockdiag_query query = { .states = SOCK_ALL, .local_port = 8080 };

    (void)state;
    by_proc = true;
    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/net", root);
    assert_int_equal(mkdir(path, 0700), 0);
    put_file(root, "tcp",
             "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
             "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 4711 1 0\n"
             "   1: 0100007F:1F90 0100007F:9C40 01 00000010:00000020 00:00000000 00000000  1000        0 4712 1 0\n"
             "   2: 0100007F:1F91 0100007F:9C41 01 00000000:00000000 00:00000000 00000000  1000        0 4713 1 0\n"
             "   3: 0100007F:1F90 0100007F:9C42 FF 00000000:00000000 00:00000000 00000000  1000        0 4714 1 0\n"
             "   4: 01:1F90 0100007F:9C42 01\n: : : :\n\n");
    put_file(root, "tcp6",
             "   0: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:9C44 06 00000000:00000000 03:0 0 0 0 0 "
             "3 x\n");
    sockdiag_set_source(root, true);
    ask(&query);
    assert_int_equal(row_count, 3);
    assert_int_equal(rows[0].in, 3);
    assert_int_equal(rows[1].out, 16);
    assert_int_equal(rows[1].in, 32);
    assert_int_equal(rows[1].remote.port, 40000);
    assert_int_equal(rows[2].state, SOCK_TIME_WAIT);
    assert_true(sock_end_same_address(&rows[1].remote, &rows[2].remote)); /* IPv4 is the same in both files */
    sockdiag_set_source(NULL, false);
    snprintf(command, sizeof command, "rm -r '%s'", root);
    assert_int_equal(system(command), 0);
}

static uint32_t sought;
static int found;
static struct sock_end found_local, found_remote;

static void on_own(void *user, uint32_t inode, const struct sock_end *local, const struct sock_end *remote)
{
    (void)user;
    if (inode != sought)
        return;
    found++;
    found_local = *local;
    found_remote = *remote;
}

static void test_own_sockets(void **state)
{
    uint16_t port = 0;
    int fd = listener(AF_INET, &port, 5, false), mine = client(port);
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    struct stat status;

    (void)state;
    assert_int_equal(fstat(mine, &status), 0);
    assert_int_equal(getsockname(mine, (struct sockaddr *)&address, &len), 0);
    sought = (uint32_t)status.st_ino;
    own_sockets_each(on_own, NULL);
    assert_int_equal(found, 1);
    assert_int_equal(found_local.port, ntohs(((const struct sockaddr_in *)(const void *)&address)->sin_port));
    assert_int_equal(found_remote.port, port);
    assert_false(own_sockets_dialled_from(found_local.port));
    own_sockets_dialled(&address);
    close(mine);
    assert_true(own_sockets_dialled_from(found_local.port));
    assert_false(own_sockets_dialled_from(port));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_dual_stack, use_netlink),
        cmocka_unit_test_setup(test_dual_stack, use_proc),
        cmocka_unit_test_setup(test_reuseport, use_netlink),
        cmocka_unit_test_setup(test_reuseport, use_proc),
        cmocka_unit_test_setup(test_bytes_that_wait, use_netlink),
        cmocka_unit_test_setup(test_bytes_that_wait, use_proc),
        cmocka_unit_test_setup(test_unix, use_netlink),
        cmocka_unit_test_setup(test_unix, use_proc),
        cmocka_unit_test_setup(test_refused, use_netlink),
        cmocka_unit_test_setup(test_odd_proc_files, use_netlink),
        cmocka_unit_test_setup(test_own_sockets, use_netlink),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
