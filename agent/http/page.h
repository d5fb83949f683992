/*
 * The status page at `/`: the view as one HTML document for people, complete without JavaScript, and live where there is some, by `/events?page`.
 * Pure: the view in, HTML out, with no clock and no socket. Called by agent/http/serve.c, and by who streams the parts that change.
 *
 * Everything that a peer, a file or a name brings is escaped (page_text.c). A document has at most PAGE_BYTES_MAX bytes, however many checks
 * there are: what has no room is counted, and the page says where it is. The Content-Security-Policy of page_headers allows the
 * page's own style and script by their hashes, and nothing else.
 */
#ifndef WSHEALTHD_HTTP_PAGE_H
#define WSHEALTHD_HTTP_PAGE_H

#include "agent/base/buf.h"
#include "agent/report/view.h"

enum { PAGE_BYTES_MAX = 60 << 10 };

struct page_look {
    bool full;        /* may the reader see addresses, URLs and texts of the server's (`details`)? */
    bool public_view; /* page.public: for users of the service; `full` then means nothing. wshealthd(8) says what is left out */
    int64_t now_ms;   /* wall */
};
void page_write(const struct agent_view *view, const struct page_look *look, struct buf *out); /* the whole document */
const char *page_headers(void); /* header lines for it, each ended by \r\n; made once */
/* The elements that change, by the id that they have in the document, and the inner HTML of one of them: the same bytes as in the document,
 * and the same again as long as nothing of it has changed. */
size_t page_section_count(void);
const char *page_section_id(size_t i);
void page_section_write(const struct agent_view *view, const struct page_look *look, size_t i, struct buf *out);

#endif
