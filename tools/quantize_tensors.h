/* What becomes of every tensor of a model that is not run, of which names decide. */
#pragma once

#include "src/base/json.h"
#include "src/model/linears.h"
#include "src/quant/scheme/plan.h"

/* Tensors whose names differ in numbers alone, of one shape and fate. */
typedef struct {
    char names[VLMP_NAME_MAX]; /* canonical, '#' for each number */
    char shape[64];            /* "4096×11008" */
    char fate[64];             /* "rtn 4 bits g128", "kept: a norm" */
    int count;
} vlmp_tensor_line;

/* Every tensor of the source, in its order. linears: of vlmp_linears_by_name, the plan's. Free
 * *lines with free(). */
int vlmp_tensor_lines(vlmp_tensor_line **lines, int *count, const vlmp_source *source,
                      const vlmp_linear_info *linears, const vlmp_plan *plan, vlmp_error *err);

/* Appends a table; shortage of memory sets out->failed. */
void vlmp_tensor_lines_print(const vlmp_tensor_line *lines, int count, vlmp_buffer *out);

/* A list of {"tensors", "shape", "fate", "count"}: what a packed file keeps as "vlmp.fates". */
void vlmp_tensor_lines_write(const vlmp_tensor_line *lines, int count, vlmp_json_writer *w);
