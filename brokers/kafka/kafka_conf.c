/*
 * Options and URL of a kafka broker, as properties of librdkafka, and what is wrong with them. Called by brokers/kafka/kafka.c on the loop.
 * Promises that every queue and every wait of the library has a ceiling, and that no error has a secret in it.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "brokers/kafka/kafka.h"

enum { URL_BYTES_MAX = 8 << 10, SETUP_MIN_MS = 1000, PROPERTY_MAX = 64 };

enum { SECURITY_PLAINTEXT, SECURITY_SSL, SECURITY_SASL_PLAINTEXT, SECURITY_SASL_SSL };
static const char *const securities[] = { "plaintext", "ssl", "sasl_plaintext", "sasl_ssl", NULL };
static const char *const mechanisms[] = { "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", NULL };
enum { MECHANISM_PLAIN };
enum { SCRAM_MENDED = 0x020601ff };
enum { TLS_1_2 = 2 }; /* the index of "1.2" in tls.min_version */

const struct opt kafka_rows[] = {
    { .name = "topic",
      .kind = OPT_STRING,
      .offset = offsetof(struct kafka_opts, topic),
      .min = 1,
      .max = KAFKA_TOPIC_MAX,
      .help = "the Kafka topic that everything goes through, with the channel as the message's key; without it each channel is a "
              "topic" },
    { .name = "ping_topic",
      .kind = OPT_STRING,
      .offset = offsetof(struct kafka_opts, ping_topic),
      .min = 1,
      .max = KAFKA_TOPIC_MAX,
      .help = "a Kafka topic that pings are produced to, to prove that the cluster takes messages; without it a ping asks for "
              "metadata" },
    { .name = "security_protocol",
      .kind = OPT_ENUM,
      .offset = offsetof(struct kafka_opts, security),
      .default_text = "plaintext",
      .words = securities,
      .help = "TLS with the options of `tls`, SASL with the URL's user and password, both or none" },
    { .name = "sasl_mechanism",
      .kind = OPT_ENUM,
      .offset = offsetof(struct kafka_opts, mechanism),
      .default_text = "PLAIN",
      .words = mechanisms,
      .help = "how to log in with SASL" },
    { .name = "properties",
      .kind = OPT_PAIRS,
      .offset = offsetof(struct kafka_opts, properties),
      .max = PROPERTY_MAX,
      .flags = OPT_SECRET,
      .help = "further properties of librdkafka; they win over what is set here" },
    { 0 },
};

/* --- the URL: kafka://[user:password@]host[:port][,host[:port]...] --- */

struct kafka_url {
    struct buf servers; /* "host:port,host:port" */
    char user[128], password[256];
};

/* One host, read with the rules of tcp:// URLs. userinfo is empty, or ends with @. */
static int read_server(struct kafka_url *out, struct slice userinfo, struct slice host, struct err *err)
{
    struct buf text = BUF_INIT(URL_BYTES_MAX);
    struct url url;
    bool bracket = host.len && host.data[0] == '[';
    ptrdiff_t end = bracket ? slice_find(host, slice_str("]")) : 0;
    bool port = slice_find(slice_skip(host, end < 0 ? host.len : (size_t)end), slice_str(":")) >= 0;
    buf_printf(&text, "tcp://%.*s%.*s%s", (int)userinfo.len, userinfo.len ? (const char *)userinfo.data : "", (int)host.len,
               host.len ? (const char *)host.data : "", port ? "" : ":9092");
    int rc = url_parse(buf_str(&text), &url, err);
    buf_fini(&text);
    if (rc < 0)
        return -1;
    if (userinfo.len) {
        memcpy(out->user, url.user, sizeof out->user);
        memcpy(out->password, url.password, sizeof out->password);
    }
    return buf_printf(&out->servers, "%s%s", out->servers.len ? "," : "", url.authority);
}

static int read_url(const char *text, struct kafka_url *out, struct err *err)
{
    static const char scheme[] = "kafka://";
    struct slice rest = slice_skip(slice_str(text), strncmp(text, scheme, strlen(scheme)) == 0 ? strlen(scheme) : 0);
    struct slice userinfo = slice_make(rest.data, 0);
    memset(out, 0, sizeof *out);
    buf_init(&out->servers, URL_BYTES_MAX);
    for (size_t i = rest.len; i > 0 && userinfo.len == 0; i--)
        if (rest.data[i - 1] == '@')
            userinfo = slice_make(rest.data, i);
    rest = slice_skip(rest, userinfo.len);
    if (rest.len && rest.data[rest.len - 1] == '/')
        rest.len--;
    for (size_t i = 0; i <= rest.len; i++)
        if (i < rest.len && (rest.data[i] == '/' || rest.data[i] == '?' || rest.data[i] == '#'))
            return err_set(err, REASON_NONE, 0, "url: unexpected text after the hosts, want kafka://host:port,host:port");
    for (size_t count = 1;; count++) {
        ptrdiff_t comma = slice_find(rest, slice_str(","));
        struct slice host = slice_make(rest.data, comma < 0 ? rest.len : (size_t)comma);
        if (count > KAFKA_SERVERS_MAX)
            return err_set(err, REASON_NONE, 0, "url: more than %d hosts", KAFKA_SERVERS_MAX);
        if (read_server(out, count == 1 ? userinfo : slice_make(NULL, 0), host, err) < 0)
            return -1;
        if (comma < 0)
            return 0;
        rest = slice_skip(rest, (size_t)comma + 1);
    }
}

static bool is_sasl(const struct kafka_opts *opts)
{
    return opts->security == SECURITY_SASL_PLAINTEXT || opts->security == SECURITY_SASL_SSL;
}

static bool is_tls(const struct kafka_opts *opts)
{
    return opts->security == SECURITY_SSL || opts->security == SECURITY_SASL_SSL;
}

static bool has_tls(const struct tls_conf *tls)
{
    return tls->ca_file || tls->cert_file || tls->key_file || !tls->verify;
}

/* Kafka 4 checks a nonce that older releases of the library send wrongly, and answers that the credentials are invalid. */
bool kafka_scram_fails(const struct kafka_lib *lib, const struct kafka_opts *opts)
{
    return is_sasl(opts) && opts->mechanism != MECHANISM_PLAIN && lib->version() < SCRAM_MENDED;
}

bool kafka_warns(const struct broker_conf *conf, char *text, size_t size)
{
    const struct kafka_lib *lib = kafka_get_lib(NULL);
    if (!lib || !kafka_scram_fails(lib, conf->opts))
        return false;
    snprintf(text, size,
             "librdkafka %s cannot log in at Kafka 4 with %s, even with good credentials: that is fixed in 2.6.1; PLAIN works, and "
             "SCRAM at Kafka 3",
             lib->version_str(), mechanisms[((const struct kafka_opts *)conf->opts)->mechanism]);
    return true;
}

int kafka_validate(const struct broker_conf *conf, struct err *err)
{
    const struct kafka_opts *opts = conf->opts;
    struct kafka_url url;
    int rc = read_url(conf->url, &url, err);
    if (rc == 0 && *url.user && !is_sasl(opts))
        rc = err_set(err, REASON_NONE, 0, "security_protocol: %s, want sasl_plaintext or sasl_ssl, as the URL has a user",
                     securities[opts->security]);
    else if (rc == 0 && !*url.user && is_sasl(opts))
        rc = err_set(err, REASON_NONE, 0, "security_protocol: %s, want a URL with user and password", securities[opts->security]);
    else if (rc == 0 && conf->tls.server_name)
        rc = err_set(err, REASON_NONE, 0, "tls: server_name cannot be set for kafka, each of whose brokers has a name of its own");
    else if (rc == 0 && !is_tls(opts) && has_tls(&conf->tls))
        rc = err_set(err, REASON_NONE, 0, "security_protocol: %s, want %s, as tls is set", securities[opts->security],
                     is_sasl(opts) ? "sasl_ssl" : "ssl");
    else if (rc == 0 && conf->tls.min_version != TLS_1_2)
        rc = err_set(err, REASON_NONE, 0, "tls: min_version cannot be set for kafka, want \"1.2\"");
    buf_fini(&url.servers);
    return rc;
}

/* --- properties --- */

struct setter {
    const struct kafka_lib *lib;
    rd_kafka_conf_t *conf;
    struct err *err;
    bool failed; /* err has the first failure */
};

static void set(struct setter *setter, const char *name, const char *value)
{
    char why[BROKER_FAULT_TEXT_MAX];
    if (setter->failed || !value)
        return;
    if (setter->lib->conf_set(setter->conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK)
        return;
    /* Its own sentence quotes the value, which may be secret. */
    err_set(setter->err, REASON_AGENT_ERROR, 0, "librdkafka does not take the value of its property %s", name);
    setter->failed = true;
}

static void set_number(struct setter *setter, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    set(setter, name, text);
}

static void set_common(struct setter *setter, const struct broker_conf *conf, const struct kafka_url *url)
{
    const struct kafka_opts *opts = conf->opts;
    const struct tls_conf *tls = &conf->tls;
    int64_t setup_ms = conf->timeout_ms < SETUP_MIN_MS ? SETUP_MIN_MS : conf->timeout_ms;
    set(setter, "bootstrap.servers", (const char *)url->servers.data);
    set(setter, "client.id", "wshealthd");
    set(setter, "security.protocol", securities[opts->security]);
    if (is_sasl(opts)) {
        set(setter, "sasl.mechanism", mechanisms[opts->mechanism]);
        set(setter, "sasl.username", url->user);
        set(setter, "sasl.password", url->password);
    }
    if (is_tls(opts)) {
        set(setter, "ssl.ca.location", tls->ca_file);
        set(setter, "ssl.certificate.location", tls->cert_file);
        set(setter, "ssl.key.location", tls->key_file);
        set(setter, "enable.ssl.certificate.verification", tls->verify ? "true" : "false");
        set(setter, "ssl.endpoint.identification.algorithm", tls->verify ? "https" : "none");
    }
    set_number(setter, "socket.timeout.ms", setup_ms);
    set_number(setter, "socket.connection.setup.timeout.ms", setup_ms);
    set(setter, "socket.nagle.disable", "true");
    set(setter, "socket.keepalive.enable", "true");
    set(setter, "reconnect.backoff.ms", "100");
    set(setter, "reconnect.backoff.max.ms", "1000");
    set(setter, "receive.message.max.bytes", "8388608");
    set(setter, "log.connection.close", "false");
}

static void set_producer(struct setter *setter, const struct broker_conf *conf)
{
    set(setter, "acks", "all");
    set(setter, "linger.ms", "0");
    set_number(setter, "message.timeout.ms", conf->timeout_ms * 9 / 10); /* before the core gives up */
    set_number(setter, "request.timeout.ms", conf->timeout_ms);
    /* One retry, for a leader that has moved. More would hide why a message is refused. */
    set(setter, "message.send.max.retries", "2");
    set(setter, "retry.backoff.ms", "50");
    set(setter, "queue.buffering.max.messages", "4096");
    set(setter, "queue.buffering.max.kbytes", "8192");
    set(setter, "topic.metadata.propagation.max.ms", "1000");
}

/* Partitions are assigned by hand and nothing is committed, so that the group leaves no trace; librdkafka wants a name for it. */
static void set_consumer(struct setter *setter)
{
    char group[48];
    uint64_t number;
    random_bytes(&number, sizeof number);
    snprintf(group, sizeof group, "wshealthd-%016llx", (unsigned long long)number);
    set(setter, "group.id", group);
    set(setter, "enable.auto.commit", "false");
    set(setter, "enable.auto.offset.store", "false");
    set(setter, "auto.offset.reset", "latest");
    set(setter, "enable.partition.eof", "true"); /* tells when a topic's end was found */
    set(setter, "fetch.wait.max.ms", "100");
    set(setter, "fetch.error.backoff.ms", "100");
    set(setter, "fetch.message.max.bytes", "262144");
    set(setter, "fetch.max.bytes", "1048576");
    set(setter, "queued.min.messages", "1000");
    set(setter, "queued.max.messages.kbytes", "2048");
}

static void set_properties(struct setter *setter, const struct opt_pairs *properties)
{
    for (size_t i = 0; i < properties->count; i++)
        set(setter, properties->items[i].name, properties->items[i].value);
}

/* The library would log to stderr. Errors that matter come as events. */
static void say_nothing(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
    (void)rk, (void)level, (void)fac, (void)text;
}

int kafka_confs_new(const struct kafka_lib *lib, const struct broker_conf *conf, const char *text, struct kafka_confs *confs,
                    struct err *err)
{
    const struct kafka_opts *opts = conf->opts;
    struct kafka_url url;
    *confs = (struct kafka_confs){ NULL, NULL };
    if (read_url(text, &url, err) < 0) {
        buf_fini(&url.servers);
        err->reason = REASON_AGENT_ERROR;
        return -1;
    }
    if (is_tls(opts) && conf_look_at_tls_files(&conf->tls, err) < 0) {
        buf_fini(&url.servers);
        explicit_bzero(url.password, sizeof url.password);
        err->reason = REASON_AGENT_ERROR;
        return err_prefix(err, "tls");
    }
    buf_str(&url.servers); /* terminates */
    struct setter producer = { lib, lib->conf_new(), err, false };
    set_common(&producer, conf, &url);
    struct setter consumer = { lib, lib->conf_dup(producer.conf), err, producer.failed };
    set_producer(&producer, conf);
    set_properties(&producer, &opts->properties);
    consumer.failed = producer.failed;
    set_consumer(&consumer);
    set_properties(&consumer, &opts->properties);
    buf_fini(&url.servers);
    explicit_bzero(url.password, sizeof url.password);
    *confs = (struct kafka_confs){ producer.conf, consumer.conf };
    if (producer.failed || consumer.failed) {
        kafka_confs_free(lib, confs);
        return -1;
    }
    lib->conf_set_log_cb(producer.conf, say_nothing);
    lib->conf_set_log_cb(consumer.conf, say_nothing);
    lib->conf_set_events(producer.conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    lib->conf_set_events(consumer.conf, RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_ERROR);
    return 0;
}

void kafka_confs_free(const struct kafka_lib *lib, struct kafka_confs *confs)
{
    if (confs->producer)
        lib->conf_destroy(confs->producer);
    if (confs->consumer)
        lib->conf_destroy(confs->consumer);
    *confs = (struct kafka_confs){ NULL, NULL };
}
