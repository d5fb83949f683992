/*
 * Memory of TCP streams, of which there may be thousands (agent/net/stream_impl.h). Called by agent/net/stream.c. Streams live long, and what is
 * allocated beside them while a connection opens does not: mixed in one heap, a tenth of the memory is lost between them. So streams lie in
 * pages of their own, each of which goes when it is empty. Under AddressSanitizer they come from the heap, so that it can watch them.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/net/stream_impl.h"

enum { PAGE_BYTES = 4096 };

struct stream_page {
    struct list node;     /* in loop->pages, where a place is free */
    uint16_t used, fresh; /* places taken; places that were never taken */
    void *free;           /* given back; each holds the next one */
    _Alignas(16) uint8_t places[];
};

static const size_t place_bytes = STREAM_TCP_BYTES, places_of_page = (PAGE_BYTES - sizeof(struct stream_page)) / STREAM_TCP_BYTES;

static struct stream_page *page_new(struct loop *loop)
{
    struct stream_page *page = mem_map(PAGE_BYTES);

    page->fresh = (uint16_t)places_of_page;
    list_push(&loop->pages, &page->node);
    return page;
}

void *stream_place_take(struct loop *loop)
{
#ifdef __SANITIZE_ADDRESS__
    (void)loop;
    (void)page_new;
    return mem_alloc(place_bytes);
#else
    struct stream_page *page = list_empty(&loop->pages) ? page_new(loop) : list_entry(loop->pages.next, struct stream_page, node);
    void *place = page->free;

    if (place)
        memcpy(&page->free, place, sizeof page->free);
    else
        place = page->places + --page->fresh * place_bytes;
    if (++page->used == places_of_page)
        list_remove(&page->node);
    return memset(place, 0, place_bytes);
#endif
}

void stream_place_give(struct loop *loop, void *place)
{
#ifdef __SANITIZE_ADDRESS__
    (void)loop;
    mem_free(place);
#else
    struct stream_page *page = (struct stream_page *)((uintptr_t)place & ~(uintptr_t)(PAGE_BYTES - 1));

    if (page->used-- == places_of_page)
        list_push(&loop->pages, &page->node);
    memcpy(place, &page->free, sizeof page->free);
    page->free = place;
    if (page->used || loop->pages.next == loop->pages.prev) /* one page stays: connections come one after another */
        return;
    list_remove(&page->node);
    mem_unmap(page, PAGE_BYTES);
#endif
}

void stream_places_free(struct loop *loop)
{
    list_each_safe (node, &loop->pages)
        mem_unmap(list_entry(node, struct stream_page, node), PAGE_BYTES);
}
