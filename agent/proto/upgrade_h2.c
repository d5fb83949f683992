/*
 * Writes the extended CONNECT of RFC 8441, 5, out of the same offer as upgrade.c writes a request of HTTP/1.1. Called by
 * agent/client/conn.c. It promises lower-case names, values that cannot end a field, and no field that HTTP/2 forbids. The key and its
 * Accept are HTTP/1.1's alone.
 */
#include "agent/proto/upgrade_h2.h"

#include <string.h>
#include <strings.h>

#include "agent/base/text.h"

enum { REQUEST_BYTES_MAX = 32768 };

/* Of one connection, and so of HTTP/1.1 only (RFC 9113, 8.2.2). */
static bool is_hop_by_hop(const char *name)
{
    static const char *const names[] = { "Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "TE",
                                         "Host" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The bytes and a NUL, in the request's memory, which does not move. */
static char *keep(struct upgrade_h2 *out, const char *text, size_t len)
{
    char *at = (char *)out->text.data + out->text.len;

    if (out->text.max - out->text.len < len + 1)
        return NULL;
    buf_append(&out->text, text, len);
    buf_append_char(&out->text, '\0');
    return at;
}

static int add(struct upgrade_h2 *out, const char *name, const char *value)
{
    struct slice trimmed = slice_trim(slice_str(value)); /* HTTP/2 forbids blanks at the ends (RFC 9113, 8.2.1) */
    char *own_name, *own_value;

    if (out->count >= H2_REQUEST_HEADERS_MAX)
        return -1;
    own_name = keep(out, name, strlen(name));
    own_value = own_name ? keep(out, (const char *)trimmed.data, trimmed.len) : NULL;
    if (!own_value)
        return -1;
    for (char *at = own_name; *at; at++)
        *at = lower(*at);
    for (char *at = own_value; *at; at++)
        if ((unsigned char)*at < ' ' && *at != '\t')
            *at = ' ';
    out->fields[out->count++] = (struct h2_header){ own_name, own_value };
    return 0;
}

static int add_pseudo(struct upgrade_h2 *out, const struct upgrade_offer *offer, bool tls)
{
    struct buf path = BUF_INIT(REQUEST_BYTES_MAX);
    int rc = upgrade_write_target(&path, offer->target);

    if (rc == 0 && (add(out, ":method", "CONNECT") < 0 || add(out, ":protocol", "websocket") < 0 ||
                    add(out, ":scheme", tls ? "https" : "http") < 0 || add(out, ":path", buf_str(&path)) < 0 ||
                    add(out, ":authority", offer->host) < 0))
        rc = -1;
    buf_wipe(&path);
    return rc;
}

static int add_subprotocols(struct upgrade_h2 *out, const struct upgrade_offer *offer)
{
    struct buf list = BUF_INIT(REQUEST_BYTES_MAX);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < offer->subprotocol_count; i++)
        rc = buf_printf(&list, "%s%s", i ? ", " : "", offer->subprotocols[i]);
    if (rc == 0 && list.len)
        rc = add(out, "sec-websocket-protocol", buf_str(&list));
    buf_wipe(&list);
    return rc;
}

int upgrade_h2_request(struct upgrade_h2 *out, const struct upgrade_offer *offer, bool tls)
{
    char extensions[64];

    out->count = 0;
    out->text = BUF_INIT(REQUEST_BYTES_MAX);
    buf_reserve(&out->text, REQUEST_BYTES_MAX);
    if (add_pseudo(out, offer, tls) < 0 || add(out, "sec-websocket-version", "13") < 0 || add_subprotocols(out, offer) < 0)
        return -1;
    deflate_offer(extensions, sizeof extensions);
    if (offer->deflate && add(out, "sec-websocket-extensions", extensions) < 0)
        return -1;
    if (offer->origin && add(out, "origin", offer->origin) < 0)
        return -1;
    for (size_t i = 0; i < offer->header_count; i++)
        if (!is_hop_by_hop(offer->headers[i].name) && add(out, offer->headers[i].name, offer->headers[i].value) < 0)
            return -1;
    return 0;
}

void upgrade_h2_wipe(struct upgrade_h2 *request)
{
    buf_wipe(&request->text);
    request->count = 0;
}
