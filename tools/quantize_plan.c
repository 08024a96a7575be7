#include "tools/quantize_plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/model/family.h"
#include "src/model/family_other.h"
#include "src/quant/run/fold.h"

static size_t source_bytes(const vlmp_source *source, const char *name)
{
    char full[VLMP_NAME_MAX + 16];
    snprintf(full, sizeof full, "%s.weight", name);
    const vlmp_tensor *tensor = source->find(source, full);
    return tensor != NULL ? tensor->bytes : 0;
}

/* The packed file's tensors, before anything is computed. */
static int plan_file(vlmp_quantize_plan *p, const vlmp_source *source, vlmp_error *err)
{
    VLMP_TRY(vlmp_packed_plan_init(&p->packed, source, err));
    for (int i = 0; i < p->linear_count; i++) {
        const vlmp_plan_entry *entry = &p->plan.entries[i];
        if (entry->method == VLMP_METHOD_KEEP) continue;
        VLMP_TRY(vlmp_packed_plan_quantize(&p->packed, p->linears[i].name, &entry->scheme, err));
        char names[VLMP_FOLD_VECTORS][VLMP_NAME_MAX];
        int count = vlmp_fold_vectors(names, &p->linears[i], entry->method);
        for (int v = 0; v < count; v++)
            if (source->find(source, names[v]) != NULL)
                VLMP_TRY(vlmp_packed_plan_replace(&p->packed, names[v], VLMP_F32, err));
    }
    return VLMP_OK;
}

int vlmp_plan_of_model(vlmp_plan *plan, const vlmp_linear_info *linears, int count,
                       const vlmp_model *model, const vlmp_recipe *recipe, const char *where,
                       vlmp_error *err)
{
    vlmp_plan_linear *list = vlmp_calloc((size_t)count, sizeof *list);
    if (list == NULL) return vlmp_fail_memory(err, "plan");
    for (int i = 0; i < count; i++) {
        bool embedding = linears[i].component == VLMP_COMPONENT_EMBED;
        list[i] = (vlmp_plan_linear){.name = linears[i].name,
                                     .n = linears[i].n,
                                     .k = linears[i].k,
                                     .bytes = source_bytes(model->source, linears[i].name),
                                     .embedding = embedding,
                                     .tied = embedding && model->config.text.tied};
    }
    int status = vlmp_plan_make(plan, recipe, list, count, where, err);
    free(list);
    return status;
}

int vlmp_quantize_plan_make(vlmp_quantize_plan *out, const vlmp_model *model,
                            const vlmp_recipe *recipe, const char *where, vlmp_error *err)
{
    *out = (vlmp_quantize_plan){0};
    VLMP_TRY(vlmp_family_runs(model->config.family)
                 ? vlmp_model_linears(model, &out->linears, &out->linear_count, err)
                 : vlmp_linears_by_name(model->source, &out->linears, &out->linear_count, err));
    VLMP_TRY(
        vlmp_plan_of_model(&out->plan, out->linears, out->linear_count, model, recipe, where, err));
    vlmp_json_writer w = {0};
    vlmp_recipe_write(recipe, &w);
    out->recipe = w.out;
    if (w.out.failed) return vlmp_fail_memory(err, where);
    return plan_file(out, model->source, err);
}

void vlmp_quantize_plan_free(vlmp_quantize_plan *plan)
{
    vlmp_packed_plan_free(&plan->packed);
    vlmp_plan_free(&plan->plan);
    vlmp_buffer_free(&plan->recipe);
    free(plan->linears);
    *plan = (vlmp_quantize_plan){0};
}

int vlmp_quantize_plan_bytes(const vlmp_quantize_plan *plan, const char *tensors, uint64_t *bytes,
                             vlmp_error *err)
{
    const vlmp_packed_entry entries[] = {
        {"vlmp.recipe", plan->recipe.data, VLMP_RESERVE_RECIPE},
        {"vlmp.provenance", NULL, VLMP_RESERVE_PROVENANCE},
        {"vlmp.decisions", NULL, (size_t)plan->plan.quantized * VLMP_RESERVE_LINEAR},
        {"vlmp.fates", tensors, 0}};
    return vlmp_packed_size(&plan->packed, entries, tensors != NULL ? 4 : 3, bytes, err);
}
