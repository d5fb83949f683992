/*
 * Finds the words in a refusal. Called where a response or a dialect's answer is judged. What it is given has a ceiling already;
 * JSON has one of its own (agent/proto/match.h). It promises text for people only: what the words mean is judged by nobody but the
 * hints of the upgrade (agent/proto/upgrade.h).
 */
#include "agent/proto/words.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/proto/match.h"

enum { FIELD_MAX = 4096, DEPTH_MAX = 2 };

bool words_mention(struct slice text, const char *word)
{
    size_t len = strlen(word);

    for (size_t i = 0; i + len <= text.len; i++)
        if (slice_equal_nocase(slice_make(text.data + i, len), word))
            return true;
    return false;
}

/* Engine.IO, Socket.IO and SockJS put a few letters and digits before their JSON. */
static struct slice json_part(struct slice text)
{
    struct slice part = slice_trim(text);

    while (part.len && ((part.data[0] >= '0' && part.data[0] <= '9') || part.data[0] == 'a'))
        part = slice_skip(part, 1);
    return part.len && (part.data[0] == '{' || part.data[0] == '[') ? part : slice_make(NULL, 0);
}

static bool is_object(struct slice text)
{
    text = slice_trim(text);
    return text.len && text.data[0] == '{';
}

/* The words under one pointer; JSON in a string, as Pusher has it, is looked into. */
static bool field_words(struct slice json, const char *pointer, unsigned depth, struct buf *out);

static bool json_words(struct slice json, unsigned depth, struct buf *out)
{
    static const char *const pointers[] = { "/message",  "/error/message", "/error_description",
                                            "/detail",   "/reason",        "/error",
                                            "/title",    "/description",   "/data",
                                            "/errors/0", "/msg",           "/0" };

    for (size_t i = 0; depth && i < sizeof pointers / sizeof pointers[0]; i++)
        if (field_words(json, pointers[i], depth, out))
            return true;
    return false;
}

static bool field_words(struct slice json, const char *pointer, unsigned depth, struct buf *out)
{
    struct buf field = BUF_INIT(FIELD_MAX);
    bool found = match_extract(json, pointer, &field) == 0 && field.len;

    if (found && is_object(buf_slice(&field)))
        found = json_words(buf_slice(&field), depth - 1, out);
    else if (found) /* null, a number or a list has no words */
        found = strcmp(buf_str(&field), "null") != 0 && field.data[0] != '[' &&
                strspn(buf_str(&field), "0123456789.-") != field.len && buf_append_slice(out, buf_slice(&field)) == 0;
    buf_fini(&field);
    return found;
}

int words_code(struct slice text)
{
    static const char *const pointers[] = { "/code", "/data/code" };
    struct slice json = json_part(text);
    struct buf field = BUF_INIT(FIELD_MAX), inner = BUF_INIT(FIELD_MAX);
    int64_t code = 0;

    for (size_t i = 0; json.len && !code && i < sizeof pointers / sizeof pointers[0]; i++) {
        buf_reset(&field);
        if (match_extract(json, pointers[i], &field) == 0 && text_parse_int(buf_str(&field), &code))
            code = 0;
    }
    buf_reset(&field);
    if (json.len && !code && match_extract(json, "/data", &field) == 0 && match_extract(buf_slice(&field), "/code", &inner) == 0 &&
        text_parse_int(buf_str(&inner), &code))
        code = 0;
    buf_fini(&field);
    buf_fini(&inner);
    return code > 0 && code <= 4999 ? (int)code : 0;
}

/* Leaves out tags, and what stands between those of scripts and styles. */
static void strip_tags(struct slice html, struct buf *out)
{
    for (size_t i = 0; i < html.len; i++) {
        struct slice rest = slice_skip(html, i);
        const char *silent = words_mention(slice_make(rest.data, rest.len < 7 ? rest.len : 7), "<script")  ? "</script"
                             : words_mention(slice_make(rest.data, rest.len < 6 ? rest.len : 6), "<style") ? "</style"
                                                                                                           : NULL;
        if (html.data[i] != '<') {
            buf_append(out, &html.data[i], 1);
            continue;
        }
        while (
            silent && i < html.len &&
            !slice_equal_nocase(slice_make(html.data + i, html.len - i < strlen(silent) ? html.len - i : strlen(silent)), silent))
            i++;
        while (i < html.len && html.data[i] != '>')
            i++;
        buf_append_str(out, " ");
    }
}

/* Blanks and line breaks become one blank, those around go. */
static void squeeze(struct buf *text)
{
    size_t len = 0;

    for (size_t i = 0; i < text->len; i++) {
        uint8_t c = text->data[i];
        bool blank = c == ' ' || (c >= '\t' && c <= '\r');

        if (!blank)
            text->data[len++] = c;
        else if (len && text->data[len - 1] != ' ')
            text->data[len++] = ' ';
    }
    text->len = len && text->data[len - 1] == ' ' ? len - 1 : len;
}

static void find_words(struct slice text, struct buf *out)
{
    struct slice trimmed = slice_trim(text), json = json_part(text);

    if (json.len && json_words(json, DEPTH_MAX, out))
        return;
    buf_reset(out);
    if (trimmed.len && trimmed.data[0] == '<')
        strip_tags(trimmed, out);
    else
        buf_append_slice(out, trimmed);
}

void words_of(struct slice text, char out[WORDS_BYTES])
{
    struct buf words = BUF_INIT(text.len + FIELD_MAX);

    find_words(text, &words);
    squeeze(&words);
    text_excerpt(buf_slice(&words), WORDS_CHARS, out, WORDS_BYTES);
    buf_fini(&words);
}

/* "Not Found", "404 page not found", "400 Bad Request 400 Bad Request nginx/1.22.1": takes the words of the status and the names of servers
 * away, and sees whether something is left. */
static bool only_repeats(const struct http_head *head, const char *words)
{
    static const char *const common[] = { "page",   "error",     "nginx", "openresty", "envoy",     "haproxy",
                                          "apache", "microsoft", "iis",   "the",       "requested", "url",
                                          "was",    "on",        "this",  "server",    "status",    "code" };
    char status[8];

    snprintf(status, sizeof status, "%d", head->status);
    while (*words) {
        size_t len = strcspn(words, " :./-,!\"");
        struct slice word = slice_make(words, len);
        bool known = len == 0 || slice_equal_str(word, status);
        char text[32];

        snprintf(text, sizeof text, "%.*s", (int)(len < sizeof text ? len : sizeof text - 1), words);
        known = known || (len < sizeof text && words_mention(head->reason, text)) || strspn(text, "0123456789") == len;
        for (size_t i = 0; !known && i < sizeof common / sizeof common[0]; i++)
            known = slice_equal_nocase(word, common[i]);
        if (!known)
            return false;
        words += len + (words[len] != '\0');
    }
    return true;
}

void words_of_response(const struct http_head *head, struct slice body, char out[WORDS_BYTES])
{
    const struct slice *coding = http_header_get(head, "Content-Encoding");

    *out = '\0';
    if (coding && !slice_equal_nocase(*coding, "identity"))
        return; /* nothing that a person could read */
    words_of(body, out);
    if (only_repeats(head, out))
        *out = '\0';
}
