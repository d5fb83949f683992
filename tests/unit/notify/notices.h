/* Notices for the tests of the receivers: one of each kind, and one in which every text is an attack. */
#ifndef TESTS_NOTICES_H
#define TESTS_NOTICES_H

#include "agent/notify/notice.h"

/* 2026-11-22 10:00:00 UTC */
#define NOTICES_BEGUN_MS INT64_C(1795341600000)

static const char *const notices_advice[] = { "Restart the server, so that it subscribes again", "See `wshealthd status`" };
static const char *const notices_because[] = { "delivery", "bus" };

/* Made for each call, so that a test may change it. */
static struct notice notices_make(enum notice_kind kind)
{
    return (struct notice){
        .kind = kind,
        .severity = kind == NOTICE_END    ? NOTICE_OK
                    : kind == NOTICE_TEST ? NOTICE_INFO
                                          : NOTICE_CRITICAL,
        .incident = "1f0c9a-3",
        .key = "chat-1@eu-west",
        .was = kind == NOTICE_END || kind == NOTICE_REPEAT ? "not ready"
               : kind == NOTICE_CHANGE                     ? "degraded"
                                                           : "ready",
        .word = kind == NOTICE_END || kind == NOTICE_TEST ? "ready" : "not ready",
        .cause = "server_detached_from_broker",
        .sentence = "The server has lost its subscription: messages published on bus do not reach its clients "
                    "(delivery: no heartbeat within 500ms)",
        .advice = notices_advice,
        .advice_count = 2,
        .because = notices_because,
        .because_count = 2,
        .service = "ws://127.0.0.1:8080/ws",
        .agent_id = "chat-1",
        .region = "eu-west",
        .host = "node7.example.com",
        .link = "https://status.example.com/chat-1?a=1&b=2",
        .begun_ms = NOTICES_BEGUN_MS,
        .at_ms = NOTICES_BEGUN_MS + (kind == NOTICE_BEGIN ? 15000 : 725000),
        .status_json = "{\"status\":\"fail\"}",
        .version = "0.1.0",
    };
}

/* Control characters, markup of every format, mentions, links, broken UTF-8, and an end of the line with a header behind it. */
#define NOTICES_ATTACK                                                                                                          \
    "<!channel> @everyone @all <@U1> [x](http://evil.example) ![i](https://evil.example/i.png) {{DATE(2017-02-14T06:08:39Z)}} " \
    "*b* _i_ ~s~ `c` ||s|| # h \r\nBcc: evil@example.com\r\n\r\n.\r\nFrom x \x1b[31m\x00b \xff\xfe \xe2\x80\xae \"quoted\\ "    \
    "</script>&amp;|> www.evil.example =?UTF-8?B?eA==?= \xf0\x9f\x98\x80"

static struct notice notices_make_hostile(enum notice_kind kind)
{
    static char attack[4096];
    static const char *const texts[] = { attack, attack, attack, attack, attack, attack };
    struct notice notice = notices_make(kind);
    size_t len = 0;

    while (len + sizeof NOTICES_ATTACK < sizeof attack) {
        for (size_t i = 0; i + 1 < sizeof NOTICES_ATTACK; i++)
            attack[len++] = NOTICES_ATTACK[i] ? NOTICES_ATTACK[i] : '\x01';
    }
    notice.sentence = notice.service = notice.agent_id = notice.region = notice.host = notice.link = notice.cause = attack;
    notice.advice = notice.because = texts;
    notice.advice_count = notice.because_count = sizeof texts / sizeof texts[0];
    notice.changes = 4000000000U;
    notice.left_out = 4000000000U;
    notice.at_ms = notice.begun_ms + INT64_C(400) * 86400000;
    return notice;
}

#endif
