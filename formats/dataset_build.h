/* Assembling a vlmp_dataset (private to the data set readers). */
#pragma once

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "src/base/error.h"
#include "src/base/memory.h"
#include "src/model/sample.h"

typedef struct {
    vlmp_arena *arena;
    vlmp_sample *samples; /* malloc'd while growing */
    size_t count, capacity;
    const char *path;
    const char *image_root;   /* as given or derived, for joining */
    char real_root[4096];     /* resolved, for the check of links */
    bool image_root_is_given; /* by the caller */
} vlmp_dataset_build;

/* A zeroed sample at the end; NULL: out of memory (err filled). */
vlmp_sample *vlmp_dataset_add(vlmp_dataset_build *b, int line, vlmp_error *err);

/* A copy of text in the arena. where ("file:12") and what ("'prompt'") go to messages; text that is
 * empty or only white space is refused. */
int vlmp_dataset_text(vlmp_dataset_build *b, char **out, const char *text, const char *where,
                      const char *what, vlmp_error *err);

/* value: a name, a list of names, or NULL. */
int vlmp_dataset_images(vlmp_dataset_build *b, vlmp_sample *sample, const cJSON *value,
                        const char *where, vlmp_error *err);

/* One LLaVA record: first exchange, placeholders removed. */
int vlmp_dataset_conversation(vlmp_dataset_build *b, const cJSON *record, int line,
                              const char *where, vlmp_error *err);

/* Whole documents. */
int vlmp_dataset_llava(vlmp_dataset_build *b, const cJSON *list, vlmp_error *err);
int vlmp_dataset_coco(vlmp_dataset_build *b, const cJSON *document, vlmp_error *err);
