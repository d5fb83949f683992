/* The text of answers. For httpd.c and httpd_answer.c only. */
#ifndef WSHEALTHD_HTTP_HTTPD_ANSWER_H
#define WSHEALTHD_HTTP_HTTPD_ANSWER_H

#include "agent/http/httpd.h"

struct httpd_date {
    int64_t second; /* the one that text was made for */
    char text[32];
};

struct httpd_answer {
    int status;
    const char *content_type;
    struct slice headers, body;
    bool head_only; /* the answer to a HEAD: the body's length without the body */
    bool close;     /* say that the connection ends */
    bool old;       /* the client speaks HTTP/1.0: say that it goes on */
    bool stream;    /* the head of a stream: its length is not known. In chunks, or with `old` up to the connection's end */
};
/* Appends a whole answer to out. */
void httpd_write_answer(struct buf *out, struct httpd_date *date, const struct httpd_answer *answer);
const char *httpd_status_text(int status);
/* Splits the target of a complete request into path and query. -1: neither origin-form nor absolute-form (RFC 9112, 3.2). */
int httpd_split_target(struct httpd_request *request, struct slice target);

#endif
