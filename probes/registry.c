/* The check types of this build (probes/registry.h). */
#include "probes/registry.h"

const struct probe_type *const probe_registry[] = {
    &probe_handshake, &probe_ping,     &probe_echo,   &probe_hold,   &probe_payload, &probe_reconnect,
    &probe_subscribe, &probe_delivery, &probe_auth,   &probe_origin, &probe_script,  &probe_tls,
    &probe_http,      &probe_tcp,      &probe_server, &probe_broker, NULL,
};
