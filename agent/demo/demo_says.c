/*
 * What the demo prints (agent/demo/demo_says.h). Owns stdout while the demo runs, and the text that waits for its reader. Called by
 * agent/demo/demo.c on the loop's thread.
 */
#include "agent/demo/demo_says.h"

#include <poll.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/sink.h"
#include "agent/report/screen.h"

enum { AGAIN_MS = 20, FAREWELL_MS = 250, LINE_MAX_BYTES = 128 };

static struct sink sink = { .fd = STDOUT_FILENO, .way = SINK_POLL };
static struct buf waiting = { .max = DEMO_SAYS_MAX + LINE_MAX_BYTES };
static unsigned long left_out;
static struct timer again;

static void send_waiting(void)
{
    size_t taken = 1;
    while (waiting.len && taken) {
        taken = sink_put(&sink, (const char *)waiting.data, waiting.len);
        buf_consume(&waiting, taken);
    }
}

/* Writes as much as stdout takes. True: everything is written. */
static bool flush(void)
{
    send_waiting();
    if (waiting.len == 0 && left_out) {
        buf_printf(&waiting, "(%lu message%s left out here: nobody read them)\n", left_out, left_out == 1 ? " was" : "s were");
        left_out = 0;
        send_waiting();
    }
    return waiting.len == 0;
}

static void on_again(struct timer *timer, void *user)
{
    (void)user;
    if (!flush())
        timer_start(timer, AGAIN_MS);
}

void demo_says_open(void)
{
    sink_open(&sink, STDOUT_FILENO, true);
}

void demo_says_begin(struct loop *loop)
{
    timer_init(&again, loop, on_again, NULL);
}

void demo_says_page(struct buf *text)
{
    if (left_out || waiting.len + text->len > DEMO_SAYS_MAX || buf_append_slice(&waiting, buf_slice(text)) != 0)
        left_out++;
    buf_fini(text);
    if (!flush())
        timer_start(&again, AGAIN_MS);
}

void demo_says(struct buf *text)
{
    const struct screen screen = screen_look();
    screen_fit(&screen, text);
    demo_says_page(text);
}

void demo_says_end(void)
{
    uint64_t until_ms = clock_now_ms() + FAREWELL_MS, now_ms;
    timer_stop(&again);
    while (!flush() && (now_ms = clock_now_ms()) < until_ms) {
        struct pollfd out = { .fd = sink.fd, .events = POLLOUT };
        if (poll(&out, 1, (int)(until_ms - now_ms)) > 0 && !(out.revents & POLLOUT))
            break; /* the reader has gone */
    }
    buf_fini(&waiting);
}
