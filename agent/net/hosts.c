/*
 * Hosts that need no resolver: addresses in text, and localhost (agent/net/resolve.h). localhost has the addresses in /etc/hosts,
 * or else both loopback addresses. Called by resolve.c on the loop's thread; the file is read anew only when it has changed.
 */
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "agent/base/file.h"
#include "agent/net/resolve.h"

enum { HOSTS_BYTES_MAX = 64 << 10 };

static const char *hosts_path = "/etc/hosts";
static struct {
    bool have;
    struct stat seen;
    struct resolve_answer localhost;
} cache;

void resolve_set_hosts(const char *path)
{
    hosts_path = path ? path : "/etc/hosts";
    cache.have = false;
}

static bool add_address(struct resolve_answer *answer, const char *text)
{
    struct sockaddr_storage address;
    memset(&address, 0, sizeof address);
    if (answer->count == RESOLVE_ADDRESSES_MAX ||
        (uv_ip4_addr(text, 0, (struct sockaddr_in *)&address) != 0 && uv_ip6_addr(text, 0, (struct sockaddr_in6 *)&address) != 0))
        return false;
    answer->addresses[answer->count++] = address;
    return true;
}

/* One line, "address name name…": its address, where a name is localhost. */
static void read_line(char *line, struct resolve_answer *answer)
{
    char *rest = NULL, *address;
    line[strcspn(line, "#")] = '\0';
    address = strtok_r(line, " \t\r", &rest);
    for (const char *name; address && (name = strtok_r(NULL, " \t\r", &rest));)
        if (strcasecmp(name, "localhost") == 0) {
            (void)add_address(answer, address);
            return;
        }
}

static const struct resolve_answer *localhost(void)
{
    struct stat now;
    if (stat(hosts_path, &now) != 0)
        memset(&now, 0, sizeof now);
    if (cache.have && file_same(&now, &cache.seen))
        return &cache.localhost;
    memset(&cache.localhost, 0, sizeof cache.localhost);
    struct buf text = BUF_INIT(HOSTS_BYTES_MAX);
    char *rest = NULL;
    if (file_read(hosts_path, HOSTS_BYTES_MAX, FILE_REGULAR, &text, NULL, NULL) == 0 && text.len > 0 && buf_str(&text))
        for (char *line = strtok_r((char *)text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
            read_line(line, &cache.localhost);
    buf_fini(&text);
    if (cache.localhost.count == 0) {
        add_address(&cache.localhost, "127.0.0.1");
        add_address(&cache.localhost, "::1");
    }
    cache.seen = now;
    cache.have = true;
    return &cache.localhost;
}

/* "localhost", "a.localhost", and both with the final dot. */
static bool is_localhost(const char *host)
{
    static const char name[] = "localhost";
    size_t len = strlen(host), name_len = sizeof name - 1;
    if (len && host[len - 1] == '.')
        len--;
    return len >= name_len && strncasecmp(host + len - name_len, name, name_len) == 0 &&
           (len == name_len || host[len - name_len - 1] == '.');
}

bool resolve_without(const char *host, struct resolve_answer *answer)
{
    memset(answer, 0, sizeof *answer);
    if (add_address(answer, host))
        return true;
    if (!is_localhost(host))
        return false;
    *answer = *localhost();
    return true;
}
