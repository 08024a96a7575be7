/* The option --date: which day a chat template sees. */
#pragma once

#include <time.h>

#include "src/base/error.h"

/* Midnight where no time is given. text NULL: *out NULL, and a template that asks is refused.
 * *out points to storage. Anything but a date of the calendar is VLMP_ERR_USAGE. */
int vlmp_date_parse(const char *text, struct tm *storage, const struct tm **out, vlmp_error *err);
