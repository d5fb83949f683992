/*
 * The opening handshake against anything. The first byte chooses the side and what was offered; the rest is HTTP. What our server grants
 * must be an answer that our client takes.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/upgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const struct http_limits limits = { .max_head_bytes = 8192, .max_body_bytes = 64 };

static struct http_reader *read_head(enum http_kind kind, struct slice input)
{
    struct http_reader *reader = http_reader_new(kind, &limits);
    struct err err;
    if (http_reader_feed(reader, &input, &err) == HTTP_HEAD)
        return reader;
    http_reader_free(reader);
    return NULL;
}

static bool is_expected(const struct err *err)
{
    return err->reason == REASON_HTTP_MALFORMED ||
           (err->reason >= REASON_UPGRADE_REFUSED && err->reason <= REASON_UPGRADE_BAD_EXTENSION);
}

static void fuzz_response(struct slice input, uint8_t choice)
{
    struct upgrade_offer offer = { .host = "a", .target = "/", .deflate = choice & 2, .deflate_required = (choice & 6) == 6 };
    struct upgrade_agreed agreed;
    struct err err;
    struct http_reader *reader = read_head(HTTP_KIND_RESPONSE, input);
    if (!reader)
        return;
    if (choice & 8)
        offer.subprotocols[offer.subprotocol_count++] = "chat.v1";
    if (choice & 16)
        offer.subprotocols[offer.subprotocol_count++] = "chat.v2";
    if (upgrade_validate_response(http_reader_head(reader), &offer, key, &agreed, &err) < 0)
        panic_if(!is_expected(&err) || err.code != http_reader_head(reader)->status);
    else
        panic_if((agreed.subprotocol[0] != '\0') != (offer.subprotocol_count > 0) || (agreed.deflate.on && !offer.deflate));
    http_reader_free(reader);
}

/* A client that offered just what was agreed on takes the answer. */
static void check_answer(const char *accept, const struct upgrade_agreed *agreed, const char *extensions)
{
    struct buf out = BUF_INIT(4096);
    struct deflate_params params;
    struct err err;
    panic_if(upgrade_write_response(&out, accept, agreed, extensions) < 0);
    struct http_reader *reader = read_head(HTTP_KIND_RESPONSE, buf_slice(&out));
    panic_if(!reader || http_reader_head(reader)->status != 101);
    panic_if(agreed->deflate.on && deflate_accept_response(slice_str(extensions), &params, &err) < 0);
    http_reader_free(reader);
    buf_fini(&out);
}

static void fuzz_request(struct slice input, uint8_t choice)
{
    char accept[WS_ACCEPT_LEN + 1], extensions[DEFLATE_ANSWER_MAX];
    struct upgrade_agreed agreed;
    struct err err;
    struct http_reader *reader = read_head(HTTP_KIND_REQUEST, input);
    if (!reader)
        return;
    if (upgrade_validate_request(http_reader_head(reader), choice & 2, accept, &agreed, extensions, sizeof extensions, &err) < 0)
        panic_if(err.code != 400 && err.code != 405 && err.code != 426);
    else
        check_answer(accept, &agreed, extensions);
    http_reader_free(reader);
}

/* Values that a configuration could hold: whatever they are, what is written is one HTTP request. */
static void fuzz_written(const uint8_t *data, size_t size)
{
    char *value = mem_strndup(data, size), *target = mem_printf("/%s", value), *name = mem_strdup("X-Probe");
    struct upgrade_header header = { name, value };
    struct upgrade_offer offer = { .host = "a", .target = target, .headers = &header, .header_count = 1 };
    struct buf out = BUF_INIT(16384);
    if (upgrade_write_request(&out, &offer, key) == 0) {
        ptrdiff_t end = slice_find(buf_slice(&out), slice_make("\r\n\r\n", 4));
        panic_if(end < 0 || (size_t)end + 4 != out.len);
    }
    buf_fini(&out);
    mem_free(value);
    mem_free(target);
    mem_free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct slice input = slice_make(data + 1, size - 1);
    if (data[0] & 1)
        fuzz_request(input, data[0]);
    else
        fuzz_response(input, data[0]);
    fuzz_written(data + 1, size - 1);
    return 0;
}
