#include "src/model/family.h"

#include <string.h>

static const vlmp_family *const families[] = {&vlmp_family_llava};

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
