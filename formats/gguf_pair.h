/* A model in GGUF files: the text model's, and the one of tower and projector ("mmproj"). What they
 * do not hold (configuration, tokenizer, processor) comes from the folder of the model that they
 * were made from, and is held against what they say of themselves. */
#pragma once

#include <limits.h>

#include "formats/folder_config.h"
#include "formats/gguf_names.h"
#include "formats/gguf_read.h"

/* One tensor of the model, in one tensor of the files or in several. */
typedef struct {
    const char *name; /* canonical */
    const vlmp_gguf_stored *pieces[VLMP_GGUF_PIECES];
    vlmp_gguf_order order;
    int64_t width; /* values of a row */
    /* In the model's shape; the bytes of the pieces and what lies between them. */
    vlmp_tensor blocks;
    bool floats; /* the model adds or multiplies by it, whatever the blocks are */
} vlmp_gguf_weight;

typedef struct {
    vlmp_table_source t; /* first: the source is this */
    vlmp_folder_config base;
    vlmp_gguf_file files[2]; /* by vlmp_gguf_part */
    vlmp_import import;
    vlmp_gguf_weight *weights; /* sorted by name */
    size_t weight_count;
} vlmp_gguf_pair;

/* Absolute or not, as the user's path is. */
typedef struct {
    char text[PATH_MAX], tower[PATH_MAX];
    char folder[PATH_MAX]; /* of the text model's file */
} vlmp_gguf_paths;

/* The files that a user means by `path`, a text model's file or a folder that holds one; mmproj
 * NULL: the only one beside it. VLMP_ERR_INPUT: none, or several. */
int vlmp_gguf_find(vlmp_gguf_paths *paths, const char *path, const char *mmproj, vlmp_error *err);

/* Whether a folder has its text model in a GGUF file, and no weights in safetensors. */
int vlmp_gguf_folder_is(bool *out, const char *path, vlmp_error *err);

/* Folders of the model that the files were made from, as they are asked: the base; NULL: the files'
 * own where it has a config.json, else the spare; NULL: none. */
typedef struct {
    const char *base, *spare;
} vlmp_gguf_bases;

/* The files as one model. */
int vlmp_gguf_pair_open(vlmp_source **out, const char *path, const char *mmproj,
                        const vlmp_gguf_bases *bases, vlmp_error *err);

/* The pair's weights, sorted by name, from the tensors of its files. */
int vlmp_gguf_pair_weights(vlmp_gguf_pair *pair, vlmp_error *err);

/* The model's row where it lies: whole blocks of *type. */
const unsigned char *vlmp_gguf_row_at(const vlmp_gguf_weight *weight, int64_t row,
                                      vlmp_gguf_type *type);

/* What the files say of themselves against the configuration and the tokenizer of the base. */
int vlmp_gguf_pair_check(vlmp_gguf_pair *pair, vlmp_error *err);
