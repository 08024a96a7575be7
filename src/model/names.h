/* Canonical tensor names and their order; see docs/names.md. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define VLMP_NAME_BYTES 160 /* longest canonical name with NUL, ".codes" and such included */

typedef enum {
    VLMP_NAME_KNOWN,
    VLMP_NAME_IGNORED, /* a buffer that some versions save: position ids, RoPE frequencies */
    VLMP_NAME_UNKNOWN,
} vlmp_name_kind;

/* Canonical name of a tensor in a checkpoint; out is written when KNOWN. */
vlmp_name_kind vlmp_checkpoint_name(char out[VLMP_NAME_BYTES], const char *source_name);

/* The same of Qwen-VL's, whose tower and projector are named otherwise. */
vlmp_name_kind vlmp_qwen_vl_name(char out[VLMP_NAME_BYTES], const char *source_name);

/* Whether the model never reads the canonical tensor when only vision layers 0 …
 * used_vision_layers − 1 run: later ones, and, unless post_norm, the norm behind the last. */
bool vlmp_name_is_unused(const char *name, int used_vision_layers, bool post_norm);

/* Order of computation: <0, 0, >0. Parts of a linear stay together: weight, codes, scales, zeros,
 * bias. Names outside the canonical list come last, by bytes. */
int vlmp_name_compare(const char *a, const char *b);

/* The tensor's linear or norm: the name up to the last of ".weight", ".bias" or a part of a
 * quantized linear (".codes", ".scales" …); the whole name when it has none of these. Returns the
 * length. */
size_t vlmp_name_stem(const char *name);

/* Whether text[0 … length) is pattern, '#' in it standing for a number without leading zeros below
 * 10000, which goes to *layer (−1 without '#'). */
bool vlmp_name_match(const char *pattern, const char *text, size_t length, int *layer);

/* The pattern with the layer's number in its place and leaf behind it. */
void vlmp_name_fill(char *out, size_t capacity, const char *pattern, int layer, const char *leaf);
