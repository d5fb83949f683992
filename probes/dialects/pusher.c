/*
 * `pusher`: the Pusher Channels protocol 7 (Laravel Reverb, Soketi, Pusher itself). The application's key is in the URL:
 * ws://host:8080/app/KEY?protocol=7. Data is JSON in a string; the server closes who is silent for its activity timeout, so we ping.
 *     <- {"event":"pusher:connection_established","data":"…"}
 *     -> {"event":"pusher:subscribe","data":{"channel":"news"}}
 *     <- {"event":"pusher_internal:subscription_succeeded","channel":"news","data":"{}"}
 *     <- {"event":"…","channel":"news","data":"…"}     <- {"event":"pusher:ping"} -> {"event":"pusher:pong"}
 * Public channels only: private- and presence- channels want a signature by the application's secret. What such servers put on their broker
 * is theirs alone (Reverb's scaling channel, Soketi's adapters): `publish:` takes what your application broadcasts.
 */
#include "probes/dialects/registry.h"

const struct dialect dialect_pusher = {
    .name = "pusher",
    .summary = "Pusher Channels protocol 7: Laravel Reverb, Soketi",
    .greeting = { .expect = { DIALECT_JSON({ "/event", "\"pusher:connection_established\"" }) },
                  .reject = { DIALECT_JSON({ "/event", "\"pusher:error\"" }) } },
    .subscribe = { .send = DIALECT_TEXT("{\"event\":\"pusher:subscribe\",\"data\":{\"channel\":\"{{channel}}\"}}"),
                   .expect = { DIALECT_JSON({ "/event", "\"pusher_internal:subscription_succeeded\"" },
                                            { "/channel", "\"{{channel}}\"" }) },
                   /* Reverb refuses with pusher:error, which names no channel; Soketi and Pusher with pusher:subscription_error. */
                   .reject = { .regex = "\"event\"\\s*:\\s*\"pusher:(error\"|subscription_error\"(?s:.*)\"{{channel}}\")" } },
    .message = { .match = { DIALECT_JSON({ "/channel", "\"{{channel}}\"" }) }, .payload = "/data" },
    .keepalive = { .match = { .contains = "pusher:ping", DIALECT_JSON({ "/event", "\"pusher:ping\"" }) },
                   .send = DIALECT_TEXT("{\"event\":\"pusher:pong\",\"data\":{}}"),
                   .ping = DIALECT_TEXT("{\"event\":\"pusher:ping\",\"data\":{}}"),
                   .every_ms = 25000 },
    .json_holes = true,
};
