/*
 * What a `server` check has seen of the server from outside, as plain figures: for /metrics, /status, the terminal and the diagnosis. Filled in
 * by probes/server*.c, once a round; read through struct check_view (stats.server; NULL for checks of other types). What could not be read
 * has its `have_` flag off: the kernel refused, the process is another user's, the server is in another namespace.
 */
#ifndef WSHEALTHD_CORE_SERVER_STATS_H
#define WSHEALTHD_CORE_SERVER_STATS_H

#include <stdbool.h>
#include <stdint.h>

enum { SERVER_PEERS_MAX = 16, SERVER_SERIES_MAX = 16, SERVER_NAME_MAX = 64 };

/* Connections to the server by TCP's state; the label `state` of wshealthd_server_connections. FIN_WAIT and TIME_WAIT: the server's side ended
 * it first. CLOSE_WAIT: the client has ended it, and the server has not closed its descriptor. */
#define SERVER_CONN_LIST(X)       \
    X(ESTABLISHED, "established") \
    X(SYN_RECV, "syn_recv")       \
    X(FIN_WAIT, "fin_wait")       \
    X(TIME_WAIT, "time_wait")     \
    X(CLOSE_WAIT, "close_wait")
#define SERVER_CONN_ENUM(id, name) SERVER_##id,
enum server_conn { SERVER_CONN_LIST(SERVER_CONN_ENUM) SERVER_CONN_COUNT };
const char *server_conn_name(enum server_conn state);

/* What the server must be connected to (`peers`). */
#define SERVER_PEER_LIST(X)                                                                                                        \
    X(UNKNOWN, "unknown") /* the kernel does not tell, or its name does not resolve */                                             \
    X(CONNECTED, "connected")                                                                                                      \
    X(CONNECTING, "connecting") /* it tries: SYN sent, no answer */                                                                \
    X(LOST, "lost")             /* no connection at all */                                                                         \
    X(UNREACHED,                                                                                                                   \
      "unreached") /* connected, but bytes of the server's are not acknowledged, and it gets worse: the broker or the way to it */ \
    X(UNREAD, "unread") /* connected, but the server does not read what has come: the server is slow */
#define SERVER_PEER_ENUM(id, name) SERVER_PEER_##id,
enum server_peer_state { SERVER_PEER_LIST(SERVER_PEER_ENUM) SERVER_PEER_STATE_COUNT };
const char *server_peer_name(enum server_peer_state state);

struct server_peer_stats {
    char name[SERVER_NAME_MAX]; /* as configured; often that of a broker of the configuration */
    char address[160];          /* HOST:PORT, as configured */
    enum server_peer_state state;
    bool once;               /* has the server ever been seen connected to it? */
    bool missing;            /* not connected for so long that it is no reconnect any more: server_peer_lost */
    uint32_t connections;    /* established, the agent's own aside */
    uint64_t unacknowledged; /* bytes that the server has written and the peer has not acknowledged, of all these connections */
    uint64_t unread;         /* bytes that have come and that the server has not read */
    uint64_t retransmits;    /* ever, of the connections that are there now */
    uint64_t since_ms;       /* for how long it has been in that state */
};

struct server_series_stats {
    char name[SERVER_NAME_MAX];
    bool known;        /* the page had it in the last round */
    bool rate;         /* a counter: the value is per second */
    bool over;         /* past its max */
    double value, max; /* max 0: none set */
};

struct server_stats {
    bool have_listener, have_queue_limit, have_connections, have_churn, have_resident, have_fds, have_max_fds, have_cpu_seconds,
        have_cpu, have_threads;
    bool gone;      /* it was there, and is not */
    bool cut;       /* more connections than are counted one by one: opens and closes are at least these */
    bool restarted; /* its process or its socket is a new one, since less than a minute */
    bool draining;  /* the instance is being drained, or was until a minute ago: churn and drops are expected */
    uint64_t connections[SERVER_CONN_COUNT]; /* the agent's own aside; those that wait to be accepted are in `queue` */
    uint64_t max_connections;                /* as configured; 0: not */
    uint64_t opens, closes;                  /* ever, as far as seen */
    double opens_per_s, closes_per_s;        /* of the last half minute */
    double churn_normal;               /* connections that come and go, per second, as learned or configured; 0: not yet known */
    int64_t growth_percent, growth_ms; /* connections now against the fewest within that time; 0: unknown or none */
    uint64_t dropped, dropped_of,
        dropped_by_server;       /* of the last mass disconnect: so many of so many, ended by the server's side first */
    uint64_t queue, queue_limit; /* waiting to be accepted, of all its sockets together */
    unsigned queue_percent;      /* of the fullest of them */
    unsigned listeners;          /* sockets that listen (SO_REUSEPORT: several) */
    char process[32];            /* "node"; "" unknown */
    int pid;                     /* of one of its processes; 0: unknown */
    unsigned processes;
    uint64_t resident_bytes, resident_each; /* of all together; and for each connection, 0: unknown */
    uint64_t fds, max_fds;                  /* of the process that is nearest to its limit */
    uint64_t threads;                       /* of all together */
    double cpu_seconds;                     /* of all together */
    double cpu_percent;                     /* of one core, of the busiest process, over the last ten seconds or more */
    struct server_peer_stats peers[SERVER_PEERS_MAX];
    unsigned peer_count;
    struct server_series_stats series[SERVER_SERIES_MAX];
    unsigned series_count;
    uint64_t listen_ns, count_ns; /* what the last look at the sockets that listen took, and the last count; off the loop */
    char remark[256];             /* what cannot be seen, and why; "" */
};

#endif
