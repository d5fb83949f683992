/*
 * A dialect: how a family of servers says connect, subscribe, subscribed, ping and here is a message. A table of templates
 * (agent/proto/template.h) and matches; built-in ones (probes/dialects/) are constants of this struct, users' come from YAML by
 * dialect_rows. Every part is optional. Texts in `json` pointers' values, equals, contains, regex and send may have holes.
 */
#ifndef WSHEALTHD_CONF_DIALECT_H
#define WSHEALTHD_CONF_DIALECT_H

#include "agent/conf/opt.h"

/* How the protocol's units lie in WebSocket messages (agent/client/framing.h): what matches and payloads are applied to. */
enum dialect_framing {
    FRAMING_MESSAGE, /* one in each message */
    FRAMING_LINES,   /* several, between line breaks: centrifugo */
    FRAMING_RECORDS, /* several, each ended by a byte 1e: signalr */
    FRAMING_STOMP,   /* a stream of frames; a unit is a frame without its NUL */
    FRAMING_MQTT, /* a stream of packets; a unit is one in words: "PUBLISH topic\npayload", "SUBACK 2 0", "CONNACK 0", "PINGRESP" */
    FRAMING_NATS, /* a stream of lines; a MSG or HMSG goes with its payload: "MSG subject sid 5\r\nhello" */
};

struct dialect_exchange {
    struct opt_bytes send;    /* unset: nothing is sent, `expect` is awaited (servers that speak first) */
    struct match_spec expect; /* unset: nothing is awaited */
    struct match_spec reject;
};

struct dialect {
    char *name;                      /* as in target.dialect */
    char *summary;                   /* built-in ones: for the manual, with the protocol's document */
    struct opt_strings subprotocols; /* offered unless target.subprotocols says otherwise */
    char *path;                      /* added to a URL without a path, or with "/" alone: "/socket.io/?EIO=4&transport=websocket" */
    struct dialect_exchange greeting; /* what the server says first, before connect (Engine.IO's open packet) */
    struct dialect_exchange connect, subscribe;
    struct {
        struct match_spec match; /* unset: every message that contains the heartbeat */
        char *body_after;        /* the payload begins behind the first of these: "\n\n" of stomp */
        char *prefix;            /* cut off before the pointer is applied: "42" of socket.io */
        char *payload;           /* JSON pointer to the payload; unset: the whole message. A string there is taken as it is */
    } message;
    struct {
        struct match_spec match; /* answered with `send` whenever it comes */
        struct opt_bytes send;
        struct opt_bytes ping; /* sent by us every `every_ms`: servers that want to hear from clients */
        int64_t every_ms;
    } keepalive;
    struct {
        struct opt_bytes send;
    } goodbye;
    struct {
        char *topic, *body;         /* the broker's side; unset: {{channel}} and {{payload}} */
        struct opt_strings command; /* instead of both: a command of the broker's own, for servers that read a stream or a list */
    } publish;
    struct {
        char *token, *offset; /* JSON pointers: the newest value of each is {{resume}} and {{offset}}; "/-" is an array's last */
        char *start; /* JSON pointer to the first {{offset}}, in the message that has the token; where it is not there, 0 */
        struct opt_bytes connect, subscribe; /* said instead of the usual ones, by a client that comes back */
        struct opt_bytes send;               /* said once it is back, before it subscribes */
        struct match_spec expect, reject;    /* what comes when the server goes on with the session, or refuses that */
    } resume;
    int framing; /* enum dialect_framing */
    /* Some servers of the family never confirm a subscription: until the first confirmation was seen, one that is not rejected
     * counts as confirmed. For built-in dialects. */
    bool may_confirm;
    bool hides_origin; /* built-in ones: the server answers 404 to an Origin that it does not allow */
    bool json_holes;   /* texts are JSON: holes are escaped for it */
};

/* Rows of `resume`, relative to struct dialect; a list of rows ends them. */
#define DIALECT_RESUME_ROWS                                                                                                       \
    DIALECT_RESUME_POINTER(                                                                                                       \
        "token", token,                                                                                                           \
        "JSON pointer to what identifies the session, in any message that has it; {{resume}} is its newest value"),               \
        DIALECT_RESUME_POINTER(                                                                                                   \
            "offset", offset,                                                                                                     \
            "JSON pointer to how far the client has read; {{offset}} is its newest value; /- is the last of an array"),           \
        DIALECT_RESUME_POINTER("start", start,                                                                                    \
                               "JSON pointer to the first {{offset}}, in the message that has the token; 0 where it is not "      \
                               "there. With it, offset is taken from messages of the channel alone"),                             \
        DIALECT_RESUME_TEXT("connect", connect, dialect_resume_holes,                                                             \
                            "what introduces a client that comes back; without it, what introduces any"),                         \
        DIALECT_RESUME_TEXT("subscribe", subscribe, dialect_resume_channel_holes,                                                 \
                            "what asks for a channel then; without it, what asks otherwise"),                                     \
        DIALECT_RESUME_TEXT("send", send, dialect_resume_holes, "what is sent after coming back, before channels are asked for"), \
        DIALECT_RESUME_SPEC("expect", expect, dialect_resume_channel_holes,                                                       \
                            "what the server says when it goes on with the session; without it, none is awaited"),                \
        DIALECT_RESUME_SPEC("reject", reject, dialect_resume_channel_holes, "what it says when it does not")
#define DIALECT_RESUME_POINTER(key, field, text)        \
    { .name = key,                                      \
      .kind = OPT_STRING,                               \
      .offset = offsetof(struct dialect, resume.field), \
      .max = 256,                                       \
      .flags = OPT_POINTER,                             \
      .help = text }
#define DIALECT_RESUME_TEXT(key, field, its_holes, text) \
    { .name = key,                                       \
      .kind = OPT_BYTES,                                 \
      .offset = offsetof(struct dialect, resume.field),  \
      .max = DIALECT_TEXT_BYTES_MAX,                     \
      .holes = its_holes,                                \
      .help = text }
#define DIALECT_RESUME_SPEC(key, field, its_holes, text) \
    { .name = key, .kind = OPT_SPEC, .offset = offsetof(struct dialect, resume.field), .holes = its_holes, .help = text }
/* The holes that have a value there; a list ends with NULL. */
extern const char *const dialect_resume_holes[], *const dialect_resume_channel_holes[];
enum { DIALECT_TEXT_BYTES_MAX = 64 << 10 };

extern const struct opt dialect_rows[]; /* fields of struct dialect, for `dialects:` */
extern const struct opt
    dialect_part_rows[]; /* the parts that a check may override in place: connect, subscribe, message, keepalive, publish */
extern const struct opt dialect_connect_rows[], dialect_subscribe_rows[], dialect_message_rows[], dialect_keepalive_rows[],
    dialect_publish_rows[], dialect_resume_rows[];
/* These parts as rows of a probe whose options hold a struct dialect at `at`: DIALECT_PARTS(offsetof(struct x_opts, over)) in the list. */
#define DIALECT_PARTS(at)                                                                                                   \
    DIALECT_PART("connect", at, dialect_connect_rows, "how the client introduces itself"),                                  \
        DIALECT_PART("subscribe", at, dialect_subscribe_rows, "how a channel is asked for"),                                \
        DIALECT_PART("message", at, dialect_message_rows, "what a message of a channel looks like"),                        \
        DIALECT_PART("keepalive", at, dialect_keepalive_rows, "how server and client show each other that they are alive"), \
        DIALECT_PART("publish", at, dialect_publish_rows, "the broker's side: what must be published to reach a channel")
#define DIALECT_PART(key, at, its_rows, text) { .name = key, .kind = OPT_SECTION, .offset = (at), .rows = (its_rows), .help = text }
/* Copies `base` and replaces each option that `over` sets. *out borrows from both, which must live as long; it may be one of
 * them. */
void dialect_overlay(struct dialect *out, const struct dialect *base, const struct dialect *over);

#endif
