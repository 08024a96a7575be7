/* A recipe applied to a model: what becomes of each linear, and the packed file that this makes. */
#pragma once

#include "formats/packed.h"
#include "src/model/linears.h"
#include "src/quant/scheme/plan.h"

typedef struct {
    vlmp_linear_info *linears;
    int linear_count;
    vlmp_plan plan; /* an entry for each */
    vlmp_packed_plan packed;
    vlmp_buffer recipe; /* as the file will keep it */
} vlmp_quantize_plan;

/* Room that metadata gets in the header at least, so that the size of the file is known before its
 * decisions are; see vlmp_packed_entry. Bytes. */
#define VLMP_RESERVE_RECIPE     4096
#define VLMP_RESERVE_PROVENANCE 65536
#define VLMP_RESERVE_LINEAR     360

/* A recipe applied to a model's linears. where names the recipe in messages. Free the plan. */
int vlmp_plan_of_model(vlmp_plan *plan, const vlmp_linear_info *linears, int count,
                       const vlmp_model *model, const vlmp_recipe *recipe, const char *where,
                       vlmp_error *err);

/* By headers alone. model: also of a family that does not run, whose linears go by name. where
 * names the recipe in messages. Free it, after a failure too. */
int vlmp_quantize_plan_make(vlmp_quantize_plan *out, const vlmp_model *model,
                            const vlmp_recipe *recipe, const char *where, vlmp_error *err);
void vlmp_quantize_plan_free(vlmp_quantize_plan *plan); /* leaves it empty */

/* Bytes of the file. tensors: what it will keep as "vlmp.fates", or NULL. */
int vlmp_quantize_plan_bytes(const vlmp_quantize_plan *plan, const char *tensors, uint64_t *bytes,
                             vlmp_error *err);
