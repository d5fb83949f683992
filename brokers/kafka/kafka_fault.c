/*
 * What is wrong with Kafka: error codes and sentences of librdkafka's as reasons and sentences of the agent's. Called by the other files of
 * the kafka driver, some of it on threads. The library says much in its text only: whether a connection was refused, cut off, not trusted
 * or left without an answer all come as one code (_TRANSPORT or _SSL). Words that a later release changes cost a finer reason, no more.
 */
#include <string.h>

#include "agent/base/text.h"
#include "brokers/kafka/kafka.h"

enum { SHOWN_MAX = 240 };

enum reason kafka_reason(rd_kafka_resp_err_t code)
{
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
        return REASON_BROKER_AUTH_FAILED;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
        return REASON_BROKER_TIMEOUT;
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        return REASON_BROKER_BLOCKED;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        return REASON_BROKER_NOT_DELIVERING;
    default:
        return REASON_BROKER_UNREACHABLE;
    }
}

static bool says_one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strstr(text, *words))
            return true;
    return false;
}

/* "Connection setup timed out in state APIVERSION_QUERY": somebody accepts and does not answer. In state CONNECT nobody accepts. */
static bool is_silence(const char *said)
{
    static const char *const words[] = { "timed out in state", "request(s) timed out", "Timed out ApiVersion",
                                         "failed: Local: Timed out", NULL };
    return says_one_of(said, words) && !strstr(said, "state CONNECT") && !strstr(said, "state TRY_CONNECT");
}

static bool is_untrusted(const char *said)
{
    static const char *const words[] = { "certificate verify failed", "could not be verified", "hostname mismatch",
                                         "certificate has expired", NULL };
    return says_one_of(said, words);
}

static bool wants_certificate(const char *said)
{
    static const char *const words[] = { "alert certificate required", "alert bad certificate",   "alert unknown ca",
                                         "alert certificate unknown",  "alert handshake failure", NULL };
    return says_one_of(said, words);
}

void kafka_explain(const struct kafka_lib *lib, const struct kafka_opts *opts, rd_kafka_resp_err_t code, const char *said,
                   struct err *err)
{
    char text[TEXT_EXCERPT_BYTES(SHOWN_MAX)];
    text_excerpt(slice_str(said ? said : lib->err2str(code)), SHOWN_MAX, text, sizeof text);
    if (kafka_reason(code) == REASON_BROKER_AUTH_FAILED && kafka_scram_fails(lib, opts))
        err_set(err, REASON_BROKER_AUTH_FAILED, BROKER_HINT_OLD_CLIENT,
                "librdkafka %s cannot log in with SCRAM at Kafka 4, even with good credentials (fixed in 2.6.1): %s",
                lib->version_str(), text);
    else if (strstr(text, "Too many open files")) /* EMFILE and ENFILE, in words */
        err_set(err, REASON_AGENT_ERROR, 0, "no file descriptor is left for a connection: %s", text);
    else if (is_untrusted(text))
        err_set(err, REASON_BROKER_UNREACHABLE, BROKER_HINT_UNTRUSTED, "the certificate of a broker is not trusted: %s", text);
    else if (wants_certificate(text))
        err_set(err, REASON_BROKER_AUTH_FAILED, 0, "a broker refuses the client certificate, or wants one: %s", text);
    else if (is_silence(text))
        err_set(err, REASON_BROKER_TIMEOUT, 0, "a broker takes connections and does not answer: %s", text);
    else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        err_set(err, REASON_BROKER_UNREACHABLE, 0, "%s: they hang up at once, as a port for TLS does when it gets plaintext", text);
    else
        err_set(err, kafka_reason(code), 0, "%s", text);
}
