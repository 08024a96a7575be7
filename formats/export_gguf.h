/* A model as llama.cpp reads it: one GGUF file of the text model, one ("mmproj") of the vision
 * tower and the projector. Names and keys: llama.cpp's gguf-py/constants.py and tools/mtmd. */
#pragma once

#include "formats/gguf_blocks.h"
#include "formats/gguf_names.h"
#include "formats/packed.h"
#include "src/model/config.h"
#include "src/store/source.h"
#include "src/text/vocabulary.h"

#define VLMP_GGUF_TEXT_FILE  "model.gguf"
#define VLMP_GGUF_TOWER_FILE "mmproj-model.gguf"

/* Everything is borrowed. */
typedef struct {
    const vlmp_source *source;
    const vlmp_config *config;
    const vlmp_tokenizer *tokenizer;
    const vlmp_vocabulary *vocabulary; /* of the tokenizer */
    const char *name;                  /* general.name */
    const char *chat_template;         /* NULL: none */
    double image_mean[3], image_std[3];
    int longest_edge; /* of a picture before it is cut up; 0: of no account */
} vlmp_gguf_model;

/* One tensor of the file and where its rows come from: a tensor or a packed linear of the source,
 * or values made here. */
typedef struct {
    vlmp_gguf_tensor out;
    const char *from; /* canonical name; NULL: values */
    const vlmp_tensor *dense;
    const vlmp_packed_linear *linear; /* whose parts are these; dense is NULL */
    const vlmp_tensor *codes, *scales, *zeros;
    const float *values;
    vlmp_gguf_order order; /* of the source's rows, of which this is a piece */
    int piece;
    vlmp_gguf_fit fit; /* of the scheme */
} vlmp_gguf_item;

typedef struct {
    vlmp_gguf_keys keys;
    vlmp_gguf_item *items;
    size_t count;
    vlmp_arena arena;
    const vlmp_source *source;
} vlmp_gguf_plan;

/* What the file will hold. VLMP_ERR_INPUT: a model that llama.cpp has no graph for, with the
 * reason. Free also after a failure. */
int vlmp_gguf_plan_make(vlmp_gguf_plan *plan, vlmp_gguf_part part, const vlmp_gguf_model *model,
                        vlmp_error *err);
void vlmp_gguf_plan_free(vlmp_gguf_plan *plan);

/* Bytes of weights written so far, over both files; step is called from time to time and stops the
 * work where it returns non-zero (VLMP_ERR_INTERRUPTED). */
typedef struct {
    int (*step)(void *arg, uint64_t done, uint64_t total); /* NULL: nobody asks */
    void *arg;
    uint64_t done, total;
} vlmp_gguf_progress;

/* Writes the plan's file; memory stays small. */
int vlmp_gguf_plan_write(const vlmp_gguf_plan *plan, vlmp_outfile *file,
                         vlmp_gguf_progress *progress, vlmp_error *err);

/* For the two files that share the work: the keys of each part. */
int vlmp_gguf_text_keys(vlmp_gguf_plan *plan, const vlmp_gguf_model *model, vlmp_error *err);
void vlmp_gguf_tower_keys(vlmp_gguf_plan *plan, const vlmp_gguf_model *model);
/* general.file_type: the type that most of the plan's weights have. */
uint32_t vlmp_gguf_file_type(const vlmp_gguf_plan *plan);
