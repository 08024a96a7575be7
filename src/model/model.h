/* A model's weights, read block by block from a source, and the passes around its blocks. */
#pragma once

#include "src/base/memory.h"
#include "src/model/block.h"
#include "src/model/config.h"
#include "src/model/names.h"
#include "src/model/stop_tokens.h"
#include "src/store/source.h"

#define VLMP_NAME_MAX VLMP_NAME_BYTES

/* A row of blocks of one shape: the vision tower or the text model. */
typedef struct {
    const char *prefix;        /* "vision" or "text" */
    const char *norm_names[2]; /* before attention and MLP */
    vlmp_block_shape shape;
    int layers; /* that are run */
} vlmp_stack;

typedef struct vlmp_model {
    vlmp_source *source; /* not owned */
    vlmp_config config;
    vlmp_stack vision;
    vlmp_stack text;
    /* What turns rotary pairs, of both stacks: [head_dim/2]; NULL where a stack has none. */
    float *inv_freq, *vision_inv_freq;
    int32_t *axes, *vision_axes;
    vlmp_stop_tokens stop; /* that the configuration names; none: see vlmp_reader */
    /* Set after opening: int8 activations in all quantized linears, whatever their scheme says.
     * Faster, less exact. */
    bool fast_activations;
} vlmp_model;

/* The same of a model of any family, for those who read weights alone: of one that does not run,
 * only source and config.family, config.model_type are set. */
int vlmp_model_open_weights(vlmp_model *model, vlmp_source *source, vlmp_error *err);

/* Reads the configuration and holds it against the tensors. The source must outlive the model. On
 * failure, too, vlmp_model_close is the caller's. */
int vlmp_model_open(vlmp_model *model, vlmp_source *source, vlmp_error *err);
void vlmp_model_close(vlmp_model *model);

/* VLMP_ERR_INPUT: place ("text.layers.2") gives value, which is NaN or infinite, for the sample of
 * a line (0: not known) of a data file (NULL: not known). */
int vlmp_model_fail_not_finite(const vlmp_model *model, const char *place, float value,
                               const char *data, int line, vlmp_error *err);
