/* Tensors of GGUF files under llama.cpp's names (gguf-py/constants.py, tools/mtmd), for those who
 * write and those who read: which canonical tensor each is, in which of the two files it lies, and
 * in which order its rows stand. */
#pragma once

#include <stdint.h>

#include "formats/gguf_write.h"
#include "src/base/memory.h"
#include "src/model/config.h"
#include "src/model/names.h"

typedef enum { VLMP_GGUF_TEXT, VLMP_GGUF_TOWER } vlmp_gguf_part;

#define VLMP_GGUF_PIECES 3 /* tensors of a file that one of the model can be in */

/* One tensor of a file. '#' is the number of a layer. */
typedef struct {
    const char *canonical, *name;
    vlmp_gguf_part part;
    bool f32;                                /* matrices too: llama.cpp computes with it in F32 */
    int piece, pieces;                       /* of the model's tensor; 0 of 1: it is all of it */
    bool (*when)(const vlmp_config *config); /* models that have it; NULL: all */
} vlmp_gguf_place;

/* The place of a piece of a canonical tensor, and its name in GGUF. config NULL: a tensor of the
 * text model. NULL: none. */
const vlmp_gguf_place *vlmp_gguf_place_of(char name[VLMP_GGUF_MAX_NAME + 1], const char *canonical,
                                          int piece, const vlmp_config *config);

/* The inverse, of a tensor in the file of that part. */
const vlmp_gguf_place *vlmp_gguf_place_named(char canonical[VLMP_NAME_BYTES], vlmp_gguf_part part,
                                             const char *name, const vlmp_config *config);

/* How the rows of a tensor of the model stand in its pieces, each of as many rows. */
typedef struct {
    int pieces;
    int64_t rows; /* of a piece */
    int64_t run;  /* so many rows of a piece, then as many of the next, are the model's */
    /* The graph of 'llama' turns neighbouring values where the model turns the halves of each head,
     * so that rows of q and k alternate between them. 0: they do not. */
    int heads;
    /* Rows of the only piece that change places otherwise: [rows]; NULL: they do not. */
    const int32_t *to_model, *to_file;
} vlmp_gguf_order;

/* The order of a tensor at this place, whose pieces have so many rows. */
int vlmp_gguf_order_of(vlmp_gguf_order *order, const vlmp_gguf_place *place, int64_t rows,
                       const vlmp_config *config, vlmp_arena *arena, vlmp_error *err);

/* Whether rows of a piece do not follow one another as in the model. */
bool vlmp_gguf_order_moves(const vlmp_gguf_order *order);

/* The model's row that is row r of a piece, and the inverse. */
int64_t vlmp_gguf_model_row(const vlmp_gguf_order *order, int piece, int64_t r);
int64_t vlmp_gguf_file_row(const vlmp_gguf_order *order, int64_t r, int *piece);

/* The graph of llama.cpp that computes a text model: "llama", "qwen2" or "qwen2vl". */
const char *vlmp_gguf_architecture(const vlmp_text_config *text);

/* Llama 3's scaling as llama.cpp wants it, a tensor of the text model: what divides each frequency,
 * [head_dim / 2] in the arena. NULL: memory. */
#define VLMP_GGUF_ROPE_FACTORS "rope_freqs.weight"
const float *vlmp_gguf_rope_factors(const vlmp_text_config *text, vlmp_arena *arena);
