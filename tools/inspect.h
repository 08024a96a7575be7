/* What vlm-inspect's listings share, and its listing of files that are no models. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/json.h"
#include "src/base/memory.h"
#include "src/base/scheme.h"
#include "src/base/table.h"
#include "tools/cli.h"

/* Rows of text cells that belong to an arena. Initialise with {.columns = n}. */
typedef struct {
    vlmp_arena arena;
    const char **cells;
    size_t columns, count, capacity;
} vlmp_listing;

/* Adds a copy of text; column 0 begins a row. false: out of memory. */
bool vlmp_listing_add(vlmp_listing *rows, size_t column, const char *text);

/* Prints the table on stdout, unless failed, and frees rows. */
int vlmp_listing_print(vlmp_listing *rows, vlmp_column *columns, bool failed, vlmp_error *err);

/* "64×96", "scalar". */
void vlmp_shape_text(char *out, size_t capacity, const int64_t *shape, int rank);

/* "W4A16 sym 64", "nvfp4 A16 16". */
void vlmp_listing_scheme(char *out, size_t capacity, const vlmp_scheme *scheme);

/* A JSON text as a value of w; as a string where it is not valid. Want of memory sets out.failed.
 */
void vlmp_put_json_text(vlmp_json_writer *w, const char *text, size_t length);

/* Whether path is a safetensors file that is no packed model: a calibration, a saved reference. */
int vlmp_is_other_file(bool *other, const char *path, vlmp_error *err);

/* verify: every hash that the file carries is checked. */
int vlmp_inspect_other(const char *path, const vlmp_cli_args *args, bool verify, vlmp_error *err);

/* A vlmp_st_progress: arg is a vlmp_progress; stops when interrupted. */
int vlmp_verify_progress(void *arg, uint64_t done, uint64_t total);
