/* The samples of an evaluation: looked at once, read when they are needed. */
#pragma once

#include <time.h>

#include "formats/dataset.h"
#include "src/eval/results.h"
#include "tools/cli.h"
#include "tools/samples.h"

typedef struct {
    vlmp_dataset *data;
    vlmp_picture_reading *pictures; /* how they are read, and what was met */
    size_t most;                    /* the first so many records are looked at; 0: all */
    int64_t allowed;                /* broken ones that are left out */
    const struct tm *date;          /* what templates see; NULL: nothing */
    int context;                    /* tokens; longer samples are left out whatever is allowed */
    size_t count;                   /* samples that are evaluated */
    uint32_t *records;              /* [count] their places in the data set, rising */
    vlmp_sample_ids *ids;           /* [count] */
    int *lines;                     /* [count] in the data file; 0 for folders */
    char **stand_ins;               /* [count] answers where the data has none; NULL: it has all */
    bool lacks_answers;
    size_t end_differs;      /* samples with text between the answer and its end token */
    size_t conversations;    /* samples with more than one answer */
    vlmp_left_out *left_out; /* [left_out_count] broken, or too long */
    size_t left_out_count;
    size_t too_long;            /* of them */
    const char *first_too_long; /* its reason */
} vlmp_eval_data;

/* Looks at all records: each must be read, decoded and tokenized by the reader. A sample without an
 * answer needs room for one. No sample left is VLMP_ERR_INPUT. */
int vlmp_eval_data_survey(vlmp_eval_data *data, const vlmp_reader *reader,
                          const vlmp_cli_args *args, vlmp_error *err);
void vlmp_eval_data_free(vlmp_eval_data *data);

/* Sample i; free it with vlmp_sample_free. */
int vlmp_eval_sample(const vlmp_eval_data *data, size_t i, vlmp_sample *out, vlmp_error *err);

/* Its sequence, with the answer that is scored, or without any. */
int vlmp_eval_sequence(const vlmp_eval_data *data, size_t i, const vlmp_reader *reader,
                       bool answered, vlmp_sequence *out, vlmp_error *err);

/* SHA-256 over the identities of the samples. */
void vlmp_eval_data_digest(const vlmp_eval_data *data, char hex[VLMP_SHA256_HEX]);

/* The same with all answers, which BLEU and CIDEr count. */
int vlmp_eval_answers_digest(const vlmp_eval_data *data, char hex[VLMP_SHA256_HEX],
                             vlmp_error *err);
