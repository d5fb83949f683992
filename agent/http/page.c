/*
 * The status page: what it is made of, in which order, and its headers. Called by agent/http/serve.c, and for its sections by who streams them.
 * What a section says is in page_*.c; how it looks in page_style.c; what a browser does with it in page_script.c.
 */
#include <stdio.h>
#include <string.h>

#include "agent/http/page_impl.h"
#include "agent/proto/base64.h"
#include "agent/proto/digest.h"

enum { SHA256_BYTES = 32, TARGET_BYTES = 400, HEADERS_MAX = 640, BUILD_CHARS = 12 };

/* In the order of reading. A further section is a row here, and its look in page_style.c; an empty one is not seen. */
static const struct section {
    const char *id, *label;
    void (*write)(struct page *page);
} sections[] = {
    { "verdict", "Verdict", page_verdict }, { "checks", "Checks", page_checks },     { "brokers", "Brokers", page_brokers },
    { "fleet", "Fleet", page_fleet },       { "server", "The server", page_server }, { "incidents", "Incidents", page_incidents },
    { "about", NULL, page_about }, /* the footer */
};
enum { SECTIONS = sizeof sections / sizeof sections[0] };

/* --- headers ------------------------------------------------------------------------------------------------------------- */

struct hashes {
    char style[BASE64_LEN(SHA256_BYTES) + 1], script[BASE64_LEN(SHA256_BYTES) + 1];
    char build[BUILD_CHARS + 1]; /* letters and digits of both */
    char headers[HEADERS_MAX];
};

static void hash(const char *text, char out[BASE64_LEN(SHA256_BYTES) + 1])
{
    uint8_t digest[DIGEST_MAX];

    (void)digest_hash(DIGEST_SHA256, slice_str(text), digest);
    base64_encode(slice_make(digest, SHA256_BYTES), out);
}

static const struct hashes *hashes(void)
{
    static struct hashes made;
    size_t at = 0;

    if (made.headers[0])
        return &made;
    hash(page_style, made.style);
    hash(page_script, made.script);
    for (size_t i = 0; at < BUILD_CHARS && made.style[i] && made.script[i]; i++) {
        char c = i % 2 ? made.style[i] : made.script[i];
        if (c != '+' && c != '/' && c != '=')
            made.build[at++] = c;
    }
    snprintf(made.headers, sizeof made.headers,
             "Content-Security-Policy: default-src 'none'; style-src 'sha256-%s'; script-src 'sha256-%s'; connect-src 'self'; "
             "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
             "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n",
             made.style, made.script);
    return &made;
}

const char *page_headers(void)
{
    return hashes()->headers;
}

const char *page_build(void)
{
    return hashes()->build;
}

/* --- the document -------------------------------------------------------------------------------------------------------- */

static struct page page_of(const struct agent_view *view, const struct page_look *look, struct buf *out)
{
    struct page page = {
        .out = out, .view = view, .look = look, .texts = look->full && !look->public_view, .ops = !look->public_view
    };

    page.hours = page_past_hours(&page);
    return page;
}

static void put_target(struct page *page)
{
    bool known = page->texts && page->view->service_id && *page->view->service_id;

    if (known)
        page_text(page, page->view->service_id, TARGET_BYTES);
    else
        page_put(page, page->ops ? "WebSocket server" : "Service status");
}

/* The icon is a disc in the colour of the verdict, so that a tab tells it; the script changes it. */
static void put_head(struct page *page)
{
    page_printf(page,
                "<!doctype html>\n<html lang=en class=%s>\n<head>\n<meta charset=utf-8>\n<title>%s: ", page_quality(page->view),
                page_verdict_name(page->view));
    put_target(page);
    page_put(page, "</title>\n<meta name=viewport content='width=device-width, initial-scale=1'>\n"
                   "<meta name=color-scheme content='light dark'>\n<meta name=robots content=noindex>\n"
                   "<link id=icon rel=icon href='data:,'>\n<style>");
    page_put(page, page_style);
    page_put(page, "</style>\n</head>\n<body>\n<a class=skip href='#checks'>To the checks</a>\n<header>\n<p class=brand>");
    if (page->ops)
        page_put(page, "<b>wshealthd</b> ");
    page_put(page, "<bdi id=target>");
    put_target(page);
    page_put(page, "</bdi></p>\n<p id=live>As of ");
    page_time(page, page->look->now_ms);
    page_put(page, "</p>\n</header>\n<p id=lost role=status></p>\n<p id=news role=status></p>\n<main>\n");
}

void page_write(const struct agent_view *view, const struct page_look *look, struct buf *out)
{
    struct page page = page_of(view, look, out);

    put_head(&page);
    for (size_t i = 0; i < SECTIONS; i++) {
        const struct section *section = &sections[i];

        if (section->label)
            page_printf(&page, "<section id=%s aria-label='%s'>", section->id, section->label);
        else
            page_printf(&page, "</main>\n<footer id=%s>", section->id);
        section->write(&page);
        page_put(&page, section->label ? "</section>\n" : "</footer>\n");
    }
    page_put(&page, "<script>");
    page_put(&page, page_script);
    page_put(&page, "</script>\n</body>\n</html>\n");
}

size_t page_section_count(void)
{
    return SECTIONS;
}

const char *page_section_id(size_t i)
{
    return i < SECTIONS ? sections[i].id : NULL;
}

void page_section_write(const struct agent_view *view, const struct page_look *look, size_t i, struct buf *out)
{
    struct page page = page_of(view, look, out);

    if (i < SECTIONS)
        sections[i].write(&page);
}
