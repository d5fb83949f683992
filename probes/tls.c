/*
 * `tls`: the certificate and the connection's version, on a full handshake of its own. Chain, name and dates are verified by the
 * transport (agent/net/tls.h); here only the days that are left are weighed.
 */
#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/base/text.h"
#include "agent/core/dialing.h"
#include "probes/registry.h"

enum { MS_PER_DAY = 86400000 };

struct tls_opts {
    int64_t warn_before_ms, fail_before_ms;
};

static int tls_validate(const void *opts, struct err *err)
{
    const struct tls_opts *tls = opts;

    if (tls->fail_before_ms > tls->warn_before_ms)
        return err_set(err, REASON_NONE, 0, "fail_before: longer than warn_before, want it to be at most that");
    return 0;
}

/* The sooner of the leaf's end and the chain's: an intermediate that expires cuts users off just the same. */
static void judge_dates(struct run *run, const struct dial_report *report)
{
    const struct tls_info *info = &report->tls;
    const struct tls_opts *opts = run->opts;
    bool chain = info->chain_not_after_ms && info->chain_not_after_ms < info->not_after_ms;
    int64_t end_ms = chain ? info->chain_not_after_ms : info->not_after_ms, left_ms = end_ms - clock_wall_ms();
    char day[CLOCK_STAMP_MAX], when[48], text[192], limit[32];

    clock_stamp(end_ms, day, sizeof day);
    long long days = left_ms / MS_PER_DAY;
    if (days > 0)
        snprintf(when, sizeof when, "in %lld day%s", days, days == 1 ? "" : "s");
    else
        snprintf(when, sizeof when, "in less than a day");
    snprintf(text, sizeof text, "%s expires %.10s, %s (%s)", chain ? "a certificate of the chain" : "the certificate", day, when,
             info->version);
    run->report.phase = PHASE_TLS;
    if (left_ms < opts->fail_before_ms) {
        text_format_duration(opts->fail_before_ms, limit, sizeof limit);
        run_finish(run, REASON_TLS_CERT_EXPIRING, "%s; fail_before is %s", text, limit);
    } else if (left_ms < opts->warn_before_ms) {
        text_format_duration(opts->warn_before_ms, limit, sizeof limit);
        run_warn(run, REASON_TLS_CERT_EXPIRING, "%s; warn_before is %s", text, limit);
    } else {
        run_pass(run, "%s", text);
    }
}

static void tls_start(struct run *run)
{
    const struct dial_target target = { .url = run->url,
                                        .tls = run->tls,
                                        .server_name = run->target->tls.server_name,
                                        .proxy = (enum proxy_version)run->target->proxy_protocol };

    dialing_start(run, &target, judge_dates);
}

static const struct opt tls_rows[] = {
    { .name = "warn_before",
      .kind = OPT_DURATION,
      .offset = offsetof(struct tls_opts, warn_before_ms),
      .default_text = "21d",
      .help = "warn when the certificate expires sooner than this" },
    { .name = "fail_before",
      .kind = OPT_DURATION,
      .offset = offsetof(struct tls_opts, fail_before_ms),
      .default_text = "3d",
      .help = "fail when it expires sooner than this" },
    { 0 },
};

const struct probe_type probe_tls = {
    .name = "tls",
    .summary = "The certificate: chain, name, protocol version, days to expiry (RFC 5280, RFC 6125)",
    .rank = 4,
    .opts = tls_rows,
    .opts_size = sizeof(struct tls_opts),
    .state_size = sizeof(struct dialing),
    .validate = tls_validate,
    .wants_wss = true,
    .series = SERIES_DIAL,
    .reasons = (const enum reason[]){ REASON_TLS_CERT_EXPIRING, REASON_NONE },
    .timeout_reason = REASON_TLS_HANDSHAKE_FAILED,
    .start = tls_start,
    .on_deadline = dialing_on_deadline,
    .stop = dialing_stop,
};
