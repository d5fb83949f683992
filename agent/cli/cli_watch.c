/*
 * `wshealthd status --watch`: the report of `status`, drawn again with each change; a line for each change where stdout is no terminal, and with
 * --json the JSON of /status, one line for each. Called by agent/cli/cli_ask.c. The agent's /events says when something has changed, and is asked
 * for the report then, in the width that the terminal has at that moment. watch_page.c makes the picture, watch_term.c owns the terminal.
 * `wshealthd fleet --watch` (cli_fleet.c) is the same of /fleet. As /events tells nothing of others, the agent is asked once a second.
 *
 * Promises to say when the agent is lost and since when, to go on when it is back, and to leave the terminal as it was, whatever ends it. Nobody
 * is waited for: where stdout's reader takes nothing, what was told is written when it does, and then the newest state.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/program.h"
#include "agent/cli/cli_ask_impl.h"
#include "agent/cli/watch_page.h"
#include "agent/cli/watch_term.h"
#include "agent/client/fetch.h"
#include "agent/http/events.h"
#include "agent/proto/sse.h"
#include "agent/report/screen.h"
#include "agent/run/addresses.h"

enum {
    LINK_MS = 3000,                /* for the connection and the first event */
    QUIET_MS = 3 * EVENTS_TICK_MS, /* without any event the agent is lost */
    RETRY_MS = 500,
    AGAIN_MS = 50, /* after an end of the agent's own, which may be about to listen elsewhere; twice as long each time … */
    AGAIN_MAX_MS = 4000,
    LASTED_MS =
        5000, /* … but after a stream that has lasted: where more watch than the agent takes, they would end each other's for ever */
    KEYS_MS = 30,
    PIPE_MS = 1000, /* how often it is seen that nobody reads stdout any more */
    FULL_MS = 50,   /* how often a full pipe is tried again */
    FLEET_MS = 1000,
    UNWRITTEN_MAX = 2 * (8 << 20),
    EVENT_MAX = 16 << 20,
    TEXT_MAX = 8 << 20,
    TYPED_MAX = 64,
    HEAD_MAX = 8 << 10,
    WHY_MAX = 256,
    SIGNALS = 7,
};

enum mode { ON_SCREEN, LINES, JSON };

struct watch {
    const struct cli *cli;
    enum mode mode;
    bool fleet; /* it is the fleet that is watched */
    struct whom whom;
    struct loop loop;
    int code; /* of the last state */
    /* the stream of events */
    struct url url;
    struct dial_report report;
    struct dial *dial;     /* NULL: none is under way */
    struct stream *stream; /* NULL: not connected */
    struct http_reader *head;
    bool streams; /* the head of the answer has come */
    struct sse_reader events;
    struct timer due; /* connecting, silence, or the next try */
    bool heard;       /* an event has come over this connection */
    uint64_t open_ms; /* since when it is there */
    uint32_t again_ms;
    int64_t gone_ms; /* wall: since when there is none; 0: there is */
    bool told_gone;
    char why[WHY_MAX];
    /* what is asked after a change */
    struct fetch *fetch;
    struct url ask_url;
    bool again;         /* something has changed since */
    struct timer poll;  /* of the fleet */
    struct buf settled; /* of its last JSON, what does not change by itself */
    struct buf text;
    int64_t heard_ms;     /* wall */
    struct buf unwritten; /* lines that stdout has not taken yet, from `written` on; empty: none */
    size_t written;
    bool missed; /* something was not told, as there were such */
    /* the terminal */
    struct timer keys;
    uint8_t typed[TYPED_MAX];
    size_t typed_len, first, last;
    struct buf picture;
    struct loop_signal signals[SIGNALS];
    size_t signal_count;
    bool suspended; /* by Ctrl-Z, until it is continued */
    bool ending;
};

/* --- the picture ---------------------------------------------------------------------------------------------------------- */

static void put_clock(int64_t wall_ms, char out[CLOCK_STAMP_MAX])
{
    char stamp[CLOCK_STAMP_MAX];

    clock_stamp(wall_ms, stamp, sizeof stamp);
    snprintf(out, CLOCK_STAMP_MAX, "%.8s UTC", stamp + 11);
}

/* The page of the terminal as it is now; `first` is what the user has scrolled to. */
static void draw(struct watch *watch)
{
    struct screen screen = screen_look();
    char since[CLOCK_STAMP_MAX], heard[CLOCK_STAMP_MAX], lost[WHY_MAX + URL_UNIX_MAX + 128], footer[128];
    struct watch_page page = { .colour = screen.colour,
                               .ascii = screen.ascii,
                               .first = watch->first,
                               .text = buf_str(&watch->text),
                               .footer = footer,
                               .no_keys = "q quits" };

    if (watch->mode != ON_SCREEN || !watch_term_is_on())
        return;
    watch_term_size(&page.rows, &page.columns);
    put_clock(watch->gone_ms, since);
    put_clock(watch->heard_ms, heard);
    snprintf(lost, sizeof lost, "\n  %s agent lost since %s, trying again\n    %s\n    %s\n    What follows is from then.\n",
             screen.ascii ? "!" : "✗", since, watch->why, watch->whom.path);
    snprintf(footer, sizeof footer, "%s   q quits, arrows scroll", heard);
    page.lost = watch->told_gone ? lost : NULL;
    buf_reset(&watch->picture);
    watch->last = watch_page_draw(&page, &watch->picture);
    watch->first = watch->first < watch->last ? watch->first : watch->last;
    watch_term_write(buf_slice(&watch->picture));
}

/* --- the end -------------------------------------------------------------------------------------------------------------- */

static void drop_link(struct watch *watch)
{
    timer_stop(&watch->due);
    timer_stop(&watch->poll);
    if (watch->dial)
        dial_cancel(watch->dial);
    if (watch->stream)
        stream_close_now(watch->stream);
    watch->dial = NULL;
    watch->stream = NULL;
    http_reader_free(watch->head);
    watch->head = NULL;
    watch->streams = watch->heard = false;
    sse_reader_fini(&watch->events);
}

static void end(struct watch *watch)
{
    if (watch->ending)
        return;
    watch->ending = true;
    drop_link(watch);
    timer_stop(&watch->keys);
    if (watch->fetch)
        fetch_cancel(watch->fetch);
    watch->fetch = NULL;
    for (size_t i = 0; i < watch->signal_count; i++)
        loop_signal_close(&watch->signals[i]);
    loop_stop(&watch->loop);
}

/* Writes what the reader takes at once: so many bytes never block where poll finds room. */
static void write_lines(struct watch *watch)
{
    while (!watch->ending && watch->unwritten.len) {
        struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
        struct slice left = slice_skip(buf_slice(&watch->unwritten), watch->written);
        size_t len = left.len < PIPE_BUF ? left.len : PIPE_BUF;

        if (poll(&out, 1, 0) <= 0)
            break;
        ssize_t done = write(STDOUT_FILENO, left.data, len);
        if (done < 0 && errno != EINTR && errno != EAGAIN)
            end(watch); /* nobody reads it */
        if (done <= 0)
            break;
        watch->written += (size_t)done;
        if (watch->written < watch->unwritten.len)
            continue;
        buf_reset(&watch->unwritten);
        watch->written = 0;
    }
    if (!watch->ending && watch->unwritten.len)
        timer_start(&watch->keys, FULL_MS);
}

static void print(struct watch *watch, const char *text)
{
    buf_append_str(&watch->unwritten, text);
    write_lines(watch);
}

/* --- the report ----------------------------------------------------------------------------------------------------------- */

static void ask(struct watch *watch);

static void print_line(struct watch *watch, const char *text)
{
    char stamp[CLOCK_STAMP_MAX];
    struct buf line = BUF_INIT(TEXT_MAX);
    struct screen screen = screen_look();

    clock_stamp(clock_wall_ms(), stamp, sizeof stamp);
    buf_printf(&line, "%.19sZ %s", stamp, text);
    screen.fixed = false;
    screen_fit(&screen, &line);
    print(watch, buf_str(&line));
    buf_fini(&line);
}

static bool ends_in(struct slice name, const char *const *endings, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (name.len >= strlen(endings[i]) && slice_equal_str(slice_skip(name, name.len - strlen(endings[i])), endings[i]))
            return true;
    return false;
}

/* The JSON of /fleet without what ages and counts by itself: the numbers behind names that end so. */
static void settle(struct slice json, struct buf *out)
{
    static const char *const ticking[] = { "_ms", "connections", "got", "lost", "seconds" };
    size_t name = 0;
    bool inside = false, ticks = false;

    for (size_t i = 0; i < json.len; i++) {
        uint8_t c = json.data[i];

        if (c == '"' && inside)
            ticks = ends_in(slice_make(json.data + name, i - name), ticking, sizeof ticking / sizeof ticking[0]);
        else if (c == '"')
            name = i;
        else if (c == '\\' && inside && i + 1 < json.len)
            buf_append_char(out, (char)json.data[i++]);
        inside = inside != (c == '"');
        if (inside || !ticks || c < '-' || c > '9')
            buf_append_char(out, (char)json.data[i]);
    }
}

/* Has more changed than ages? */
static bool is_news(struct watch *watch, struct slice json)
{
    struct buf settled = BUF_INIT(TEXT_MAX);

    settle(json, &settled);
    bool news = !slice_equal(buf_slice(&settled), buf_slice(&watch->settled));
    buf_fini(&watch->settled);
    watch->settled = settled;
    return news;
}

static void show(struct watch *watch, struct slice text)
{
    bool same = watch->text.len && slice_equal(buf_slice(&watch->text), text);

    watch->missed = watch->unwritten.len;
    if (watch->missed)
        return;
    buf_reset(&watch->text);
    buf_append_slice(&watch->text, text);
    if (watch->mode == ON_SCREEN)
        draw(watch);
    else if (watch->mode == JSON && (!watch->fleet || is_news(watch, text)))
        print(watch, buf_str(&watch->text));
    else if (watch->mode == LINES && !same)
        print_line(watch, buf_str(&watch->text));
}

/* An error is no news: the stream of events ends as well, or goes on. */
static void on_answer(void *user, const struct fetch_result *result)
{
    struct watch *watch = user;
    bool again = watch->again;

    watch->fetch = NULL;
    watch->again = false;
    const struct slice *status = result->err ? NULL : http_header_get(result->head, "X-Status");
    if (status)
        watch->code = ask_code_of(*status);
    if (!result->err && result->head->status == 200)
        show(watch, result->body);
    if (again && !watch->ending)
        ask(watch);
}

static void ask(struct watch *watch)
{
    char target[1024], text[URL_UNIX_MAX + sizeof target + 16];
    struct err err;

    if (watch->fetch) {
        watch->again = true;
        return;
    }
    if (watch->unwritten.len) {
        watch->missed = true;
        return;
    }
    const char *path = watch->fleet ? "/fleet" : "/status";
    if (watch->mode == ON_SCREEN)
        ask_text_target(path, true, "", target, sizeof target);
    else
        snprintf(target, sizeof target, "%s?%s", path, watch->mode == JSON ? "at" : "format=line");
    snprintf(text, sizeof text, "http+unix://%s:%s", watch->whom.path, target);
    if (url_parse(text, &watch->ask_url, &err) < 0)
        return;
    const struct fetch_request request = { .url = &watch->ask_url, .max_body_bytes = TEXT_MAX, .timeout_ms = ASK_TIMEOUT_MS };
    watch->fetch = fetch_start(&watch->loop, &request, on_answer, watch);
}

/* --- the events ----------------------------------------------------------------------------------------------------------- */

static void connect_to_agent(struct watch *watch);

/* Told once, also in the lines: a log that is silent would look as if nothing had changed. */
static void tell_gone(struct watch *watch)
{
    char text[WHY_MAX + URL_UNIX_MAX + 64];

    watch->code = EXIT_UNKNOWN;
    if (!watch->told_gone && watch->mode != ON_SCREEN) {
        buf_reset(&watch->text); /* the same as before is news when it is back */
        buf_reset(&watch->settled);
        snprintf(text, sizeof text, "agent lost: %s: %s; trying again\n", watch->whom.path, watch->why);
        if (watch->mode == LINES)
            print_line(watch, text);
        else
            screen_tell(text);
    }
    watch->told_gone = true;
    draw(watch);
}

static uint32_t take_pause(struct watch *watch, bool may_be_back)
{
    uint32_t pause_ms = watch->again_ms;

    if (!may_be_back)
        return RETRY_MS;
    if (!pause_ms || clock_now_ms() - watch->open_ms >= LASTED_MS)
        pause_ms = AGAIN_MS;
    watch->again_ms = 2 * pause_ms < AGAIN_MAX_MS ? 2 * pause_ms : AGAIN_MAX_MS;
    return pause_ms;
}

static void lose_since(struct watch *watch, const char *why, bool may_be_back, int64_t since_ms)
{
    uint32_t pause_ms = take_pause(watch, may_be_back);

    drop_link(watch);
    if (!watch->gone_ms)
        watch->gone_ms = since_ms;
    snprintf(watch->why, sizeof watch->why, "%s", why);
    timer_start(&watch->due, pause_ms);
    if (!may_be_back || pause_ms > RETRY_MS)
        tell_gone(watch);
}

static void lose(struct watch *watch, const char *why, bool may_be_back)
{
    lose_since(watch, why, may_be_back, clock_wall_ms());
}

static bool tells_of_states(struct slice json)
{
    char pointer[] = "/changed/0", value[] = "\"state\"";

    return ask_json_has(json, pointer, value);
}

static void on_event(void *user, const char *name, struct slice data)
{
    struct watch *watch = user;
    bool change = strcmp(name, "change") == 0, snapshot = strcmp(name, "snapshot") == 0;
    bool returns = watch->told_gone;

    if (watch->ending)
        return;
    watch->heard = true;
    timer_start(&watch->due, QUIET_MS); /* by events alone: bytes that come to none are as good as silence */
    watch->heard_ms = clock_wall_ms();
    watch->gone_ms = 0;
    watch->told_gone = false;
    if ((change || snapshot) && !watch->fleet)
        watch->code = ask_exit_code(data);
    if (snapshot && watch->fleet)
        timer_start(&watch->poll, FLEET_MS);
    if (snapshot || (change && (watch->mode == ON_SCREEN || tells_of_states(data))))
        ask(watch);
    else if (returns || strcmp(name, "tick") == 0)
        draw(watch);
}

static void on_data(void *user, struct slice data)
{
    struct watch *watch = user;
    struct err err;

    if (!watch->streams) {
        enum http_progress progress = http_reader_feed(watch->head, &data, &err);
        int status = progress == HTTP_HEAD ? http_reader_head(watch->head)->status : 200;

        if (progress == HTTP_MORE)
            return;
        if (progress != HTTP_HEAD || status != 200) {
            if (progress == HTTP_HEAD)
                snprintf(err.text, sizeof err.text, "it answers /events with status %d", status);
            lose(watch, err.text, false);
            return;
        }
        watch->streams = true;
    }
    sse_reader_feed(&watch->events, data);
}

static void on_end(void *user, const struct err *err)
{
    struct watch *watch = user;
    char why[ERR_TEXT_MAX];

    ask_shorten(err, why, sizeof why);
    lose(watch, why, watch->heard);
}

static const struct stream_events stream_events = { .on_data = on_data, .on_end = on_end };

static void on_open(void *user, struct stream *stream)
{
    static const char request[] = "GET /events HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n"; /* 1.0: an answer without chunks */
    struct watch *watch = user;

    watch->dial = NULL;
    watch->open_ms = clock_now_ms();
    watch->stream = stream;
    stream_start(stream, &stream_events, watch);
    if (stream_write(stream, slice_str(request)) < 0)
        lose(watch, "the connection was lost", false);
}

static void on_fail(void *user, const struct err *err)
{
    struct watch *watch = user;
    char why[ERR_TEXT_MAX];

    watch->dial = NULL;
    ask_shorten(err, why, sizeof why);
    lose(watch, why, false);
}

static const struct dial_events dial_events = { .on_open = on_open, .on_fail = on_fail };

static void on_due(struct timer *timer, void *user)
{
    struct watch *watch = user;

    (void)timer;
    if (watch->dial || watch->stream)
        lose_since(watch, "it does not answer", false, watch->heard_ms); /* what is shown is from then */
    else
        connect_to_agent(watch);
}

static void on_poll(struct timer *timer, void *user)
{
    timer_start(timer, FLEET_MS);
    ask(user);
}

static void connect_to_agent(struct watch *watch)
{
    const struct dial_target target = { .url = &watch->url };
    const struct http_limits limits = { .max_head_bytes = HEAD_MAX };
    char text[URL_UNIX_MAX + 32];
    struct err err;

    if (watch->whom.usual) /* another agent may have been started elsewhere */
        admin_find(watch->whom.path, sizeof watch->whom.path);
    snprintf(text, sizeof text, "http+unix://%s:/events", watch->whom.path);
    if (url_parse(text, &watch->url, &err) < 0) {
        lose(watch, err.text, false);
        return;
    }
    watch->head = http_reader_new(HTTP_KIND_RESPONSE, &limits);
    sse_reader_init(&watch->events, EVENT_MAX, on_event, watch);
    watch->dial = dial_start(&watch->loop, &target, &dial_events, watch, &watch->report);
    timer_start(&watch->due, LINK_MS);
}

/* --- the user ------------------------------------------------------------------------------------------------------------- */

static void scroll(struct watch *watch, ptrdiff_t lines)
{
    size_t back = (size_t)(lines < 0 ? -lines : 0), first = watch->first;

    first = lines < 0 ? (first > back ? first - back : 0) : first + (size_t)lines;
    watch->first = first < watch->last ? first : watch->last;
    draw(watch);
}

static void take_key(struct watch *watch, enum watch_key key)
{
    struct watch_page page = { .lost = NULL };

    watch_term_size(&page.rows, &page.columns);
    ptrdiff_t room = (ptrdiff_t)watch_page_room(&page);
    switch (key) {
    case KEY_QUIT:
        end(watch);
        break;
    case KEY_UP:
    case KEY_DOWN:
        scroll(watch, key == KEY_UP ? -1 : 1);
        break;
    case KEY_PAGE_UP:
    case KEY_PAGE_DOWN:
        scroll(watch, key == KEY_PAGE_UP ? 1 - room : room - 1);
        break;
    case KEY_HOME:
    case KEY_END:
        scroll(watch, key == KEY_HOME ? -(ptrdiff_t)watch->first : (ptrdiff_t)watch->last);
        break;
    case KEY_REDRAW:
        ask(watch);
        break;
    default:
        break;
    }
}

static void take_keys(struct watch *watch)
{
    size_t got = watch_term_read(watch->typed + watch->typed_len, sizeof watch->typed - watch->typed_len), at = 0, len;

    watch->typed_len += got;
    while (!watch->ending && at < watch->typed_len) {
        enum watch_key key = watch_key_of(slice_make(watch->typed + at, watch->typed_len - at), &len);

        if (!len)
            break;
        at += len;
        take_key(watch, key);
    }
    watch->typed_len -= at;
    memmove(watch->typed, watch->typed + at, watch->typed_len);
}

/* Also brings the terminal back where the shell had it meanwhile. */
static void on_keys(struct timer *timer, void *user)
{
    struct watch *watch = user;

    if (!watch->suspended && !watch_term_is_on() && watch_term_on()) {
        draw(watch);
        ask(watch);
    }
    take_keys(watch);
    if (!watch->ending)
        timer_start(timer, KEYS_MS);
}

static void on_pipe(struct timer *timer, void *user)
{
    struct watch *watch = user;
    struct pollfd out = { .fd = STDOUT_FILENO };

    if (poll(&out, 1, 0) > 0 && (out.revents & POLLERR)) {
        end(watch);
        return;
    }
    timer_start(timer, PIPE_MS);
    write_lines(watch);
    if (watch->missed && !watch->unwritten.len && !watch->ending) {
        watch->missed = false;
        ask(watch);
    }
}

static void on_signal(void *user, int number)
{
    struct watch *watch = user;

    switch (number) {
    case SIGWINCH:
        draw(watch);
        ask(watch);
        break;
    case SIGTSTP:
        watch_term_off();
        watch->suspended = true; /* SIGCONT is heard after this */
        (void)raise(SIGSTOP);
        break;
    case SIGCONT:
        watch->suspended = false;
        watch_term_forget();
        break;
    default:
        end(watch);
    }
}

static void open_signals(struct watch *watch)
{
    static const int numbers[SIGNALS] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT };
    size_t count = watch->mode == ON_SCREEN ? SIGNALS : SIGNALS - 3;

    for (size_t i = 0; i < count; i++)
        if (loop_signal_open(&watch->signals[watch->signal_count], &watch->loop, numbers[i], on_signal, watch) == 0)
            watch->signal_count++;
}

static enum mode mode_of(const struct cli *cli)
{
    return cli_has(cli, "json") ? JSON : watch_term_can() ? ON_SCREEN : LINES;
}

int cli_watch(struct cli *cli, const struct whom *whom, bool fleet)
{
    struct watch *watch = mem_alloc(sizeof *watch);
    struct err err;
    int code;

    watch->cli = cli;
    watch->mode = mode_of(cli);
    watch->fleet = fleet;
    watch->whom = *whom;
    watch->code = EXIT_UNKNOWN;
    watch->heard_ms = clock_wall_ms();
    buf_init(&watch->text, TEXT_MAX);
    buf_init(&watch->settled, TEXT_MAX);
    buf_init(&watch->unwritten, UNWRITTEN_MAX);
    buf_init(&watch->picture, 2 * TEXT_MAX);
    if (loop_init(&watch->loop, &err) < 0) {
        mem_free(watch);
        return cli_error(cli, "%s", err.text);
    }
    timer_init(&watch->due, &watch->loop, on_due, watch);
    timer_init(&watch->poll, &watch->loop, on_poll, watch);
    timer_init(&watch->keys, &watch->loop, watch->mode == ON_SCREEN ? on_keys : on_pipe, watch);
    open_signals(watch);
    timer_start(&watch->keys, 0);
    connect_to_agent(watch);
    loop_run(&watch->loop);
    loop_fini(&watch->loop);
    watch_term_off();
    code = watch->code;
    buf_fini(&watch->text);
    buf_fini(&watch->settled);
    buf_fini(&watch->unwritten);
    buf_fini(&watch->picture);
    mem_free(watch);
    return code;
}
