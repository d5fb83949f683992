/* The receiver types of this build (agent/notify/registry.h). */
#include "agent/notify/registry.h"

#include <stddef.h>

const struct receiver_type *const receiver_registry[] = { &receiver_webhook, &receiver_slack,     &receiver_discord,
                                                          &receiver_teams,   &receiver_pagerduty, &receiver_alertmanager,
                                                          &receiver_email,   &receiver_exec,      NULL };
