/*
 * URLs and listen addresses. What is taken must keep its promises: fields terminated and in range, a target that begins with a slash,
 * nothing that could end a header line, and a second reading of the redacted form of a URL without secrets that gives the same.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_header_safe(const char *text)
{
    for (; *text; text++)
        panic_if((unsigned char)*text <= ' ' || *text == 0x7f);
}

static void check_url(const char *text)
{
    struct url url, again;
    struct err err;
    char shown[4096];
    err_clear(&err);
    int rc = url_parse(text, &url, &err);
    url_redact(text, shown, sizeof shown);
    check_header_safe(shown);
    if (rc != 0) {
        panic_if(err.text[0] == '\0');
        return;
    }
    panic_if(url.target[0] != '/' || url.host[0] == '\0' || url.authority[0] == '\0');
    panic_if(!url.is_unix && url.port == 0);
    panic_if(url.is_unix && url.unix_path[0] != '/');
    check_header_safe(url.target);
    check_header_safe(url.authority);
    if (url.user[0] || url.password[0] || strchr(text, '?') || strchr(text, '@'))
        return;
    panic_if(strcmp(shown, text) != 0);
    panic_if(url_parse(shown, &again, NULL) != 0 || memcmp(&url, &again, sizeof url) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = mem_strndup(data, len);
    struct listen_address address;
    struct err err;
    check_url(text);
    if (listen_address_parse(text, &address, &err) == 0)
        panic_if(address.is_unix ? address.unix_path[0] != '/' : address.host[0] == '\0');
    mem_free(text);
    return 0;
}
