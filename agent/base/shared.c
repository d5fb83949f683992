/* Shared texts. Used by the health listener for answers that are large or asked for often. One thread: the counts are plain. */
#include "agent/base/shared.h"

#include "agent/base/mem.h"

struct shared {
    size_t refs;
    struct buf text;
};

static size_t live_bytes;

/* The memory is cut to what is needed: the buffer has grown by doubling, and the text may live long. */
struct shared *shared_take(struct buf *from)
{
    struct shared *shared = mem_alloc(sizeof *shared);
    shared->refs = 1;
    shared->text = *from;
    if (shared->text.cap > shared->text.len) {
        shared->text.data = mem_realloc(shared->text.data, shared->text.len + 1);
        shared->text.cap = shared->text.len;
    }
    buf_init(from, from->max);
    live_bytes += shared->text.cap;
    return shared;
}

struct shared *shared_ref(struct shared *shared)
{
    shared->refs++;
    return shared;
}

void shared_unref(struct shared *shared)
{
    if (!shared || --shared->refs)
        return;
    live_bytes -= shared->text.cap;
    buf_fini(&shared->text);
    mem_free(shared);
}

struct slice shared_slice(const struct shared *shared)
{
    return buf_slice(&shared->text);
}

size_t shared_live_bytes(void)
{
    return live_bytes;
}
