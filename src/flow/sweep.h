/* All sequences through the model, block by block: at any time one block's weights are resident,
 * and the activations between blocks lie in a store. Calibration, perplexity and the reference run
 * are sweeps; the quantizer walks the same stores with its own steps. */
#pragma once

#include <signal.h>

#include "src/flow/activations.h"
#include "src/flow/batch.h"
#include "src/flow/pass.h"
#include "src/flow/sequence.h"
#include "src/model/weights.h"
#include "src/picture/preprocess.h"

/* Called after each layer of each stage; may be NULL. */
typedef void vlmp_progress_fn(void *arg, const char *stage, int done, int total);

/* Gives sequence `index` with what the caller's array lacks: pixels only when they are asked for.
 * Free it with vlmp_sequence_free. */
typedef int vlmp_fetch_fn(void *arg, int index, bool pixels, vlmp_sequence *out, vlmp_error *err);

typedef struct {
    vlmp_ctx *ctx;
    const vlmp_model *model;
    const vlmp_preprocess *preprocess; /* normalization of pixels */
    vlmp_fetch_fn *fetch; /* where sequences come without ids or pixels; NULL: they have all */
    void *fetch_arg;
    const vlmp_resident *resident; /* NULL: weights are loaded and dropped block by block */
    int break_at; /* sequences from here on get batches of their own; 0: no break */
    const vlmp_sequence *sequences; /* that run, and the file they are of: for messages; both */
    const char *data;               /* may be NULL */
    const char *work_folder;        /* for spilled activations */
    size_t memory_limit;            /* bytes of a store kept in memory */
    vlmp_progress_fn *progress;
    void *progress_arg;
    const volatile sig_atomic_t *interrupted; /* NULL or: stop with VLMP_ERR_INTERRUPTED when set */
} vlmp_sweep;

/* Sequence `index` with its ids, plans and, when asked for, pixels: the caller's own, or fetched
 * into *held, which is freed with vlmp_sequence_free either way. */
int vlmp_sweep_sequence(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int index,
                        bool pixels, vlmp_sequence *held, const vlmp_sequence **out,
                        vlmp_error *err);

/* Sees every site's input [batch->rows][dim], batch after batch. */
typedef void vlmp_sweep_tap_fn(void *arg, const vlmp_stack *stack, int layer, vlmp_site site,
                               const vlmp_batch *batch, vlmp_act input, int dim);

/* The batches of the two inputs below, which make them themselves: one segment a tile, and one a
 * sequence. No tiles give none. */
int vlmp_sweep_vision_batches(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                              vlmp_batches *batches, vlmp_error *err);
int vlmp_sweep_text_batches(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                            vlmp_batches *batches, vlmp_error *err);

/* The one walk through a stack: its blocks in order, and what is done at the borders around them.
 */
typedef struct {
    void *arg;
    int (*block)(void *arg, int layer, vlmp_error *err);
    int (*border)(void *arg, int done, vlmp_error *err); /* behind `done` blocks; NULL: nothing */
} vlmp_stack_walk;

/* From the border behind `first` blocks on, which is left out unless it is the stack's input. */
int vlmp_sweep_stack(const vlmp_stack *stack, int first, const vlmp_stack_walk *walk,
                     vlmp_error *err);

/* Tiles of all sequences into the tower's input: x[rows of all tiles][vision hidden], and the
 * batches (one segment a tile). Both are the caller's to free. */
int vlmp_sweep_vision_input(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                            vlmp_activations *x, vlmp_batches *batches, vlmp_error *err);

/* The tower over x. features[rows that the projector sees][vlmp_feature_width] is created; as many
 * rows of each tap come behind. */
int vlmp_sweep_vision(const vlmp_sweep *sweep, vlmp_activations *x, const vlmp_batches *batches,
                      vlmp_sweep_tap_fn *tap, void *tap_arg, vlmp_activations *features,
                      vlmp_error *err);

/* After tower layer `done` (0: its input) of x: copies the rows that the projector sees, normed
 * where it has a norm. */
int vlmp_sweep_take_features(const vlmp_sweep *sweep, vlmp_activations *x,
                             const vlmp_batches *batches, int done, vlmp_activations *features,
                             vlmp_error *err);
int vlmp_sweep_create_features(const vlmp_sweep *sweep, const vlmp_batches *batches,
                               vlmp_activations *features, vlmp_error *err);

/* Token embeddings with projected picture rows in place: x[rows of all sequences][text hidden] and
 * the batches (one segment a sequence). features may be empty when no sequence has a picture. */
int vlmp_sweep_text_input(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                          vlmp_activations *features, vlmp_activations *x, vlmp_batches *batches,
                          vlmp_error *err);

/* Room for what is added to x behind text layers, of the batches' places. */
int vlmp_sweep_create_added(const vlmp_sweep *sweep, vlmp_batches *batches, vlmp_error *err);

/* Behind `done` text layers: adds to x, [all rows][text hidden], what the layer's tap gives. */
int vlmp_sweep_add_taps(const vlmp_sweep *sweep, vlmp_activations *x, const vlmp_batches *batches,
                        int done, vlmp_error *err);

/* The text blocks over x, in place. */
int vlmp_sweep_text(const vlmp_sweep *sweep, vlmp_activations *x, const vlmp_batches *batches,
                    vlmp_sweep_tap_fn *tap, void *tap_arg, vlmp_error *err);

/* Blocks first … end − 1 alone, of x at the border in front of them. What lies at a border is done
 * with behind a block, and in front of block 0; features are created by the caller. */
int vlmp_sweep_vision_part(const vlmp_sweep *sweep, int first, int end, vlmp_activations *x,
                           const vlmp_batches *batches, vlmp_activations *features,
                           vlmp_error *err);
int vlmp_sweep_text_part(const vlmp_sweep *sweep, int first, int end, vlmp_activations *x,
                         const vlmp_batches *batches, vlmp_error *err);

/* One block over all batches of x, in place: what all these repeat. block: as the host has it.
 */
int vlmp_sweep_block(const vlmp_sweep *sweep, const vlmp_stack *stack, int layer,
                     const vlmp_block *block, vlmp_activations *x, const vlmp_batches *batches,
                     vlmp_sweep_tap_fn *tap, void *tap_arg, vlmp_error *err);

/* The same for the tap alone: x stays as it is. */
int vlmp_sweep_look(const vlmp_sweep *sweep, const vlmp_stack *stack, int layer,
                    const vlmp_block *block, vlmp_activations *x, const vlmp_batches *batches,
                    vlmp_sweep_tap_fn *tap, void *tap_arg, vlmp_error *err);

/* x[batch->rows][dim] that a place ("text.layers.2", "projector") has computed for a batch of tiles
 * or of sequences: NaN or infinity is VLMP_ERR_INPUT and names place and sample. found: room for an
 * answer of the context. _act: the same of activations. */
int vlmp_sweep_check(const vlmp_sweep *sweep, const char *place, bool tiles,
                     const vlmp_batch *batch, vlmp_i32 found, vlmp_f32 x, int dim, vlmp_error *err);
int vlmp_sweep_check_act(const vlmp_sweep *sweep, const char *place, bool tiles,
                         const vlmp_batch *batch, vlmp_i32 found, vlmp_act x, int dim,
                         vlmp_error *err);
/* The same of a stack's layer: what its pass has in x. */
int vlmp_sweep_check_layer(const vlmp_sweep *sweep, const vlmp_stack *stack, int layer,
                           const vlmp_batch *batch, const vlmp_pass *pass, vlmp_error *err);

/* Everything from pixels and ids to the last text block's output, in one call. */
int vlmp_sweep_all(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                   vlmp_sweep_tap_fn *tap, void *tap_arg, vlmp_activations *x,
                   vlmp_batches *batches, vlmp_error *err);
