/* One check on the page, for page_checks.c and page_row.c only. */
#ifndef WSHEALTHD_HTTP_PAGE_ROW_IMPL_H
#define WSHEALTHD_HTTP_PAGE_ROW_IMPL_H

#include "agent/http/page_impl.h"

void page_row_name(struct page *page, const struct check_view *check);
void page_row_article(struct page *page, const struct check_view *check, bool evidence);
void page_row_line(struct page *page, const struct check_view *check); /* a row of five columns */

#endif
