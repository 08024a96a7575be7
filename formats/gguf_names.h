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

/* '#' is the number of a layer. */
typedef struct {
    const char *canonical, *name;
    vlmp_gguf_part part;
    bool f32; /* matrices too: llama.cpp computes with it in F32 */
} vlmp_gguf_place;

/* The projector's linear where it is its only one (Idefics3). */
#define VLMP_GGUF_ONE_LINEAR "mm.model.fc"

/* The place of a canonical tensor, and its name in GGUF, with the same leaf. NULL: none. */
const vlmp_gguf_place *vlmp_gguf_place_of(char name[VLMP_GGUF_MAX_NAME + 1], const char *canonical);

/* The inverse, of a tensor in the file of that part. */
const vlmp_gguf_place *vlmp_gguf_place_named(char canonical[VLMP_NAME_BYTES], vlmp_gguf_part part,
                                             const char *name);

/* The graph of llama.cpp that computes a text model: "llama", "qwen2" or "qwen2vl". */
const char *vlmp_gguf_architecture(const vlmp_text_config *text);

/* Llama 3's scaling as llama.cpp wants it, a tensor of the text model: what divides each frequency,
 * [head_dim / 2] in the arena. NULL: memory. */
#define VLMP_GGUF_ROPE_FACTORS "rope_freqs.weight"
const float *vlmp_gguf_rope_factors(const vlmp_text_config *text, vlmp_arena *arena);

/* The graph of 'llama' turns neighbouring values where the model turns the halves of each head, so
 * that rows of q and k alternate between them. Heads of such a tensor; 0: its rows stay. */
int vlmp_gguf_moved_heads(const vlmp_gguf_place *place, const vlmp_text_config *text);

/* Of `rows` in so many heads, the model's row that is row r of GGUF, and the inverse. */
int64_t vlmp_gguf_model_row(int64_t rows, int heads, int64_t r);
int64_t vlmp_gguf_file_row(int64_t rows, int heads, int64_t r);
