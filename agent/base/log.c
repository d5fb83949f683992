/*
 * Log lines. Core and above call log_event once for each change; the line is put together in a fixed buffer and leaves in one
 * write(2). 4096 bytes is PIPE_BUF: lines of several writers on a pipe never mix. A line that cannot be written is dropped and counted,
 * since a log that nobody reads must not stop the probes (agent/base/sink.c); what repeats itself is counted instead of written
 * (agent/base/log_rate.c). Which events exist is said in agent/core/event.h.
 */
#include "agent/base/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log_rate.h"
#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/base/sink.h"
#include "agent/base/text.h"

enum {
    LINE_MAX_BYTES = SINK_LINE_MAX,
    LINE_TAIL = 8, /* ellipsis, closing quote, brace, newline */
    LOST_EACH_MS = 1000,
    UNIT_MAX = 16 /* one character, escaped */
};

struct line {
    size_t len, head; /* head: what is before the first pair */
    bool full;        /* something was cut: nothing more may follow */
    char data[LINE_MAX_BYTES];
};

static enum log_level min_level = LOG_INFO;
static enum log_format line_format = LOG_LOGFMT;
static bool ascii_only, in_journal;
static struct sink sink = { .fd = STDERR_FILENO, .way = SINK_POLL };
static unsigned long lost_total;
static uint64_t lost_told_ms;

void log_configure(enum log_level level, enum log_format format)
{
    min_level = level;
    line_format = format;
}

void log_ascii(bool only)
{
    ascii_only = only;
}

bool log_enabled(enum log_level level)
{
    return level >= min_level;
}

static bool is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    char own[48];
    if (!stream || fstat(fd, &status) != 0)
        return false;
    snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(stream, own) == 0;
}

bool log_in_journal(void)
{
    return in_journal;
}

int log_priority(enum log_level level)
{
    static const int priorities[] = { [LOG_DEBUG] = 7, [LOG_INFO] = 6, [LOG_WARN] = 4, [LOG_ERROR] = 3 };
    return priorities[level];
}

void log_open(void)
{
    in_journal = is_journal(STDERR_FILENO);
    sink_open(&sink, STDERR_FILENO, true);
}

void log_set_fd(int fd)
{
    in_journal = is_journal(fd);
    sink_open(&sink, fd, false);
    log_rate_forget();
    lost_total = 0;
    lost_told_ms = 0;
}

unsigned long log_lost(void)
{
    return lost_total;
}

/* Appends all of it or nothing, and never into the tail. */
static bool put(struct line *line, const char *data, size_t len)
{
    if (line->full || line->len + len > LINE_MAX_BYTES - LINE_TAIL) {
        line->full = true;
        return false;
    }
    memcpy(line->data + line->len, data, len);
    line->len += len;
    return true;
}

static bool put_str(struct line *line, const char *text)
{
    return put(line, text, strlen(text));
}

/* Appends what closes a line; LINE_TAIL keeps the room for it. */
static void put_tail(struct line *line, const char *text)
{
    size_t len = strlen(text);
    memcpy(line->data + line->len, text, len);
    line->len += len;
}

/* As JSON has it, in two halves past U+FFFF (RFC 8259, 7). */
static size_t escape_wide(const uint8_t *c, size_t len, char out[UNIT_MAX])
{
    static const uint8_t masks[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    unsigned code = c[0] & masks[len];
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (c[i] & 0x3f);
    if (code < 0x10000)
        return (size_t)snprintf(out, UNIT_MAX, "\\u%04x", code);
    code -= 0x10000;
    return (size_t)snprintf(out, UNIT_MAX, "\\u%04x\\u%04x", 0xd800 + (code >> 10), 0xdc00 + (code & 0x3ff));
}

/* One character of a value as it stands between quotes, in both formats. Returns the bytes taken from the value. */
static size_t escape(struct slice value, char out[UNIT_MAX], size_t *out_len)
{
    size_t taken = text_char_len(value);
    uint8_t c = value.data[0];
    if (taken == 0) {
        *out_len = (size_t)snprintf(out, UNIT_MAX, ascii_only ? "\\ufffd" : "\xef\xbf\xbd"); /* U+FFFD: JSON is UTF-8 */
        return 1;
    }
    if (c == '"' || c == '\\')
        *out_len = (size_t)snprintf(out, UNIT_MAX, "\\%c", c);
    else if (c == '\n' || c == '\r' || c == '\t')
        *out_len = (size_t)snprintf(out, UNIT_MAX, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (c < 0x20 || c == 0x7f)
        *out_len = (size_t)snprintf(out, UNIT_MAX, "\\u%04x", c);
    else if (taken == 2 && c == 0xc2 && value.data[1] < 0xa0)
        *out_len = (size_t)snprintf(out, UNIT_MAX, "\\u%04x", value.data[1]);
    else if (taken > 1 && ascii_only)
        *out_len = escape_wide(value.data, taken, out);
    else
        memcpy(out, value.data, *out_len = taken);
    return taken;
}

static void put_quoted(struct line *line, struct slice value)
{
    if (!put(line, "\"", 1))
        return;
    while (value.len) {
        char unit[UNIT_MAX];
        size_t unit_len, taken = escape(value, unit, &unit_len);
        if (!put(line, unit, unit_len)) {
            put_tail(line, ascii_only ? "..." : "…");
            break;
        }
        value = slice_skip(value, taken);
    }
    put_tail(line, "\"");
}

static bool needs_quotes(struct slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] <= ' ' || value.data[i] == '=' || value.data[i] == '"' || value.data[i] == '\\' || value.data[i] >= 0x7f)
            return true;
    return value.len == 0;
}

static void put_pair(struct line *line, const char *key, const char *value)
{
    size_t before = line->len;
    bool first = before == line->head;
    /* Scrubbed before it is escaped or cut: afterwards a secret would not be recognised. */
    char *scrubbed = mem_strdup(value);
    secret_scrub(scrubbed);
    struct slice text = slice_str(scrubbed);
    if (line_format == LOG_JSON) {
        put_str(line, first ? "{\"" : ",\"");
        put_str(line, key);
        put_str(line, "\":");
    } else {
        put_str(line, first ? "" : " ");
        put_str(line, key);
        put_str(line, "=");
    }
    if (line->full)
        line->len = before;
    else if (line_format == LOG_JSON || needs_quotes(text) || line->len + text.len > LINE_MAX_BYTES - LINE_TAIL)
        put_quoted(line, text);
    else
        put(line, scrubbed, text.len);
    /* A key whose opening quote did not fit would be left without a value. */
    if (line->full && line->data[line->len - 1] != '"')
        line->len = before;
    mem_free(scrubbed);
}

static void begin_line(struct line *line, enum log_level level, const char *event)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    char stamp[CLOCK_STAMP_MAX];
    line->len = line->head = 0;
    line->full = false;
    if (in_journal) {
        line->head = line->len = (size_t)snprintf(line->data, sizeof line->data, "<%d>", log_priority(level));
    } else {
        clock_stamp(clock_wall_ms(), stamp, sizeof stamp);
        put_pair(line, "time", stamp);
    }
    put_pair(line, "level", names[level]);
    put_pair(line, "event", event);
}

static bool end_line(struct line *line)
{
    put_tail(line, line_format == LOG_JSON ? "}\n" : "\n");
    bool written = sink_write(&sink, line->data, line->len);
    lost_total += !written;
    return written;
}

/* Tells how many lines were lost, once there is room again. At most once a second: this line is short, and may find room where
 * others find none. */
static void tell_lost(void)
{
    struct line line;
    char count[24];
    uint64_t now_ms = clock_now_ms();
    unsigned long lost = now_ms >= lost_told_ms + LOST_EACH_MS && sink_ready(&sink) ? sink_take_lost(&sink) : 0;
    if (lost == 0)
        return;
    lost_told_ms = now_ms;
    snprintf(count, sizeof count, "%lu", lost);
    begin_line(&line, LOG_WARN, "log_lost");
    put_pair(&line, "lines", count);
    put_pair(&line, "message", "nobody read the log, and these lines were dropped");
    if (end_line(&line))
        return;
    sink.lost = lost; /* and not this one besides */
    lost_total--;
}

static void tell_more(void)
{
    struct line line;
    char count[24];
    for (struct log_kind *kind; (kind = log_rate_owing(clock_now_ms()));) {
        snprintf(count, sizeof count, "%lu", kind->more);
        kind->more = 0;
        begin_line(&line, LOG_INFO, "log_more");
        put_pair(&line, "of", kind->event);
        if (*kind->subject)
            put_pair(&line, "subject", kind->subject);
        put_pair(&line, "lines", count);
        put_pair(&line, "message", "more like this were left out");
        end_line(&line);
    }
}

void log_tick(void)
{
    tell_lost();
    if (log_enabled(LOG_INFO))
        tell_more();
}

/* Asks the rate limit. The kind of a line is its event, its subject and its reason. */
static bool may_write(const char *event, bool keep, va_list args)
{
    static const char *const subjects[] = { "check", "broker", "notifier", "address" };
    const char *subject = NULL, *reason = NULL;
    for (const char *key; (key = va_arg(args, const char *));) {
        const char *value = va_arg(args, const char *);
        if (strcmp(key, "reason") == 0)
            reason = value;
        for (size_t i = 0; !subject && i < sizeof subjects / sizeof subjects[0]; i++)
            if (strcmp(key, subjects[i]) == 0)
                subject = value;
    }
    return log_rate_take(event, subject, reason, keep, clock_now_ms());
}

void log_event(int level_and_keep, const char *event, ...)
{
    enum log_level level = (enum log_level)(level_and_keep & ~LOG_KEEP);
    struct line line;
    va_list args;
    bool wanted = true;
    if (!log_enabled(level))
        return;
    if (min_level > LOG_DEBUG) { /* level debug has no rate: it is asked for to see every round */
        va_start(args, event);
        wanted = may_write(event, level_and_keep & LOG_KEEP, args);
        va_end(args);
    }
    log_tick();
    if (!wanted)
        return;
    begin_line(&line, level, event);
    va_start(args, event);
    for (const char *key; !line.full && (key = va_arg(args, const char *));) {
        const char *value = va_arg(args, const char *);
        if (value)
            put_pair(&line, key, value);
    }
    va_end(args);
    end_line(&line);
}
