/* LLaVA-NeXT (1.6): LLaVA-1.5's parts, but a picture becomes a base tile and a grid of tiles, whose
 * features form one map; the map is cut back to the picture's aspect, and a learned newline row
 * ends each of its rows. */
#include <string.h>

#include "src/model/family.h"
#include "src/model/family_llava.h"
#include "src/picture/anyres.h"

int vlmp_llava_read_grid(vlmp_config *config, vlmp_processor_kind kind, const cJSON *root,
                         const char *where, vlmp_error *err)
{
    VLMP_TRY(
        vlmp_pinpoints_read(config->pinpoints, &config->pinpoint_count, kind, root, where, err));
    config->has_newline = true;
    /* The map is made of square tiles of patches: a class row has no place in it. */
    if (config->vision.drop_first != config->vision.has_class)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'vision_feature_select_strategy' must be %s in a %s model "
                         "with a %s tower",
                         where, config->vision.has_class ? "default" : "full",
                         config->family->model_type, config->vision.has_class ? "CLIP" : "SigLIP");
    int side = config->vision.image_size;
    for (int i = 0; i < config->pinpoint_count; i++)
        if (config->pinpoints[i][0] % side != 0 || config->pinpoints[i][1] % side != 0)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: entry %d of 'image_grid_pinpoints', [%d, %d], is no multiple of "
                             "the tower's image_size %d",
                             where, i, config->pinpoints[i][0], config->pinpoints[i][1], side);
    const vlmp_config *done = config; /* const, as the parameter is */
    return vlmp_anyres_check(done->pinpoints, done->pinpoint_count, side, where, err);
}

static int read_config(vlmp_config *config, const cJSON *root, const char *where, vlmp_error *err)
{
    VLMP_TRY(vlmp_llava_read_config(config, root, where, err));
    return vlmp_llava_read_grid(config, VLMP_PROCESSOR_LLAVA_NEXT, root, where, err);
}

static int map_side(const vlmp_config *config)
{
    return config->vision.image_size / config->vision.patch_size;
}

int vlmp_llava_plan_map(const vlmp_config *config, vlmp_shown_picture picture,
                        vlmp_image_plan *plan, vlmp_error *err)
{
    vlmp_anyres_plan grid;
    VLMP_TRY(vlmp_anyres_choose(&grid, picture.height, picture.width, config->pinpoints,
                                config->pinpoint_count, config->vision.image_size, err));
    vlmp_anyres_layout map =
        vlmp_anyres_features(&grid, picture.height, picture.width, map_side(config));
    *plan = (vlmp_image_plan){.tiles = 1 + grid.tile_rows * grid.tile_cols,
                              .tokens = map.tokens,
                              .grid_rows = grid.tile_rows,
                              .grid_cols = grid.tile_cols,
                              .first_row = map.first_row,
                              .rows = map.rows,
                              .first_col = map.first_col,
                              .cols = map.cols};
    return VLMP_OK;
}

static int plan_image(const vlmp_config *config, const vlmp_preprocess *pre,
                      vlmp_shown_picture picture, vlmp_image_plan *plan, vlmp_error *err)
{
    (void)pre;
    return vlmp_llava_plan_map(config, picture, plan, err);
}

bool vlmp_llava_map_is_valid(const vlmp_config *config, const vlmp_image_plan *plan)
{
    const int limit = 1 << 14; /* tiles a side; keeps the products below in range */
    if (plan->grid_rows < 1 || plan->grid_rows > limit || plan->grid_cols < 1 ||
        plan->grid_cols > limit || plan->first_row < 0 || plan->rows < 0 || plan->first_col < 0 ||
        plan->cols < 0)
        return false;
    int64_t side = map_side(config), rows = plan->rows, cols = plan->cols;
    return plan->tiles == 1 + (int64_t)plan->grid_rows * plan->grid_cols &&
           plan->first_row + rows <= side * plan->grid_rows &&
           plan->first_col + cols <= side * plan->grid_cols;
}

static bool plan_is_valid(const vlmp_config *config, const vlmp_image_plan *plan)
{
    return vlmp_llava_map_is_valid(config, plan) &&
           plan->tokens == vlmp_tile_tokens(config) + (int64_t)plan->rows * (plan->cols + 1);
}

int vlmp_llava_map_row(const vlmp_config *config, const vlmp_image_plan *plan, int row, int col)
{
    int tile, feature, side = map_side(config);
    vlmp_anyres_layout map = {
        .side = side, .map_rows = side * plan->grid_rows, .map_cols = side * plan->grid_cols};
    vlmp_anyres_locate(&map, row, col, &tile, &feature);
    return (1 + tile) * vlmp_tile_tokens(config) + feature;
}

/* The base's rows, then row by row what is kept of the map, each row followed by the newline. A
 * picture thinner than a patch keeps no column: its map is newlines alone. */
static void pack(const vlmp_config *config, const vlmp_image_plan *plan, int32_t first,
                 int32_t newline, int32_t *out)
{
    for (int32_t i = 0; i < vlmp_tile_tokens(config); i++)
        *out++ = first + i;
    for (int row = plan->first_row; row < plan->first_row + plan->rows; row++) {
        for (int col = plan->first_col; col < plan->first_col + plan->cols; col++)
            *out++ = first + vlmp_llava_map_row(config, plan, row, col);
        *out++ = newline;
    }
}

const vlmp_family vlmp_family_llava_next = {
    .name = "LLaVA-NeXT",
    .model_type = "llava_next",
    .architectures = {"LlavaNextForConditionalGeneration", "LlavaNextModel"},
    .modules = &vlmp_llava_modules,
    .gguf = "mlp",
    .read_config = read_config,
    .canonical_name = vlmp_checkpoint_name,
    .processors = 1u << VLMP_PROCESSOR_LLAVA_NEXT,
    .plan_image = plan_image,
    .plan_is_valid = plan_is_valid,
    .pack = pack,
};
