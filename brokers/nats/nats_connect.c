/*
 * Connecting to NATS and the meaning of what its library says. Called on a worker's thread only, where it may block up to the plan's
 * timeout. Promises one attempt without reconnecting, as reconnecting is the core's: a publish while the library reconnects would block,
 * or be kept and replayed when it is stale. Every failure becomes a reason and a sentence; sentences are cleaned by the loop.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/base/mem.h"
#include "agent/base/process.h"
#include "agent/core/broker.h"
#include "brokers/nats/nats.h"

/* A frozen server is noticed after PING_MS * PINGS_OUT, and at most one interval more. */
enum { PING_MS = 1000, PINGS_OUT = 2, SERVER_TIMEOUT_MIN_MS = 250 };

/* "(conn.c:1909): Expected …": drops the place in the library's source. */
static const char *without_place(const char *text)
{
    const char *end = text[0] == '(' ? strstr(text, "): ") : NULL;
    return end ? end + 3 : text;
}

/*
 * The server has hung up before its first PONG. In TLS 1.3 the handshake is over for us before it has seen our certificate, and whether its
 * alert or the end of the connection is noticed first is chance. Releases before 3.8 then say that a PONG is missing, later ones that the
 * connection is closed.
 */
static bool fault_of_hang_up(const struct nats_plan *plan, natsStatus status, const char *text, struct broker_fault *fault)
{
    bool tls = plan->secure || plan->ca_file || plan->cert_file;
    if (status != NATS_CONNECTION_CLOSED && !strstr(text, "Expected 'PONG', got ''") && !strstr(text, "SSL_write error") &&
        !strstr(text, "SSL_read error"))
        return false;
    if (tls)
        broker_fault_set(fault, REASON_BROKER_AUTH_FAILED,
                         "%s hung up right after the TLS handshake: it refuses the client certificate, or wants one", plan->where);
    else
        broker_fault_set(fault, REASON_BROKER_UNREACHABLE, "%s hung up before it answered", plan->where);
    return true;
}

static void fault_of_tls(const struct nats_plan *plan, const char *text, struct broker_fault *fault)
{
    static const char prefix[] = "SSL handshake error: ";
    const char *found = strstr(text, prefix);
    if (broker_refuses_certificate(text))
        broker_fault_set(fault, REASON_BROKER_AUTH_FAILED, "%s refused the client certificate, or wants one: %s", plan->where,
                         text);
    else {
        /* "SSL handshake error: 20:unable to get …": the number is that of the verification. */
        fault->hint = found && isdigit((unsigned char)found[sizeof prefix - 1]) ? BROKER_HINT_UNTRUSTED : 0;
        broker_fault_set(fault, REASON_BROKER_UNREACHABLE, "TLS with %s failed: %s", plan->where,
                         found ? found + sizeof prefix - 1 : text);
    }
}

void nats_fault_of(const struct nats_plan *plan, natsStatus status, const char *text, struct broker_fault *fault)
{
    if (!text || text[0] == '\0')
        text = natsStatus_GetText(status);
    text = without_place(text);
    if (broker_refuses_certificate(text) || status == NATS_SSL_ERROR) {
        fault_of_tls(plan, text, fault);
        return;
    }
    switch (status) {
    case NATS_CONNECTION_AUTH_FAILED:
        broker_fault_set(fault, REASON_BROKER_AUTH_FAILED, "%s refused the credentials: %s", plan->where, text);
        break;
    case NATS_NOT_PERMITTED:
        broker_fault_set(fault, REASON_BROKER_AUTH_FAILED, "%s: %s", plan->where, text);
        break;
    case NATS_TIMEOUT:
        broker_fault_set(fault, REASON_BROKER_TIMEOUT, "no answer from %s in time", plan->where);
        break;
    case NATS_STALE_CONNECTION:
        broker_fault_set(fault, REASON_BROKER_TIMEOUT, "%s has left %d pings, %d ms apart, without an answer", plan->where,
                         PINGS_OUT, PING_MS);
        break;
    case NATS_SECURE_CONNECTION_REQUIRED:
        broker_fault_set(fault, REASON_BROKER_UNREACHABLE, "%s wants TLS: use tls:// in url", plan->where);
        break;
    case NATS_SECURE_CONNECTION_WANTED:
        broker_fault_set(fault, REASON_BROKER_UNREACHABLE, "%s does not offer TLS: use nats:// in url", plan->where);
        break;
    case NATS_MAX_PAYLOAD:
        broker_fault_set(fault, REASON_AGENT_ERROR, "the message is larger than max_payload of %s", plan->where);
        break;
    case NATS_CONNECTION_CLOSED:
    case NATS_CONNECTION_DISCONNECTED:
        broker_fault_set(fault, REASON_BROKER_UNREACHABLE, "%s has closed the connection", plan->where);
        break;
    case NATS_NO_SERVER:
        broker_fault_set(fault, REASON_BROKER_UNREACHABLE, "nothing accepts connections on %s", plan->where);
        break;
    case NATS_NO_MEMORY:
    case NATS_INVALID_ARG:
    case NATS_FAILED_TO_INITIALIZE:
        broker_fault_set(fault, REASON_AGENT_ERROR, "%s", text);
        break;
    default:
        broker_fault_set(fault, REASON_BROKER_UNREACHABLE, "%s: %s", plan->where, text);
    }
}

/* --- options --- */

static natsStatus set_credentials(natsOptions *options, const struct nats_plan *plan)
{
    if (plan->nkey_file)
        return natsOptions_SetNKeyFromSeed(options, plan->nkey_public, plan->nkey_file);
    if (plan->credentials_file)
        return natsOptions_SetUserCredentialsFromFiles(options, plan->credentials_file, NULL);
    if (plan->token)
        return natsOptions_SetToken(options, plan->token);
    if (plan->user)
        return natsOptions_SetUserInfo(options, plan->user, plan->password ? plan->password : "");
    return NATS_OK;
}

/* Names the option that is wrong. The library turns to TLS by itself where the server asks for it, so that they count with nats:// too. */
static int set_tls(natsOptions *options, const struct nats_plan *plan, struct broker_fault *fault)
{
    const char *what = "tls";
    const char *const files[] = { plan->ca_file, plan->cert_file, plan->key_file };
    if (broker_fault_of_files(files, sizeof files / sizeof files[0], fault) < 0)
        return -1;
    natsStatus s = plan->secure ? natsOptions_SetSecure(options, true) : NATS_OK;
    if (s == NATS_OK && plan->ca_file) {
        what = "tls.ca_file";
        s = natsOptions_LoadCATrustedCertificates(options, plan->ca_file);
    }
    if (s == NATS_OK && plan->cert_file) {
        what = "tls.cert_file";
        s = natsOptions_LoadCertificatesChain(options, plan->cert_file, plan->key_file);
    }
    if (s == NATS_OK && plan->server_name)
        s = natsOptions_SetExpectedHostname(options, plan->server_name);
    if (s == NATS_OK && !plan->verify)
        s = natsOptions_SkipServerVerification(options, true);
    /* The library knows no lowest version. Without a cipher of TLS 1.2 that a server without our pre-shared key could take, 1.3 is what
     * remains. */
    if (s == NATS_OK && plan->only_tls13)
        s = natsOptions_SetCiphers(options, "PSK");
    if (s == NATS_OK)
        return 0;
    const char *text = nats_GetLastError(NULL);
    broker_fault_set(fault, REASON_AGENT_ERROR, "%s: %s", what, text ? without_place(text) : natsStatus_GetText(s));
    return -1;
}

/* The core waits for timeout_ms: all servers must have had their turn by then. */
static int64_t server_timeout_ms(const struct nats_plan *plan)
{
    int64_t ms = plan->timeout_ms * 9 / 10 / plan->server_count;
    return ms < SERVER_TIMEOUT_MIN_MS ? SERVER_TIMEOUT_MIN_MS : ms;
}

static natsStatus set_behaviour(natsOptions *options, const struct nats_plan *plan)
{
    const struct {
        natsStatus status;
    } all[] = {
        { natsOptions_SetServers(options, (const char **)(uintptr_t)plan->servers, plan->server_count) },
        { natsOptions_SetNoRandomize(options, true) },
        { natsOptions_SetName(options, "wshealthd") },
        { natsOptions_SetTimeout(options, server_timeout_ms(plan)) },
        { natsOptions_SetWriteDeadline(options, plan->timeout_ms) },
        { natsOptions_SetAllowReconnect(options, false) },
        { natsOptions_SetMaxReconnect(options, 0) },
        { natsOptions_SetReconnectBufSize(options, 0) },
        { natsOptions_SetPingInterval(options, PING_MS) },
        { natsOptions_SetMaxPingsOut(options, PINGS_OUT) },
        /* Without it a publish waits about 1 ms for others to share a write with. */
        { natsOptions_SetSendAsap(options, true) },
        /* One thread for all subscriptions instead of one for each. */
        { natsOptions_UseGlobalMessageDelivery(options, true) },
        { natsOptions_SetMaxPendingMsgs(options, NATS_PENDING_MESSAGES) },
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i].status != NATS_OK)
            return all[i].status;
    return NATS_OK;
}

static natsStatus set_hooks(natsOptions *options, const struct nats_hooks *hooks)
{
    natsStatus s = natsOptions_SetClosedCB(options, hooks->on_closed, hooks->closure);
    if (s == NATS_OK)
        s = natsOptions_SetErrorHandler(options, hooks->on_error, hooks->closure);
    if (s == NATS_OK)
        s = natsOptions_SetLameDuckModeCB(options, hooks->on_lame_duck, hooks->closure);
    return s;
}

natsConnection *nats_connect(const struct nats_plan *plan, const struct nats_hooks *hooks, struct broker_fault *fault)
{
    natsOptions *options = NULL;
    natsConnection *connection = NULL;
    natsStatus s = natsOptions_Create(&options);
    if (s == NATS_OK)
        s = set_behaviour(options, plan);
    if (s == NATS_OK)
        s = set_hooks(options, hooks);
    if (s == NATS_OK)
        s = set_credentials(options, plan);
    if (s != NATS_OK)
        broker_fault_set(fault, REASON_AGENT_ERROR, "cannot prepare the connection: %s", natsStatus_GetText(s));
    else if (set_tls(options, plan, fault) != 0)
        s = NATS_ERR;
    if (s == NATS_OK) {
        bool signs = plan->nkey_file || plan->credentials_file;
        s = natsConnection_Connect(&connection, options);
        /* Releases before 3.8 now and then leave the signature out: a second nonce tells that from a key which is not known. */
        if (s == NATS_CONNECTION_AUTH_FAILED && signs)
            s = natsConnection_Connect(&connection, options);
        const char *text = s == NATS_OK ? NULL : nats_GetLastError(NULL);
        if (s != NATS_OK && process_files_short()) /* the library says that no server was there */
            broker_fault_set(fault, REASON_AGENT_ERROR, "no file descriptor is left for a connection to %s", plan->where);
        else if (s != NATS_OK && !fault_of_hang_up(plan, s, text ? text : "", fault))
            nats_fault_of(plan, s, text, fault);
    }
    natsOptions_Destroy(options);
    return s == NATS_OK ? connection : NULL;
}

/* --- JetStream --- */

static void fault_of_jetstream(const char *what, natsStatus status, jsErrCode code, struct broker_fault *fault)
{
    const char *text = nats_GetLastError(NULL);
    enum reason reason = REASON_BROKER_NOT_DELIVERING;
    if (!text || text[0] == '\0')
        text = natsStatus_GetText(status);
    text = without_place(text);
    switch (code) {
    case JSClusterNotAvailErr:
    case JSClusterNotLeaderErr:
    case JSClusterIncompleteErr:
    case JSStreamOfflineErr:
        broker_fault_set(fault, reason, "%s: the server answers, JetStream has no leader: %s", what, text);
        return;
    case JSNotEnabledErr:
    case JSNotEnabledForAccountErr:
        broker_fault_set(fault, reason, "%s: JetStream is not enabled for this account: %s", what, text);
        return;
    case JSStreamNotFoundErr:
        fault->hint = BROKER_HINT_ABSENT;
        broker_fault_set(fault, reason, "%s: there is no such stream", what);
        return;
    case JSStreamSealedErr:
        broker_fault_set(fault, REASON_BROKER_READ_ONLY, "%s: %s", what, text);
        return;
    case JSAccountResourcesExceededErr:
    case JSInsufficientResourcesErr:
    case JSMemoryResourcesExceededErr:
    case JSStorageResourcesExceededErr:
    case JSStreamStoreFailedErr:
        broker_fault_set(fault, REASON_BROKER_BLOCKED, "%s: %s", what, text);
        return;
    default:
        break;
    }
    if (status == NATS_TIMEOUT)
        broker_fault_set(fault, reason, "%s: the server answers, JetStream does not: it has no leader", what);
    else if (status == NATS_NO_RESPONDERS)
        broker_fault_set(fault, reason, "%s: nothing answers for JetStream: it is not enabled, or no stream takes the subject",
                         what);
    else
        broker_fault_set(fault, reason, "%s: %s", what, text);
}

/* A leader that has lost its followers goes on answering for a while, although it can store nothing any more. */
static void judge_replicas(const char *what, const jsClusterInfo *cluster, struct broker_fault *fault)
{
    int total = cluster->ReplicasLen + 1, online = 1;
    for (int i = 0; i < cluster->ReplicasLen; i++)
        online += !cluster->Replicas[i]->Offline;
    if (!cluster->Leader || cluster->Leader[0] == '\0')
        broker_fault_set(fault, REASON_BROKER_NOT_DELIVERING, "%s has no leader, although the server answers", what);
    else if (online * 2 <= total)
        broker_fault_set(fault, REASON_BROKER_NOT_DELIVERING, "%s is about to lose its leader: %d of %d replicas are offline", what,
                         total - online, total);
}

void nats_jetstream_query(const struct nats_plan *plan, jsCtx *js, int64_t wait_ms, struct broker_fault *fault)
{
    char what[BROKER_FAULT_TEXT_MAX / 2] = "JetStream";
    jsStreamInfo *stream = NULL;
    jsAccountInfo *account = NULL;
    jsErrCode code = (jsErrCode)0;
    jsOptions options;
    jsOptions_Init(&options);
    options.Wait = wait_ms;
    natsStatus s;
    if (plan->stream) {
        snprintf(what, sizeof what, "stream '%.100s'", plan->stream);
        s = js_GetStreamInfo(&stream, js, plan->stream, &options, &code);
        if (s == NATS_OK && stream->Cluster)
            judge_replicas(what, stream->Cluster, fault);
        jsStreamInfo_Destroy(stream);
    } else {
        s = js_GetAccountInfo(&account, js, &options, &code);
        jsAccountInfo_Destroy(account);
    }
    if (s != NATS_OK)
        fault_of_jetstream(what, s, code, fault);
}

void nats_jetstream_publish(const struct nats_plan *plan, jsCtx *js, const struct broker_mail *mail, int64_t wait_ms,
                            struct broker_fault *fault)
{
    char what[BROKER_FAULT_TEXT_MAX / 2];
    jsPubAck *ack = NULL;
    jsErrCode code = (jsErrCode)0;
    jsPubOptions options;
    jsPubOptions_Init(&options);
    options.MaxWait = wait_ms;
    options.ExpectStream = plan->stream;
    natsStatus s = js_Publish(&ack, js, mail->topic, mail->body.data, (int)mail->body.len, &options, &code);
    jsPubAck_Destroy(ack);
    if (s == NATS_OK)
        return;
    snprintf(what, sizeof what, "stream '%.100s'", plan->stream);
    if (s == NATS_CONNECTION_CLOSED || s == NATS_CONNECTION_DISCONNECTED || s == NATS_STALE_CONNECTION || s == NATS_MAX_PAYLOAD)
        nats_fault_of(plan, s, NULL, fault);
    else
        fault_of_jetstream(what, s, code, fault);
}

bool nats_jetstream_there(jsCtx *js, int64_t wait_ms)
{
    jsAccountInfo *account = NULL;
    jsErrCode code = (jsErrCode)0;
    jsOptions options;
    jsOptions_Init(&options);
    options.Wait = wait_ms;
    natsStatus s = js_GetAccountInfo(&account, js, &options, &code);
    jsAccountInfo_Destroy(account);
    return s != NATS_NO_RESPONDERS && code != JSNotEnabledErr && code != JSNotEnabledForAccountErr;
}
