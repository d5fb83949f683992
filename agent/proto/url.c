/*
 * Reading and showing URLs and listen addresses. Configuration and command line parse with it, dial and upgrade read the struct,
 * everything that is printed goes through url_redact. Strict, since a URL comes from a person and a typo is best found at once.
 * Names are not resolved here, and the caller decides which schemes it takes. Texts never hold the userinfo or the query.
 */
#include "agent/proto/url.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/base/slice.h"
#include "agent/base/text.h"
#include "agent/proto/base64.h"

struct scheme {
    const char *name;
    uint16_t port; /* 0: none of its own */
    bool tls, is_unix;
};

static const struct scheme schemes[] = {
    { "ws", 80, false, false },
    { "wss", 443, true, false },
    { "http", 80, false, false },
    { "https", 443, true, false },
    { "ws+unix", 0, false, true },
    { "http+unix", 0, false, true },
    { "tcp", 0, false, false },
    /* brokers */
    { "redis", 6379, false, false },
    { "rediss", 6379, true, false },
    { "redis+unix", 0, false, true },
    { "nats", 4222, false, false },
    { "tls", 4222, true, false },
    { "amqp", 5672, false, false },
    { "amqps", 5671, true, false },
    { "mqtt", 1883, false, false },
    { "mqtts", 8883, true, false },
};
enum { SCHEME_COUNT = sizeof schemes / sizeof schemes[0], PORT_MAX = 65535, LABEL_MAX = 63, SHOWN_MAX = 48 };
/* What a person may have meant. A broker's URL is looked at for its scheme before it comes here. */
static const char schemes_text[] = "ws, wss, http, https, ws+unix, http+unix or tcp";

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(uint8_t c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static int hex_value(uint8_t c)
{
    if (is_digit(c))
        return c - '0';
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* Copies into a field of the struct, with a terminator. -1 when it does not fit. */
static int copy(struct slice s, char *out, size_t size)
{
    if (s.len >= size)
        return -1;
    if (s.len)
        memcpy(out, s.data, s.len);
    out[s.len] = '\0';
    return 0;
}

static int copy_lower(struct slice s, char *out, size_t size)
{
    if (copy(s, out, size))
        return -1;
    for (char *p = out; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p | 0x20);
    return 0;
}

/* Position of the first byte out of set, or s.len. */
static size_t find_any(struct slice s, const char *set)
{
    size_t i = 0;
    while (i < s.len && !strchr(set, s.data[i]))
        i++;
    return i;
}

static struct slice take(struct slice *s, size_t n)
{
    struct slice head = slice_make(s->data, n);
    *s = slice_skip(*s, n);
    return head;
}

static const char *show(struct slice s, char out[TEXT_EXCERPT_BYTES(SHOWN_MAX)])
{
    text_excerpt(s, SHOWN_MAX, out, TEXT_EXCERPT_BYTES(SHOWN_MAX));
    return out;
}

/* Percent-decoding into a C string: a zero byte or a control character in it is refused. */
static int decode(struct slice s, char *out, size_t size, const char *what, struct err *err)
{
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c == '%') {
            c = (uint8_t)((unsigned)hex_value(s.data[i + 1]) << 4 |
                          (unsigned)hex_value(s.data[i + 2])); /* seen by validate_bytes */
            i += 2;
        }
        if (c < 0x20 || c == 0x7f)
            return err_set(err, REASON_NONE, 0, "url: control character in the %s", what);
        if (len + 1 >= size)
            return err_set(err, REASON_NONE, 0, "url: %s longer than %zu bytes", what, size - 1);
        out[len++] = (char)c;
    }
    out[len] = '\0';
    return 0;
}

/* Refuses bytes that no URL may hold anywhere (RFC 3986, 2), so that the functions below need not. */
static int validate_bytes(struct slice s, struct err *err)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c <= 0x20 || c == 0x7f)
            return err_set(err, REASON_NONE, 0, "url: blank or control character at offset %zu", i);
        if (c > 0x7f || strchr("\"<>\\^`{|}", c))
            return err_set(err, REASON_NONE, 0, "url: character at offset %zu must be percent-encoded", i);
        if (c == '#')
            return err_set(err, REASON_NONE, 0, "url: fragment (#) at offset %zu, want none", i);
        if (c == '%' && (i + 2 >= s.len || hex_value(s.data[i + 1]) < 0 || hex_value(s.data[i + 2]) < 0))
            return err_set(err, REASON_NONE, 0, "url: %% at offset %zu without two hexadecimal digits", i);
    }
    return 0;
}

static bool is_scheme(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_alpha(s.data[i]) && !is_digit(s.data[i]) && !strchr("+-.", s.data[i]))
            return false;
    return s.len > 0;
}

static const struct scheme *read_scheme(struct slice *rest, struct err *err)
{
    ptrdiff_t at = slice_find(*rest, slice_str("://"));
    if (at <= 0) {
        err_set(err, REASON_NONE, 0, "url: no scheme, want %s, as in ws://127.0.0.1:8080/ws", schemes_text);
        return NULL;
    }
    struct slice name = take(rest, (size_t)at);
    *rest = slice_skip(*rest, 3);
    const char *names[SCHEME_COUNT];
    for (size_t i = 0; i < SCHEME_COUNT; i++) {
        names[i] = schemes[i].name;
        if (slice_equal_nocase(name, names[i]))
            return &schemes[i];
    }
    /* Something else in front of :// may be anything, a password too. */
    char word[sizeof((struct url *)0)->scheme];
    if (!is_scheme(name) || copy_lower(name, word, sizeof word)) {
        err_set(err, REASON_NONE, 0, "url: no scheme, want %s", schemes_text);
        return NULL;
    }
    const char *near = text_nearest(word, names, SCHEME_COUNT);
    if (near)
        err_set(err, REASON_NONE, 0, "url: unknown scheme '%s', want %s (did you mean '%s'?)", word, schemes_text, near);
    else
        err_set(err, REASON_NONE, 0, "url: unknown scheme '%s', want %s", word, schemes_text);
    return NULL;
}

/* Digits only, no more than five; 0 is for listen addresses. */
static int read_port(struct slice s, unsigned least, uint16_t *port)
{
    unsigned value = 0;
    if (s.len == 0 || s.len > 5)
        return -1;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.data[i]))
            return -1;
        value = value * 10 + (unsigned)(s.data[i] - '0');
    }
    if (value < least || value > PORT_MAX)
        return -1;
    *port = (uint16_t)value;
    return 0;
}

static bool is_v4(const char *host)
{
    struct in_addr address;
    return inet_pton(AF_INET, host, &address) == 1;
}

static bool is_v6(const char *host)
{
    struct in6_addr address;
    return inet_pton(AF_INET6, host, &address) == 1;
}

/* A name for DNS, with the underscores that container networks use. A last label of digits alone makes it an IPv4 address. */
static bool is_name(const char *host)
{
    const char *label = host;
    for (const char *p = host;; p++) {
        if (*p == '.' || *p == '\0') {
            size_t len = (size_t)(p - label);
            if (len > LABEL_MAX || (len == 0 && (*p == '.' || p == host)))
                return false;
            if (*p == '\0')
                return len == 0 || strspn(label, "0123456789") < len || is_v4(host);
            label = p + 1;
        } else if (!is_alpha((uint8_t)*p) && !is_digit((uint8_t)*p) && *p != '-' && *p != '_') {
            return false;
        }
    }
}

static int read_userinfo(struct slice userinfo, struct url *url, struct err *err)
{
    if (find_any(userinfo, "@") < userinfo.len)
        return err_set(err, REASON_NONE, 0, "url: @ in the user or password must be written %%40");
    struct slice user = take(&userinfo, find_any(userinfo, ":"));
    if (decode(user, url->user, sizeof url->user, "user", err))
        return -1;
    return decode(slice_skip(userinfo, 1), url->password, sizeof url->password, "password", err);
}

/* host[:port] or [v6][:port]; *port becomes what stands behind the colon, and stays as it is without one. */
static int read_host(struct slice s, struct url *url, struct slice *port, struct err *err)
{
    char shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)];
    struct slice host;
    bool bracketed = s.len && s.data[0] == '[';
    if (bracketed) {
        size_t end = find_any(s, "]");
        if (end == s.len)
            return err_set(err, REASON_NONE, 0, "url: [ without ] around the address");
        s = slice_skip(s, 1);
        host = take(&s, end - 1);
        s = slice_skip(s, 1);
        if (copy_lower(host, url->host, sizeof url->host) || !is_v6(url->host))
            return err_set(err, REASON_NONE, 0, "url: [%s] is not an IPv6 address", show(host, shown));
    } else {
        host = take(&s, find_any(s, ":"));
        if (s.len && find_any(slice_skip(s, 1), ":") < s.len - 1)
            return err_set(err, REASON_NONE, 0, "url: more than one colon in the host, want brackets around an IPv6 address");
        if (host.len == 0)
            return err_set(err, REASON_NONE, 0, "url: no host");
        if (copy_lower(host, url->host, sizeof url->host))
            return err_set(err, REASON_NONE, 0, "url: host longer than %d bytes", URL_HOST_MAX - 1);
        if (!is_name(url->host))
            return err_set(err, REASON_NONE, 0, "url: host '%s' is neither a name nor an address", show(host, shown));
    }
    if (s.len && s.data[0] != ':')
        return err_set(err, REASON_NONE, 0, "url: '%s' behind the address, want :port or a path", show(s, shown));
    if (s.len)
        *port = slice_skip(s, 1);
    return 0;
}

static int read_authority(struct slice authority, const struct scheme *scheme, struct url *url, struct err *err)
{
    size_t at = authority.len;
    while (at > 0 && authority.data[at - 1] != '@')
        at--;
    if (at > 0) {
        if (read_userinfo(slice_make(authority.data, at - 1), url, err))
            return -1;
        authority = slice_skip(authority, at);
    }
    struct slice port = slice_make(NULL, 0);
    if (read_host(authority, url, &port, err))
        return -1;
    url->port = scheme->port;
    if (!port.data && !scheme->port)
        return err_set(err, REASON_NONE, 0, "url: no port, want %s://host:port", scheme->name);
    if (port.data && read_port(port, 1, &url->port)) {
        char shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)];
        return err_set(err, REASON_NONE, 0, "url: port %s, want 1 to %d", port.len ? show(port, shown) : "''", PORT_MAX);
    }
    const char *open = strchr(url->host, ':') ? "[" : "", *close = *open ? "]" : "";
    if (url->port == scheme->port)
        snprintf(url->authority, sizeof url->authority, "%s%s%s", open, url->host, close);
    else
        snprintf(url->authority, sizeof url->authority, "%s%s%s:%u", open, url->host, close, url->port);
    return 0;
}

/* [user:password@]/path/of/the/socket[:/request-path]; *rest is left at the request path. A colon in the socket's path is written %3A. */
static int read_unix(struct slice *rest, const struct scheme *scheme, struct url *url, struct err *err)
{
    size_t slash = find_any(*rest, "/");
    if (slash > 0 && slash < rest->len && rest->data[slash - 1] == '@') {
        if (read_userinfo(take(rest, slash - 1), url, err))
            return -1;
        *rest = slice_skip(*rest, 1);
    }
    if (rest->len == 0 || rest->data[0] != '/')
        return err_set(err, REASON_NONE, 0, "url: no absolute path of a socket, want %s:///path/of/socket:/request-path",
                       scheme->name);
    struct slice path = take(rest, find_any(*rest, ":?"));
    if (rest->len && rest->data[0] == '?')
        return err_set(err, REASON_NONE, 0, "url: query without a request path, want %s:///path/of/socket:/?…", scheme->name);
    if (rest->len) {
        *rest = slice_skip(*rest, 1);
        if (rest->len == 0 || rest->data[0] != '/')
            return err_set(err, REASON_NONE, 0, "url: no request path behind the colon, want %s:///path/of/socket:/request-path",
                           scheme->name);
    }
    if (path.data[path.len - 1] == '/')
        return err_set(err, REASON_NONE, 0, "url: the path of the socket ends in a slash");
    snprintf(url->host, sizeof url->host, "localhost");
    snprintf(url->authority, sizeof url->authority, "localhost");
    return decode(path, url->unix_path, sizeof url->unix_path, "path of the socket", err);
}

static int read_target(struct slice target, struct url *url, struct err *err)
{
    url->has_path = target.len && target.data[0] == '/';
    size_t slash = url->has_path ? 0 : 1;
    url->target[0] = '/';
    if (copy(target, url->target + slash, sizeof url->target - slash))
        return err_set(err, REASON_NONE, 0, "url: path and query longer than %zu bytes", sizeof url->target - 1 - slash);
    return 0;
}

const char *url_complaint(const struct err *err)
{
    return strncmp(err->text, "url: ", 5) == 0 ? err->text + 5 : err->text;
}

int url_parse(const char *text, struct url *url, struct err *err)
{
    struct slice rest = slice_str(text);
    memset(url, 0, sizeof *url);
    if (rest.len == 0)
        return err_set(err, REASON_NONE, 0, "url: empty, want one like ws://127.0.0.1:8080/ws");
    if (validate_bytes(rest, err))
        return -1;
    const struct scheme *scheme = read_scheme(&rest, err);
    if (!scheme)
        return -1;
    snprintf(url->scheme, sizeof url->scheme, "%s", scheme->name);
    url->tls = scheme->tls;
    url->is_unix = scheme->is_unix;
    if (scheme->is_unix ? read_unix(&rest, scheme, url, err)
                        : read_authority(take(&rest, find_any(rest, "/?")), scheme, url, err)) {
        /* The authority may have been cut short by a / in a password: then what it says is a part of a secret. */
        if (find_any(rest, "@") < rest.len)
            err_set(err, REASON_NONE, 0, "url: host or port not valid (a / or ? in the user or password must be percent-encoded)");
        return -1;
    }
    bool is_tcp = strcmp(scheme->name, "tcp") == 0;
    if (is_tcp && rest.len && !slice_equal_str(rest, "/"))
        return err_set(err, REASON_NONE, 0, "url: path behind the port, want tcp://host:port");
    return read_target(rest, url, err);
}

bool url_same_server(const struct url *a, const struct url *b)
{
    if (a->is_unix || b->is_unix)
        return a->is_unix && b->is_unix && strcmp(a->unix_path, b->unix_path) == 0;
    return a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

bool url_basic(const struct url *url, char out[URL_BASIC_MAX])
{
    static const char scheme[] = "Basic ";
    char pair[sizeof url->user + sizeof url->password];
    static_assert(sizeof scheme + BASE64_LEN(sizeof pair) <= URL_BASIC_MAX, "the longest user and password must fit");
    *out = '\0';
    if (!url->user[0] && !url->password[0])
        return false;
    int len = snprintf(pair, sizeof pair, "%s:%s", url->user, url->password);
    memcpy(out, scheme, sizeof scheme - 1);
    base64_encode(slice_make(pair, (size_t)len), out + sizeof scheme - 1);
    explicit_bzero(pair, sizeof pair);
    return true;
}

/* --- showing --- */

struct shown {
    char *out;
    size_t len, size;
};

/* ASCII that does no harm to a terminal; what does not fit is cut. */
static void put(struct shown *shown, struct slice s)
{
    for (size_t i = 0; i < s.len && shown->len + 1 < shown->size; i++)
        shown->out[shown->len++] = s.data[i] > 0x20 && s.data[i] < 0x7f ? (char)s.data[i] : '?';
}

/* A name in the query stays, its value goes; a part without = may be a token by itself. */
static void put_query(struct shown *shown, struct slice query)
{
    put(shown, take(&query, 1));
    while (query.len) {
        struct slice part = take(&query, find_any(query, "&"));
        size_t equals = find_any(part, "=");
        if (equals < part.len)
            put(shown, slice_make(part.data, equals + 1));
        if (equals + 1 != part.len && part.len)
            put(shown, slice_str("***"));
        put(shown, take(&query, query.len ? 1 : 0));
    }
}

/* A user is shown only in front of a password: alone it is often a token. */
static void put_userinfo(struct shown *shown, struct slice userinfo)
{
    size_t colon = find_any(userinfo, ":");
    if (colon < userinfo.len)
        put(shown, slice_make(userinfo.data, colon + 1));
    put(shown, slice_str("***@"));
}

static size_t last_at(struct slice s)
{
    size_t at = s.len;
    while (at > 0 && s.data[at - 1] != '@')
        at--;
    return at;
}

void url_redact(const char *text, char *out, size_t size)
{
    struct shown shown = { out, 0, size };
    struct slice rest = slice_str(text);
    struct url url;
    if (size == 0)
        return;
    ptrdiff_t scheme = slice_find(rest, slice_str("://"));
    if (scheme > 0 && is_scheme(slice_make(rest.data, (size_t)scheme)))
        put(&shown, take(&rest, (size_t)scheme + 3));
    /* In a text that is no URL, a password may hold / or ?: everything up to the last @ may be one. */
    bool valid = text && url_parse(text, &url, NULL) == 0;
    size_t at = last_at(valid ? slice_make(rest.data, find_any(rest, "/?")) : rest);
    if (at > 0 && valid)
        put_userinfo(&shown, slice_make(rest.data, at - 1));
    else if (at > 0)
        put(&shown, slice_str("***@"));
    rest = slice_skip(rest, at);
    put(&shown, take(&rest, find_any(rest, "?#")));
    if (rest.len && rest.data[0] == '?')
        put_query(&shown, take(&rest, find_any(rest, "#")));
    if (rest.len)
        put(&shown, slice_str("#***"));
    out[shown.len] = '\0';
}

/* --- listen addresses --- */

int listen_address_parse(const char *text, struct listen_address *address, struct err *err)
{
    static const char wanted[] = "want one like 127.0.0.1:9717, [::1]:9717 or unix:/run/wshealthd/http.sock";
    char seen[TEXT_EXCERPT_BYTES(SHOWN_MAX)];
    struct slice rest = slice_str(text), host;
    memset(address, 0, sizeof *address);
    if (rest.len == 0)
        return err_set(err, REASON_NONE, 0, "address: empty, %s", wanted);
    if (rest.len >= 5 && memcmp(rest.data, "unix:", 5) == 0) {
        rest = slice_skip(rest, 5);
        if (rest.len == 0 || rest.data[0] != '/')
            return err_set(err, REASON_NONE, 0, "address: path '%s' is not absolute, %s", show(rest, seen), wanted);
        if (copy(rest, address->unix_path, sizeof address->unix_path))
            return err_set(err, REASON_NONE, 0, "address: path longer than %d bytes", URL_UNIX_MAX - 1);
        address->is_unix = true;
        return 0;
    }
    bool bracketed = rest.data[0] == '[';
    if (bracketed)
        rest = slice_skip(rest, 1);
    host = take(&rest, find_any(rest, bracketed ? "]" : ":"));
    if (bracketed)
        rest = slice_skip(rest, rest.len ? 1 : 0);
    if (copy_lower(host, address->host, sizeof address->host) || !(bracketed ? is_v6(address->host) : is_v4(address->host)))
        return err_set(err, REASON_NONE, 0, "address: '%s' is not an IP address, %s", show(host, seen), wanted);
    if (rest.len == 0 || rest.data[0] != ':')
        return err_set(err, REASON_NONE, 0, "address: no port, %s", wanted);
    rest = slice_skip(rest, 1);
    if (read_port(rest, 0, &address->port))
        return err_set(err, REASON_NONE, 0, "address: port '%s', want 0 to %d", show(rest, seen), PORT_MAX);
    return 0;
}
