/*
 * A Kafka cluster for tests: librdkafka's mock cluster in a process of its own. `mock_kafka [BROKERS]` prints its bootstrap servers and
 * then takes commands from stdin, one a line, each answered with "ok" or "error ...", until stdin ends:
 *   topic NAME PARTITIONS   down BROKER   up BROKER   rtt BROKER MS   leaderless NAME PARTITION   refuse produce|metadata CODE COUNT
 * CODE is a number of the Kafka protocol, such as 19 for NOT_ENOUGH_REPLICAS.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 256, NAME_MAX_BYTES = 64, KEY_PRODUCE = 0, KEY_METADATA = 3, ERRORS_MAX = 64 };

static rd_kafka_resp_err_t refuse(rd_kafka_mock_cluster_t *cluster, const char *what, int code, int count)
{
    rd_kafka_resp_err_t errors[ERRORS_MAX];

    if (count < 1 || count > ERRORS_MAX)
        return RD_KAFKA_RESP_ERR__INVALID_ARG;
    for (int i = 0; i < count; i++)
        errors[i] = (rd_kafka_resp_err_t)code;
    rd_kafka_mock_push_request_errors_array(cluster, strcmp(what, "produce") == 0 ? KEY_PRODUCE : KEY_METADATA, (size_t)count,
                                            errors);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t command(rd_kafka_mock_cluster_t *cluster, const char *line)
{
    char name[NAME_MAX_BYTES];
    int a, b;

    if (sscanf(line, "topic %63s %d", name, &a) == 2)
        return rd_kafka_mock_topic_create(cluster, name, a, 1);
    if (sscanf(line, "down %d", &a) == 1)
        return rd_kafka_mock_broker_set_down(cluster, a);
    if (sscanf(line, "up %d", &a) == 1)
        return rd_kafka_mock_broker_set_up(cluster, a);
    if (sscanf(line, "rtt %d %d", &a, &b) == 2)
        return rd_kafka_mock_broker_set_rtt(cluster, a, b);
    if (sscanf(line, "leaderless %63s %d", name, &a) == 2)
        return rd_kafka_mock_partition_set_leader(cluster, name, a, -1);
    if (sscanf(line, "refuse %63s %d %d", name, &a, &b) == 3)
        return refuse(cluster, name, a, b);
    return RD_KAFKA_RESP_ERR__INVALID_ARG;
}

int main(int argc, char **argv)
{
    char why[512], line[LINE_MAX_BYTES];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    rd_kafka_mock_cluster_t *cluster = rk ? rd_kafka_mock_cluster_new(rk, argc > 1 ? atoi(argv[1]) : 1) : NULL;

    if (!cluster) {
        fprintf(stderr, "mock_kafka: %s\n", rk ? "no cluster" : why);
        return 1;
    }
    printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        rd_kafka_resp_err_t code = command(cluster, line);
        printf(code ? "error %s\n" : "ok\n", rd_kafka_err2str(code));
        fflush(stdout);
    }
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(rk);
    return 0;
}
