/* What vlm-calibrate took and left, and what it measured. */
#pragma once

#include "src/calib/calibration.h"
#include "src/model/sample.h"
#include "tools/cli.h"
#include "tools/pictures.h"

typedef enum {
    VLMP_CANDIDATE_OK,
    VLMP_CANDIDATE_CHOSEN,
    VLMP_CANDIDATE_BROKEN,    /* unreadable, or noise */
    VLMP_CANDIDATE_DUPLICATE, /* of an earlier one: same pictures, prompt and answer */
    VLMP_CANDIDATE_LONG,      /* more tokens than --max-tokens */
} vlmp_candidate_state;

/* A sample of the data set on its way into the calibration. */
typedef struct {
    vlmp_candidate_state state;
    char id[VLMP_SHA256_HEX];
    double aspect; /* width/height of the first picture; 0: none */
    int tokens;
    char *stand_in; /* the model's own answer, where the data has none */
    char *reason;   /* why it is broken */
} vlmp_candidate;

/* All but the first of each identity. */
void vlmp_mark_duplicates(vlmp_candidate *candidates, size_t count);

typedef struct {
    size_t strata;
    size_t states[5]; /* by vlmp_candidate_state */
    size_t stand_ins;
    int64_t text_tokens, picture_tokens, answer_tokens;
    int longest;
    double headroom; /* 65504 over the largest activation at any site */
    char headroom_site[VLMP_NAME_MAX];
} vlmp_audit;

/* Counts, and fills calibration->audit (JSON). */
int vlmp_audit_make(vlmp_audit *audit, const vlmp_candidate *candidates, const vlmp_dataset *data,
                    const vlmp_picture_reading *pictures, vlmp_calibration *calibration,
                    const vlmp_model *model, vlmp_error *err);
int vlmp_audit_print(const vlmp_audit *audit, const vlmp_cli_args *args, const char *output,
                     const vlmp_picture_reading *pictures, const vlmp_calibration *calibration,
                     vlmp_error *err);
