#include "src/base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int vlmp_fail(vlmp_error *err, int code, const char *fmt, ...)
{
    if (err->code != 0) return err->code;
    err->code = code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    return code;
}

int vlmp_fail_errno(vlmp_error *err, const char *fmt, ...)
{
    int saved = errno;
    if (err->code != 0) return err->code;
    err->code = VLMP_ERR_SYSTEM;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, ": %s", strerror(saved));
    return VLMP_ERR_SYSTEM;
}

int vlmp_fail_tried(vlmp_error *err, const vlmp_error *tried)
{
    if (tried->code != VLMP_ERR_SYSTEM) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_SYSTEM, "%s", tried->message);
}

int vlmp_fail_memory(vlmp_error *err, const char *what)
{
    return vlmp_fail(err, VLMP_ERR_SYSTEM, "out of memory: %s", what);
}

void vlmp_error_at(vlmp_error *err, const char *where)
{
    char message[sizeof err->message];
    if (strncmp(err->message, where, strlen(where)) == 0) return;
    memcpy(message, err->message, sizeof message);
    int used = snprintf(err->message, sizeof err->message, "%.500s: ", where);
    snprintf(err->message + used, sizeof err->message - (size_t)used, "%s", message);
}
