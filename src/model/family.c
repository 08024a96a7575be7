#include "src/model/family.h"

#include <string.h>

static const vlmp_family *const families[] = {&vlmp_family_llava, &vlmp_family_llava_next};

const vlmp_family *vlmp_family_find(const char *model_type)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i]->model_type, model_type) == 0) return families[i];
    return NULL;
}

int vlmp_tile_tokens(const vlmp_config *config)
{
    const vlmp_vision_config *vision = &config->vision;
    int side = vision->image_size / vision->patch_size;
    return side * side + (vision->has_class ? 1 : 0) - (vision->drop_first ? 1 : 0);
}

bool vlmp_image_plan_is_valid(const vlmp_config *config, const vlmp_image_plan *plan)
{
    int base = vlmp_tile_tokens(config);
    if (config->pinpoint_count == 0) return plan->tiles == 1 && plan->tokens == base;
    const int limit = 1 << 14; /* tiles a side; keeps the products below in range */
    if (plan->grid_rows < 1 || plan->grid_rows > limit || plan->grid_cols < 1 ||
        plan->grid_cols > limit || plan->first_row < 0 || plan->rows < 0 || plan->first_col < 0 ||
        plan->cols < 0)
        return false;
    int64_t side = config->vision.image_size / config->vision.patch_size;
    int64_t rows = plan->rows, cols = plan->cols;
    return plan->tiles == 1 + (int64_t)plan->grid_rows * plan->grid_cols &&
           plan->first_row + rows <= side * plan->grid_rows &&
           plan->first_col + cols <= side * plan->grid_cols &&
           plan->tokens == base + rows * (cols + 1);
}
