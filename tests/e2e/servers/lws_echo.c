/* lws_echo PORT: an echo server on libwebsockets, for the e2e tests. Messages of at most 4 KiB, one at a time for each connection. */
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>

struct session {
    unsigned char data[LWS_PRE + 4096];
    size_t length;
    int binary;
};

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length)
{
    struct session *session = user;
    switch (reason) {
    case LWS_CALLBACK_RECEIVE:
        if (length > 4096)
            return -1;
        memcpy(session->data + LWS_PRE, in, length);
        session->length = length;
        session->binary = lws_frame_is_binary(wsi);
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        if (session->length == 0)
            return 0;
        lws_write(wsi, session->data + LWS_PRE, session->length, session->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
        session->length = 0;
        return 0;
    default:
        return 0;
    }
}

int main(int argc, char **argv)
{
    static const struct lws_protocols protocols[] = {
        { .name = "echo", .callback = on_event, .per_session_data_size = sizeof(struct session) }, { 0 }
    };
    struct lws_context_creation_info info = { 0 };
    lws_set_log_level(LLL_ERR, NULL);
    info.port = argc > 1 ? atoi(argv[1]) : 0;
    info.iface = "127.0.0.1";
    info.protocols = protocols;
    struct lws_context *context = lws_create_context(&info);
    if (context == NULL)
        return 1;
    while (lws_service(context, 0) >= 0)
        ;
    lws_context_destroy(context);
    return 0;
}
