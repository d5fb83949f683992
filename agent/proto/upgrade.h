/* The opening handshake of RFC 6455, 4: the client's request and its judgement of the answer; the server's judgement and answer. */
#ifndef WSHEALTHD_PROTO_UPGRADE_H
#define WSHEALTHD_PROTO_UPGRADE_H

#include "agent/proto/http1.h"
#include "agent/proto/ws.h"

enum { WS_KEY_LEN = 24, WS_ACCEPT_LEN = 28, WS_SUBPROTOCOL_MAX = 64, WS_OFFERS_MAX = 16 };

struct upgrade_offer {
    const char *host;   /* the Host header, with the port where it is not the scheme's */
    const char *target; /* path?query, never empty */
    const char *origin; /* NULL: none */
    const char *subprotocols[WS_OFFERS_MAX];
    size_t subprotocol_count;
    struct upgrade_header {
        const char *name, *value;
    } const *headers; /* further ones, in order; the caller has refused those that the handshake itself sets */
    size_t header_count;
    bool deflate;          /* offer permessage-deflate */
    bool deflate_required; /* and the answer must take it */
};

struct upgrade_agreed {
    char subprotocol[WS_SUBPROTOCOL_MAX]; /* "" where none was chosen */
    struct deflate_params deflate;
    const char *remark; /* the answer breaks a rule that no client minds; NULL: none */
};

void upgrade_key(char key[WS_KEY_LEN + 1]);                           /* 16 random bytes in base64 (4.1) */
void upgrade_accept(const char *key, char accept[WS_ACCEPT_LEN + 1]); /* 4.2.2 */
int upgrade_write_target(struct buf *out, const char *target);        /* path?query; -1 past the ceiling */
int upgrade_write_request(struct buf *out, const struct upgrade_offer *offer, const char *key); /* -1 past the ceiling */
/* Judges the response's head: a 101, or a 200 where it came over HTTP/2 (head->major; there key is not used). 0, or -1 with reason
 * upgrade_refused, upgrade_redirect, upgrade_unauthorized, rate_limited, upgrade_invalid, upgrade_bad_accept, upgrade_bad_subprotocol,
 * upgrade_bad_extension or http_malformed (HTTP/1.0); err->code is the status. */
int upgrade_validate_response(const struct http_head *head, const struct upgrade_offer *offer, const char *key,
                              struct upgrade_agreed *agreed, struct err *err);

/* The error of a response that refuses, once its body is here, or as much of it as was waited for: the server's own words in the place of
 * guesses, and what has to be set where they tell. hides_origin: the server answers 404 to an Origin that it does not like. */
void upgrade_explain(const struct http_head *head, struct slice body, const struct upgrade_offer *offer, bool hides_origin,
                     struct err *err);
/* Do these bytes, in the place of a response, begin a connection of HTTP/2 (RFC 9113, 3.4: the server's SETTINGS)? */
bool upgrade_is_http2(struct slice bytes);

/* Server: 0 and the accept value, or -1 with err->code the status to answer with (400, 405, 426) and what was wrong. */
int upgrade_validate_request(const struct http_head *head, bool offer_deflate, char accept[WS_ACCEPT_LEN + 1],
                             struct upgrade_agreed *agreed, char *extensions, size_t extensions_size, struct err *err);
int upgrade_write_response(struct buf *out, const char *accept, const struct upgrade_agreed *agreed, const char *extensions);

/* Why there is no WebSocket over HTTP/2, where the server says so before anything is asked: it does not speak HTTP/2 (of ALPN's h2 it chose
 * something else; in cleartext it answers with HTTP/1), or it does and does not send SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441, 3). */
enum h2_gap { H2_GAP_NONE, H2_GAP_NOT_SPOKEN, H2_GAP_NOT_ALLOWED };

/* Is it a header that the handshake sets itself (Upgrade, Connection, Sec-WebSocket-*), so that a configuration may not? */
bool upgrade_header_reserved(const char *name);

#endif
