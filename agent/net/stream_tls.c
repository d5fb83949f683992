/*
 * TLS over a stream. Owns the SSL and the bytes between it and the socket. Streams call it for what they read and write; dials
 * begin it.
 *
 * OpenSSL reads through a BIO of our own from the bytes that just came, which lie in the loop's slab, and writes through it
 * straight to the socket. So an idle connection has no buffers: OpenSSL frees its own (SSL_MODE_RELEASE_BUFFERS), and all
 * connections share the slab. Only a stream that is paused while bytes are left copies them, into `held`.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/net/stream_impl.h"
#include "agent/net/tls_impl.h"

struct tls_held {
    struct timer timer; /* running: to be delivered in the next turn */
    size_t len;
    uint8_t data[];
};

/* --- the BIO -------------------------------------------------------------------------------------------------------- */

static int bio_write(BIO *bio, const char *data, int len)
{
    const struct tls_link *link = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    return len <= 0 || stream_send_record(link->stream, data, (size_t)len) == 0 ? len : -1;
}

static int bio_read(BIO *bio, char *out, int size)
{
    struct tls_link *link = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (link->in_len == 0 || size <= 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = link->in_len < (size_t)size ? link->in_len : (size_t)size;
    memcpy(out, link->in, n);
    link->in += n;
    link->in_len -= n;
    return (int)n;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO *bio_make(struct tls_link *link)
{
    struct tls_context *context = link->context;
    if (!context->bio_method) {
        context->bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
        panic_if(!context->bio_method);
        BIO_meth_set_write(context->bio_method, bio_write);
        BIO_meth_set_read(context->bio_method, bio_read);
        BIO_meth_set_ctrl(context->bio_method, bio_ctrl);
    }
    BIO *bio = BIO_new(context->bio_method);
    panic_if(!bio);
    BIO_set_data(bio, link);
    BIO_set_init(bio, 1);
    return bio;
}

/* --- the handshake -------------------------------------------------------------------------------------------------- */

static void finish(struct tls_link *link, const struct err *err)
{
    struct tls_handshake *handshake = link->handshake;
    void (*on_done)(void *, const struct err *) = handshake->on_done;
    void *user = handshake->user;
    stream_read_off(link->stream); /* until stream_start */
    if (!err) {
        link->handshake = NULL;
        mem_free(handshake);
    } else {
        link->failed = true; /* the handshake stays: it knows the certificate */
    }
    on_done(user, err);
}

static void finish_failed(struct tls_link *link, enum reason reason, const char *text)
{
    struct err err;
    err_set(&err, reason, 0, "%s", text);
    finish(link, &err);
}

/* The reason and sentence of an SSL call that failed with another error than WANT_READ. */
static enum reason explain(const struct tls_link *link, char *out, size_t size)
{
    if (link->stream->broken == 0)
        return tls_failure_text(link, out, size);
    snprintf(out, size, "the connection was lost: %s", uv_strerror(-link->stream->broken));
    return REASON_TLS_HANDSHAKE_FAILED;
}

static void shake(struct tls_link *link)
{
    char text[256];
    ERR_clear_error();
    int status = SSL_do_handshake(link->ssl);
    if (status == 1) {
        finish(link, NULL);
        return;
    }
    if (SSL_get_error(link->ssl, status) == SSL_ERROR_WANT_READ)
        return;
    if (link->handshake->failure.reason != REASON_NONE) {
        struct err err = link->handshake->failure;
        finish(link, &err);
        return;
    }
    enum reason reason = explain(link, text, sizeof text);
    finish_failed(link, reason, text);
}

/* An address in text is verified as an address, and must not be sent as SNI (RFC 6066, 3). A final dot is for the resolver only and
 * is removed. */
static int set_identity(struct tls_link *link)
{
    char *name = link->handshake->name;
    X509_VERIFY_PARAM *param = SSL_get0_param(link->ssl);
    size_t len = strlen(name);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
        return 0;
    if (len > 0 && name[len - 1] == '.')
        name[len - 1] = '\0';
    SSL_set_hostflags(link->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(link->ssl, name) == 1 && SSL_set1_host(link->ssl, name) == 1 ? 0 : -1;
}

static void set_session(struct tls_link *link)
{
    struct tls_context *context = link->context;
    if (!context->resume)
        return;
    link->session_name = mem_strdup(link->handshake->name);
    if (context->session && strcmp(context->session_name, link->session_name) == 0)
        SSL_set_session(link->ssl, context->session);
}

int stream_tls_begin(struct stream *stream, struct tls_context *context, const char *name, const char *alpn,
                     void (*on_done)(void *user, const struct err *err), void *user, struct err *err)
{
    struct tls_link *link = mem_alloc(sizeof *link);
    struct loop *loop = stream_loop(stream);
    char text[256];
    stream->tls = link;
    link->stream = stream;
    link->context = tls_context_ref(context);
    link->handshake = mem_alloc(sizeof *link->handshake);
    link->handshake->on_done = on_done;
    link->handshake->user = user;
    snprintf(link->handshake->name, sizeof link->handshake->name, "%s", name);
    if (!loop->plain_slab)
        loop->plain_slab = mem_map(LOOP_SLAB_BYTES);
    tls_context_refresh(context);
    ERR_clear_error();
    link->ssl = SSL_new(context->ssl_ctx);
    panic_if(!link->ssl);
    SSL_set_app_data(link->ssl, link);
    BIO *bio = bio_make(link);
    SSL_set_bio(link->ssl, bio, bio);
    SSL_set_connect_state(link->ssl);
    if (context->verify)
        SSL_set_verify(link->ssl, SSL_VERIFY_PEER, tls_judge_certificate);
    if (set_identity(link) != 0)
        return err_set(err, REASON_TLS_HANDSHAKE_FAILED, 0, "%s cannot be a server name", name);
    set_session(link);
    if (alpn)
        SSL_set_alpn_protos(link->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    int status = SSL_do_handshake(link->ssl); /* the ClientHello */
    if (SSL_get_error(link->ssl, status) != SSL_ERROR_WANT_READ) {
        explain(link, text, sizeof text);
        return err_set(err, REASON_TLS_HANDSHAKE_FAILED, 0, "%s", text);
    }
    stream_read_on(stream);
    return 0;
}

bool stream_tls_answered(const struct stream *stream)
{
    return stream->tls && stream->tls->answered;
}

/* The first byte of a server that speaks TLS begins a handshake record or an alert. Plain servers answer a ClientHello with an error. */
static bool looks_like_tls(struct tls_link *link, const uint8_t *data, size_t len)
{
    enum { RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, SHOWN_CHARS = 32 };
    char begin[TEXT_EXCERPT_BYTES(SHOWN_CHARS)], text[256];
    if (link->answered || data[0] == RECORD_ALERT || data[0] == RECORD_HANDSHAKE)
        return link->answered = true;
    const uint8_t *line_end = memchr(data, '\r', len);
    text_excerpt(slice_make(data, line_end ? (size_t)(line_end - data) : len), SHOWN_CHARS, begin, sizeof begin);
    snprintf(text, sizeof text, "the peer does not speak TLS, it answered \"%s\"; is this the plain port?", begin);
    finish_failed(link, REASON_TLS_HANDSHAKE_FAILED, text);
    return false;
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

static void read_failed(struct tls_link *link, int status)
{
    char text[256];
    enum reason reason;
    switch (SSL_get_error(link->ssl, status)) {
    case SSL_ERROR_WANT_READ:
        break;
    case SSL_ERROR_ZERO_RETURN:
        stream_end(link->stream, REASON_NONE, 0, "the peer closed the connection (close_notify)");
        break;
    case SSL_ERROR_SYSCALL: /* it had to write, and could not */
        stream_end(link->stream, REASON_CONNECTION_RESET, link->stream->broken, "the connection was lost: %s",
                   link->stream->broken != 0 ? uv_strerror(-link->stream->broken) : "the peer takes no more data");
        break;
    default:
        reason = tls_failure_text(link, text, sizeof text);
        stream_end(link->stream, reason, 0, "TLS: %s", text);
    }
}

static void pump(struct tls_link *link)
{
    struct stream *stream = link->stream;
    uint8_t *slab = stream_loop(stream)->plain_slab;
    while (stream_wants_data(stream)) {
        ERR_clear_error();
        int got = SSL_read(link->ssl, slab, LOOP_SLAB_BYTES); /* one record at most, and never a part of one */
        if (got <= 0) {
            read_failed(link, got);
            return;
        }
        stream_deliver(stream, slice_make(slab, (size_t)got));
    }
}

static void on_held(struct timer *timer, void *user)
{
    (void)timer;
    struct tls_link *link = user;
    struct stream *stream = link->stream;
    struct tls_held *held = link->held;
    link->held = NULL;
    stream_tls_feed(stream, held->data, held->len);
    mem_free(held);
    if (stream_wants_data(stream) && !link->held)
        stream_read_on(stream);
}

static void hold(struct tls_link *link)
{
    struct tls_held *held = mem_alloc(sizeof *held + link->in_len);
    timer_init(&held->timer, stream_loop(link->stream), on_held, link);
    held->len = link->in_len;
    memcpy(held->data, link->in, link->in_len);
    link->held = held;
}

void stream_tls_feed(struct stream *stream, const uint8_t *data, size_t len)
{
    struct tls_link *link = stream->tls;
    if (link->failed || !looks_like_tls(link, data, len))
        return;
    link->in = data;
    link->in_len = len;
    if (link->handshake)
        shake(link);
    if (!link->handshake)
        pump(link);
    if (link->in_len > 0 && !link->handshake && !stream->ended && !stream->closing)
        hold(link);
    link->in = NULL;
    link->in_len = 0;
}

void stream_tls_pause(struct stream *stream)
{
    if (stream->tls->held)
        timer_stop(&stream->tls->held->timer);
}

bool stream_tls_resume(struct stream *stream)
{
    struct tls_held *held = stream->tls->held;
    if (held)
        timer_start(&held->timer, 0);
    return held;
}

size_t stream_tls_unread(const struct stream *stream)
{
    return stream->tls && stream->tls->held ? stream->tls->held->len : 0;
}

void stream_tls_eof(struct stream *stream, int status)
{
    struct tls_link *link = stream->tls;
    bool reset = status != UV_EOF || stream->broken == ECONNRESET;
    if (link->failed)
        return;
    if (link->handshake)
        finish_failed(link, REASON_TLS_HANDSHAKE_FAILED,
                      reset ? "the server reset the connection during the handshake"
                            : "the server closed the connection during the handshake");
    else if (reset)
        stream_end(stream, REASON_CONNECTION_RESET, ECONNRESET, "the peer reset the connection");
    else
        stream_end(stream, REASON_NONE, 0, "the peer closed the connection without close_notify; what came last may be missing");
}

/* --- writing and closing -------------------------------------------------------------------------------------------- */

int stream_tls_write(struct stream *stream, struct slice data)
{
    size_t written = 0;
    ERR_clear_error();
    return SSL_write_ex(stream->tls->ssl, data.data, data.len, &written) == 1 ? 0 : -1;
}

void stream_tls_bye(struct stream *stream)
{
    ERR_clear_error();
    if (!stream->tls->handshake)
        SSL_shutdown(stream->tls->ssl);
}

void stream_tls_info(const struct stream *stream, struct tls_info *info)
{
    memset(info, 0, sizeof *info);
    if (!stream->tls)
        return;
    if (stream->tls->handshake)
        *info = stream->tls->handshake->info;
    tls_info_of_connection(info, stream->tls->ssl);
}

void stream_tls_free(struct stream *stream)
{
    struct tls_link *link = stream->tls;
    if (link->held)
        timer_stop(&link->held->timer);
    mem_free(link->held);
    mem_free(link->handshake);
    mem_free(link->session_name);
    SSL_set_shutdown(link->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else OpenSSL takes the session for unusable */
    SSL_free(link->ssl);
    tls_context_unref(link->context);
    mem_free(link);
    stream->tls = NULL;
}
