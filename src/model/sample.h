/* One question about pictures, as data sets give it. */
#pragma once

#include <stddef.h>

typedef struct {
    int line;           /* in the data file, from 1; 0 for folders */
    int image_count;    /* may be 0 */
    char **images;      /* resolved paths */
    char **image_names; /* as the data file spells them, for messages */
    char *prompt;       /* the user's turn, without placeholders */
    int answer_count;   /* 0: none known */
    char **answers;     /* the first is scored; all are references for BLEU and CIDEr */
} vlmp_sample;

typedef struct vlmp_dataset {
    const char *path; /* as given */
    size_t count;
    vlmp_sample *samples;
    struct vlmp_arena *arena; /* owns everything above */
} vlmp_dataset;
