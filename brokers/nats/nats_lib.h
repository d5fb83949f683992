/*
 * libnats by dlopen: it and what it needs are opened when the first NATS broker is, so that nobody else pays for them. The names below are
 * the library's own, and stand for the table's entries from here on: whoever includes this calls the library as if it were linked.
 */
#ifndef WSHEALTHD_BROKERS_NATS_NATS_LIB_H
#define WSHEALTHD_BROKERS_NATS_NATS_LIB_H

#include <nats/nats.h>

#include "agent/base/err.h"

#define NATS_CALLS(X)                          \
    X(jsAccountInfo_Destroy)                   \
    X(jsCtx_Destroy)                           \
    X(jsOptions_Init)                          \
    X(jsPubAck_Destroy)                        \
    X(jsPubOptions_Init)                       \
    X(jsStreamInfo_Destroy)                    \
    X(js_GetAccountInfo)                       \
    X(js_GetStreamInfo)                        \
    X(js_Publish)                              \
    X(natsConnection_Close)                    \
    X(natsConnection_Connect)                  \
    X(natsConnection_Destroy)                  \
    X(natsConnection_FlushTimeout)             \
    X(natsConnection_GetConnectedUrl)          \
    X(natsConnection_GetLastError)             \
    X(natsConnection_JetStream)                \
    X(natsConnection_Publish)                  \
    X(natsConnection_Subscribe)                \
    X(natsConnection_SubscribeSync)            \
    X(natsMsg_Destroy)                         \
    X(natsMsg_GetData)                         \
    X(natsMsg_GetDataLength)                   \
    X(natsMsg_GetSubject)                      \
    X(natsOptions_Create)                      \
    X(natsOptions_Destroy)                     \
    X(natsOptions_LoadCATrustedCertificates)   \
    X(natsOptions_LoadCertificatesChain)       \
    X(natsOptions_SetAllowReconnect)           \
    X(natsOptions_SetCiphers)                  \
    X(natsOptions_SetClosedCB)                 \
    X(natsOptions_SetErrorHandler)             \
    X(natsOptions_SetExpectedHostname)         \
    X(natsOptions_SetLameDuckModeCB)           \
    X(natsOptions_SetMaxPendingMsgs)           \
    X(natsOptions_SetMaxPingsOut)              \
    X(natsOptions_SetMaxReconnect)             \
    X(natsOptions_SetNKeyFromSeed)             \
    X(natsOptions_SetName)                     \
    X(natsOptions_SetNoRandomize)              \
    X(natsOptions_SetPingInterval)             \
    X(natsOptions_SetReconnectBufSize)         \
    X(natsOptions_SetSecure)                   \
    X(natsOptions_SetSendAsap)                 \
    X(natsOptions_SetServers)                  \
    X(natsOptions_SetTimeout)                  \
    X(natsOptions_SetToken)                    \
    X(natsOptions_SetUserCredentialsFromFiles) \
    X(natsOptions_SetUserInfo)                 \
    X(natsOptions_SetWriteDeadline)            \
    X(natsOptions_SkipServerVerification)      \
    X(natsOptions_UseGlobalMessageDelivery)    \
    X(natsStatus_GetText)                      \
    X(natsSubscription_Destroy)                \
    X(natsSubscription_GetDropped)             \
    X(natsSubscription_GetPending)             \
    X(natsSubscription_NextMsg)                \
    X(natsSubscription_SetPendingLimits)       \
    X(natsSubscription_Unsubscribe)            \
    X(nats_CloseAndWait)                       \
    X(nats_GetLastError)                       \
    X(nats_ReleaseThreadMemory)

struct nats_lib {
#define NATS_MEMBER(call) __typeof__(&call) p_##call;
    NATS_CALLS(NATS_MEMBER)
#undef NATS_MEMBER
};
extern struct nats_lib nats_lib;

/* On the loop, before the first worker. 0, or -1: err says what is missing. */
int nats_lib_open(struct err *err);

#ifndef NATS_LIB_IS_MAKING_THE_TABLE
#define jsAccountInfo_Destroy nats_lib.p_jsAccountInfo_Destroy
#define jsCtx_Destroy nats_lib.p_jsCtx_Destroy
#define jsOptions_Init nats_lib.p_jsOptions_Init
#define jsPubAck_Destroy nats_lib.p_jsPubAck_Destroy
#define jsPubOptions_Init nats_lib.p_jsPubOptions_Init
#define jsStreamInfo_Destroy nats_lib.p_jsStreamInfo_Destroy
#define js_GetAccountInfo nats_lib.p_js_GetAccountInfo
#define js_GetStreamInfo nats_lib.p_js_GetStreamInfo
#define js_Publish nats_lib.p_js_Publish
#define natsConnection_Close nats_lib.p_natsConnection_Close
#define natsConnection_Connect nats_lib.p_natsConnection_Connect
#define natsConnection_Destroy nats_lib.p_natsConnection_Destroy
#define natsConnection_FlushTimeout nats_lib.p_natsConnection_FlushTimeout
#define natsConnection_GetConnectedUrl nats_lib.p_natsConnection_GetConnectedUrl
#define natsConnection_GetLastError nats_lib.p_natsConnection_GetLastError
#define natsConnection_JetStream nats_lib.p_natsConnection_JetStream
#define natsConnection_Publish nats_lib.p_natsConnection_Publish
#define natsConnection_Subscribe nats_lib.p_natsConnection_Subscribe
#define natsConnection_SubscribeSync nats_lib.p_natsConnection_SubscribeSync
#define natsMsg_Destroy nats_lib.p_natsMsg_Destroy
#define natsMsg_GetData nats_lib.p_natsMsg_GetData
#define natsMsg_GetDataLength nats_lib.p_natsMsg_GetDataLength
#define natsMsg_GetSubject nats_lib.p_natsMsg_GetSubject
#define natsOptions_Create nats_lib.p_natsOptions_Create
#define natsOptions_Destroy nats_lib.p_natsOptions_Destroy
#define natsOptions_LoadCATrustedCertificates nats_lib.p_natsOptions_LoadCATrustedCertificates
#define natsOptions_LoadCertificatesChain nats_lib.p_natsOptions_LoadCertificatesChain
#define natsOptions_SetAllowReconnect nats_lib.p_natsOptions_SetAllowReconnect
#define natsOptions_SetCiphers nats_lib.p_natsOptions_SetCiphers
#define natsOptions_SetClosedCB nats_lib.p_natsOptions_SetClosedCB
#define natsOptions_SetErrorHandler nats_lib.p_natsOptions_SetErrorHandler
#define natsOptions_SetExpectedHostname nats_lib.p_natsOptions_SetExpectedHostname
#define natsOptions_SetLameDuckModeCB nats_lib.p_natsOptions_SetLameDuckModeCB
#define natsOptions_SetMaxPendingMsgs nats_lib.p_natsOptions_SetMaxPendingMsgs
#define natsOptions_SetMaxPingsOut nats_lib.p_natsOptions_SetMaxPingsOut
#define natsOptions_SetMaxReconnect nats_lib.p_natsOptions_SetMaxReconnect
#define natsOptions_SetNKeyFromSeed nats_lib.p_natsOptions_SetNKeyFromSeed
#define natsOptions_SetName nats_lib.p_natsOptions_SetName
#define natsOptions_SetNoRandomize nats_lib.p_natsOptions_SetNoRandomize
#define natsOptions_SetPingInterval nats_lib.p_natsOptions_SetPingInterval
#define natsOptions_SetReconnectBufSize nats_lib.p_natsOptions_SetReconnectBufSize
#define natsOptions_SetSecure nats_lib.p_natsOptions_SetSecure
#define natsOptions_SetSendAsap nats_lib.p_natsOptions_SetSendAsap
#define natsOptions_SetServers nats_lib.p_natsOptions_SetServers
#define natsOptions_SetTimeout nats_lib.p_natsOptions_SetTimeout
#define natsOptions_SetToken nats_lib.p_natsOptions_SetToken
#define natsOptions_SetUserCredentialsFromFiles nats_lib.p_natsOptions_SetUserCredentialsFromFiles
#define natsOptions_SetUserInfo nats_lib.p_natsOptions_SetUserInfo
#define natsOptions_SetWriteDeadline nats_lib.p_natsOptions_SetWriteDeadline
#define natsOptions_SkipServerVerification nats_lib.p_natsOptions_SkipServerVerification
#define natsOptions_UseGlobalMessageDelivery nats_lib.p_natsOptions_UseGlobalMessageDelivery
#define natsStatus_GetText nats_lib.p_natsStatus_GetText
#define natsSubscription_Destroy nats_lib.p_natsSubscription_Destroy
#define natsSubscription_GetDropped nats_lib.p_natsSubscription_GetDropped
#define natsSubscription_GetPending nats_lib.p_natsSubscription_GetPending
#define natsSubscription_NextMsg nats_lib.p_natsSubscription_NextMsg
#define natsSubscription_SetPendingLimits nats_lib.p_natsSubscription_SetPendingLimits
#define natsSubscription_Unsubscribe nats_lib.p_natsSubscription_Unsubscribe
#define nats_CloseAndWait nats_lib.p_nats_CloseAndWait
#define nats_GetLastError nats_lib.p_nats_GetLastError
#define nats_ReleaseThreadMemory nats_lib.p_nats_ReleaseThreadMemory
#endif

#endif
