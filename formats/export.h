/* A packed model as what other engines load. A layout lists the tensors of its result, each with
 * what became of it, before anything is written; they are then made piece by piece from the packed
 * file's map, so that memory is bounded by neither model nor tensor. */
#pragma once

#include "formats/code_words.h"
#include "formats/export_rules.h"
#include "src/base/json.h"
#include "src/base/outfolder.h"
#include "src/base/packed_parts.h"
#include "src/model/config.h"

typedef enum {
    VLMP_EXPORT_KEPT,      /* the packed file's bytes and type */
    VLMP_EXPORT_EXACT,     /* laid out anew; the values are the same */
    VLMP_EXPORT_CONVERTED, /* values are rounded to another type */
} vlmp_export_fate;

/* "kept", "exact", "converted". */
const char *vlmp_export_fate_name(vlmp_export_fate fate);

typedef struct vlmp_export_tensor vlmp_export_tensor;

/* Writes elements first … first + count − 1 of the tensor to out, as they are in the file. */
typedef void vlmp_export_fill(const vlmp_export_tensor *tensor, size_t first, size_t count,
                              unsigned char *out);

struct vlmp_export_tensor {
    vlmp_tensor tensor; /* of the result: name, type, shape, bytes; data is NULL */
    vlmp_export_fate fate;
    const vlmp_tensor *source; /* of the packed file: what it is made from; NULL: of sizes alone */
    const vlmp_tensor *high;   /* of 3-bit codes: the second plane; else NULL */
    vlmp_export_fill *fill;    /* NULL: the source's bytes as they are */
    const vlmp_packed_linear *linear; /* that it belongs to; NULL: kept */
    const vlmp_word_layout *words;    /* for fill: of codes or zeros */
    const char *type;                 /* as the format calls it; NULL: tensor.dtype says it */
};

typedef struct vlmp_export {
    const vlmp_source *source; /* a packed file; not owned */
    const vlmp_config *config; /* not owned */
    const struct vlmp_export_layout *layout;
    vlmp_serve engine;
    const vlmp_packed_linear *linears; /* in order of computation, schemes as they are written */
    size_t linear_count;
    vlmp_export_tensor *tensors; /* in order of computation */
    size_t count, capacity;
    uint64_t shard_bytes; /* a file of weights takes at most so many, or one tensor */
    void *own;            /* what plan keeps for write; NULL: nothing */
    vlmp_arena arena;     /* names, linears */
} vlmp_export;

/* done of total bytes of weights are written. Return non-zero to stop (VLMP_ERR_INTERRUPTED). */
typedef int vlmp_export_progress(void *arg, uint64_t done, uint64_t total);

/* A target format is one record; nothing else knows it. */
typedef struct vlmp_export_layout {
    vlmp_layout layout; /* its name and rules: export_rules.h */
    /* Lists the tensors of the result. */
    int (*plan)(vlmp_export *export, vlmp_error *err);
    /* Writes all files that hold weights, and the configuration that describes them. */
    int (*write)(const vlmp_export *export, vlmp_outfolder *folder, vlmp_export_progress *progress,
                 void *arg, vlmp_error *err);
    void (*release)(vlmp_export *export); /* frees export->own; NULL: there is none */
    bool names; /* names all tensors itself: a source's own (named_by) are of no account */
} vlmp_export_layout;

/* NULL when no such layout is written. */
const vlmp_export_layout *vlmp_export_layout_find(const char *name);

/* VLMP_ERR_INPUT, naming `where`: a family that the layout's readers have no graph of. */
int vlmp_export_check_family(const vlmp_config *config, vlmp_layout layout, const char *where,
                             vlmp_error *err);

/* Checks the rules and plans. requantize: what the format cannot hold is rounded to what it can.
 * Free after a failure, too. */
int vlmp_export_open(vlmp_export *export, const vlmp_source *source, const vlmp_config *config,
                     const vlmp_export_layout *layout, vlmp_serve engine, bool requantize,
                     vlmp_error *err);
void vlmp_export_free(vlmp_export *export);

/* What is expressed, but does not work everywhere: caveat number `index`, a sentence; NULL behind
 * the last. */
const char *vlmp_export_caveat(const vlmp_export *export, int index);

/* Bytes of all tensors. */
uint64_t vlmp_export_bytes(const vlmp_export *export);

/* The model folder's other files, as they are. Not config.json nor what an earlier export wrote
 * about itself, and a model card under the name README-base.md. */
int vlmp_export_write_files(const vlmp_export *export, vlmp_outfolder *folder, vlmp_error *err);

extern const vlmp_export_layout vlmp_export_compressed_tensors, vlmp_export_gptq, vlmp_export_awq,
    vlmp_export_gguf;
