/*
 * The client of HTTP/2 against anything. The first byte chooses how the rest is cut, and whether the server's SETTINGS come first. What is
 * promised holds: SETTINGS, one head, bodies and one end, in this order, nothing behind the end, and no more body than came.
 */
#include <stddef.h>
#include <stdint.h>

#include "agent/base/mem.h"
#include "agent/proto/upgrade_h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct client {
    struct h2 *h2;
    struct h2_stream *stream;
    bool settled, answered, ended;
    size_t body;
};

static void on_settings(void *user)
{
    struct client *client = user;

    panic_if(client->settled);
    client->settled = true;
}

static void on_head(void *user, struct h2_stream *stream, const struct http_head *head)
{
    static const struct upgrade_offer offer = { .host = "a", .target = "/", .deflate = true };
    struct client *client = user;
    struct upgrade_agreed agreed;
    struct err err;

    panic_if(stream != client->stream || client->answered || client->ended || head->major != 2 || head->status / 100 == 1);
    client->answered = true;
    if (upgrade_validate_response(head, &offer, NULL, &agreed, &err) < 0)
        upgrade_explain(head, slice_str("sorry"), &offer, false, &err);
    else
        panic_if(head->status != 200);
}

static void on_body(void *user, struct h2_stream *stream, struct slice body)
{
    struct client *client = user;

    panic_if(stream != client->stream || !client->answered || client->ended || !body.len);
    client->body += body.len;
}

static void on_end(void *user, struct h2_stream *stream, const struct err *err)
{
    struct client *client = user;

    panic_if(stream != client->stream || client->ended || !err->text[0]);
    client->ended = true;
}

static void drain(struct client *client)
{
    struct slice out;

    while (h2_output(client->h2, &out))
        panic_if(!out.len);
}

static void ask(struct client *client)
{
    static const struct upgrade_offer offer = { .host = "a", .target = "/" };
    struct upgrade_h2 request;

    if (client->stream || !client->settled)
        return;
    panic_if(upgrade_h2_request(&request, &offer, false) < 0);
    client->stream = h2_request(client->h2, request.fields, request.count);
    upgrade_h2_wipe(&request);
    h2_write(client->stream, slice_str("hello"));
    drain(client);
}

static bool feed(struct client *client, struct slice piece)
{
    struct err err;

    if (h2_feed(client->h2, piece, &err) < 0)
        return false;
    drain(client);
    ask(client);
    return !h2_over(client->h2, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t settings[] = { 0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1 };
    static const struct h2_events events = { on_settings, on_head, on_body, on_end };
    struct client client = { 0 };
    struct err err;

    if (size < 1)
        return 0;
    size_t step = data[0] >> 1 ? data[0] >> 1 : size;
    client.h2 = h2_client_new(&events, &client, &err);
    panic_if(!client.h2);
    drain(&client);
    bool goes_on = !(data[0] & 1) || feed(&client, slice_of(settings));
    for (size_t at = 1, n; goes_on && at < size; at += n) {
        n = size - at < step ? size - at : step;
        goes_on = feed(&client, slice_make(data + at, n));
    }
    panic_if(client.body > size);
    h2_free(client.h2);
    return 0;
}
