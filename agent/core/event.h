/* The closed list of log events (the manual prints it). The level is part of the row; log lines are written with event_log. */
#ifndef WSHEALTHD_CORE_EVENT_H
#define WSHEALTHD_CORE_EVENT_H

#include "agent/base/log.h"

#define EVENT_LIST(X)                                                                                                   \
    X(START, "start", LOG_INFO, "the agent has started")                                                                \
    X(LEAVE, "leave", LOG_INFO, "SIGTERM: the agent drains itself, and ends when its grace is over")                    \
    X(STOP, "stop", LOG_INFO, "the agent stops")                                                                        \
    X(LISTEN, "listen", LOG_INFO, "an address is served")                                                               \
    X(ADMIN_OFF, "admin_off", LOG_INFO, "there is no place for the admin socket that this user may use")                \
    X(READY, "ready", LOG_INFO, "/ready turned to 200")                                                                 \
    X(NOT_READY, "not_ready", LOG_WARN, "/ready turned to 503")                                                         \
    X(DEGRADED, "degraded", LOG_WARN, "ready, but with a warning or a shared fault")                                    \
    X(RESTORED, "restored", LOG_INFO, "ready as before, and no longer degraded")                                        \
    X(CAUSE, "cause", LOG_INFO, "/ready stays as it is, and its cause is another one")                                  \
    X(DEAD, "dead", LOG_ERROR, "/live turned to 503")                                                                   \
    X(LIVE, "live", LOG_INFO, "/live turned back to 200")                                                               \
    X(CHECK_PASS, "check_pass", LOG_INFO, "the state of checks became pass")                                            \
    X(CHECK_WARN, "check_warn", LOG_WARN, "the state of checks became warn")                                            \
    X(CHECK_FAIL, "check_fail", LOG_WARN, "the state of checks became fail")                                            \
    X(ROUND, "round", LOG_DEBUG, "a round ended")                                                                       \
    X(STALL, "stall", LOG_WARN, "the agent itself was late; rounds that failed meanwhile are void")                     \
    X(RESTART, "restart", LOG_ERROR, "systemd is asked to restart the server, which hangs")                             \
    X(RESTART_OFF, "restart_off", LOG_WARN, "systemd is not asked to restart a server that hangs")                      \
    X(DRAIN, "drain", LOG_INFO, "draining began")                                                                       \
    X(RESUME, "resume", LOG_INFO, "draining ended")                                                                     \
    X(PRESTOP_PARAMETER, "prestop_parameter", LOG_WARN, "a parameter of /prestop cannot be read: its default is taken") \
    X(PRESTOP_OVER, "prestop_over", LOG_INFO, "the server was restarted: what /prestop began is over")                  \
    X(RELOAD, "reload", LOG_INFO, "a new configuration is in force")                                                    \
    X(RELOAD_FAILED, "reload_failed", LOG_ERROR, "a new configuration was refused; the old one goes on")                \
    X(CONFIG_WARNING, "config_warning", LOG_WARN, "the configuration may not do what was meant")                        \
    X(SHED, "shed", LOG_WARN, "health clients had to give way: too many connections, or no descriptors")                \
    X(RUN_AS_ROOT, "run_as_root", LOG_WARN, "the agent runs as root, and not in a container")                           \
    X(LOG_LOST, "log_lost", LOG_WARN, "lines were dropped, as nobody read the log")                                     \
    X(LOG_MORE, "log_more", LOG_INFO, "lines of one kind were left out: too many in a short time")                      \
    X(BROKER_DROPS, "broker_drops", LOG_WARN, "messages of a broker are dropped, the first for a minute")               \
    X(BROKER_WARNING, "broker_warning", LOG_WARN, "a broker may not work as it is configured")                          \
    X(HISTORY_DAMAGED, "history_damaged", LOG_WARN, "the file of the history cannot be used: it is set aside")          \
    X(HISTORY_UNSAVED, "history_unsaved", LOG_WARN, "the history cannot be written to its file; it goes on in memory")  \
    X(HISTORY_SAVED, "history_saved", LOG_INFO, "the history is written to its file again")                             \
    X(NOTIFIED, "notified", LOG_INFO, "a receiver of `notify` has taken a message")                                     \
    X(NOTIFY_FAILED, "notify_failed", LOG_WARN, "a receiver of `notify` does not take messages any more")               \
    X(FLEET_LINKED, "fleet_linked", LOG_INFO, "what this agent tells its fleet comes back to it: it is a member")       \
    X(FLEET_LOST, "fleet_lost", LOG_WARN, "the fleet cannot be asked: this agent acts by its own verdict")              \
    X(FLEET_IGNORED, "fleet_ignored", LOG_WARN, "others speak, and none is believed: another key, or a wrong clock")    \
    X(FLEET_TWIN, "fleet_twin", LOG_WARN, "another agent of the fleet uses this agent's id: set identity.id")           \
    X(FLEET_FINDING, "fleet_finding", LOG_WARN, "the fleet's delivery matrix names a fault and whose it is")            \
    X(FLEET_FOUND_OVER, "fleet_finding_over", LOG_INFO, "what the delivery matrix has named is over")                   \
    X(AGENT_ERROR, "agent_error", LOG_ERROR, "the agent could not do something it should")

#define EVENT_ENUM(id, ...) EVENT_##id,
enum event { EVENT_LIST(EVENT_ENUM) EVENT_COUNT };

const char *event_name(enum event event);
const char *event_help(enum event event);
enum log_level event_level(enum event event);
bool event_is_verdict(enum event event); /* what the log is read for: has a wider rate */
/* event_log(EVENT_CHECK_FAIL, "check", name, NULL) */
#define event_log(event, ...) \
    log_event((int)event_level(event) | (event_is_verdict(event) ? LOG_KEEP : 0), event_name(event), __VA_ARGS__)

#endif
