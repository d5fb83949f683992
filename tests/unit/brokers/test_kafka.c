/*
 * The kafka driver under the real core, against librdkafka's mock cluster in this process: its threads and the driver's are what the
 * thread sanitizer is for. What the URL and the options may be is tested without a cluster.
 */
#include <stdio.h>

#ifndef WSHEALTHD_KAFKA

int main(void)
{
    puts("kafka is not in this build");
    return 0;
}

#else

#include <dlfcn.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "brokers/kafka/kafka.h"
#include "tests/unit/brokers/c11_threads.h"
#include "tests/unit/brokers/client.h"

enum { NOT_ENOUGH_REPLICAS = 19, PRODUCE = 0 };

/* --- the cluster, from the library that the driver opens too --- */

static struct {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *handle;
    __typeof__(&rd_kafka_mock_cluster_new) new;
    __typeof__(&rd_kafka_mock_cluster_destroy) destroy;
    __typeof__(&rd_kafka_mock_cluster_bootstraps) bootstraps;
    __typeof__(&rd_kafka_mock_topic_create) topic_create;
    __typeof__(&rd_kafka_mock_broker_set_down) set_down;
    __typeof__(&rd_kafka_mock_broker_set_up) set_up;
    __typeof__(&rd_kafka_mock_partition_set_leader) set_leader;
    __typeof__(&rd_kafka_mock_push_request_errors_array) push_errors;
} cluster;

static void find(void *handle, const char *name, void *place)
{
    void *found = dlsym(handle, name);
    assert_non_null(found);
    memcpy(place, &found, sizeof found);
}

static void mock_start(const struct kafka_lib *lib)
{
    void *handle = dlopen("librdkafka.so.1", RTLD_NOW);
    rd_kafka_conf_t *config = lib->conf_new();
    char why[256];
    assert_non_null(handle);
    find(handle, "rd_kafka_mock_cluster_new", &cluster.new);
    find(handle, "rd_kafka_mock_cluster_destroy", &cluster.destroy);
    find(handle, "rd_kafka_mock_cluster_bootstraps", &cluster.bootstraps);
    find(handle, "rd_kafka_mock_topic_create", &cluster.topic_create);
    find(handle, "rd_kafka_mock_broker_set_down", &cluster.set_down);
    find(handle, "rd_kafka_mock_broker_set_up", &cluster.set_up);
    find(handle, "rd_kafka_mock_partition_set_leader", &cluster.set_leader);
    find(handle, "rd_kafka_mock_push_request_errors_array", &cluster.push_errors);
    dlclose(handle);
    lib->conf_set_log_cb(config, NULL);
    cluster.rk = lib->new(RD_KAFKA_PRODUCER, config, why, sizeof why);
    assert_non_null(cluster.rk);
    cluster.handle = cluster.new(cluster.rk, 1);
    assert_int_equal(cluster.topic_create(cluster.handle, "news", 3, 1), 0);
    assert_int_equal(cluster.topic_create(cluster.handle, "pings", 1, 1), 0);
}

/* --- the probes' side --- */

static const struct kafka_lib *lib;
static struct broker_request requests[3];
static struct broker_listener wish;

static int setup(void **state)
{
    struct err err;
    (void)state;
    client_init(&broker_kafka);
    memset(&wish, 0, sizeof wish);
    lib = kafka_get_lib(&err);
    if (!lib || loop_init(&loop, &err) < 0)
        return -1;
    mock_start(lib);
    snprintf(url, sizeof url, "kafka://%s", cluster.bootstraps(cluster.handle));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    broker_unlisten(&wish);
    end();
    broker_kafka.end();
    cluster.destroy(cluster.handle);
    lib->destroy_flags(cluster.rk, 0);
    loop_fini(&loop);
    client_fini();
    return 0;
}

static void probe(void)
{
    memset(&requests[0], 0, sizeof requests[0]);
    requests[0].on_answer = on_answer;
    broker_probe(broker, &requests[0], PATIENCE_MS);
}

static void publish(const char *topic, const char *body)
{
    memset(&requests[1], 0, sizeof requests[1]);
    requests[1].on_answer = on_answer;
    broker_publish(broker, &requests[1], slice_str(topic), slice_str(body), PATIENCE_MS);
}

static void listen_to(const char *topic)
{
    wish.on_state = on_state;
    wish.on_message = on_message;
    broker_listen(broker, &wish, topic);
}

/* --- with a cluster --- */

static void test_ping(void **state)
{
    (void)state;
    begin_up();
    probe();
    await(&heard.answers, 1);
    assert_int_equal(heard.answer.reason, REASON_NONE);
}

/* What is published after the subscription is confirmed comes, on every partition, and nothing from before. */
static void produce_and_consume(const char *topic)
{
    begin_up();
    publish(topic, "before");
    await(&heard.answers, 1);
    listen_to(topic);
    await(&heard.confirmed, 1);
    for (unsigned i = 0; i < 8; i++) {
        publish(topic, "after");
        await(&heard.answers, i + 2);
        assert_int_equal(heard.answer.reason, REASON_NONE);
    }
    await(&heard.messages, 8);
    assert_string_equal(heard.body, "after");
    assert_int_equal(heard.messages, 8);
    broker_unlisten(&wish);
}

static void test_topics(void **state)
{
    (void)state;
    produce_and_consume("news");
}

/* A message that is larger than a heartbeat can be is not passed on, but counted. */
static void test_a_large_message_is_counted(void **state)
{
    (void)state;
    char *large = mem_alloc(BROKER_BODY_MAX + 2);
    memset(large, 'x', BROKER_BODY_MAX + 1);
    option("topic", "pings"); /* it has one partition, so that the order holds */
    begin_up();
    listen_to("key");
    await(&heard.confirmed, 1);
    publish("key", large);
    mem_free(large);
    await(&heard.answers, 1);
    publish("key", "small");
    await(&heard.messages, 1);
    assert_string_equal(heard.body, "small");
    assert_int_equal(broker_unread_count(broker), 1);
    assert_int_equal(broker_dropped_count(broker), 0);
}

static void test_one_topic_with_keys(void **state)
{
    (void)state;
    option("topic", "news");
    produce_and_consume("room/1: any text");
}

static void test_comes_and_goes(void **state)
{
    (void)state;
    begin_up();
    for (unsigned i = 1; i <= 3; i++) {
        listen_to("news");
        await(&heard.confirmed, i);
        broker_unlisten(&wish);
    }
    listen_to("news"); /* closed while the worker is at it */
}

static void test_ping_that_is_produced(void **state)
{
    const rd_kafka_resp_err_t refusals[] = { NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS };
    (void)state;
    option("ping_topic", "pings");
    begin_up();
    probe();
    await(&heard.answers, 1);
    assert_int_equal(heard.answer.reason, REASON_NONE);
    cluster.push_errors(cluster.handle, PRODUCE, 3, refusals);
    probe();
    await(&heard.answers, 2);
    assert_says(&heard.answer, REASON_BROKER_BLOCKED, "in-sync replicas");
    assert_int_equal(heard.downs, 0);
}

static void test_no_leader(void **state)
{
    (void)state;
    option("topic", "news");
    assert_int_equal(cluster.set_leader(cluster.handle, "news", 2, -1), 0);
    begin_up();
    probe();
    await(&heard.answers, 1);
    assert_says(&heard.answer, REASON_BROKER_BLOCKED, "partition 2 of topic news has no leader");
    listen_to("x");
    await(&heard.refused, 1);
    assert_int_equal(heard.refusal.reason, REASON_BROKER_BLOCKED);
}

static void test_down_and_up(void **state)
{
    (void)state;
    begin_up();
    listen_to("news");
    await(&heard.confirmed, 1);
    cluster.set_down(cluster.handle, 1);
    await(&heard.downs, 1);
    assert_int_equal(heard.down.reason, REASON_BROKER_UNREACHABLE);
    cluster.set_up(cluster.handle, 1);
    await(&heard.ups, 2);
    await(&heard.confirmed, 2);
    publish("news", "again");
    await(&heard.messages, 1);
    assert_string_equal(heard.body, "again");
}

static void test_topic_too_long(void **state)
{
    char topic[400];
    (void)state;
    memset(topic, 't', sizeof topic - 1);
    topic[sizeof topic - 1] = 0;
    begin_up();
    publish(topic, "x");
    await(&heard.answers, 1);
    assert_says(&heard.answer, REASON_AGENT_ERROR, "longer than a Kafka topic's name");
    listen_to(topic);
    await(&heard.refused, 1);
    assert_says(&heard.refusal, REASON_AGENT_ERROR, "249 bytes");
}

static void test_unknown_property(void **state)
{
    (void)state;
    option("properties", "no.such.property: secret-value");
    begin();
    assert_says(broker_why(broker), REASON_AGENT_ERROR, "its property no.such.property");
    assert_null(strstr(broker_why(broker)->text, "secret-value"));
}

/* --- without --- */

static void test_check(void **state)
{
    static const struct {
        const char *url, *security, *text;
    } cases[] = {
        { "kafka://a", "plaintext", NULL },
        { "kafka://a:9092,b,[::1]:9093,[::2]/", "ssl", NULL },
        { "kafka://us%40er:p%2Cw@a:9092,b", "sasl_ssl", NULL },
        { "kafka://", "plaintext", "no host" },
        { "kafka://a,", "plaintext", "no host" },
        { "kafka://a:0", "plaintext", "port 0" },
        { "kafka://a:9092/topic", "plaintext", "text after the hosts" },
        { "kafka://a?x", "plaintext", "text after the hosts" },
        { "kafka://user:pw@a", "ssl", "security_protocol: ssl, want sasl_plaintext or sasl_ssl" },
        { "kafka://a", "sasl_ssl", "security_protocol: sasl_ssl, want a URL with user and password" },
    };
    struct err err;
    (void)state;
    client_init(&broker_kafka);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        conf.url = (char *)(uintptr_t)cases[i].url;
        option("security_protocol", cases[i].security);
        if (broker_kafka.validate(&conf, &err) != (cases[i].text ? -1 : 0))
            fail_msg("%s: %s", cases[i].url, cases[i].text ? "no error" : err.text);
        if (cases[i].text && !strstr(err.text, cases[i].text))
            fail_msg("'%s' is not in '%s'", cases[i].text, err.text);
    }
    client_fini();
}

static void test_reasons(void **state)
{
    (void)state;
    assert_int_equal(kafka_reason(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN), REASON_BROKER_UNREACHABLE);
    assert_int_equal(kafka_reason(RD_KAFKA_RESP_ERR__AUTHENTICATION), REASON_BROKER_AUTH_FAILED);
    assert_int_equal(kafka_reason(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), REASON_BROKER_AUTH_FAILED);
    assert_int_equal(kafka_reason(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT), REASON_BROKER_TIMEOUT);
    assert_int_equal(kafka_reason(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE), REASON_BROKER_BLOCKED);
    assert_int_equal(kafka_reason(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), REASON_BROKER_NOT_DELIVERING);
}

static void test_tls_beside_plaintext(void **state)
{
    static const char *const securities[][2] = { { "plaintext", "want ssl, as tls is set" },
                                                 { "sasl_plaintext", "want sasl_ssl, as tls is set" },
                                                 { "ssl", NULL } };
    struct err err;
    (void)state;
    client_init(&broker_kafka);
    conf.tls.ca_file = (char *)(uintptr_t)"/etc/ssl/ca.pem";
    for (size_t i = 0; i < sizeof securities / sizeof *securities; i++) {
        conf.url = (char *)(uintptr_t)(i == 1 ? "kafka://user:pw@a" : "kafka://a");
        option("security_protocol", securities[i][0]);
        assert_int_equal(broker_kafka.validate(&conf, &err), securities[i][1] ? -1 : 0);
        if (securities[i][1])
            assert_non_null(strstr(err.text, securities[i][1]));
    }
    client_fini();
}

/* What the library really says, by its releases 2.0 and 2.8, to servers that are not as they should be. */
static void test_explanations(void **state)
{
    static const struct {
        rd_kafka_resp_err_t code;
        const char *said;
        enum reason reason;
        int hint;
    } cases[] = {
        { RD_KAFKA_RESP_ERR__SSL,
          "ssl://a:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate "
          "could not be verified",
          REASON_BROKER_UNREACHABLE, BROKER_HINT_UNTRUSTED },
        { RD_KAFKA_RESP_ERR__SSL,
          "ssl://a:1/bootstrap: SSL handshake failed: error:0A00045C:SSL routines::tlsv13 alert certificate required",
          REASON_BROKER_AUTH_FAILED, 0 },
        { RD_KAFKA_RESP_ERR__TRANSPORT,
          "a:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
          REASON_BROKER_UNREACHABLE, 0 },
        { RD_KAFKA_RESP_ERR__FAIL, "a:1/bootstrap: Failed to create socket: Too many open files (after 0ms in state CONNECT)",
          REASON_AGENT_ERROR, 0 },
        { RD_KAFKA_RESP_ERR__TRANSPORT, "a:1/1: Connection setup timed out in state CONNECT (after 1000ms in state CONNECT)",
          REASON_BROKER_UNREACHABLE, 0 },
        { RD_KAFKA_RESP_ERR__TRANSPORT, "a:1/1: Connection setup timed out in state APIVERSION_QUERY (after 1003ms)",
          REASON_BROKER_TIMEOUT, 0 },
        { RD_KAFKA_RESP_ERR__TIMED_OUT, "a:1/1: 1 request(s) timed out: disconnect (after 2013ms in state UP)",
          REASON_BROKER_TIMEOUT, 0 },
        { RD_KAFKA_RESP_ERR__AUTHENTICATION, "a:1/bootstrap: SASL authentication error: Authentication failed",
          REASON_BROKER_AUTH_FAILED, 0 },
    };
    struct kafka_opts *opts;
    struct err err;
    (void)state;
    lib = kafka_get_lib(&err);
    assert_non_null(lib);
    client_init(&broker_kafka);
    opts = conf.opts;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kafka_explain(lib, opts, cases[i].code, cases[i].said, &err);
        if (err.reason != cases[i].reason || err.code != cases[i].hint)
            fail_msg("%s: %s, hint %d", cases[i].said, reason_name(err.reason), err.code);
    }
    option("security_protocol", "sasl_plaintext");
    option("sasl_mechanism", "SCRAM-SHA-256");
    kafka_explain(lib, opts, RD_KAFKA_RESP_ERR__AUTHENTICATION, "Authentication failed", &err);
    assert_int_equal(err.reason, REASON_BROKER_AUTH_FAILED);
    assert_int_equal(err.code, lib->version() < 0x020601ff ? BROKER_HINT_OLD_CLIENT : 0);
    char text[512];
    assert_int_equal(broker_kafka.warns(&conf, text, sizeof text), lib->version() < 0x020601ff);
    client_fini();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls_beside_plaintext),
        cmocka_unit_test(test_explanations),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_reasons),
        TEST(ping),
        TEST(topics),
        TEST(one_topic_with_keys),
        TEST(a_large_message_is_counted),
        TEST(comes_and_goes),
        TEST(ping_that_is_produced),
        TEST(no_leader),
        TEST(down_and_up),
        TEST(topic_too_long),
        TEST(unknown_property),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
