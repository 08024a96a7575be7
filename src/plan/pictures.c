#include "src/plan/pictures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/model/family.h"

bool vlmp_usual_processor(vlmp_preprocess *out, const vlmp_family *family)
{
    static const struct {
        vlmp_processor_kind kind;
        const char *class_name;
    } classes[] = {{VLMP_PROCESSOR_LLAVA_NEXT, "LlavaNext"},
                   {VLMP_PROCESSOR_IDEFICS3, "Idefics3"},
                   {VLMP_PROCESSOR_QWEN2_VL, "Qwen2VL"},
                   {VLMP_PROCESSOR_LLAVA_ONEVISION, "LlavaOnevision"}};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        char json[80];
        vlmp_error unheard = {0};
        if (family->processors != 1u << classes[i].kind) continue;
        snprintf(json, sizeof json, "{\"image_processor_type\": \"%sImageProcessor\"}",
                 classes[i].class_name);
        return vlmp_preprocess_parse(out, json, strlen(json), "defaults", &unheard) == VLMP_OK;
    }
    return false;
}

int vlmp_picture_cost_of(vlmp_picture_cost *out, const vlmp_config *config,
                         const vlmp_preprocess *pre, int width, int height, vlmp_error *err)
{
    const vlmp_shown_picture shown = {.width = width, .height = height, .among = 1};
    vlmp_image_plan plan;
    VLMP_TRY(config->family->plan_image(config, pre, shown, &plan, err));
    vlmp_patch_grid grid = vlmp_tile_grid(&config->vision, &plan);
    int rows = vlmp_grid_tower_rows(&config->vision, grid), tile_height, tile_width;
    vlmp_grid_pixels(&config->vision, grid, &tile_height, &tile_width);
    double seen = plan.grid_rows > 0 ? (double)plan.grid_rows * plan.grid_cols : 1;
    *out = (vlmp_picture_cost){.width = width,
                               .height = height,
                               .tiles = plan.tiles,
                               .tokens = plan.tokens,
                               .tile_rows = rows,
                               .tower_rows = rows * plan.tiles,
                               .pixels = seen * tile_height * tile_width};
    return VLMP_OK;
}

static double scaling(const vlmp_picture_cost *picture)
{
    return fabs(log((double)picture->width * picture->height / picture->pixels));
}

/* Whether a has more tokens, or as many and is scaled less. */
static bool is_larger(const vlmp_picture_cost *a, const vlmp_picture_cost *b)
{
    if (a->tokens != b->tokens) return a->tokens > b->tokens;
    if (a->tower_rows != b->tower_rows) return a->tower_rows > b->tower_rows;
    return scaling(a) < scaling(b);
}

static void look(vlmp_picture_cost *best, const vlmp_config *config, const vlmp_preprocess *pre,
                 int width, int height, double most_tokens, vlmp_error *last)
{
    vlmp_picture_cost one;
    vlmp_error refused = {0};
    if (vlmp_picture_cost_of(&one, config, pre, width, height, &refused) != VLMP_OK) {
        *last = refused;
        return;
    }
    if (most_tokens > 0 && one.tokens > most_tokens) return;
    if (best->width == 0 || is_larger(&one, best)) *best = one;
}

int vlmp_largest_picture(vlmp_picture_cost *out, const vlmp_config *config,
                         const vlmp_preprocess *pre, double most_tokens, vlmp_error *err)
{
    static const int sides[] = {64,   112,  168,  224,  336,  384,  448,  504,  512,  640,
                                672,  728,  768,  896,  1008, 1024, 1120, 1152, 1280, 1344,
                                1536, 1792, 1920, 2016, 2048, 2304, 2688, 3072, 3584, 4096};
    const int count = sizeof sides / sizeof *sides;
    vlmp_error last = {0};
    *out = (vlmp_picture_cost){0};
    for (int h = 0; h < count; h++)
        for (int w = 0; w < count; w++)
            look(out, config, pre, sides[w], sides[h], most_tokens, &last);
    for (int i = 0; i < config->pinpoint_count; i++)
        look(out, config, pre, config->pinpoints[i][1], config->pinpoints[i][0], most_tokens,
             &last);
    if (out->width > 0) return VLMP_OK;
    if (last.code != VLMP_OK) return *err = last, last.code;
    return vlmp_fail(err, VLMP_ERR_INPUT, "no picture has as few as %.0f tokens", most_tokens);
}
