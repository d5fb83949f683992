/*
 * One line for each event, in logfmt or JSON, on stderr. Called by agent/core and above only: the layers below return errors.
 * Events come from the closed list in agent/core/event.h. Values are escaped; secrets (agent/base/secret.h) are masked. Writing never
 * waits: a line that cannot be written is dropped, and a later line `log_lost` says how many were. Lines of one kind have a rate (see
 * agent/base/log_rate.h), and a line `log_more` says how many were left out; with level debug everything is written.
 *
 * In systemd's journal a line begins with its priority, `<4>` (sd-daemon(3)), and has no time of its own: the journal has both.
 */
#ifndef WSHEALTHD_BASE_LOG_H
#define WSHEALTHD_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum { LOG_KEEP = 16 }; /* added to a level: a verdict, which has a wider rate */
enum log_format { LOG_LOGFMT, LOG_JSON };

void log_configure(enum log_level level, enum log_format format);
/* For a terminal that has no more than ASCII: everything else is written as \uXXXX. Logs are UTF-8 otherwise, whatever the locale. */
void log_ascii(bool only);
bool log_enabled(enum log_level level);
/* log_event(LOG_WARN, "check_fail", "check", "echo", "reason", "echo_timeout", NULL): pairs of strings up to a NULL; a pair whose
 * value is NULL is left out. Writes `time=… level=warn event=check_fail check=echo …` with one write(2). The line has a ceiling of 4 KiB. */
void log_event(int level, const char *event, ...) __attribute__((sentinel));
void log_tick(void);          /* to be called now and then: writes what was lost or left out where no other line comes */
unsigned long log_lost(void); /* lines dropped since the start */
/* Is stderr the journal's? JOURNAL_STREAM names device and inode of that (systemd.exec(5)): whoever has sent stderr elsewhere is left alone. */
bool log_in_journal(void);
int log_priority(enum log_level level); /* as syslog(3) numbers them */
void log_open(void);                    /* gives stderr a description of our own; once, before the process becomes undumpable */
void log_set_fd(int fd);                /* for tests; 2 at the start. The counts begin anew */

#endif
