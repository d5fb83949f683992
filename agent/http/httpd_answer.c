/*
 * The texts of the HTTP server: status lines and headers of answers, targets of requests. Called by httpd.c for every request, so
 * nothing here formats with printf or allocates once the buffers have grown. Owns nothing.
 */
#include "agent/http/httpd_answer.h"

#include <string.h>
#include <time.h>

#include "agent/base/clock.h"

static const struct {
    int status;
    const char *text;
} status_texts[] = {
    { 200, "OK" },
    { 400, "Bad Request" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 408, "Request Timeout" },
    { 413, "Content Too Large" },
    { 422, "Unprocessable Content" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 503, "Service Unavailable" },
    { 505, "HTTP Version Not Supported" },
};

const char *httpd_status_text(int status)
{
    for (size_t i = 0; i < sizeof status_texts / sizeof *status_texts; i++)
        if (status_texts[i].status == status)
            return status_texts[i].text;
    return "Unknown";
}

static const char *date_text(struct httpd_date *date)
{
    int64_t second = clock_wall_ms() / 1000;
    if (second != date->second || !date->text[0]) {
        time_t now = (time_t)second;
        struct tm utc;
        gmtime_r(&now, &utc);
        strftime(date->text, sizeof date->text, "%a, %d %b %Y %H:%M:%S GMT",
                 &utc); /* names are English, as the process keeps the locale "C" */
        date->second = second;
    }
    return date->text;
}

static void append_number(struct buf *out, size_t number)
{
    char digits[24], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    buf_append(out, at, (size_t)(digits + sizeof digits - at));
}

#define append_literal(out, text) buf_append((out), (text), sizeof text - 1)

void httpd_write_answer(struct buf *out, struct httpd_date *date, const struct httpd_answer *answer)
{
    append_literal(out, "HTTP/1.1 ");
    append_number(out, (size_t)answer->status);
    buf_append_char(out, ' ');
    buf_append_str(out, httpd_status_text(answer->status));
    append_literal(out, "\r\nDate: ");
    buf_append_str(out, date_text(date));
    append_literal(out, "\r\nContent-Type: ");
    buf_append_str(out, answer->content_type);
    if (!answer->stream) {
        append_literal(out, "\r\nContent-Length: ");
        append_number(out, answer->body.len);
    } else if (!answer->old) {
        append_literal(out, "\r\nTransfer-Encoding: chunked");
    }
    append_literal(out, "\r\nCache-Control: no-store\r\n");
    if (answer->close)
        append_literal(out, "Connection: close\r\n");
    else if (answer->old)
        append_literal(out, "Connection: keep-alive\r\n");
    buf_append_slice(out, answer->headers);
    append_literal(out, "\r\n");
    if (!answer->head_only)
        buf_append_slice(out, answer->body);
}

/* The rest of an absolute target after its authority. NULL data: the authority is not valid (RFC 9110, 4.2.1: it needs a host). */
static struct slice cut_authority(struct slice target)
{
    static const char *const schemes[] = { "http://", "https://" };
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(schemes[i]), end = len;
        if (target.len < len || !slice_equal_nocase(slice_make(target.data, len), schemes[i]))
            continue;
        while (end < target.len && target.data[end] != '/' && target.data[end] != '?')
            end++;
        struct slice authority = slice_make(target.data + len, end - len), rest = slice_skip(target, end);
        if (authority.len == 0 || authority.data[0] == ':' || !http_is_authority(authority))
            return (struct slice){ 0 };
        return rest.len ? rest : slice_str("/");
    }
    return target;
}

int httpd_split_target(struct httpd_request *request, struct slice target)
{
    bool relative = target.len == 0 || target.data[0] == '?';
    target = cut_authority(target);
    const uint8_t *mark = target.len ? memchr(target.data, '?', target.len) : NULL;
    size_t len = mark ? (size_t)(mark - target.data) : target.len;
    bool rootless = mark && len == 0 && !relative; /* http://host?query */
    request->path = rootless ? slice_str("/") : slice_make(target.data, len);
    request->query = slice_skip(target, mark ? len + 1 : len);
    if (target.len == 0)
        return -1;
    if (target.data[0] == '/' || rootless)
        return 0;
    /* OPTIONS * and CONNECT host:port have targets of their own. They get 405, as all methods that are not served. */
    return slice_equal_str(request->method, "CONNECT") || slice_equal_str(request->method, "OPTIONS") ? 0 : -1;
}

bool httpd_query(const struct httpd_request *request, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name);
    for (struct slice rest = request->query; rest.len;) {
        const uint8_t *end = memchr(rest.data, '&', rest.len);
        size_t len = end ? (size_t)(end - rest.data) : rest.len;
        struct slice pair = slice_make(rest.data, len);
        rest = slice_skip(rest, end ? len + 1 : len);
        if (len < name_len || memcmp(pair.data, name, name_len) != 0 || (len > name_len && pair.data[name_len] != '='))
            continue;
        struct slice value = slice_skip(pair, name_len + 1);
        size_t kept = value.len < size - 1 ? value.len : size - 1;
        if (kept)
            memcpy(out, value.data, kept);
        out[kept] = 0;
        return true;
    }
    return false;
}
