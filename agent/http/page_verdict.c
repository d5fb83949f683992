/*
 * Owns the first thing on the page: the verdict in a word, the sentence, whose fault it is, what to do. Called by page.c. Promises to say nothing
 * else than /ready and /status say at that moment; a state that is not known is never shown as good.
 */
#include <string.h>

#include "agent/http/page_impl.h"
#include "agent/report/report.h"

enum { SENTENCE_BYTES = 900, ADVICE_BYTES = 420, NAME_BYTES = 80, NAMES_MAX = 6 };

static const struct check_view *first_witness(const struct agent_view *view, struct check_fault *fault)
{
    for (size_t i = 0; i < view->diagnosis.because_count; i++) {
        const struct check_view *check = report_find_check(view, view->diagnosis.because[i]);

        if (check && check_fault_of(check, fault))
            return check;
    }
    return NULL;
}

static const char blamed_shared[] = "Something that all instances share";

/* Whose fault it is, in words; NULL: nobody's, or nobody knows. */
static const char *blamed(const struct agent_view *view)
{
    struct check_fault fault;
    const char *cause = view->diagnosis.cause;

    const struct check_view *witness = first_witness(view, &fault);
    if (strcmp(cause, "one_instance_stale") == 0 && (!witness || check_is_public(witness)))
        return "Another instance behind the public address";
    if (strcmp(cause, "agent_stalled") == 0 || strcmp(cause, "agent_error") == 0)
        return "The agent itself: this says nothing about the server";
    if (strcmp(cause, "fleet_wide_fault") == 0)
        return blamed_shared;
    if (!witness)
        return NULL;
    switch (fault.scope) {
    case SCOPE_LOCAL:
        return "This instance of the server";
    case SCOPE_SHARED:
        return blamed_shared;
    case SCOPE_PROBE:
        return "The agent\xe2\x80\x99s own side: its token, trust, names or pace";
    default:
        return NULL;
    }
}

static void put_fact(struct page *page, const char *name, const char *value)
{
    page_printf(page, "<div><dt>%s</dt><dd>%s</dd></div>", name, value);
}

static void put_witnesses(struct page *page)
{
    const struct diagnosis *diagnosis = &page->view->diagnosis;

    if (!diagnosis->because_count)
        return;
    page_printf(page, "<div><dt>%s</dt><dd>", strcmp(diagnosis->cause, "starting") == 0 ? "Waits for" : "Seen by");
    for (size_t i = 0; i < diagnosis->because_count && i < NAMES_MAX; i++) {
        page_put(page, i ? ", " : "");
        page_text(page, diagnosis->because[i], NAME_BYTES);
    }
    if (diagnosis->because_more)
        page_put(page, " and others");
    else if (diagnosis->because_count > NAMES_MAX)
        page_printf(page, " and %zu more", diagnosis->because_count - NAMES_MAX);
    page_put(page, "</dd></div>");
}

static void put_drain(struct page *page)
{
    const struct drain_view *drain = &page->view->drain;

    if (!page->view->verdict.draining || !drain->since_ms)
        return;
    page_put(page, "<div><dt>Clients left</dt><dd>");
    if (drain->counted)
        page_count(page, drain->remaining);
    else
        page_put(page, "not counted");
    page_put(page, "</dd></div>");
}

static void put_facts(struct page *page)
{
    const struct agent_view *view = page->view;
    const struct verdict *verdict = &view->verdict;
    int64_t since_ms = page_past_since(page);
    const char *who = blamed(view);

    page_put(page, "<dl class=facts>");
    if (who)
        put_fact(page, "Whose fault", who);
    put_witnesses(page);
    if (since_ms) {
        page_put(page, "<div><dt>Since</dt><dd>");
        page_time(page, since_ms);
        page_put(page, "</dd></div>");
    }
    put_fact(page, "New connections",
             verdict->ready && !verdict->draining ? "taken"
             : verdict->started                   ? "not taken"
                                                  : "not yet taken");
    put_drain(page);
    if (!verdict->live)
        put_fact(page, "Restart", "needed: /live says so");
    if (page->ops && strcmp(view->diagnosis.cause, "healthy") != 0) {
        page_put(page, "<div><dt>Cause</dt><dd><code>");
        page_text(page, view->diagnosis.cause, NAME_BYTES);
        page_put(page, "</code></dd></div>");
    }
    page_put(page, "</dl>");
}

static void put_advice(struct page *page)
{
    const struct diagnosis *diagnosis = &page->view->diagnosis;

    if (!page->ops || !diagnosis->advice_count || strcmp(diagnosis->cause, "healthy") == 0)
        return;
    page_put(page, "<h2>What to do</h2><ul class=advice>");
    for (size_t i = 0; i < diagnosis->advice_count; i++) {
        const char *rest = diagnosis->advice[i];

        page_put(page, "<li>");
        for (bool code = false; *rest; code = !code) { /* `like this` */
            size_t len = strcspn(rest, "`");

            page_put(page, code ? "<code>" : "");
            page_text_slice(page, slice_make(rest, len), ADVICE_BYTES);
            page_put(page, code ? "</code>" : "");
            rest += len + (rest[len] == '`');
        }
        page_put(page, "</li>");
    }
    page_put(page, "</ul>");
}

/* Well, but with something that only reports: "Ready" alone would hide it. */
static bool only_reports(const struct verdict *verdict)
{
    return verdict->ready && !verdict->degraded && !verdict->draining && verdict->status == RESULT_WARN;
}

void page_verdict(struct page *page)
{
    static const char *const names[] = { "good", "warn", "bad" };
    static const enum state states[] = { STATE_PASS, STATE_WARN, STATE_FAIL };
    const char *quality = page_quality(page->view);
    enum state state = STATE_UNKNOWN;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        state = strcmp(quality, names[i]) == 0 ? states[i] : state;
    page_printf(page, "<div id=word class=%s data-word='%s'>", quality, page_verdict_name(page->view));
    if (page->view->verdict.draining)
        page_put(page, "<svg class='mark none' viewBox='0 0 24 24' aria-hidden=true><circle cx=12 cy=12 r=10 class=l /><path "
                       "d='M12 6.5v10.5M7.5 12.5l4.5 4.5 4.5-4.5' class=l /></svg>");
    else
        page_mark(page, state);
    page_printf(page, "<h1>%s</h1></div><p class=say>", page_verdict_name(page->view));
    if (only_reports(&page->view->verdict))
        page_put(page, "Every check that gates readiness passes. Only reported: ");
    page_text(page, report_sentence(page->view, page->texts), SENTENCE_BYTES);
    page_put(page, "</p>");
    put_facts(page);
    put_advice(page);
}
