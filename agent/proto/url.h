/*
 * The URLs of targets: ws:// wss:// http:// https:// tcp:// and their unix forms ws+unix:///path:/request-path and
 * http+unix:///path:/request-path, and those of brokers: redis:// rediss:// redis+unix:///path:/database nats:// tls:// amqp://
 * amqps:// (RFC 3986 for what it covers). The caller decides which of them it takes. Listen addresses (host:port, [v6]:port,
 * unix:/path) are read here too.
 */
#ifndef WSHEALTHD_PROTO_URL_H
#define WSHEALTHD_PROTO_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/err.h"

enum { URL_HOST_MAX = 254, URL_UNIX_MAX = 108, URL_TARGET_MAX = 2048 };

struct url {
    char scheme[16];
    bool tls;                /* wss, https, rediss, tls, amqps */
    bool is_unix;            /* then unix_path, and host is "localhost" */
    char host[URL_HOST_MAX]; /* without brackets */
    uint16_t port;           /* the scheme's own where none was given; tcp:// needs one */
    char unix_path[URL_UNIX_MAX];
    char target[URL_TARGET_MAX];       /* path?query, at least "/" */
    bool has_path;                     /* was a path given? (a dialect may fill it in) */
    char authority[URL_HOST_MAX + 10]; /* for Host: brackets for IPv6, port where it is not the scheme's */
    char user[128], password[256];     /* percent-decoded; "" where there is none */
};

/* "url: port 99999, want 1 to 65535". Texts never hold the userinfo or the query. */
int url_parse(const char *text, struct url *url, struct err *err);
const char *url_complaint(const struct err *err);               /* the text without "url: ", where the option has another name */
bool url_same_server(const struct url *a, const struct url *b); /* the same host (as it is written) and port, or the same socket */
/* The value of an Authorization header for the user and the password (RFC 7617): "Basic YTpi". False where the URL has neither. */
enum { URL_BASIC_MAX = 528 };
bool url_basic(const struct url *url, char out[URL_BASIC_MAX]);
/* For people and logs: scheme, host, port, path; password and query values as ***. */
void url_redact(const char *text, char *out, size_t size);

struct listen_address {
    bool is_unix;
    char host[URL_HOST_MAX]; /* an IP address; names are refused */
    uint16_t port;           /* 0: any free one */
    char unix_path[URL_UNIX_MAX];
};
int listen_address_parse(const char *text, struct listen_address *address, struct err *err);

#endif
