/* Allocation that never fails: the program ends where memory runs out, and where it finds an error of its own. */
#include "agent/base/mem.h"

#include <link.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* One write and no allocation: the heap may be what is broken. abort() leaves a core and a status that a supervisor understands. */
static _Noreturn void die(const char *line, int len)
{
    if (len > 0 && write(STDERR_FILENO, line, (size_t)len) < 0) {
        /* there is nobody left to tell */
    }
    abort();
}

static _Noreturn void out_of_memory(size_t size)
{
    char line[96] = "";
    die(line, snprintf(line, sizeof line, "wshealthd: out of memory (%zu bytes wanted)\n", size));
}

void mem_panic(const char *file, int line, const char *what)
{
    char text[512];
    int len = snprintf(text, sizeof text, "wshealthd: panic at %s:%d: %s\n", file, line, what);
    die(text, len < (int)sizeof text ? len : (int)sizeof text - 1);
}

void *mem_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        out_of_memory(size);
    return p;
}

void *mem_realloc(void *old, size_t size)
{
    void *p = realloc(old, size ? size : 1);
    if (!p)
        out_of_memory(size);
    return p;
}

char *mem_strndup(const void *data, size_t len)
{
    panic_if(len == SIZE_MAX);
    char *copy = mem_alloc(len + 1);
    if (len)
        memcpy(copy, data, len);
    return copy;
}

char *mem_strdup(const char *text)
{
    return text ? mem_strndup(text, strlen(text)) : NULL;
}

void mem_free(void *p)
{
    free(p);
}

void *mem_map(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        out_of_memory(size);
    return p;
}

void mem_unmap(void *p, size_t size)
{
    if (p)
        munmap(p, size);
}

/* Has the dynamic linker changed its code (DT_TEXTREL)? Then its pages are not as they are in the file. */
static bool has_changed_code(const struct dl_phdr_info *object)
{
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];

        if (part->p_type != PT_DYNAMIC)
            continue;
        for (const ElfW(Dyn) *entry = (const void *)(object->dlpi_addr + part->p_vaddr); entry->d_tag != DT_NULL; entry++)
            if (entry->d_tag == DT_TEXTREL || (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL)))
                return true;
    }
    return false;
}

/* Pages of code and constants that are as they are in the file: the kernel has them still, and maps again what is used again. Those that are
 * written to, of which the dynamic linker has changed some, are left alone. */
static int forget_code(struct dl_phdr_info *object, size_t size, void *user)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    (void)size;
    (void)user;
    if (strncmp(object->dlpi_name, "linux-", strlen("linux-")) == 0 /* the kernel's own: no file */ || has_changed_code(object))
        return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        uintptr_t start = (object->dlpi_addr + part->p_vaddr) & ~(page - 1);
        uintptr_t end = (object->dlpi_addr + part->p_vaddr + part->p_memsz + page - 1) & ~(page - 1);

        if (part->p_type == PT_LOAD && !(part->p_flags & PF_W))
            madvise((void *)start, end - start, MADV_DONTNEED); /* where it fails they stay */
    }
    return 0;
}

/* Blocks that live long keep the heap from shrinking by itself; whole free pages between them go too. */
void mem_trim(void)
{
    malloc_trim(0);
    dl_iterate_phdr(forget_code, NULL);
}

void mem_free_secret(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

char *mem_printf(const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    panic_if(n < 0);
    char *text = mem_alloc((size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}
