/* Rows of activations between blocks: in memory up to a limit, else in an unlinked work file. The
 * values are the same either way. */
#pragma once

#include <stddef.h>

#include "src/base/error.h"

typedef struct {
    size_t rows;
    int dim;
    float *memory; /* NULL when spilled */
    int fd;        /* −1 when in memory */
} vlmp_activations;

/* folder: where a spill file goes. */
int vlmp_activations_create(vlmp_activations *a, size_t rows, int dim, size_t memory_limit,
                            const char *folder, vlmp_error *err);
void vlmp_activations_free(vlmp_activations *a);

/* rows × dim values from first_row: a pointer into memory, or scratch filled from the file. */
int vlmp_activations_get(const vlmp_activations *a, size_t first_row, size_t rows, float *scratch,
                         float **out, vlmp_error *err);

/* Stores values changed through get (nothing to do in memory) or computed elsewhere. */
int vlmp_activations_put(vlmp_activations *a, size_t first_row, size_t rows, const float *values,
                         vlmp_error *err);
