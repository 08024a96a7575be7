/* Where a model's bytes come from: a Hugging Face folder or a packed file behind one interface, and
 * where quantized bytes go. Implemented in formats/; nothing here opens a file. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/dtype.h"
#include "src/base/error.h"
#include "src/base/scheme.h"

#define VLMP_MAX_RANK 8

/* One stored tensor. data points into a map and may be unaligned. */
typedef struct {
    const char *name;        /* canonical: "text.layers.3.attn.q.weight", see docs/names.md */
    const char *source_name; /* as in the source model's files */
    const char *file;        /* file that holds it, for messages */
    uint64_t file_offset;    /* of data in that file */
    vlmp_dtype dtype;
    int rank;
    int64_t shape[VLMP_MAX_RANK];
    const unsigned char *data;
    size_t bytes;
    size_t stored; /* bytes in the file of another tool that it was read from; 0: as many */
    bool unused;   /* the model never reads it (the last CLIP layer, post-layernorm …) */
} vlmp_tensor;

typedef struct vlmp_source vlmp_source;

struct vlmp_source {
    const char *path; /* as the user gave it */
    const char *kind; /* "folder" or "packed" */
    /* The format of another tool that the tensors were read from, "compressed-tensors" …; it is
     * then a packed source whose tensors lie in no file with a name. NULL: one of our own. */
    const char *imported;
    /* Who has named the tensors, in source_name, where the model has not: "llama.cpp". */
    const char *named_by;
    bool promised; /* there are no weights: tensors are those that the configuration asks for */
    const char *digest; /* SHA-256 over all tensors' names, types, shapes and bytes; hex. May be
                         * NULL until asked for with digest_now (hashing reads every byte). */
    int (*digest_now)(vlmp_source *self, char hex[65], vlmp_error *err);

    size_t (*count)(const vlmp_source *self);
    const vlmp_tensor *(*at)(const vlmp_source *self, size_t index);

    /* NULL when absent. */
    const vlmp_tensor *(*find)(const vlmp_source *self, const char *name);

    /* The scheme of quantized linear `name` (without ".weight"); NULL: it is dense. Its tensors are
     * the parts of src/base/packed_parts.h, "NAME.codes" and so on. */
    const vlmp_scheme *(*scheme)(const vlmp_source *self, const char *name);

    /* A file of the model folder by name ("config.json", "tokenizer.json"); NULL when absent. The
     * bytes belong to the source. */
    const char *(*file)(const vlmp_source *self, const char *name, size_t *length);

    /* The names of those files, in byte order; NULL behind the last. */
    const char *(*file_at)(const vlmp_source *self, size_t index);

    /* Drops a tensor's pages from resident memory until its next use. */
    void (*release)(const vlmp_source *self, const vlmp_tensor *tensor);

    void (*close)(vlmp_source *self); /* frees self */
};

/* Some megabytes of a tensor from byte `at` on, so that a pass over it that releases each part
 * keeps no more resident: for (at = 0; vlmp_tensor_part(&part, tensor, at); at += part.bytes).
 * False behind the end. Elements are not cut. */
bool vlmp_tensor_part(vlmp_tensor *part, const vlmp_tensor *tensor, size_t at);

/* Where a file that the folder lacks may be had, for the end of a message: "" or a clause. */
const char *vlmp_source_lack_hint(const vlmp_source *source);

/* Finds a tensor of a float type with exactly this shape; absent, another type or shape is
 * VLMP_ERR_INPUT with file, name, offset and both shapes. shape has rank entries. */
int vlmp_source_need(const vlmp_source *source, const char *name, int rank, const int64_t *shape,
                     const vlmp_tensor **out, vlmp_error *err);
