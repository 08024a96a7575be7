/* Canonical tensor names and their order; see docs/names.md. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/error.h"
#include "src/base/json.h"

#define VLMP_NAME_BYTES 96 /* longest canonical name with NUL, ".codes" and such included */

typedef enum {
    VLMP_NAME_KNOWN,
    VLMP_NAME_IGNORED, /* a buffer that some versions save: position ids, RoPE frequencies */
    VLMP_NAME_UNKNOWN,
} vlmp_name_kind;

/* How a family's checkpoints name tensors. One constant table a line of families. */
typedef struct {
    const char *const *model_types; /* config.json's model_type; NULL-terminated */

    /* Canonical name of a source tensor, KNOWN only. */
    vlmp_name_kind (*canonical)(char out[VLMP_NAME_BYTES], const char *source_name);

    /* How many vision layers are used, from config.json: layers 0 … *layers − 1. */
    int (*used_vision_layers)(const cJSON *config, const char *where, int *layers, vlmp_error *err);
} vlmp_name_table;

/* NULL: no family with this model_type. */
const vlmp_name_table *vlmp_name_table_for(const char *model_type);

/* "llava, llava_next", for messages. */
const char *vlmp_name_table_types(void);

/* Whether the model never reads the canonical tensor when only vision layers 0 …
 * used_vision_layers − 1 run: later ones, and the norm behind the last. */
bool vlmp_name_is_unused(const char *name, int used_vision_layers);

/* Order of computation: <0, 0, >0. Parts of a linear stay together: weight, codes, scales, zeros,
 * bias. Names outside the canonical list come last, by bytes. */
int vlmp_name_compare(const char *a, const char *b);

/* The tensor's linear or norm: the name up to the last of ".weight", ".bias", ".codes", ".scales",
 * ".zeros"; the whole name when it has none of these. Returns the length. */
size_t vlmp_name_stem(const char *name);
