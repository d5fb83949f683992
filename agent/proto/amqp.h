/*
 * AMQP 0-9-1 as bytes: what a client says (amqp_put_*), and what a broker says (struct amqp_reader). No socket, no clock. rabbitmq-c
 * encodes and decodes the methods; the frames around them are cut here, so that every one has a ceiling before anything is decoded.
 */
#ifndef WSHEALTHD_PROTO_AMQP_H
#define WSHEALTHD_PROTO_AMQP_H

#include "agent/base/buf.h"
#include "agent/base/err.h"

enum {
    AMQP_GREETING_BYTES = 8,
    AMQP_FRAME_BYTES_MAX = 16 << 10, /* asked for in tune-ok, and taken at most before it */
    AMQP_FRAME_BYTES_MIN = 4096,     /* what every peer has to take */
    AMQP_NAME_MAX = 255,             /* of exchanges, queues, routing keys, virtual hosts */
    AMQP_CHANNELS_MAX = 3,           /* a peer that names another channel breaks the protocol */
};

/* What a client says. 0, or -1 where a name or text is too long or the buf is full, and nothing is written then. */
int amqp_put_greeting(struct buf *out);
struct amqp_login {
    const char *mechanism; /* "PLAIN", "EXTERNAL" */
    const char *user, *password;
    const char *name; /* shown in the broker's list of connections */
};
int amqp_put_start_ok(struct buf *out, const struct amqp_login *login);
int amqp_put_tune_ok(struct buf *out, uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat_s);
int amqp_put_open(struct buf *out, const char *vhost);
int amqp_put_close(struct buf *out, const char *text);
int amqp_put_close_ok(struct buf *out);
int amqp_put_heartbeat(struct buf *out);
int amqp_put_channel_open(struct buf *out, uint16_t channel);
int amqp_put_channel_close_ok(struct buf *out, uint16_t channel);
int amqp_put_confirm_select(struct buf *out, uint16_t channel);
int amqp_put_exchange_exists(struct buf *out, uint16_t channel, const char *exchange); /* a passive declaration */
int amqp_put_queue_declare(struct buf *out, uint16_t channel,
                           const char *name);            /* exclusive, auto-delete; "": the broker names it */
int amqp_put_consume(struct buf *out, uint16_t channel); /* the queue declared last, without acknowledgements */
struct amqp_binding {
    const char *queue, *exchange;
    struct slice key;
};
int amqp_put_bind(struct buf *out, uint16_t channel, const struct amqp_binding *binding);
int amqp_put_unbind(struct buf *out, uint16_t channel, const struct amqp_binding *binding);
struct amqp_message {
    const char *exchange;
    struct slice key, body;
    int64_t expires_ms;   /* how long it may wait in a queue; 0: for ever */
    uint32_t frame_bytes; /* as tuned: the body is cut into frames of this size */
};
int amqp_put_publish(struct buf *out, uint16_t channel, const struct amqp_message *message); /* transient, not mandatory */

/* What a broker says. */
enum amqp_got {
    AMQP_GOT_START, /* mechanisms */
    AMQP_GOT_TUNE,  /* channel_max, frame_max, heartbeat_s */
    AMQP_GOT_OPEN_OK,
    AMQP_GOT_CLOSE, /* code, text */
    AMQP_GOT_CLOSE_OK,
    AMQP_GOT_BLOCKED, /* text */
    AMQP_GOT_UNBLOCKED,
    AMQP_GOT_HEARTBEAT,
    AMQP_GOT_CHANNEL_CLOSE, /* code, text */
    AMQP_GOT_QUEUE,         /* key: its name */
    AMQP_GOT_BIND_OK,
    AMQP_GOT_UNBIND_OK,
    AMQP_GOT_CONSUME_OK,
    AMQP_GOT_CANCEL,  /* the consumer has lost its queue */
    AMQP_GOT_ACK,     /* tag, multiple */
    AMQP_GOT_NACK,    /* tag, multiple */
    AMQP_GOT_MESSAGE, /* exchange, key, body; whole */
    AMQP_GOT_OTHER,   /* an answer that tells nothing: channel open, confirm select, exchange declared */
};

struct amqp_event {
    enum amqp_got got;
    uint16_t channel;
    uint16_t code, channel_max, heartbeat_s;
    uint32_t frame_max;
    uint64_t tag;
    bool multiple;
    struct slice mechanisms, text, exchange, key, body; /* valid until the next call of the reader's */
};

enum amqp_progress { AMQP_MORE, AMQP_EVENT, AMQP_BAD };

/* max_body_bytes: messages that are larger are passed over, and counted. */
struct amqp_reader;
struct amqp_reader *amqp_reader_new(uint32_t max_body_bytes);
uint64_t amqp_reader_passed(struct amqp_reader *reader); /* how many have been passed over since the last call */
void amqp_reader_free(struct amqp_reader *reader);
/* Takes from the front of input. AMQP_MORE: all of it is taken. AMQP_BAD: err is broker_unreachable with a sentence, and the reader is of
 * no more use. */
enum amqp_progress amqp_reader_feed(struct amqp_reader *reader, struct slice *input, struct amqp_event *event, struct err *err);

#endif
