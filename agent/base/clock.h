/* The two clocks. Monotonic time for everything that is measured or awaited, wall time only for people and certificates. */
#ifndef WSHEALTHD_BASE_CLOCK_H
#define WSHEALTHD_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* 64 bits wide, so that no product with an int overflows. */
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

uint64_t clock_now_ns(void); /* CLOCK_MONOTONIC */
uint64_t clock_now_ms(void);
uint64_t clock_boot_ns(void); /* CLOCK_BOOTTIME: goes on while the host is suspended */
int64_t clock_wall_ms(void);  /* since 1970, UTC */

/* RFC 3339 with milliseconds, UTC: "2026-11-22T10:00:00.000Z". size is at least CLOCK_STAMP_MAX. */
enum { CLOCK_STAMP_MAX = 32 };
void clock_stamp(int64_t wall_ms, char *out, size_t size);

/* For tests: all four functions above then read these values. NULL puts the real clocks back. */
struct clock_fake {
    uint64_t mono_ns, boot_ns;
    int64_t wall_ms;
};
void clock_set_fake(const struct clock_fake *fake);

#endif
