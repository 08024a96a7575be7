#include "src/model/family.h"

#include <stdio.h>
#include <string.h>

#include "src/model/tiles.h"

static const vlmp_family *const families[] = {&vlmp_family_llava,           &vlmp_family_llava_next,
                                              &vlmp_family_llava_onevision, &vlmp_family_qwen2_vl,
                                              &vlmp_family_qwen2_5_vl,      &vlmp_family_qwen3_vl,
                                              &vlmp_family_idefics3,        &vlmp_family_smolvlm};

const vlmp_family *vlmp_family_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i]->model_type, model_type) == 0) return families[i];
    return &vlmp_family_other;
}

void vlmp_family_types(char *out, size_t capacity)
{
    size_t used = 0;
    for (size_t i = 0; i < sizeof families / sizeof *families && used < capacity; i++)
        used += (size_t)snprintf(out + used, capacity - used, "%s%s", i > 0 ? ", " : "",
                                 families[i]->model_type);
}

int vlmp_tile_tokens(const vlmp_config *config)
{
    return vlmp_grid_tokens(config, vlmp_tile_grid(&config->vision, NULL));
}

void vlmp_pack_in_order(const vlmp_config *config, const vlmp_image_plan *plan, int32_t first,
                        int32_t newline, int32_t *out)
{
    (void)config, (void)newline;
    for (int32_t i = 0; i < plan->tokens; i++)
        out[i] = first + i;
}
