/*
 * A configuration generation: YAML by libyaml into structs by the schema's rows (agent/conf/opt.h). Immutable once loaded, counted by
 * reference: checks of an old generation keep it alive until they are gone. All errors of a file are collected, each with line and
 * column: `wshealthd.yaml:14:5: checks[2].timout: unknown key (did you mean 'timeout'?)`.
 */
#ifndef WSHEALTHD_CONF_CONF_H
#define WSHEALTHD_CONF_CONF_H

#include "agent/base/log.h"
#include "agent/conf/opt.h"
#include "agent/proto/url.h"

struct probe_type;
struct broker_type;
struct receiver_type;
struct dialect;

enum {
    CONF_FILE_MAX = 1 << 20,
    CONF_CHECKS_MAX = 256,
    CONF_BROKERS_MAX = 32,
    CONF_DIALECTS_MAX = 64,
    CONF_NOTIFIERS_MAX = 16,
    CONF_DEPTH_MAX = 16,
    CONF_ERRORS_MAX = 100
};

enum conf_details { DETAILS_FULL, DETAILS_REASONS, DETAILS_AUTO };
enum conf_compression { COMPRESSION_AUTO, COMPRESSION_OFF, COMPRESSION_REQUIRED };
enum conf_token_place { TOKEN_HEADER, TOKEN_QUERY, TOKEN_COOKIE, TOKEN_SUBPROTOCOL, TOKEN_MESSAGE };
/* GATE_OPEN: the check names none, and its type decides by the options once they are read (probe_type.gates_of). */
enum { GATE_READY = 1, GATE_LIVE = 2, GATE_OPEN = 4 };
enum conf_path { PATH_LOCAL, PATH_PUBLIC };
enum conf_http { HTTP_1_1, HTTP_2, HTTP_BOTH };

struct tls_conf {
    char *ca_file, *cert_file, *key_file, *server_name;
    bool verify;
    int min_version; /* index into "1.0", "1.1", "1.2", "1.3" */
};
enum { CONF_TLS_1_2 = 2 }; /* min_version, where it is not set */

struct target_conf {
    char *url, *public_url;
    struct opt_pairs headers; /* values may be dynamic */
    char *origin;
    struct opt_strings subprotocols;
    char *token; /* dynamic */
    char *token_in;
    struct tls_conf tls;
    int compression;
    int proxy_protocol; /* enum proxy_version */
    int http;           /* enum conf_http */
    char *dialect_name; /* "raw" by default */
    /* derived from the fields above when the generation is sealed */
    const struct dialect *dialect;    /* never NULL once sealed */
    const struct opt_strings *offers; /* the subprotocols to offer: those above, or the dialect's. NULL before it is sealed */
    struct url local, public;         /* public.scheme[0] == 0 where public_url is not set */
    enum conf_token_place token_place;
    const char *token_name; /* of the query parameter or cookie; points into token_in */
};

struct broker_conf {
    char *name;
    const struct broker_type *type;
    void *opts; /* the type's own options */
    char *url;  /* may hold ${file:…}, see opt_expand; the type's default_url where not set */
    struct tls_conf tls;
    int64_t timeout_ms;                 /* for connecting, and for each request */
    int64_t retry_min_ms, retry_max_ms; /* backoff */
};

/* What a notifier tells, `on`. */
enum {
    NOTIFY_NOT_READY = 1,
    NOTIFY_DEGRADED = 2,
    NOTIFY_READY = 4,
    NOTIFY_NOT_LIVE = 8,
    NOTIFY_DRAINING = 16,
    NOTIFY_WARN = 32,
};
struct notifier_conf {
    char *name;
    const struct receiver_type *type;
    void *opts;                                            /* the type's own options */
    unsigned on;                                           /* NOTIFY_* */
    int64_t after_ms, repeat_ms, max_per_hour, timeout_ms; /* repeat 0: never */
    char *body;                                            /* a template; NULL: the type's own text */
    char *url;                                             /* may hold ${file:…}, see opt_expand; NULL for programs */
    struct opt_pairs headers;                              /* values may be dynamic */
    struct tls_conf tls;
};

struct check_conf {
    char *name;
    const struct probe_type *type;
    void *opts;                                                             /* the type's own options, type->opts_size bytes */
    int64_t interval_ms, fast_ms, timeout_ms, rise, jitter_percent, slo_ms; /* slo 0: none */
    struct opt_window fall;
    unsigned gates; /* GATE_* */
    int path;       /* enum conf_path */
    int http;       /* 0: the target's; else enum conf_http, plus one: see conf_http_of */
    bool enabled, shares;
    bool each_address; /* each address of the name in each round; agent/core/check_each.h */
};

/* `fleet`; off where broker and group are NULL. */
struct fleet_conf {
    char *broker, *group;
    int64_t every_ms, expire_ms;
    char *key; /* dynamic; NULL: summaries are not signed */
    int role;  /* index into "server", "watcher" */
};

struct conf {
    unsigned refs;
    char *listen, *admin; /* NULL or "off": none */
    bool admin_auto;      /* `admin: auto`: the first usable directory, see agent/run/addresses.h */
    struct listen_address listen_address, admin_address;
    bool listen_on, admin_on;
    char *agent_check, *grpc; /* NULL or "off": none */
    bool agent_check_on, grpc_on;
    struct listen_address agent_check_address, grpc_address;
    bool proxy_protocol; /* connections to listen may begin with a PROXY preamble */
    bool prestop;        /* listen serves /prestop */
    int details;
    bool page_public; /* the page at / is for users of the service */
    char *page_url;   /* where people reach the page; NULL: not said */
    int log_level, log_format;
    struct target_conf target;
    int shared_faults, probe_faults; /* index into "degrade", "fail" */
    bool shared_faults_fail, probe_faults_fail;
    char *min_ready; /* "2", "50%", and what it means */
    uint32_t min_ready_count;
    bool min_ready_percent;
    struct fleet_conf fleet;
    bool fleet_on;
    int64_t liveness_after_ms;
    int64_t degraded_weight;   /* percent */
    int64_t grace_ms;          /* how long the agent still answers after SIGTERM */
    struct check_conf *checks; /* disabled ones too, in the file's order */
    size_t check_count;
    char *history_file;      /* an absolute path; NULL: the history is kept in memory */
    char *agent_id, *region; /* of heartbeats: `identity: { id, region }`, words of heartbeat.h; never NULL once sealed */
    char *server_version;    /* `identity: { version }`: of the server, as a deploy names it; NULL: not said */
    struct broker_conf *brokers;
    size_t broker_count;
    struct dialect *dialects; /* the user's own */
    size_t dialect_count;
    struct notifier_conf *notifiers;
    size_t notifier_count;
};

struct conf_env {                             /* what the configuration needs to know of the layers above */
    const struct probe_type *const *probes;   /* ends with NULL */
    const struct broker_type *const *brokers; /* ends with NULL */
    const struct dialect *const *dialects;    /* built-in ones; ends with NULL */
    const char *(*getenv)(const char *name);
    const struct receiver_type *const *receivers; /* ends with NULL; NULL: none */
};

struct conf_errors {
    struct buf text; /* a line for each error, each ended by \n; all of them up to CONF_ERRORS_MAX */
    unsigned count;
};
void conf_errors_init(struct conf_errors *errors);
void conf_errors_fini(struct conf_errors *errors);

/* NULL and at least one error, or a generation with one reference. */
struct conf *conf_load_file(const char *file, const struct conf_env *env, struct conf_errors *errors);
struct conf *conf_load_text(const char *name, struct slice text, const struct conf_env *env, struct conf_errors *errors);
/* Without a file: defaults, that URL, and the default checks (handshake, ping, hold). */
struct conf *conf_for_url(const char *url, const struct conf_env *env, struct conf_errors *errors);
/* For the command line, before the generation is used: one more check of that type with its defaults. NULL: no such type (err suggests one). */
struct check_conf *conf_add_check(struct conf *conf, const char *type, const struct conf_env *env, struct err *err);
void conf_clear_checks(struct conf *conf);
/* Redoes what is derived (urls, token place, matches, rules across options) after the command line has set options. */
int conf_seal(struct conf *conf, const struct conf_env *env, struct conf_errors *errors);
struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf *conf);
/* Writes a warning: the file is valid, and may not do what was meant. False: there is none. */
bool conf_warns(const struct conf *conf, char *text, size_t size);
/* `fleet.role: watcher`: there is no server beside the agent, and all its checks are of the public path. */
bool conf_is_watcher(const struct conf *conf);

bool conf_is_header_name(const char *text); /* a token (RFC 9110, 5.6.2) */
/* May a running check go on with the new generation? conf_same_target compares the target, its dialect and the agent's identity,
 * conf_same_check everything of the check; both by the rows of the schema. */
bool conf_same_target(const struct conf *a, const struct conf *b);
bool conf_same_check(const struct check_conf *a, const struct check_conf *b);
bool conf_same_broker(const struct broker_conf *a, const struct broker_conf *b);
/* The URL of a receiver: its path is its password, as a whole, and each long part of it. They become secrets. */
void conf_hide_target(const char *text);
bool conf_same_notifier(const struct notifier_conf *a, const struct notifier_conf *b);
const struct notifier_conf *conf_find_notifier(const struct conf *conf, const char *name); /* NULL: none */
const struct broker_conf *conf_find_broker(const struct conf *conf, const char *name);     /* NULL: none */
/* -1 where a file of `tls` is not a regular file. Some libraries open these files themselves, and a fifo would block their
 * thread for ever. */
int conf_look_at_tls_files(const struct tls_conf *tls, struct err *err);
/* The version of HTTP that a check's WebSocket connections use. Types that know no `both` (BOTH_NOT) have HTTP/1.1
 * for it; so have types that speak no WebSocket. */
enum conf_http conf_http_of(const struct target_conf *target, const struct check_conf *check);
/* The user's own, or a built-in one. NULL: none of that name (err suggests one). */
const struct dialect *conf_find_dialect(const struct conf *conf, const struct conf_env *env, const char *name, struct err *err);

/* `config show`: YAML that loads again but for the secrets, which are ***. `config init`: a commented starter. `config schema`:
 * JSON Schema 2020-12. `conf_write_roff`: the manual's option tables. */
void conf_show(const struct conf *conf, const struct conf_env *env, struct buf *out);
void conf_write_starter(const struct conf_env *env, struct buf *out);
void conf_write_short(struct buf *out); /* `config init --short`: a dozen lines that load */
void conf_write_schema(const struct conf_env *env, struct buf *out);
void conf_write_roff(const struct conf_env *env, struct buf *out);

extern const struct opt conf_rows[], target_rows[], check_rows[], broker_rows[], notifier_rows[];

#endif
