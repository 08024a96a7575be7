/* Memory of a model that answers: keys and values, and what a step works with. Of weights the plan
 * knows the bytes. All figures but those of keys and values are estimates. */
#pragma once

#include "src/plan/pictures.h"

/* Requests that are answered together, all alike. */
typedef struct {
    vlmp_picture_cost picture; /* width 0: none */
    double text;               /* tokens of the prompt beside the picture */
    double new_tokens;
    double batch;
} vlmp_workload;

double vlmp_workload_prompt(const vlmp_workload *load); /* rows of one */

enum {
    VLMP_PLAN_PAGE = 64,      /* rows of a page of keys and values, as in the runtime here */
    VLMP_PLAN_STEP = 512,     /* rows of prompts that a pass computes at a time, likewise */
    VLMP_PLAN_TILE_ROWS = 64, /* of attention's scores, likewise */
    VLMP_PLAN_TILE_KEYS = 128,
};

/* Bytes of one row's keys and values in all layers: F16 values, as engines keep them; stored: as
 * the runtime here does, 16-bit integers with a scale of 4 bytes for each head's row. */
double vlmp_row_kv_bytes(const vlmp_text_config *text, bool stored);

/* Of the whole workload, F16 in pages. */
double vlmp_workload_kv(const vlmp_text_config *text, const vlmp_workload *load);

/* Values of a row in the passes of a stack: the residual stream, and what vlmp_block_work holds. */
double vlmp_pass_row_values(const vlmp_block_shape *shape);

/* What a step of the runtime here works with beside weights, keys and values: F32 activations of
 * the largest pass of the tower and of the text model, logits, prompts that wait. */
double vlmp_workload_work(const vlmp_model *model, const vlmp_workload *load);

/* The largest batch of such requests within so many bytes beside the weights; 0: not one. */
double vlmp_largest_batch(const vlmp_model *model, const vlmp_workload *load, double bytes);
