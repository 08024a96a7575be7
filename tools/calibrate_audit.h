/* What vlm-calibrate took and left, and what it measured. */
#pragma once

#include "src/calib/calibration.h"
#include "tools/cli.h"
#include "tools/samples.h"

typedef enum {
    VLMP_CANDIDATE_OK,
    VLMP_CANDIDATE_CHOSEN,
    VLMP_CANDIDATE_BROKEN,    /* unreadable, or noise */
    VLMP_CANDIDATE_DUPLICATE, /* of an earlier one: same pictures, turns and answer */
    VLMP_CANDIDATE_LONG,      /* more tokens than --max-tokens */
} vlmp_candidate_state;

/* A record of the data set on its way into the calibration. */
typedef struct {
    vlmp_candidate_state state;
    int line;                    /* in the data file, or the entry's number */
    int tokens;                  /* where the answer is missing: of the prompt, and the most that a
                                  * stand-in may add */
    bool stood_in;               /* the model's own answer was taken */
    bool end_differs;            /* the chat template puts text between answer and end token */
    bool changed;                /* differs from an earlier one in white space alone */
    float aspect;                /* width/height of the first picture; 0: none */
    uint32_t answer_length;      /* bytes, of all answers */
    uint64_t first_word;         /* vlmp_first_word of the first question */
    uint64_t exact[2], loose[2]; /* the first 128 bits of vlmp_sample_ids */
    char *reason;                /* why it is broken */
} vlmp_candidate;

/* All but the first of each identity; the first of those that only white space tells apart stays
 * unmarked. */
int vlmp_mark_duplicates(vlmp_candidate *candidates, size_t count, vlmp_error *err);

/* What activations were measured on. */
typedef struct {
    int64_t budget; /* tokens asked for; 0: all */
    int64_t samples, tokens, picture_tokens;
} vlmp_measured;

typedef struct {
    size_t strata;
    size_t states[5]; /* by vlmp_candidate_state */
    size_t stand_ins;
    size_t changed;     /* of the chosen: differ from another record in white space alone */
    size_t end_differs; /* of the chosen: text stands between the answer and its end token */
    const char *date;   /* --date; NULL: not given */
    int64_t text_tokens, picture_tokens, answer_tokens;
    int longest;
    vlmp_measured measured;
    double headroom; /* 65504 over the largest activation at any site */
    char headroom_site[VLMP_NAME_MAX];
} vlmp_audit;

/* Counts, and fills calibration->audit (JSON). */
int vlmp_audit_make(vlmp_audit *audit, const vlmp_candidate *candidates, size_t count,
                    const vlmp_picture_reading *pictures, vlmp_calibration *calibration,
                    const vlmp_model *model, vlmp_error *err);
int vlmp_audit_print(const vlmp_audit *audit, const vlmp_cli_args *args, const char *output,
                     const vlmp_picture_reading *pictures, const vlmp_calibration *calibration,
                     vlmp_error *err);
