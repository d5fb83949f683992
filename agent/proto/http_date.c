/* Reads dates of HTTP fields (agent/proto/http_date.h). Called for the Date and Retry-After of an answer. Keeps nothing. */
#include "agent/proto/http_date.h"

#include <stdio.h>
#include <string.h>

enum { DAY_S = 86400 };

/* Days since 1970-01-01 in the Gregorian calendar. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

int64_t http_date_s(struct slice value)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char text[40], month[4];
    const char *at;
    int day, year, hour, minute, second, used = 0;

    if (value.len == 0 || value.len >= sizeof text)
        return -1;
    memcpy(text, value.data, value.len);
    text[value.len] = 0;
    /* Each number has at most four digits: none can overflow, which is what the check is about. NOLINTNEXTLINE(cert-err34-c) */
    if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", &day, month, &year, &hour, &minute, &second, &used) !=
            6 ||
        !used || text[used])
        return -1;
    at = strlen(month) == 3 ? strstr(months, month) : NULL;
    if (!at || (at - months) % 3 || day < 1 || day > 31 || year < 1970 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
        second < 0 || second > 60)
        return -1;
    return days_of(year, (int)((at - months) / 3) + 1, day) * DAY_S + hour * 3600 + minute * 60 + second;
}
