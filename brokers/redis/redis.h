/*
 * What the files of the redis driver share. brokers/redis/redis.c is the contract with the core and the opening, redis_link.c one
 * connection, redis_probe.c tests whether it is up and writable, redis_nodes.c has cluster nodes and redirections, redis_sentinel.c finds
 * the master, redis_judge.c says what errors mean. Only these files include this.
 */
#ifndef WSHEALTHD_BROKERS_REDIS_REDIS_H
#define WSHEALTHD_BROKERS_REDIS_REDIS_H

#include "agent/core/broker.h"
#include "agent/core/rest.h"
#include "agent/net/intake.h"
#include "agent/proto/resp.h"

enum {
    REDIS_NODES_MAX = 64,       /* of a cluster, that we talk to */
    REDIS_HOSTS_MAX = 16,       /* in a list of the configuration */
    REDIS_HOPS_MAX = 5,         /* redirections of one command */
    REDIS_OUT_MAX = 4 << 20,    /* bytes that wait for a connection */
    REDIS_REQUESTS_MAX = 16384, /* commands that wait for their replies, on one connection */
    REDIS_NAME_MAX = URL_HOST_MAX + 32,
};

enum redis_mode { REDIS_AUTO, REDIS_STANDALONE, REDIS_SENTINEL, REDIS_CLUSTER };
enum redis_use { REDIS_COMMANDS, REDIS_PUBSUB, REDIS_ASK_SENTINEL };
enum redis_stage { REDIS_OPENING, REDIS_UP, REDIS_DOWN, REDIS_CLOSING };
enum redis_doing {
    REDIS_DO_AUTH,
    REDIS_DO_SELECT,
    REDIS_DO_WRITE,
    REDIS_DO_PING,
    REDIS_DO_PUBLISH,
    REDIS_DO_SUBSCRIBE,
    REDIS_DO_SENTINEL,
    REDIS_DO_COMMAND
};

struct redis_opts {
    int mode;
    bool write_test, sharded;
    char *write_key;
    struct opt_strings hosts;
    struct {
        char *master, *user, *password;
        struct opt_strings hosts;
    } sentinel;
};

struct redis;
struct redis_link;
struct redis_request;
typedef void redis_reply_fn(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply);

/* A command that waits for its reply. */
struct redis_request {
    struct list node;
    redis_reply_fn *on_reply;
    uint64_t token;
    char *topic;        /* of subscribe and unsubscribe */
    bool unsubscribes;  /* only the topic tells its reply from an unsubscription by the server */
    bool routed;        /* goes to the node of its slot: redirections are followed */
    unsigned hops;      /* redirections so far */
    struct buf command; /* kept for a redirection, while routed */
};

/* One connection. Memory stays until the driver has closed: callbacks may be running on it. */
struct redis_link {
    struct list node;
    struct redis *redis;
    enum redis_use use;
    struct url url;
    char name[REDIS_NAME_MAX]; /* "Redis at 127.0.0.1:6379" */
    struct dial_target target;
    struct dial_report report;
    struct dial *dial;
    struct stream *stream;
    struct resp_reader *reader;
    struct intake intake;
    struct list requests;
    unsigned waiting; /* how many */
    struct buf out;   /* not written yet: the connection is not there, or the turn not over */
    bool answered, dead;
    /* Of a connection whose messages may all come in batches: */
    struct rest rest;
    struct timer rested; /* the end of a rest; before, of the turn that may be followed by one */
    bool resting;        /* the stream is paused */
    size_t taken;        /* since the last rest was thought of */
};

struct redis_node {
    struct url url;
    struct redis_link *commands, *pubsub; /* opened when they are needed */
};

enum redis_role { REDIS_ROLE_UNKNOWN, REDIS_ROLE_MASTER, REDIS_ROLE_REPLICA, REDIS_ROLE_SENTINEL };

/* One test of being up, writable and delivering: its requests go out together, and it is judged when all are answered. */
struct redis_probe {
    bool active;
    unsigned waiting;
    enum redis_role role;
    char master[300];                  /* of a replica: whose */
    bool linked;                       /* of a replica: to its master */
    struct err write, cluster, pubsub; /* reason REASON_NONE: fine */
};

struct redis {
    struct broker *broker;
    const struct redis_opts *opts;
    enum redis_mode mode; /* from opts; sentinel where a master is named */
    struct loop *loop;
    enum redis_stage stage;
    struct url url;
    long database;
    size_t place, places; /* which of the hosts is being tried */
    uint64_t give_up_ns;  /* opening ends then: a little before the core's deadline, as this error says more */
    uint64_t tried_ns;    /* when this place was begun */
    struct list links;
    struct redis_node *nodes[REDIS_NODES_MAX]; /* the first gets everything that has no slot */
    size_t node_count;
    uint8_t *slots;                /* for each slot the index of its node, as far as redirections have told; NULL: none has */
    bool cluster;                  /* it has said so */
    bool no_cluster_info, no_role; /* cannot be asked: not a cluster, or not permitted */
    char write_key[256], sentinel_password[256]; /* ready for use */
    char master[REDIS_NAME_MAX];                 /* host:port as Sentinel has told */
    struct redis_probe probe;
    struct timer deadline, later;
    struct err later_err;
};

/* redis.c. Fails with err: on to the next place while it opens and there is one, else broker_down. */
void redis_fail(struct redis *redis, const struct err *err);
void redis_fail_later(struct redis *redis, const struct err *err); /* in the next turn, for where nothing may be reported */
void redis_home_open(struct redis *redis, const struct url *url);
/* "host", "host:port", "[v6]:port" */
int redis_host_parse(const char *text, uint16_t port, struct url *url, struct err *err);

/* redis_link.c */
struct redis_link *redis_link_open(struct redis *redis, const struct url *url, enum redis_use use);
void redis_links_close(struct redis *redis); /* all of them, at once */
void redis_links_free(struct redis *redis);
void redis_link_close(struct redis_link *link);
struct redis_request *redis_request_new(redis_reply_fn *on_reply);
void redis_request_free(struct redis_request *request);
/* The command becomes the request's and waits to be flushed. Failures are reported later, by redis_fail. */
void redis_push(struct redis_link *link, struct redis_request *request, const struct slice *args, size_t count);
void redis_repush(struct redis_link *link, struct redis_request *request);                  /* with the command that it has kept */
void redis_say(struct redis_link *link, redis_reply_fn *on_reply, const char *const *args); /* up to a NULL */
void redis_flush(struct redis *redis);
void redis_ignore(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply); /* a redis_reply_fn */

/* redis_probe.c */
void redis_probe_begin(struct redis *redis);

/* redis_nodes.c */
struct redis_link *redis_node_link(struct redis *redis, size_t node, enum redis_use use);
struct redis_link *redis_link_for(struct redis *redis, struct slice key, enum redis_use use);
/* Has the reply been a redirection that is being followed? Then the request is no longer the caller's. */
bool redis_redirect(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply);
size_t redis_node_add(struct redis *redis, const struct url *url); /* REDIS_NODES_MAX: there are too many */
void redis_nodes_free(struct redis *redis);

/* redis_sentinel.c */
void redis_sentinel_query(struct redis *redis, const struct url *sentinel);
void redis_sentinel_message(struct redis_link *link, const struct resp_reply *reply);

/* redis_judge.c. What this error reply means while doing that. Returns -1. */
int redis_judge(const struct redis_link *link, enum redis_doing doing, const struct resp_reply *reply, struct err *err);
bool redis_error_is(const struct resp_reply *reply, const char *prefix);

#endif
