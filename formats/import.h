/* Model folders that other tools have quantized. A layout says how a linear's parts are named and
 * where their bits lie; what it finds is written as a packed file without a name, from which
 * everything else reads: codes, zeros and scales are the folder's, laid out anew. */
#pragma once

#include "formats/packed.h"
#include "formats/source_files.h"
#include "formats/tensor_table.h"
#include "src/base/json.h"
#include "src/base/packed_parts.h"
#include "src/model/names.h"
#include "src/store/source.h"

/* What a tensor of the folder is to its linear. */
typedef enum {
    VLMP_IMPORT_CODES,
    VLMP_IMPORT_SCALES,
    VLMP_IMPORT_ZEROS,
    VLMP_IMPORT_GLOBAL,  /* one number that divides all scales */
    VLMP_IMPORT_INDEX,   /* the group of each input */
    VLMP_IMPORT_SHAPE,   /* outputs and inputs */
    VLMP_IMPORT_REFUSED, /* tells of something that is not computed here */
    VLMP_IMPORT_PARTS,
} vlmp_import_part;

typedef struct {
    const char *suffix; /* behind the linear's name */
    vlmp_import_part part;
    const char *refused; /* of REFUSED: what it says about the model, for the message */
} vlmp_import_suffix;

typedef struct {
    const char *name;                            /* canonical, without ".weight" */
    const char *source;                          /* in the folder, likewise */
    const vlmp_tensor *parts[VLMP_IMPORT_PARTS]; /* NULL: not there */
    /* Filled by the layout's fit: */
    int64_t n, k;
    vlmp_scheme scheme; /* of the packed linear */
    bool one_scale;     /* a single scale for all weights, repeated for each output */
    const void *own;    /* of the layout */
    /* Found in the scales: some are negative, so that zeros are stored. */
    bool flips;
} vlmp_import_linear;

typedef struct vlmp_import vlmp_import;

/* A format is one record; nothing else knows it. Rows of codes and zeros come one a byte. */
typedef struct vlmp_import_layout {
    const char *name;     /* as 'quant_method' calls it */
    const char *named_by; /* vlmp_source.named_by */
    /* For tensors' names; the last has no suffix. */
    const vlmp_import_suffix *suffixes;
    /* Reads the configuration: what it says of the whole model is refused here. */
    int (*configure)(vlmp_import *import, const cJSON *config, vlmp_error *err);
    /* The linear's n, k and scheme, from its tensors and the configuration; all parts that codes,
     * zeros and scales below read are checked. */
    int (*fit)(vlmp_import *import, vlmp_import_linear *linear, vlmp_error *err);
    /* Codes of outputs first … first + count − 1, out[count][k]. */
    void (*codes)(const vlmp_import *import, const vlmp_import_linear *linear, int64_t first,
                  int64_t count, uint8_t *out);
    /* Their zeros, out[count][groups]; only where the ZEROS are there. */
    void (*zeros)(const vlmp_import *import, const vlmp_import_linear *linear, int64_t first,
                  int64_t count, uint8_t *out);
    /* Where the scale of a group of output n stands in SCALES. */
    size_t (*scale)(const vlmp_import_linear *linear, int64_t n, int64_t group);
    /* For formats whose other tensors, too, are not as they are in the packed file: gives bytes of
     * one without data. */
    vlmp_packed_read_fn *dense;
    /* Bytes that a tensor takes where it is read from, at least those of its linear's scales and
     * zeros in the packed file; NULL: as many as there. */
    uint64_t (*stored)(const vlmp_import *import, const char *name);
    /* Appends what was done to each linear; NULL: schemes say it. */
    void (*put_decisions)(vlmp_json_writer *w, const vlmp_import *import);
} vlmp_import_layout;

extern const vlmp_import_layout vlmp_import_compressed_tensors, vlmp_import_gptq, vlmp_import_awq;

struct vlmp_import {
    const vlmp_import_layout *layout;
    const char *where;  /* the file that says so, for messages */
    void *settings;     /* of the layout, in the arena */
    const char *config; /* config.json without what it says of quantization */
    size_t config_length;
    struct vlmp_import_found *found; /* parts, as they come */
    size_t found_count, found_capacity;
    vlmp_import_linear *linears; /* sorted by name */
    size_t linear_count;
    const vlmp_source *from; /* has the tensors, whose pages are dropped when they are read */
    const char *note; /* what this program does otherwise than the folder asks for; NULL: nothing */
    vlmp_arena arena;
};

/* What a folder says of its quantization in a file of its own. */
typedef struct {
    const char *name, *method; /* the file's name, the method where it does not say one */
} vlmp_import_file;

extern const vlmp_import_file vlmp_import_files[];
extern const size_t vlmp_import_file_count;

/* Whether config.json among the files of a folder describes one that another tool has quantized, or
 * else one of the files above does: *out NULL where none does. A method that is not read is
 * VLMP_ERR_INPUT. */
int vlmp_import_begin(vlmp_import **out, const vlmp_source_files *files, const char *folder,
                      vlmp_error *err);
void vlmp_import_free(vlmp_import *import); /* NULL is allowed */

/* Takes a tensor that is a part of a quantized linear; canonical: of NAME.weight of that linear, as
 * the family says. *taken false: it is none. */
typedef vlmp_name_kind vlmp_import_naming(char out[VLMP_NAME_BYTES], const char *source_name);
int vlmp_import_take(vlmp_import *import, const vlmp_tensor *tensor, vlmp_import_naming *canonical,
                     bool *taken, vlmp_error *err);

/* All tensors are taken: finds the linears and their schemes, and calls add with NAME.weight [n][k]
 * of each, whose data are NULL. */
typedef int vlmp_import_add(void *arg, const vlmp_tensor *weight, vlmp_error *err);
int vlmp_import_finish(vlmp_import *import, vlmp_import_add *add, void *arg, vlmp_error *err);

/* The model as a packed file without a name in vlmp_temporary_folder(), opened under the folder's
 * path. folder: has the weights that were added, and kept tensors and files. */
int vlmp_import_open(vlmp_source **out, const vlmp_import *import, const vlmp_source *folder,
                     vlmp_error *err);

/* VLMP_ERR_INPUT: "FILE: tensor 'NAME' WHAT". */
__attribute__((format(printf, 3, 4))) int
vlmp_import_refuse(const vlmp_tensor *tensor, vlmp_error *err, const char *what, ...);

/* VLMP_ERR_INPUT unless the part is there with this type and shape (rank 1 or 2; columns 0: rank
 * 1).
 */
int vlmp_import_need(const vlmp_import_linear *linear, vlmp_import_part part, vlmp_dtype type,
                     int64_t rows, int64_t columns, vlmp_error *err);

/* VLMP_ERR_INPUT where the INDEX, if it is there, puts inputs that are not neighbours into one of
 * the groups: they were quantized in another order (activation order). */
int vlmp_import_check_order(const vlmp_import_linear *linear, int64_t groups, vlmp_error *err);

/* Groups of an output. */
int64_t vlmp_import_groups(const vlmp_import_linear *linear);

/* Scale `index` of the linear's SCALES as it stands in the folder, without a global one. */
float vlmp_import_scale(const vlmp_import_linear *linear, size_t index);

/* The linear of NAME.weight, NAME.codes and so on; NULL: it is not quantized. */
const vlmp_import_linear *vlmp_import_linear_of(const vlmp_import *import, const char *name);

/* Internal to the import: looks through scales and zeros before anything is written, and settles
 * flips and the scheme's zeros. */
int vlmp_import_survey(const vlmp_import *import, vlmp_import_linear *linear, vlmp_error *err);

/* A vlmp_packed_read_fn; arg is the import. */
int vlmp_import_read(void *arg, const vlmp_tensor *tensor, uint64_t offset, void *out,
                     size_t length, vlmp_error *err);
