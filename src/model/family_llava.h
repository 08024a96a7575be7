/* What LLaVA-NeXT and LLaVA-OneVision share with LLaVA-1.5. */
#pragma once

#include "src/model/family.h"

/* What a configuration may leave out. */
typedef struct {
    const char *tower; /* class */
    int feature_layer;
    const char *select_strategy;
    int image_token;
} vlmp_llava_defaults;

extern const vlmp_module_names vlmp_llava_modules;

int vlmp_llava_read_parts(vlmp_config *config, const cJSON *root,
                          const vlmp_llava_defaults *defaults, const char *where, vlmp_error *err);

/* The same with the defaults of LLaVA-1.5 and LLaVA-NeXT. */
int vlmp_llava_read_config(vlmp_config *config, const cJSON *root, const char *where,
                           vlmp_error *err);

/* Of LLaVA-NeXT: a newline, and the resolutions that pictures are tiled to, those of the
 * processor's class where the file names none. */
int vlmp_llava_read_grid(vlmp_config *config, vlmp_processor_kind kind, const cJSON *root,
                         const char *where, vlmp_error *err);

/* Of LLaVA-NeXT's plans: what is kept of the map that the grid's tiles form. */
int vlmp_llava_plan_map(const vlmp_config *config, vlmp_shown_picture picture,
                        vlmp_image_plan *plan, vlmp_error *err);
bool vlmp_llava_map_is_valid(const vlmp_config *config, const vlmp_image_plan *plan);

/* The row, counted from the first tile's first, that a map's place is. */
int vlmp_llava_map_row(const vlmp_config *config, const vlmp_image_plan *plan, int row, int col);
