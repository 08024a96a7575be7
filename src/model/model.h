/* A model's weights, read block by block from a source, and the passes around its blocks. */
#pragma once

#include "src/base/memory.h"
#include "src/model/block.h"
#include "src/model/config.h"
#include "src/model/stop_tokens.h"
#include "src/store/source.h"

#define VLMP_NAME_MAX 96

/* A row of blocks of one shape: the vision tower or the text model. */
typedef struct {
    const char *prefix; /* "vision" or "text" */
    vlmp_block_shape shape;
    int layers; /* that are run */
} vlmp_stack;

typedef struct vlmp_model {
    vlmp_source *source; /* not owned */
    vlmp_config config;
    vlmp_stack vision;
    vlmp_stack text;
    int patches;           /* of a tile */
    int tile_rows;         /* rows of a tile in the tower: patches and the class row */
    int tile_tokens;       /* rows of a tile that the projector sees */
    float *inv_freq;       /* [head_dim/2] */
    vlmp_stop_tokens stop; /* that the configuration names; none: see vlmp_reader */
    /* Set after opening: int8 activations in all quantized linears, whatever their scheme says.
     * Faster, less exact. */
    bool fast_activations;
} vlmp_model;

/* Reads the configuration and holds it against the tensors. The source must outlive the model. On
 * failure, too, vlmp_model_close is the caller's. */
int vlmp_model_open(vlmp_model *model, vlmp_source *source, vlmp_error *err);
void vlmp_model_close(vlmp_model *model);

/* VLMP_ERR_INPUT: place ("text.layers.2") gives value, which is NaN or infinite, for the sample of
 * a line (0: not known) of a data file (NULL: not known). */
int vlmp_model_fail_not_finite(const vlmp_model *model, const char *place, float value,
                               const char *data, int line, vlmp_error *err);

/* Parts of the above. What the configuration says and what is stored must be one model: a head is
 * stored or tied, a tied one that is stored again equals the table; no tensor is missing, has
 * another shape, or is one that the configuration has no use for; the picture token is in the
 * vocabulary. All else is VLMP_ERR_INPUT. */
int vlmp_check_head(const vlmp_source *source, bool tied, vlmp_error *err);
int vlmp_check_tensors(const vlmp_model *model, vlmp_error *err);

/* Weights that were loaded together, with the F32 copies they need. */
typedef struct {
    vlmp_arena arena;
    const vlmp_source *source;
    const vlmp_tensor **tensors; /* whose pages are dropped at unload */
    int tensor_count;
    int tensor_capacity;
    bool fast_activations; /* of the model; for linears loaded from here on */
    bool shapes_only;      /* nothing is read: what must be there is looked for */
} vlmp_loaded;

void vlmp_unload(vlmp_loaded *loaded); /* frees the copies, releases the pages */

/* name without ".weight"; n × k. A weight with NaN or infinity is VLMP_ERR_INPUT. */
int vlmp_load_linear(vlmp_loaded *loaded, const vlmp_source *source, const char *name, int n, int k,
                     bool bias, vlmp_linear *out, vlmp_error *err);

/* A vector or small matrix as F32. */
int vlmp_load_f32(vlmp_loaded *loaded, const vlmp_source *source, const char *name, int rank,
                  const int64_t *shape, const float **out, vlmp_error *err);

int vlmp_load_block(vlmp_loaded *loaded, const vlmp_model *model, const vlmp_stack *stack,
                    int layer, vlmp_block *out, vlmp_error *err);

/* Before the tower: patches, class row, positions, norm. */
typedef struct {
    vlmp_linear patch;      /* hidden × 3·patch² */
    const float *class_row; /* [hidden] or NULL */
    const float *position;  /* [tile_rows][hidden] */
    const float *pre_norm, *pre_norm_bias;
} vlmp_vision_input;

/* After it. */
typedef struct {
    vlmp_linear first, second;
    const float *newline; /* [text hidden] or NULL */
} vlmp_projector;

/* The text model's ends. */
typedef struct {
    vlmp_linear embed; /* vocab × hidden */
    vlmp_linear head;  /* the same table when tied */
    const float *norm; /* [hidden] */
} vlmp_text_ends;

int vlmp_load_vision_input(vlmp_loaded *loaded, const vlmp_model *model, vlmp_vision_input *out,
                           vlmp_error *err);
int vlmp_load_projector(vlmp_loaded *loaded, const vlmp_model *model, vlmp_projector *out,
                        vlmp_error *err);
int vlmp_load_text_embed(vlmp_loaded *loaded, const vlmp_model *model, vlmp_linear *out,
                         vlmp_error *err);
int vlmp_load_text_norm(vlmp_loaded *loaded, const vlmp_model *model, const float **out,
                        vlmp_error *err);
int vlmp_load_text_head(vlmp_loaded *loaded, const vlmp_model *model, vlmp_linear *out,
                        vlmp_error *err);

/* All weights at once, for generation: linears stay views into the map. */
typedef struct vlmp_resident {
    vlmp_vision_input vision_input;
    vlmp_block *vision; /* [vision.layers] */
    vlmp_projector projector;
    vlmp_linear embed;
    vlmp_block *text; /* [text.layers] */
    const float *norm;
    vlmp_linear head;
    vlmp_loaded loaded;
} vlmp_resident;

int vlmp_load_all(vlmp_resident *out, const vlmp_model *model, vlmp_error *err);

/* Whether all of these are there with the right types and shapes, by their headers alone. */
int vlmp_check_shapes(const vlmp_model *model, vlmp_error *err);
void vlmp_resident_free(vlmp_resident *resident);

/* pixels [tiles][3][image_size][image_size], normalized → x[tiles·tile_rows][vision hidden].
 * patches_out, work: [tiles·patches][3·patch²] and [tiles·patches][hidden]; scratch of the caller.
 */
void vlmp_vision_embed(vlmp_ctx *ctx, const vlmp_model *model, const vlmp_vision_input *input,
                       const float *pixels, int tiles, float *patches, float *projected, float *x);

/* features [rows][feature_count·vision hidden] → out[rows][text hidden]; hidden scratch as out. */
void vlmp_project(vlmp_ctx *ctx, const vlmp_model *model, const vlmp_projector *projector,
                  const float *features, int rows, float *hidden, float *out);

/* One linear of the model, for recipes and plans. */
typedef enum {
    VLMP_COMPONENT_VISION,
    VLMP_COMPONENT_PROJECTOR,
    VLMP_COMPONENT_EMBED,
    VLMP_COMPONENT_TEXT,
    VLMP_COMPONENT_HEAD,
} vlmp_component;

typedef struct {
    char name[VLMP_NAME_MAX]; /* canonical, without ".weight" */
    vlmp_component component;
    int layer;      /* of its stack; −1 outside */
    vlmp_site site; /* whose input it reads; meaningless outside stacks */
    int n, k;
} vlmp_linear_info;

/* All linears in the order they run; a tied head is not listed (the table is). Free with free(). */
int vlmp_model_linears(const vlmp_model *model, vlmp_linear_info **out, int *count,
                       vlmp_error *err);
