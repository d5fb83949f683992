/*
 * Memory and assertions. Running out of memory ends the program with a line on stderr: every size that a peer can choose has a
 * ceiling elsewhere, so it means a broken machine and not a hostile peer. panic_if stays in release builds; it is for errors of
 * this program only, never for what a peer, a user or the kernel does.
 */
#ifndef WSHEALTHD_BASE_MEM_H
#define WSHEALTHD_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size); /* zeroed */
void *mem_realloc(void *old, size_t size);
char *mem_strdup(const char *text); /* NULL gives NULL */
char *mem_strndup(const void *data, size_t len);
void mem_free(void *p);
void *mem_map(size_t size); /* zeroed; a page that is never touched costs nothing. For buffers that are large and mostly empty */
void mem_unmap(void *p, size_t size); /* NULL is fine */
/* After work that comes once, as a start: gives the kernel back what is free, and the pages of code that were used, the libraries' as
 * well. */
void mem_trim(void);
void mem_free_secret(char *text); /* overwrites it first; NULL is fine */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

_Noreturn void mem_panic(const char *file, int line, const char *what);
#define panic_if(condition) ((condition) ? mem_panic(__FILE__, __LINE__, #condition) : (void)0)

#endif
