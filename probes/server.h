/* What the files of the `server` check share (probes/server*.c): its options, and what it keeps between rounds. */
#ifndef WSHEALTHD_PROBES_SERVER_H
#define WSHEALTHD_PROBES_SERVER_H

#include "agent/client/fetch.h"
#include "agent/core/probe.h"
#include "agent/net/resolve.h"
#include "probes/server_levels.h"
#include "probes/server_look.h"

struct server_swing_opts {
    struct opt_rate high;
    int64_t low;
};
struct server_churn_opts {
    int64_t high, low; /* hundredths */
    int64_t normal;
};
struct server_series_opts {
    char *name_in_map; /* of the OPT_MAP: the item's own name */
    char *name, *max, *low;
};

struct server_opts {
    int64_t port;
    char *pid_file, *unit;
    struct server_limit max_connections, backlog, memory, memory_each, fds, cpu;
    struct server_swing_opts drop, growth;
    struct server_churn_opts churn;
    struct opt_pairs peers;
    char *metrics_url;
    struct opt_list series;
};

/* A name that the check needs the addresses of: the target's, and the peers'. */
struct server_name {
    struct run *run;
    struct lookup *lookup;
    char host[URL_HOST_MAX];
    struct look_addresses *addresses;
    bool answered;
};

struct server_state {
    bool begun, waiting_look, waiting_page, asked;
    bool by_name; /* the target's listeners are known by its address */
    struct look *look;
    struct look_ask ask;
    struct server_name names[SERVER_PEERS_MAX + 1]; /* the target's last */
    unsigned name_count;
    struct look_seen seen;
    bool have_seen; /* in this round */
    bool was_there; /* something has listened once */
    uint64_t restarted_ns;
    struct server_levels levels;
    struct server_policy policy;
    /* peers */
    unsigned worse[SERVER_PEERS_MAX], unread[SERVER_PEERS_MAX]; /* looks in a row in which it did not get better */
    uint64_t peer_since_ns[SERVER_PEERS_MAX];
    unsigned away[SERVER_PEERS_MAX]; /* looks in a row in which there was no connection; since … */
    uint64_t away_since_ns[SERVER_PEERS_MAX];
    /* the server's own metrics */
    struct url page_url;
    struct fetch *fetch;
    char page_fault[256]; /* of this round; "" */
    struct prom_before {
        bool known, over;
        double value;
    } before[SERVER_SERIES_MAX];
    uint64_t page_ns; /* of the page before */
};

/* server_page.c */
int server_series_validate(const struct server_opts *opts, struct err *err);
bool server_series_has_limits(const struct server_opts *opts);
void server_page_start(struct run *run);
void server_page_stop(struct run *run);
void server_page_judge(struct run *run, struct server_said *said);

/* server.c: the page has been read, or not. */
void server_page_done(struct run *run);

/* server_judge.c: the round is over, with what there is. */
void server_judge(struct run *run);

#endif
