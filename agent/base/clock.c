/* Reading the clocks, or what a test put in their place. The fake is for single-threaded tests and never set in the agent. */
#include "agent/base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "agent/base/mem.h"

static struct clock_fake fake_clock;
static bool is_fake;

static uint64_t read_ns(clockid_t id)
{
    struct timespec now;
    panic_if(clock_gettime(id, &now) != 0);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t clock_now_ns(void)
{
    return is_fake ? fake_clock.mono_ns : read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_now_ms(void)
{
    return clock_now_ns() / NS_PER_MS;
}

uint64_t clock_boot_ns(void)
{
    return is_fake ? fake_clock.boot_ns : read_ns(CLOCK_BOOTTIME);
}

int64_t clock_wall_ms(void)
{
    return is_fake ? fake_clock.wall_ms : (int64_t)(read_ns(CLOCK_REALTIME) / NS_PER_MS);
}

void clock_stamp(int64_t wall_ms, char *out, size_t size)
{
    int64_t ms = wall_ms % 1000;
    if (ms < 0)
        ms += 1000; /* before 1970 the second begins earlier */
    time_t seconds = (time_t)((wall_ms - ms) / 1000);
    struct tm utc;
    panic_if(!gmtime_r(&seconds, &utc));
    snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
             utc.tm_min, utc.tm_sec, (int)ms);
}

void clock_set_fake(const struct clock_fake *fake)
{
    is_fake = fake;
    if (fake)
        fake_clock = *fake;
}
