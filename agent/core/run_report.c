/* See agent/core/run_report.h. A phase that was not reached has no time: it is not zero. */
#include "agent/core/run_report.h"

void run_report_phase(struct run *run, enum phase phase, bool have, uint64_t ns)
{
    run->report.have_phase[phase] = have;
    run->report.phase_ns[phase] = ns;
}

void run_report_dial(struct run *run, const struct dial_report *dial, bool tls)
{
    run_report_phase(run, PHASE_RESOLVE, true, dial->resolve_ns);
    run_report_phase(run, PHASE_CONNECT, dial->resolved, dial->connect_ns);
    run_report_phase(run, PHASE_TLS, tls && dial->connected, dial->tls_ns);
    if (dial->tls.have_cert)
        run->report.cert_not_after_ms = dial->tls.not_after_ms;
}

void run_report_conn(struct run *run, const struct conn_report *report, bool tls)
{
    if (report->joined)
        return;
    run_report_dial(run, &report->dial, tls);
    run_report_phase(run, PHASE_UPGRADE, report->requested, report->upgrade_ns);
    run->report.http2 = report->http2;
    run->report.h2_gap = report->h2_gap;
    run->report.http_status = report->http_status;
    run->report.answered = run->report.answered || report->answered;
    run->report.tls_answered = report->dial.tls_answered || report->dial.secured;
    run->report.retry_after_ms = report->retry_after_ms;
}
