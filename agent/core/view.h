/* What the engine knows of one check, as plain data. Owned by the check (agent/core/check.h) and always current. */
#ifndef WSHEALTHD_CORE_VIEW_H
#define WSHEALTHD_CORE_VIEW_H

#include "agent/base/reason.h"
#include "agent/base/trace.h"
#include "agent/conf/probe_type.h"
#include "agent/core/health.h"
#include "agent/core/stats.h"
#include "agent/proto/upgrade.h"

/* With `http: both`: the round failed over one version of HTTP and did not over the other. */
enum http_split { HTTP_SPLIT_NONE, HTTP_SPLIT_ONLY_1_1_FAILS, HTTP_SPLIT_ONLY_2_FAILS };

/* With `each_address`: so many of the addresses fail or warn, and the others do not. 0 of 0: they do not differ. */
struct address_split {
    unsigned bad, of;
};

struct check_view {
    const char *name, *type, *path; /* path: "local" or "public" */
    const char *summary;            /* of the type, one sentence */
    const char *http;               /* "1.1", "2" or "both": how its WebSockets begin; NULL: 1.1, as everywhere, or it has none */
    enum probe_kind kind;           /* of the type, as are rank and proves (agent/conf/probe_type.h) */
    int rank;
    unsigned proves;
    const char *broker;      /* name of the broker that the check works with (broker, delivery); NULL: none */
    const char *broker_type; /* of a check of kind PROBE_BROKER, which is named like its broker: "redis". NULL: others */
    struct health health;    /* state, history */
    unsigned gates;
    bool judged;        /* has a round been judged yet? Until then status and last are null */
    enum result status; /* of the last judged round */
    /* of the last judged round, which may have passed while the state is still fail: see last_fault. While nothing has been judged, a
     * void round leaves its reason and message here */
    enum reason reason;
    enum phase phase;
    enum scope scope;
    char message[512];           /* the sentence, "" for a plain pass */
    int http_status, close_code; /* 0: null */
    bool http2;                  /* the connection that these are of was over HTTP/2 */
    enum http_split http_split;
    struct address_split addresses;
    enum h2_gap h2_gap;
    int broker_hint;           /* enum broker_hint; 0: none */
    int64_t since_ms, last_ms; /* wall; of the state, of the last round; 0: null */
    bool have_phase[PHASE_COUNT];
    uint64_t phase_ns[PHASE_COUNT], total_ns;
    bool have_rtt;
    uint64_t rtt_ns;
    struct trace_tcp tcp;                /* of the last round's connection, as the kernel saw it */
    const struct trace *failed, *passed; /* of the last round that failed or warned, and that passed; NULL: none is kept */
    uint64_t timeout_ms, slo_ms;         /* as configured, 0: none; thresholds of the performance data */
    uint64_t interval_ms;                /* as configured */
    enum reason last_fault;              /* reason of the fault that the state is in: what /ready names */
    enum scope last_fault_scope;
    char last_fault_message[512];
    int last_fault_hint;
    enum http_split last_fault_split;
    struct address_split last_fault_addresses;
    enum h2_gap last_fault_gap;
    struct series series;
    struct check_stats stats;
};

/* What is wrong with a check at the moment, by its state: the fault that it is in, or the warning, or, while it is still unknown, the round
 * that has just failed. false: nothing. Readers ask this one function, so that no two of them tell different stories. */
struct check_fault {
    enum reason reason;
    enum scope scope;
    const char *message; /* may be "" */
    int hint;            /* enum broker_hint */
    enum http_split split;
    struct address_split addresses;
    enum h2_gap gap;
    bool recovering; /* the last round passed, but not yet enough of them */
};
bool check_fault_of(const struct check_view *check, struct check_fault *fault);
bool check_is_broker(const struct check_view *check); /* the check that a broker has by itself */
bool check_is_public(const struct check_view *check); /* it goes through target.public_url */

#endif
