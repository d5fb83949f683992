/* `tcp`: a port accepts connections. The least of all checks: a hung server with a listening socket passes it. */
#include <stdio.h>

#include "agent/core/dialing.h"
#include "probes/registry.h"

struct tcp_opts {
    char *address;
};

struct tcp_state {
    struct dialing dialing;
    struct url url;
};

static int tcp_url(const struct tcp_opts *opts, struct url *url, struct err *err)
{
    char text[URL_HOST_MAX + 16];
    struct err wrong;

    snprintf(text, sizeof text, "tcp://%s", opts->address);
    if (url_parse(text, url, &wrong) < 0)
        return err_set(err, wrong.reason, wrong.code, "address: %s", url_complaint(&wrong));
    return 0;
}

static int tcp_validate(const void *opts, struct err *err)
{
    struct url url;

    return ((const struct tcp_opts *)opts)->address ? tcp_url(opts, &url, err) : 0;
}

static bool tcp_elsewhere(const void *opts, const struct url *target)
{
    struct url url;

    return ((const struct tcp_opts *)opts)->address && tcp_url(opts, &url, NULL) == 0 && !url_same_server(&url, target);
}

static void tcp_judge(struct run *run, const struct dial_report *report)
{
    (void)report;
    run_pass(run, NULL);
}

static void tcp_start(struct run *run)
{
    struct tcp_state *state = run->state;
    const struct tcp_opts *opts = run->opts;

    struct dial_target target = { .url = &state->url };

    state->url = *run->url;
    if (opts->address)
        tcp_url(opts, &state->url, NULL); /* tcp_validate has seen it */
    else
        target.proxy = (enum proxy_version)run->target->proxy_protocol;
    dialing_start(run, &target, tcp_judge);
}

static const struct opt tcp_rows[] = {
    { .name = "address",
      .kind = OPT_STRING,
      .offset = offsetof(struct tcp_opts, address),
      .max = URL_HOST_MAX + 8,
      .help = "host:port; without it, the target's" },
    { 0 },
};

const struct probe_type probe_tcp = {
    .name = "tcp",
    .summary = "A port accepts connections",
    .rank = 5,
    .proves = PROVES_PORT,
    .opts = tcp_rows,
    .opts_size = sizeof(struct tcp_opts),
    .state_size = sizeof(struct tcp_state),
    .validate = tcp_validate,
    .elsewhere = tcp_elsewhere,
    .series = SERIES_DIAL,
    .timeout_reason = REASON_CONNECT_TIMEOUT,
    .start = tcp_start,
    .on_deadline = dialing_on_deadline,
    .stop = dialing_stop,
};
