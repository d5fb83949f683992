/*
 * What a start line and a set of header fields mean (RFC 9112, 2 to 6): versions, methods, statuses, the length of the body, and the
 * look-ups that everybody uses. Called by http1.c with complete lines; owns nothing. Every refusal names the thing and the value.
 */
#include "agent/proto/http1_head.h"

#include <arpa/inet.h>
#include <string.h>

#include "agent/base/text.h"

enum { EXCERPT_CHARS = 40, EXCERPT_MAX = TEXT_EXCERPT_BYTES(EXCERPT_CHARS) };

static int bad_value(struct err *err, int status, const char *what, struct slice value)
{
    char shown[EXCERPT_MAX];
    text_excerpt(value, EXCERPT_CHARS, shown, sizeof shown);
    return http_bad(err, status, "%s \"%s\"", what, shown);
}

/* --- look-ups ------------------------------------------------------------------------------------------------------ */

const struct slice *http_header_nth(const struct http_head *head, const char *name, size_t nth)
{
    for (size_t i = 0; i < head->header_count; i++)
        if (slice_equal_nocase(head->headers[i].name, name) && nth-- == 0)
            return &head->headers[i].value;
    return NULL;
}

const struct slice *http_header_get(const struct http_head *head, const char *name)
{
    return http_header_nth(head, name, 0);
}

static struct slice next_element(struct slice *list)
{
    const uint8_t *comma = list->len ? memchr(list->data, ',', list->len) : NULL;
    size_t len = comma ? (size_t)(comma - list->data) : list->len;
    struct slice element = slice_trim(slice_make(list->data, len));
    *list = slice_skip(*list, comma ? len + 1 : len);
    return element;
}

bool http_header_has_token(const struct http_head *head, const char *name, const char *token)
{
    const struct slice *value;
    for (size_t nth = 0; (value = http_header_nth(head, name, nth)); nth++) {
        struct slice rest = *value;
        while (rest.len)
            if (slice_equal_nocase(next_element(&rest), token))
                return true;
    }
    return false;
}

/* --- the start line --------------------------------------------------------------------------------------------------- */

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

bool http_is_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        bool alnum = is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && (c == 0 || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return s.len > 0;
}

static bool is_hex(uint8_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* RFC 3986, 3.2.2: unreserved, sub-delims and percent-encoded bytes. Returns its length. */
static size_t scan_name(struct slice s)
{
    size_t i = 0;
    while (i < s.len) {
        uint8_t c = s.data[i];
        bool alnum = is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (c == '%' && s.len - i > 2 && is_hex(s.data[i + 1]) && is_hex(s.data[i + 2]))
            i += 3;
        else if (alnum || (c != 0 && strchr("-._~!$&'()*+,;=", c)))
            i++;
        else
            break;
    }
    return i;
}

/* "[…]": an address of IPv6 (perhaps with a zone, as some clients leave it in). Returns its length, or 0. */
static size_t scan_literal(struct slice s)
{
    const uint8_t *end = memchr(s.data, ']', s.len);
    char text[INET6_ADDRSTRLEN];
    uint8_t address[sizeof(struct in6_addr)];
    size_t len = end ? (size_t)(end - s.data) - 1 : 0, i = 0;
    if (len == 0)
        return 0;
    const uint8_t *zone = memchr(s.data + 1, '%', len);
    size_t shown = zone ? (size_t)(zone - s.data) - 1 : len;
    for (size_t at = shown; at < len; at++)
        if (s.data[1 + at] <= ' ' || s.data[1 + at] >= 0x7f)
            return 0;
    if (shown >= sizeof text)
        return 0;
    for (; i < shown; i++)
        text[i] = (char)s.data[1 + i];
    text[i] = '\0';
    return inet_pton(AF_INET6, text, address) == 1 ? len + 2 : 0;
}

bool http_is_authority(struct slice s)
{
    if (s.len == 0)
        return true; /* an empty Host says that the target has none */
    size_t len = s.data[0] == '[' ? scan_literal(s) : scan_name(s);
    struct slice port = slice_skip(s, len);
    if (port.len == 0)
        return true;
    if (len == 0 || port.data[0] != ':')
        return false;
    for (size_t i = 1; i < port.len; i++)
        if (!is_digit(port.data[i]))
            return false;
    return true;
}

/* The commonest mistake is a port where something else is spoken, so the error says what it looks like. */
static const char *guess(struct slice bytes)
{
    static const uint8_t h2_settings[] = { 0x04, 0x00, 0x00, 0x00, 0x00, 0x00 };
    if (bytes.len >= 2 && (bytes.data[0] == 0x15 || bytes.data[0] == 0x16) && bytes.data[1] == 0x03)
        return " (a TLS record: is this a wss:// or https:// port?)";
    if (bytes.len >= 9 && memcmp(bytes.data + 3, h2_settings, sizeof h2_settings) == 0)
        return " (an HTTP/2 frame: this port does not speak HTTP/1.1)";
    return "";
}

int http_validate_response_start(struct slice bytes, struct err *err)
{
    static const char want[] = "HTTP/1.";
    size_t n = bytes.len < sizeof want - 1 ? bytes.len : sizeof want - 1;
    if (n == 0 || memcmp(bytes.data, want, n) == 0)
        return 0;
    char shown[EXCERPT_MAX];
    size_t line = 0;
    while (line < bytes.len && bytes.data[line] != '\r' && bytes.data[line] != '\n')
        line++;
    text_excerpt(slice_make(bytes.data, line ? line : bytes.len), EXCERPT_CHARS, shown, sizeof shown);
    return http_bad(err, 0, "response does not start with HTTP/1.x but with \"%s\"%s", shown, guess(bytes));
}

static int parse_version(struct slice text, struct http_head *head)
{
    if (text.len != 8 || memcmp(text.data, "HTTP/", 5) != 0 || !is_digit(text.data[5]) || text.data[6] != '.' ||
        !is_digit(text.data[7]))
        return -1;
    head->major = text.data[5] - '0';
    head->minor = text.data[7] - '0';
    return 0;
}

static bool version_known(const struct http_head *head)
{
    return head->major == 1; /* a higher minor version is taken for the highest that we know (RFC 9110, 2.5) */
}

static int parse_status_line(struct slice line, struct http_head *head, struct err *err)
{
    if (line.len < 8 || parse_version(slice_make(line.data, 8), head) < 0 || !version_known(head))
        return bad_value(err, 0, "version must be HTTP/1.x, not", slice_make(line.data, line.len < 8 ? line.len : 8));
    struct slice rest = slice_skip(line, 8);
    if (rest.len < 4 || rest.data[0] != ' ' || !is_digit(rest.data[1]) || !is_digit(rest.data[2]) || !is_digit(rest.data[3]) ||
        rest.data[1] == '0' || (rest.len > 4 && rest.data[4] != ' '))
        return bad_value(err, 0, "status line has no status of three digits:", line);
    head->status = (rest.data[1] - '0') * 100 + (rest.data[2] - '0') * 10 + (rest.data[3] - '0');
    head->reason = slice_skip(rest, 5); /* the blank behind the status may be missing where there is no reason */
    return 0;
}

static int parse_request_line(struct slice line, struct http_head *head, struct err *err)
{
    const uint8_t *end = line.data + line.len;
    const uint8_t *first = memchr(line.data, ' ', line.len);
    const uint8_t *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;
    if (!second)
        return bad_value(err, 400, "request line is not \"method target version\":", line);
    head->method = slice_make(line.data, (size_t)(first - line.data));
    head->target = slice_make(first + 1, (size_t)(second - first - 1));
    struct slice version = slice_make(second + 1, (size_t)(end - second - 1));
    if (!http_is_token(head->method))
        return bad_value(err, 400, "method is not a token:", head->method);
    if (head->target.len == 0)
        return http_bad(err, 400, "request target is empty");
    for (size_t i = 0; i < head->target.len; i++)
        if (head->target.data[i] <= ' ' || head->target.data[i] >= 0x7f)
            return bad_value(err, 400, "request target holds a byte that must be percent-encoded:", head->target);
    if (parse_version(version, head) < 0)
        return bad_value(err, 400, "request line ends with no HTTP version but with", version);
    if (!version_known(head))
        return bad_value(err, 505, "version must be HTTP/1.x, not", version);
    return 0;
}

int http_parse_start(enum http_kind kind, struct slice line, struct http_head *head, struct err *err)
{
    return kind == HTTP_KIND_RESPONSE ? parse_status_line(line, head, err) : parse_request_line(line, head, err);
}

/* --- the fields ----------------------------------------------------------------------------------------------------- */

static int parse_length(struct slice value, uint64_t *length)
{
    uint64_t sum = 0;
    if (value.len == 0 || value.len > 18)
        return -1;
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.data[i]))
            return -1;
        sum = sum * 10 + (uint64_t)(value.data[i] - '0');
    }
    *length = sum;
    return 0;
}

/* The last coding of all Transfer-Encoding fields, and how many there are. */
static size_t transfer_codings(const struct http_head *head, struct slice *last)
{
    size_t count = 0;
    const struct slice *value;
    for (size_t nth = 0; (value = http_header_nth(head, "Transfer-Encoding", nth)); nth++)
        for (struct slice rest = *value; rest.len;) {
            struct slice element = next_element(&rest);
            if (element.len == 0)
                continue;
            *last = element;
            count++;
        }
    return count;
}

static int judge_transfer_encoding(enum http_kind kind, const struct http_head *head, enum http_framing *framing, struct err *err)
{
    struct slice last = { 0 };
    size_t count = transfer_codings(head, &last);
    bool chunked = slice_equal_nocase(last, "chunked");
    if (head->minor == 0)
        return http_bad(err, 400, "Transfer-Encoding in a message of HTTP/1.0");
    if (count == 0)
        return http_bad(err, 400, "Transfer-Encoding is empty");
    if (kind == HTTP_KIND_REQUEST && !chunked)
        return bad_value(err, 501, "Transfer-Encoding must end with chunked, not with", last);
    if (kind == HTTP_KIND_REQUEST && count > 1)
        return http_bad(err, 501, "Transfer-Encoding names more than chunked");
    *framing = chunked ? FRAMING_CHUNKED : FRAMING_EOF;
    return 0;
}

int http_judge_fields(enum http_kind kind, const struct http_head *head, bool no_body, enum http_framing *framing, uint64_t *length,
                      struct err *err)
{
    const struct slice *size = http_header_get(head, "Content-Length");
    bool encoded = http_header_get(head, "Transfer-Encoding");
    *length = 0;
    *framing = kind == HTTP_KIND_REQUEST ? FRAMING_NONE : FRAMING_EOF;
    if (size && encoded)
        return http_bad(err, 400, "both Content-Length and Transfer-Encoding are given");
    if (http_header_nth(head, "Content-Length", 1))
        return http_bad(err, 400, "Content-Length is given more than once");
    if (size && parse_length(*size, length) < 0)
        return bad_value(err, 400, "Content-Length is not a number of bytes:", *size);
    if (encoded && judge_transfer_encoding(kind, head, framing, err) < 0)
        return -1;
    if (size)
        *framing = *length ? FRAMING_LENGTH : FRAMING_NONE;
    if (kind == HTTP_KIND_RESPONSE && (no_body || head->status < 200 || head->status == 204 || head->status == 304))
        *framing = FRAMING_NONE;
    if (kind == HTTP_KIND_REQUEST) {
        if (head->minor >= 1 && !http_header_get(head, "Host"))
            return http_bad(err, 400, "a request of HTTP/1.1 must have a Host header");
        if (http_header_nth(head, "Host", 1))
            return http_bad(err, 400, "Host is given more than once");
        const struct slice *host = http_header_get(head, "Host");
        if (host && !http_is_authority(*host))
            return bad_value(err, 400, "Host is not a host with a port or without:", *host);
    }
    return 0;
}
