/*
 * Reads this process's own figures from /proc. Called by metric.c for each scrape. Promises few system calls and no allocation; on
 * kernels before 6.2 it reads a directory entry for each open descriptor.
 */
#include "agent/report/metric_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* "size resident shared …" in pages. */
static double read_resident_bytes(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NAN;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return NAN;
    text[got] = '\0';
    char *resident = NULL;
    (void)strtoull(text, &resident, 10);
    return (double)strtoull(resident, NULL, 10) * (double)sysconf(_SC_PAGESIZE);
}

/* Since Linux 6.2 the directory's size is the number of descriptors; before, it is 0 and they are counted. */
static double count_fds(void)
{
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return (double)st.st_size;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return NAN;
    int count = -3; /* ".", ".." and the directory's own descriptor */
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static double read_max_fds(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return NAN;
    return limit.rlim_cur == RLIM_INFINITY ? INFINITY : (double)limit.rlim_cur;
}

void process_read(struct process_stats *stats)
{
    struct rusage usage;
    bool known = getrusage(RUSAGE_SELF, &usage) == 0;
    stats->cpu_seconds = known ? seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime) : NAN;
    stats->resident_bytes = read_resident_bytes();
    stats->open_fds = count_fds();
    stats->max_fds = read_max_fds();
}
