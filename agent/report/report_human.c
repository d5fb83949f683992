/*
 * Owns the report for a terminal: each check with its phases as a waterfall, the verdict, the diagnosis, the advice. Called by the
 * commands, with full details. Promises to keep within the width, to mean the same without colour, to be pure ASCII if that is
 * asked for, and to let no byte of the server move the cursor. If a line has no room for its right end, that goes to the next line.
 */
#include "agent/report/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/ascii.h"
#include "agent/base/clock.h"
#include "agent/base/text.h"
#include "agent/report/report_impl.h"

enum {
    WIDTH_DEFAULT = 100,
    WIDTH_MIN = 40,
    WIDTH_MAX = 200,  /* of sentences */
    FIGURE_MAX = 100, /* of bars and the right edge: on longer lines the eye loses the line */
    INDENT = 4,
    PHASE_COLUMNS = 9,
    LEG_COLUMNS = 10,
    ELAPSED_COLUMNS = 7,
    TEXT_MAX = 4096
};

enum ink { INK_PLAIN, INK_GOOD, INK_WARN, INK_BAD, INK_DIM, INK_BOLD, INK_BAR, INK_COUNT };

struct page {
    struct buf *out;
    unsigned width, figure; /* of sentences and of what is drawn */
    bool colour, one_shot, ascii;
    const char *program;
};

/* Text of the server or another outsider, made safe and, on an ASCII page, ASCII. */
static void put_text(struct page *page, const char *text)
{
    struct buf clean = BUF_INIT(TEXT_MAX);
    report_put(&clean, text);
    if (page->ascii)
        ascii_put(page->out, buf_slice(&clean));
    else
        buf_append_slice(page->out, buf_slice(&clean));
    buf_fini(&clean);
}

static void paint(struct page *page, enum ink ink)
{
    static const char *const codes[INK_COUNT] = { "0", "32", "33", "1;31", "2", "1", "36" };
    if (page->colour)
        buf_printf(page->out, "\033[%sm", codes[ink]);
}

static void put_painted(struct page *page, enum ink colour, const char *text)
{
    paint(page, colour);
    put_text(page, text);
    paint(page, INK_PLAIN);
}

static void put_blanks(struct page *page, unsigned count)
{
    while (count--)
        buf_append_char(page->out, ' ');
}

static unsigned columns_of(const char *text)
{
    unsigned count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

/* How many columns put_text uses. */
static unsigned columns(const struct page *page, const char *text)
{
    struct buf shown = BUF_INIT(4 * TEXT_MAX);
    struct page copy = *page;
    copy.out = &shown;
    put_text(&copy, text);
    unsigned count = columns_of(buf_str(&shown));
    buf_fini(&shown);
    return count;
}

static void new_line(struct page *page, unsigned indent)
{
    buf_append_char(page->out, '\n');
    put_blanks(page, indent);
}

/* One word, broken if it is longer than a line. Returns the column after it. */
static unsigned put_word(struct page *page, const char *word, unsigned indent, unsigned at)
{
    for (; *word; word++) {
        bool starts = ((unsigned char)*word & 0xc0) != 0x80;
        if (starts && at >= page->width) {
            new_line(page, indent);
            at = indent;
        }
        buf_append_char(page->out, *word);
        at += starts;
    }
    return at;
}

/* Fills lines with words, each line but the first begun by indent blanks; `at` columns of the first are taken. */
static void put_wrapped(struct page *page, const char *text, unsigned indent, unsigned at)
{
    struct buf clean = BUF_INIT(4 * TEXT_MAX);
    char nothing[] = "", *rest = NULL;
    bool begun = false;
    struct page copy = *page;
    copy.out = &clean;
    put_text(&copy, text);
    (void)buf_str(&clean); /* terminates it */
    for (char *word = strtok_r(clean.data ? (char *)clean.data : nothing, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        bool fits = at + begun + columns_of(word) <= page->width;
        if (!fits && at > indent) {
            new_line(page, indent);
            at = indent;
        } else if (begun) {
            buf_append_char(page->out, ' ');
            at++;
        }
        at = put_word(page, word, indent, at);
        begun = true;
    }
    buf_append_char(page->out, '\n');
    buf_fini(&clean);
}

/* The same, dimmed, with the indent on the first line too. */
static void put_dim_lines(struct page *page, const char *text, unsigned indent)
{
    put_blanks(page, indent);
    paint(page, INK_DIM);
    put_wrapped(page, text, indent, indent);
    paint(page, INK_PLAIN);
}

/* --- the waterfall ----------------------------------------------------------------------------------------------------- */

/* A bar from start to end, both in nanoseconds of a round that is `whole` long, in eighths of a column (in ASCII whole ones), one at least. */
static void put_bar(struct page *page, uint64_t start, uint64_t end, uint64_t whole, unsigned room)
{
    static const char *const eighths[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
    unsigned parts = page->ascii ? 1 : 8;
    double scale = (double)room / (double)whole;
    unsigned from = (unsigned)((double)start * scale);
    if (from >= room)
        from = room - 1;
    double length = ((double)end * scale - from) * parts + 0.5;
    unsigned fill = length < 1 ? 1 : (unsigned)length;
    if (fill > (room - from) * parts)
        fill = (room - from) * parts;
    put_blanks(page, from);
    for (unsigned i = 0; i < fill / parts; i++)
        buf_append_str(page->out, page->ascii ? "#" : "█");
    buf_append_str(page->out, eighths[fill % parts]);
}

/* The phases of a held connection are older than its round and may be longer: then they set the scale. */
static uint64_t whole_round(const struct check_view *check)
{
    uint64_t sum = 0;
    for (unsigned phase = PHASE_NONE + 1; phase < PHASE_COUNT; phase++)
        sum += check->have_phase[phase] ? check->phase_ns[phase] : 0;
    uint64_t whole = sum > check->total_ns ? sum : check->total_ns;
    return whole ? whole : 1;
}

static enum ink bar_ink(const struct check_view *check, enum phase phase)
{
    if (check->status == RESULT_PASS || phase != check->phase)
        return INK_BAR;
    return check->status == RESULT_WARN ? INK_WARN : INK_BAD;
}

static void put_waterfall(struct page *page, const struct check_view *check)
{
    unsigned room = page->figure - INDENT - PHASE_COLUMNS - ELAPSED_COLUMNS - 2;
    uint64_t start = 0, whole = whole_round(check);
    for (unsigned i = PHASE_NONE + 1; i < PHASE_COUNT; i++) {
        char took[REPORT_ELAPSED_MAX];
        if (!check->have_phase[i])
            continue;
        text_format_elapsed(check->phase_ns[i], took, sizeof took);
        put_blanks(page, INDENT);
        paint(page, INK_DIM);
        buf_printf(page->out, "%-*s%*s  ", PHASE_COLUMNS, phase_name((enum phase)i), ELAPSED_COLUMNS, took);
        paint(page, INK_PLAIN);
        paint(page, bar_ink(check, (enum phase)i));
        put_bar(page, start, start + check->phase_ns[i], whole, room);
        paint(page, INK_PLAIN);
        buf_append_char(page->out, '\n');
        start += check->phase_ns[i];
    }
}

/* What the kernel knows of the connection, where that is not what every connection within a machine has. The smoothed round trip is not shown:
 * it holds the server's time too. */
static void put_network(struct page *page, const struct check_view *check)
{
    enum { TELLING_NS = 1000000 };
    const struct trace_tcp *tcp = &check->tcp;
    char took[REPORT_ELAPSED_MAX], lost[32] = "";
    if (!tcp->known || (tcp->min_rtt_ns < TELLING_NS && !tcp->retransmits && !tcp->lost))
        return;
    text_format_elapsed(tcp->min_rtt_ns, took, sizeof took);
    if (tcp->lost)
        snprintf(lost, sizeof lost, ", %u lost", tcp->lost);
    put_blanks(page, INDENT);
    paint(page, INK_DIM);
    buf_printf(page->out, "%-*s%*s  rtt, %u retransmit%s%s\n", PHASE_COLUMNS, "network", ELAPSED_COLUMNS, took, tcp->retransmits,
               tcp->retransmits == 1 ? "" : "s", lost);
    paint(page, INK_PLAIN);
}

/* --- delivery ------------------------------------------------------------------------------------------------------------ */

static uint64_t observed(const struct prom_histogram *histogram)
{
    uint64_t count = 0;
    for (unsigned i = 0; i <= PROM_BUCKETS; i++)
        count += histogram->counts[i];
    return count;
}

static uint64_t mean_ns(const struct prom_histogram *histogram)
{
    uint64_t count = observed(histogram);
    return count ? (uint64_t)(histogram->sum * 1e9 / (double)count) : 0;
}

static void put_leg(struct page *page, enum delivery_leg leg, uint64_t took_ns, uint64_t longest_ns)
{
    char took[REPORT_ELAPSED_MAX];
    text_format_elapsed(took_ns, took, sizeof took);
    put_blanks(page, INDENT);
    paint(page, INK_DIM);
    buf_printf(page->out, "%-*s%*s  ", LEG_COLUMNS, delivery_leg_name(leg), ELAPSED_COLUMNS, took);
    paint(page, INK_PLAIN);
    paint(page, INK_BAR);
    put_bar(page, 0, took_ns, longest_ns, page->figure - INDENT - LEG_COLUMNS - ELAPSED_COLUMNS - 2);
    paint(page, INK_PLAIN);
    buf_append_char(page->out, '\n');
}

static void put_heartbeats(struct page *page, const struct delivery_stats *delivery, bool averaged)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    const char *separator = "";
    buf_append_str(&text, "heartbeats: ");
    for (unsigned i = 0; i < DELIVERY_COUNT; i++) {
        if (!delivery->heartbeats[i] && i != DELIVERY_RECEIVED)
            continue;
        buf_printf(&text, "%s%" PRIu64 " %s", separator, delivery->heartbeats[i], delivery_result_name((enum delivery_result)i));
        separator = ", ";
    }
    if (delivery->others)
        buf_printf(&text, "; %" PRIu64 " of %u other source%s", delivery->others, delivery->sources,
                   delivery->sources == 1 ? "" : "s");
    buf_append_str(&text, averaged ? " (times are means)" : "");
    put_dim_lines(page, buf_str(&text), INDENT);
    buf_fini(&text);
}

/* Both legs of a heartbeat, from the time of publishing. The difference is the time spent in the server. */
static void put_delivery(struct page *page, const struct delivery_stats *delivery)
{
    uint64_t took_ns[LEG_COUNT], longest_ns = 1;
    bool averaged = false, any = false;
    for (unsigned i = 0; i < LEG_COUNT; i++) {
        took_ns[i] = mean_ns(&delivery->legs[i]);
        longest_ns = took_ns[i] > longest_ns ? took_ns[i] : longest_ns;
        averaged = averaged || observed(&delivery->legs[i]) > 1;
    }
    for (unsigned i = 0; i < LEG_COUNT; i++)
        if (observed(&delivery->legs[i]))
            put_leg(page, (enum delivery_leg)i, took_ns[i], longest_ns);
    for (unsigned i = 0; i < DELIVERY_COUNT; i++)
        any = any || delivery->heartbeats[i];
    if (any && !page->one_shot)
        put_heartbeats(page, delivery, averaged);
}

/* --- the server ---------------------------------------------------------------------------------------------------------- */

static void put_server(struct page *page, const struct server_stats *server)
{
    char text[TEXT_MAX];
    report_server_line(server, text, sizeof text);
    if (*text)
        put_dim_lines(page, text, INDENT);
}

/* --- a check ------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *mark, *ascii;
    enum ink ink;
} looks[STATE_COUNT] = {
    [STATE_UNKNOWN] = { "?", "?", INK_DIM },
    [STATE_PASS] = { "✓", "+", INK_GOOD },
    [STATE_WARN] = { "!", "!", INK_WARN },
    [STATE_FAIL] = { "✗", "-", INK_BAD },
};

static const char *mark_of(const struct page *page, enum state state)
{
    return page->ascii ? looks[state].ascii : looks[state].mark;
}

/* The right end of a check's line: its times. "": none. */
static void write_right(const struct check_view *check, char *out, size_t size)
{
    char took[REPORT_ELAPSED_MAX], rtt[REPORT_ELAPSED_MAX];
    text_format_elapsed(check->total_ns, took, sizeof took);
    text_format_elapsed(check->rtt_ns, rtt, sizeof rtt);
    *out = '\0';
    if (check_is_broker(check) &&
        check->broker_type) /* its round is one request and its answer: the total would be the same number */
        snprintf(out, size, "%s%s%s", check->broker_type, check->judged && check->have_rtt ? "   rtt " : "",
                 check->judged && check->have_rtt ? rtt : "");
    else if (check->judged && check->have_rtt)
        snprintf(out, size, "rtt %s   total %s", rtt, took);
    else if (check->judged)
        snprintf(out, size, "total %s", took);
}

/* "✓ pass  handshake" on the left, "rtt 0.10ms  total 1.90ms" at the right edge. */
static void put_head(struct page *page, const struct check_view *check)
{
    enum state state = check->health.state;
    char left[32], right[96];
    const char *public = strcmp(check->path, "public") == 0 ? "  public" : "";
    snprintf(left, sizeof left, "%s %-7s ", mark_of(page, state), state_name(state));
    write_right(check, right, sizeof right);
    unsigned before = 2 + columns_of(left), name = columns(page, check->name);
    unsigned used = before + name + columns_of(public), wide = columns_of(right);
    put_blanks(page, 2);
    paint(page, looks[state].ink);
    buf_append_str(page->out, left);
    paint(page, INK_PLAIN);
    if (before + name <= page->width) {
        put_painted(page, INK_BOLD, check->name);
        put_painted(page, INK_DIM, public);
    } else {
        put_wrapped(page, check->name, before, before);
        used = 0;
    }
    if (!*right) {
        buf_append_str(page->out, used ? "\n" : "");
        return;
    }
    if (used && used + 2 + wide > page->figure) {
        buf_append_char(page->out, '\n');
        used = 0;
    }
    put_blanks(page, page->figure - used - wide);
    put_painted(page, INK_DIM, right);
    buf_append_char(page->out, '\n');
}

static void put_reason(struct page *page, enum ink colour, const char *before, const struct check_fault *fault)
{
    char head[96];
    snprintf(head, sizeof head, "%s%s", before, reason_name(fault->reason));
    put_blanks(page, INDENT);
    put_painted(page, colour, head);
    buf_append_str(page->out, "  ");
    put_wrapped(page, report_fault_text(fault, true), INDENT, INDENT + columns_of(head) + 2);
}

static void put_what_is_wrong(struct page *page, const struct check_view *check)
{
    struct check_fault last = { .reason = check->reason, .message = check->message }, fault;
    if (check_fault_of(check, &fault)) {
        put_reason(page, looks[check->health.state == STATE_WARN ? STATE_WARN : STATE_FAIL].ink, "", &fault);
        if (fault.recovering) {
            put_blanks(page, INDENT);
            buf_append_str(page->out, "recovering: the last round passed\n");
        }
    } else if (check->reason != REASON_NONE) {
        put_reason(page, INK_WARN, check->judged ? "last round: " : "", &last);
    } else if (*check->message) { /* a pass with a remark */
        put_blanks(page, INDENT);
        put_wrapped(page, check->message, INDENT, INDENT);
    }
}

/* The history has no blanks to break at: it goes to a line of its own if this one has no room. */
static void put_past(struct page *page, const struct check_view *check)
{
    char stamp[CLOCK_STAMP_MAX], since[64];
    if (page->one_shot || !check->since_ms)
        return;
    clock_stamp(check->since_ms, stamp, sizeof stamp);
    snprintf(since, sizeof since, "since %.10s %.8s UTC", stamp, stamp + 11);
    bool fits = INDENT + columns_of(since) + 3 + columns_of(check->health.history) <= page->width;
    put_blanks(page, INDENT);
    paint(page, INK_DIM);
    buf_append_str(page->out, since);
    if (fits)
        buf_append_str(page->out, "   ");
    else
        new_line(page, INDENT);
    buf_append_str(page->out, check->health.history);
    buf_append_char(page->out, '\n');
    paint(page, INK_PLAIN);
}

/* --- the page -------------------------------------------------------------------------------------------------------------- */

static void put_title(struct page *page, const struct agent_view *view)
{
    if (!view->service_id || !*view->service_id)
        return;
    put_dim_lines(page, view->service_id, 2);
    buf_append_char(page->out, '\n');
}

static void put_verdict(struct page *page, const struct agent_view *view)
{
    static const enum ink inks[RESULT_COUNT] = { INK_GOOD, INK_WARN, INK_BAD, INK_DIM };
    static const enum state states[RESULT_COUNT] = { STATE_PASS, STATE_WARN, STATE_FAIL, STATE_UNKNOWN };
    bool unknown = report_exit_code(view) == 3;
    enum result status = unknown ? RESULT_VOID : view->verdict.status;
    char line[96];
    snprintf(line, sizeof line, "%s %s", mark_of(page, states[status]),
             page->one_shot && unknown ? "unknown" : report_word(view, REPORT_READY));
    put_blanks(page, 2);
    put_painted(page, inks[status], line);
    if (!page->one_shot) {
        const char *dot = page->ascii ? "|" : "·";
        paint(page, view->verdict.live ? INK_DIM : INK_BAD);
        buf_printf(page->out, "  %s  %s  %s  %s", dot, report_word(view, REPORT_LIVE), dot, report_word(view, REPORT_STARTUP));
        paint(page, INK_PLAIN);
    }
    buf_append_char(page->out, '\n');
}

/* Advice, with the name by which the user calls this program. */
static void put_advice(struct page *page, const char *advice)
{
    static const char command[] = "`wshealthd ";
    struct buf text = BUF_INIT(TEXT_MAX);
    const char *at = strstr(advice, command);
    if (at)
        buf_printf(&text, "%.*s`%s %s", (int)(at - advice), advice, page->program, at + strlen(command));
    put_wrapped(page, at ? buf_str(&text) : advice, INDENT + 2, INDENT + 2);
    buf_fini(&text);
}

static void put_diagnosis(struct page *page, const struct agent_view *view)
{
    const struct diagnosis *diagnosis = &view->diagnosis;
    char cause[96];
    put_blanks(page, INDENT);
    put_wrapped(page, report_sentence(view, true), INDENT, INDENT);
    if (view->verdict.status != RESULT_PASS && diagnosis->cause) {
        snprintf(cause, sizeof cause, "cause: %s", diagnosis->cause);
        put_dim_lines(page, cause, INDENT);
    }
    if (!diagnosis->advice_count)
        return;
    buf_append_char(page->out, '\n');
    for (size_t i = 0; i < diagnosis->advice_count; i++) {
        put_blanks(page, INDENT);
        buf_append_str(page->out, page->ascii ? "> " : "→ ");
        put_advice(page, diagnosis->advice[i]);
    }
}

/* Who is told nothing of all this. */
static void put_notifiers(struct page *page, const struct agent_view *view)
{
    char text[512];

    for (size_t i = 0; i < view->notifier_count; i++) {
        const struct notifier_view *notifier = view->notifiers[i];

        if (!notifier->failing)
            continue;
        snprintf(text, sizeof text, "notifier %s (%s) fails: %s", notifier->name, notifier->type, notifier->error);
        put_blanks(page, INDENT);
        paint(page, INK_WARN);
        put_wrapped(page, text, INDENT, INDENT);
        paint(page, INK_PLAIN);
    }
}

void report_human(const struct agent_view *view, const struct report_style *style, struct buf *out)
{
    unsigned width = style->width ? style->width : WIDTH_DEFAULT;
    width = width < WIDTH_MIN ? WIDTH_MIN : width > WIDTH_MAX ? WIDTH_MAX : width;
    struct page page = { .out = out,
                         .width = width,
                         .figure = width < FIGURE_MAX ? width : FIGURE_MAX,
                         .colour = style->colour,
                         .one_shot = style->one_shot,
                         .ascii = style->ascii,
                         .program = style->program ? style->program : "wshealthd" };
    buf_append_char(out, '\n');
    put_title(&page, view);
    if (style->verdict_first) {
        put_verdict(&page, view);
        put_diagnosis(&page, view);
        buf_append_char(out, '\n');
    }
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        put_head(&page, check);
        if (check->judged)
            put_waterfall(&page, check);
        if (check->judged)
            put_network(&page, check);
        if (check->stats.delivery)
            put_delivery(&page, check->stats.delivery);
        if (check->stats.server && check->judged)
            put_server(&page, check->stats.server);
        put_what_is_wrong(&page, check);
        put_past(&page, check);
        buf_append_char(out, '\n');
    }
    if (style->verdict_first)
        return;
    put_verdict(&page, view);
    put_diagnosis(&page, view);
    put_notifiers(&page, view);
    buf_append_char(out, '\n');
}
