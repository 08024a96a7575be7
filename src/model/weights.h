/* A model's weights, loaded from its source for a context: all at once, or part by part. Linears
 * are views into the source's map, norms and other small ones F32 copies; NaN or infinity in any is
 * VLMP_ERR_INPUT. */
#pragma once

#include "src/base/memory.h"
#include "src/model/model.h"

/* Sees a tensor that a model has: its canonical name and shape[rank]. */
typedef int vlmp_tensor_visit(void *arg, const char *name, int rank, const int64_t *shape,
                              vlmp_error *err);

/* What was loaded together. Start with {.ctx = ctx} (NULL: for the host alone). */
typedef struct {
    vlmp_ctx *ctx;
    vlmp_arena arena;
    const vlmp_source *source;
    const vlmp_tensor **tensors; /* whose pages are dropped: at unload, or once copied */
    int tensor_count;
    int tensor_capacity;
    void **prepared; /* linears of the context */
    void **copies;   /* vectors of the context */
    int prepared_count, prepared_capacity;
    int copy_count, copy_capacity;
    bool fast_activations;    /* of the model; for linears loaded from here on */
    bool shapes_only;         /* nothing is read: what must be there is looked for */
    vlmp_tensor_visit *visit; /* with shapes_only: or told to this, without any source */
    void *visit_arg;
} vlmp_loaded;

void vlmp_unload(vlmp_loaded *loaded); /* frees the copies, releases the pages */

/* name without ".weight"; n × k. */
int vlmp_load_linear(vlmp_loaded *loaded, const vlmp_source *source, const char *name, int n, int k,
                     bool bias, vlmp_linear *out, vlmp_error *err);

int vlmp_load_vector(vlmp_loaded *loaded, const vlmp_source *source, const char *name, int rank,
                     const int64_t *shape, vlmp_vector *out, vlmp_error *err);

int vlmp_load_block(vlmp_loaded *loaded, const vlmp_model *model, const vlmp_stack *stack,
                    int layer, vlmp_block *out, vlmp_error *err);

/* Before the tower: patches, class row, positions, norm; none of what the tower does not have. */
typedef struct {
    vlmp_linear patch; /* hidden × 3·patch² */
    /* [rows of a tile][hidden] positions, the class row added to the first; or the table that is
     * stretched over a tile, for the host alone. */
    vlmp_vector rows;
    vlmp_vector pre_norm, pre_norm_bias;
} vlmp_vision_input;

/* The norm that features go through. */
typedef struct {
    vlmp_vector weight, bias; /* [hidden]; empty without one, no bias for RMSNorm */
    /* Of taps, over merged rows: [feature width]. */
    vlmp_vector tap_weight[VLMP_MAX_TAPS], tap_bias[VLMP_MAX_TAPS];
} vlmp_vision_output;

/* After it. */
typedef struct {
    vlmp_linear first, second; /* second: n 0 where there is one alone */
    const float *newline;      /* [text hidden] or NULL */
} vlmp_projector;

int vlmp_load_vision_input(vlmp_loaded *loaded, const vlmp_model *model, vlmp_vision_input *out,
                           vlmp_error *err);
int vlmp_load_vision_output(vlmp_loaded *loaded, const vlmp_model *model, vlmp_vision_output *out,
                            vlmp_error *err);
int vlmp_load_projector(vlmp_loaded *loaded, const vlmp_model *model, vlmp_projector *out,
                        vlmp_error *err);

/* That of a tap. */
int vlmp_load_tap(vlmp_loaded *loaded, const vlmp_model *model, int tap, vlmp_projector *out,
                  vlmp_error *err);

/* The text model's ends; the head is the table where it is tied. */
int vlmp_load_text_embed(vlmp_loaded *loaded, const vlmp_model *model, vlmp_linear *out,
                         vlmp_error *err);
int vlmp_load_text_norm(vlmp_loaded *loaded, const vlmp_model *model, vlmp_vector *out,
                        vlmp_error *err);
int vlmp_load_text_head(vlmp_loaded *loaded, const vlmp_model *model, vlmp_linear *out,
                        vlmp_error *err);

/* All weights at once, for generation. */
typedef struct vlmp_resident {
    vlmp_vision_input vision_input;
    vlmp_block *vision; /* [vision.layers] */
    vlmp_vision_output vision_output;
    vlmp_projector projector, taps[VLMP_MAX_TAPS];
    vlmp_linear embed; /* vocab × hidden */
    vlmp_block *text;  /* [text.layers] */
    vlmp_vector norm;  /* [hidden] */
    vlmp_linear head;
    vlmp_loaded loaded;
} vlmp_resident;

/* Free with vlmp_resident_free, after a failure too. */
int vlmp_load_all(vlmp_resident *out, vlmp_ctx *ctx, const vlmp_model *model, vlmp_error *err);
void vlmp_resident_free(vlmp_resident *resident);

/* Every tensor that the model's configuration asks for, and those of tower layers that are stored
 * though never run. The model needs no source. */
int vlmp_list_tensors(const vlmp_model *model, vlmp_tensor_visit *visit, void *arg,
                      vlmp_error *err);

/* The same of a configuration alone, of a family that runs. */
int vlmp_model_tensors(const vlmp_config *config, vlmp_tensor_visit *visit, void *arg,
                       vlmp_error *err);
