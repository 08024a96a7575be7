/* Errors: one code, one complete sentence with place and hint, written where the fault is found. */
#pragma once

#include <stdarg.h>

/* Functions that can fail return 0 or one of these; the values are the programs' exit codes. */
typedef enum {
    VLMP_OK = 0,
    VLMP_ERR_SYSTEM = 1, /* I/O, memory, device */
    VLMP_ERR_USAGE = 2,  /* contradictory or unknown options */
    VLMP_ERR_GATE = 3,   /* quality gate, or more fallbacks than allowed */
    VLMP_ERR_INPUT = 4,  /* missing, corrupt, unsupported, inconsistent input */
    VLMP_ERR_INTERRUPTED = 130,
} vlmp_status;

/* Filled once by whoever detects the fault; passed on untouched by everyone above.
 * Always non-NULL. Initialise with {0}. */
typedef struct {
    int code;           /* a vlmp_status */
    char message[1024]; /* "file: tensor 'x' at byte 12: what is wrong; what to do" */
} vlmp_error;

/* Records the fault (the first one wins) and returns code, so that callers can write
 * `return vlmp_fail(err, …)`. */
__attribute__((format(printf, 3, 4))) int vlmp_fail(vlmp_error *err, int code, const char *fmt,
                                                    ...);

/* VLMP_ERR_SYSTEM with the text of errno appended: "what: No space left on device". */
__attribute__((format(printf, 2, 3))) int vlmp_fail_errno(vlmp_error *err, const char *fmt, ...);

/* VLMP_ERR_SYSTEM, out of memory; what says for which thing. */
int vlmp_fail_memory(vlmp_error *err, const char *what);

/* After an attempt whose refusal is no fault: passes on that the environment failed (*tried holds
 * VLMP_ERR_SYSTEM), else returns VLMP_OK. */
int vlmp_fail_tried(vlmp_error *err, const vlmp_error *tried);

/* Puts a place in front of the message, unless it begins with it. */
void vlmp_error_at(vlmp_error *err, const char *where);

/* Forwards a failure. */
#define VLMP_TRY(call)                                      \
    do {                                                    \
        int vlmp_try_status_ = (call);                      \
        if (vlmp_try_status_ != 0) return vlmp_try_status_; \
    } while (0)
