/* What the kernel says about this process, for the process_* metrics. Cheap enough for every scrape. Linux. */
#ifndef WSHEALTHD_REPORT_METRIC_PROCESS_H
#define WSHEALTHD_REPORT_METRIC_PROCESS_H

struct process_stats { /* NaN where the kernel does not say */
    double cpu_seconds, resident_bytes, open_fds, max_fds;
};
void process_read(struct process_stats *stats);

#endif
