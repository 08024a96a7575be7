/* A finished block comes back from the sink. */
#include <stdio.h>
#include <string.h>

#include "src/quant/run/block_job.h"
#include "src/quant/run/record.h"

/* One F32 tensor that a finished step replaced; *target stays as it is when the sink has none. */
static int restore_vector(vlmp_block_job *b, const char *name, const cJSON *replaced,
                          float **memory, const float **target, vlmp_error *err)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, replaced)
    {
        if (!cJSON_IsString(item) || strcmp(item->valuestring, name) != 0) continue;
        vlmp_tensor tensor;
        void *data;
        VLMP_TRY(b->job->sink->get(b->job->sink, name, &tensor, &data, err));
        *memory = data;
        *target = data;
    }
    return VLMP_OK;
}

static int restore_folded(vlmp_block_job *b, const cJSON *replaced, vlmp_error *err)
{
    const char *const *norms = b->stack->norm_names;
    const float **const weights[] = {&b->block.norm1.values, &b->block.norm2.values},
                        **const biases[] = {&b->block.norm1_bias.values,
                                            &b->block.norm2_bias.values};
    char name[VLMP_NAME_MAX];
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s.layers.%d.%s.weight", b->stack->prefix, b->layer, norms[i]);
        VLMP_TRY(restore_vector(b, name, replaced, &b->fold.norm[i], weights[i], err));
        snprintf(name, sizeof name, "%s.layers.%d.%s.bias", b->stack->prefix, b->layer, norms[i]);
        VLMP_TRY(restore_vector(b, name, replaced, &b->fold.norm_bias[i], biases[i], err));
    }
    for (int i = 0; i < b->count; i++) {
        snprintf(name, sizeof name, "%.80s.bias", b->linears[i].info->name);
        VLMP_TRY(
            restore_vector(b, name, replaced, &b->fold.bias[i], &b->linears[i].linear->bias, err));
    }
    return VLMP_OK;
}

static int restore_linear(vlmp_block_job *b, int index, vlmp_error *err)
{
    const vlmp_block_linear *l = &b->linears[index];
    const vlmp_scheme *scheme = &l->entry->scheme;
    VLMP_TRY(vlmp_get_packed(b->job->sink, l->info->name, scheme, &b->packed[index], err));
    vlmp_linear_use_packed(l->linear, scheme, &b->packed[index]);
    return VLMP_OK;
}

static int restore(vlmp_block_job *b, const char *record, vlmp_error *err)
{
    for (int i = 0; i < b->count; i++)
        if (b->linears[i].entry->method != VLMP_METHOD_KEEP) VLMP_TRY(restore_linear(b, i, err));
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, record, strlen(record), "journal", err));
    int status = restore_folded(b, vlmp_json_get(root, "replaced"), err);
    cJSON_Delete(root);
    return status;
}

int vlmp_block_run_finished(vlmp_block_job *b, const char *record, const vlmp_block_flow *flow,
                            vlmp_error *err)
{
    const vlmp_sweep *sweep = &b->job->sweep;
    if (flow->x == NULL) return VLMP_OK;
    if (flow->original != NULL)
        VLMP_TRY(vlmp_sweep_block(sweep, b->stack, b->layer, &b->original, flow->original,
                                  flow->batches, NULL, NULL, err));
    if (b->job->sequential) VLMP_TRY(restore(b, record, err));
    return vlmp_sweep_block(sweep, b->stack, b->layer, &b->block, flow->x, flow->batches, NULL,
                            NULL, err);
}
