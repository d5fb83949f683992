/* All types of receivers, in the order of the manual. */
#ifndef WSHEALTHD_NOTIFY_REGISTRY_H
#define WSHEALTHD_NOTIFY_REGISTRY_H

#include "agent/conf/receiver_type.h"

extern const struct receiver_type receiver_webhook, receiver_slack, receiver_discord, receiver_teams, receiver_pagerduty,
    receiver_alertmanager, receiver_email, receiver_exec;
extern const struct receiver_type *const receiver_registry[]; /* ends with NULL */

#endif
