/* All check types, in the order of the manual. Explicit: a section registry in a static library silently finds nothing. */
#ifndef WSHEALTHD_PROBES_REGISTRY_H
#define WSHEALTHD_PROBES_REGISTRY_H

#include "agent/core/probe.h"

extern const struct probe_type probe_handshake, probe_ping, probe_echo, probe_hold, probe_tls, probe_http, probe_tcp, probe_payload,
    probe_reconnect, probe_subscribe, probe_delivery, probe_auth, probe_origin, probe_script, probe_server, probe_broker;
extern const struct probe_type *const probe_registry[]; /* ends with NULL */

#endif
