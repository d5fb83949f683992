/*
 * Reads PROXY preambles (the specification of HAProxy's, sections 2.1 and 2.2). Pure, and without state: the preamble is short, so that its
 * first bytes are looked at anew when more have come. Only what the agent needs is taken out: is the client on this host?
 */
#include "agent/proto/proxy_read.h"

#include <arpa/inet.h>
#include <string.h>

#include "agent/base/text.h"

enum {
    V1_MAX = 107,
    V2_HEAD = 16,
    V2_V4_BYTES = 12,
    V2_V6_BYTES = 36,
    V1_FIELDS = 6,
    SHOWN_CHARS = 60,
    SHOWN_MAX = TEXT_EXCERPT_BYTES(SHOWN_CHARS)
};

static const char v1_word[] = "PROXY ";
static const uint8_t v2_signature[] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

static bool is_loopback(int family, const void *address)
{
    const uint8_t *bytes = address;
    const struct in6_addr *v6 = address;
    if (family == AF_INET)
        return bytes[0] == 127;
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && bytes[12] == 127);
}

static enum proxy_found bad(struct err *err, const char *what, struct slice line)
{
    char shown[SHOWN_MAX];
    text_excerpt(line, SHOWN_CHARS, shown, sizeof shown);
    err_set(err, REASON_HTTP_MALFORMED, 400, "PROXY preamble: %s: \"%s\"", what, shown);
    return PROXY_BAD;
}

/* --- version 1: a line of text ------------------------------------------------------------------------------------------ */

static bool is_port(struct slice field)
{
    unsigned long value = 0;
    if (field.len == 0 || field.len > 5 || (field.len > 1 && field.data[0] == '0'))
        return false;
    for (size_t i = 0; i < field.len; i++) {
        if (field.data[i] < '0' || field.data[i] > '9')
            return false;
        value = value * 10 + (unsigned long)(field.data[i] - '0');
    }
    return value <= 65535;
}

static size_t split(struct slice line, struct slice fields[V1_FIELDS + 1])
{
    size_t count = 0;
    for (;;) {
        const uint8_t *blank = line.len ? memchr(line.data, ' ', line.len) : NULL;
        fields[count++] = slice_make(line.data, blank ? (size_t)(blank - line.data) : line.len);
        if (!blank || count > V1_FIELDS)
            return count;
        line = slice_skip(line, fields[count - 1].len + 1);
    }
}

static bool read_address(int family, struct slice text, uint8_t out[16])
{
    char string[INET6_ADDRSTRLEN];
    if (text.len == 0 || text.len >= sizeof string)
        return false;
    memcpy(string, text.data, text.len);
    string[text.len] = '\0';
    return strlen(string) == text.len && inet_pton(family, string, out) == 1;
}

static enum proxy_found read_v1(struct slice bytes, struct proxy_source *source, size_t *len, struct err *err)
{
    size_t seen = bytes.len < V1_MAX ? bytes.len : V1_MAX;
    const uint8_t *lf = memchr(bytes.data, '\n', seen);
    if (!lf && bytes.len < V1_MAX)
        return PROXY_PART;
    size_t line_len = lf ? (size_t)(lf - bytes.data) : seen;
    if (!lf || line_len == 0 || bytes.data[line_len - 1] != '\r')
        return bad(err, "the line does not end with CRLF within 107 bytes", slice_make(bytes.data, line_len));
    struct slice line = slice_make(bytes.data, line_len - 1), fields[V1_FIELDS + 1];
    size_t count = split(line, fields);
    *len = line_len + 1;
    if (slice_equal_str(fields[1], "UNKNOWN"))
        return PROXY_FOUND;
    int family = slice_equal_str(fields[1], "TCP4") ? AF_INET : slice_equal_str(fields[1], "TCP6") ? AF_INET6 : 0;
    uint8_t from[16], to[16];
    if (family == 0)
        return bad(err, "neither TCP4, TCP6 nor UNKNOWN", line);
    if (count != V1_FIELDS || !read_address(family, fields[2], from) || !read_address(family, fields[3], to) ||
        !is_port(fields[4]) || !is_port(fields[5]))
        return bad(err, "want two addresses and two ports", line);
    source->known = true;
    source->loopback = is_loopback(family, from);
    return PROXY_FOUND;
}

/* --- version 2: binary -------------------------------------------------------------------------------------------------- */

static enum proxy_found read_v2(struct slice bytes, struct proxy_source *source, size_t *len, struct err *err)
{
    if (bytes.len < V2_HEAD)
        return PROXY_PART;
    uint8_t version = bytes.data[12] >> 4, command = bytes.data[12] & 15, family = bytes.data[13] >> 4;
    size_t more = (size_t)bytes.data[14] << 8 | bytes.data[15];
    static const size_t needs[] = { 0, V2_V4_BYTES, V2_V6_BYTES, 216 }; /* of AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX */
    if (version != 2 || command > 1 || family > 3 || (bytes.data[13] & 15) > 2)
        return err_set(err, REASON_HTTP_MALFORMED, 400,
                       "PROXY preamble: version, command or family is none of version 2: 0x%02x 0x%02x", bytes.data[12],
                       bytes.data[13]),
               PROXY_BAD;
    if (command == 1 && more < needs[family])
        return err_set(err, REASON_HTTP_MALFORMED, 400, "PROXY preamble: %zu bytes are too few for the address", more), PROXY_BAD;
    if (V2_HEAD + more > PROXY_READ_MAX)
        return err_set(err, REASON_HTTP_MALFORMED, 400, "PROXY preamble: %zu bytes are more than the limit of %d", V2_HEAD + more,
                       PROXY_READ_MAX),
               PROXY_BAD;
    if (bytes.len < V2_HEAD + more)
        return PROXY_PART;
    *len = V2_HEAD + more;
    if (command == 1 && (family == 1 || family == 2)) {
        source->known = true;
        source->loopback = is_loopback(family == 1 ? AF_INET : AF_INET6, bytes.data + V2_HEAD);
    }
    return PROXY_FOUND;
}

enum proxy_found proxy_read(struct slice bytes, struct proxy_source *source, size_t *len, struct err *err)
{
    size_t word = sizeof v1_word - 1, n1 = bytes.len < word ? bytes.len : word;
    size_t n2 = bytes.len < sizeof v2_signature ? bytes.len : sizeof v2_signature;
    *source = (struct proxy_source){ 0 };
    *len = 0;
    if (bytes.len == 0)
        return PROXY_PART;
    if (memcmp(bytes.data, v1_word, n1) == 0)
        return n1 < word ? PROXY_PART : read_v1(bytes, source, len, err);
    if (memcmp(bytes.data, v2_signature, n2) == 0)
        return n2 < sizeof v2_signature ? PROXY_PART : read_v2(bytes, source, len, err);
    return PROXY_ABSENT;
}
