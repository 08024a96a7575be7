#include "tools/date.h"

#include <stdbool.h>
#include <string.h>

int vlmp_date_parse(const char *text, struct tm *storage, const struct tm **out, vlmp_error *err)
{
    *out = NULL;
    if (text == NULL) return VLMP_OK;
    struct tm given = {0};
    const char *end = strptime(text, "%Y-%m-%d", &given);
    if (end != NULL && (*end == 'T' || *end == ' ')) end = strptime(end + 1, "%H:%M:%S", &given);
    *storage = given;
    bool good = end != NULL && *end == '\0' && timegm(storage) != -1 &&
                storage->tm_mday == given.tm_mday && storage->tm_mon == given.tm_mon;
    if (!good)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--date %.100s: not a date such as 2026-11-26 or 2026-11-26T09:30:00",
                         text);
    *out = storage;
    return VLMP_OK;
}
