/* LLaVA-OneVision: LLaVA-NeXT's parts with a SigLIP tower and a Qwen2 text model; a map of more
 * features than some tiles have is resized to about as many, and a picture among others is not cut
 * up. Videos are not read. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/model/config_fields.h"
#include "src/model/family.h"
#include "src/model/family_llava.h"

/* "anyres_max_9". */
static int read_aspect_ratio(vlmp_config *config, const cJSON *root, const char *where,
                             vlmp_error *err)
{
    static const char key[] = "vision_aspect_ratio", start[] = "anyres_max_";
    const char *value;
    VLMP_TRY(vlmp_config_string(root, key, "anyres_max_9", &value, where, err));
    const char *digits = value + sizeof start - 1;
    bool known = strncmp(value, start, sizeof start - 1) == 0 && isdigit((unsigned char)*digits) &&
                 strlen(digits) <= 4 && strspn(digits, "0123456789") == strlen(digits);
    config->most_tiles = known ? atoi(digits) : 0;
    if (config->most_tiles > 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: '%s' is '%.64s'; anyres_max_N with N from 1 to 9999 is supported", where,
                     key, value);
}

/* Text models of other families than the class's own are named. */
static int check_text(const cJSON *root, const char *where, vlmp_error *err)
{
    const cJSON *text;
    VLMP_TRY(vlmp_config_section(root, "text_config", &text, where, err));
    if (vlmp_json_get(text, "model_type") != NULL) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: 'text_config' must name the text model's 'model_type' (such as qwen2)",
                     where);
}

static int read_config(vlmp_config *config, const cJSON *root, const char *where, vlmp_error *err)
{
    static const vlmp_llava_defaults defaults = {"siglip_vision_model", -1, "full", 151646};
    const int largest = 1 << 24;
    VLMP_TRY(check_text(root, where, err));
    VLMP_TRY(vlmp_llava_read_parts(config, root, &defaults, where, err));
    VLMP_TRY(read_aspect_ratio(config, root, where, err));
    VLMP_TRY(vlmp_config_int(root, "video_token_index", 151647, 0, largest, &config->video_token,
                             where, err));
    return vlmp_llava_read_grid(config, VLMP_PROCESSOR_LLAVA_ONEVISION, root, where, err);
}

static int tile_side(const vlmp_config *config)
{
    return config->vision.image_size / config->vision.patch_size;
}

/* Python's a // b of positive floats. */
static int floor_quotient(double a, double b)
{
    double quotient = (a - fmod(a, b)) / b, whole = floor(quotient);
    return (int)(quotient - whole > 0.5 ? whole + 1 : whole);
}

/* Rows and columns of the plan's map once it is resized. */
static void map_size(const vlmp_config *config, const vlmp_image_plan *plan, int *rows, int *cols)
{
    int side = tile_side(config);
    double ratio = sqrt((double)((int64_t)plan->rows * plan->cols) /
                        (double)((int64_t)config->most_tiles * side * side));
    *rows = ratio > 1.1 ? floor_quotient(plan->rows, ratio) : plan->rows;
    *cols = ratio > 1.1 ? floor_quotient(plan->cols, ratio) : plan->cols;
}

static int plan_image(const vlmp_config *config, const vlmp_preprocess *pre,
                      vlmp_shown_picture picture, vlmp_image_plan *plan, vlmp_error *err)
{
    (void)pre;
    int rows, cols, base = vlmp_tile_tokens(config);
    *plan = (vlmp_image_plan){.tiles = 1, .tokens = base + 1};
    if (picture.among > 1) return VLMP_OK;
    VLMP_TRY(vlmp_llava_plan_map(config, picture, plan, err));
    map_size(config, plan, &rows, &cols);
    plan->tokens = base + rows * (cols + 1);
    /* A map that has nothing to begin with is not resized. */
    if ((rows > 0) == (plan->rows > 0) && (cols > 0) == (plan->cols > 0)) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "a picture of %d x %d pixels is too long and thin for a map of at most %d "
                     "tiles; crop it",
                     picture.width, picture.height, config->most_tiles);
}

static bool plan_is_valid(const vlmp_config *config, const vlmp_image_plan *plan)
{
    int rows, cols;
    if (plan->grid_rows == 0)
        return plan->tiles == 1 && plan->tokens == vlmp_tile_tokens(config) + 1;
    if (!vlmp_llava_map_is_valid(config, plan)) return false;
    map_size(config, plan, &rows, &cols);
    return plan->tokens == vlmp_tile_tokens(config) + (int64_t)rows * (cols + 1);
}

/* Where a place of a resized axis lies between two of the original's, in F32 as the reference
 * computes it: bilinear, the corners not aligned, nothing smoothed. */
typedef struct {
    int low, high;
    float share; /* of the higher */
} between;

static between place_between(int at, int resized, int original)
{
    float scale = (float)original / (float)resized;
    float source = scale * ((float)at + 0.5f) - 0.5f;
    if (resized == original) source = (float)at;
    if (source < 0) source = 0;
    int low = (int)source;
    if (low > original - 1) low = original - 1;
    return (between){low, low < original - 1 ? low + 1 : low, source - (float)low};
}

/* A row that is one of the projected alone. */
static void take(size_t stride, int32_t from, int32_t *sources, float *weights)
{
    for (size_t part = 0; part < VLMP_MIXED_ROWS; part++) {
        sources[part * stride] = from;
        weights[part * stride] = part == 0 ? 1.0f : 0.0f;
    }
}

/* The base's rows, then row by row the map, each row followed by the newline; or the base and a
 * newline. */
static void mix(const vlmp_config *config, const vlmp_image_plan *plan, int32_t first,
                int32_t newline, size_t stride, int32_t *from, float *weights)
{
    int rows = 0, cols = 0, base = vlmp_tile_tokens(config);
    for (int i = 0; i < base; i++)
        take(stride, first + i, from++, weights++);
    if (plan->grid_rows == 0) take(stride, newline, from, weights);
    if (plan->grid_rows > 0) map_size(config, plan, &rows, &cols);
    for (int r = 0; r < rows; r++) {
        between y = place_between(r, rows, plan->rows);
        for (int c = 0; c < cols; c++, from++, weights++) {
            between x = place_between(c, cols, plan->cols);
            const int at[VLMP_MIXED_ROWS][2] = {
                {y.low, x.low}, {y.low, x.high}, {y.high, x.low}, {y.high, x.high}};
            const float share[VLMP_MIXED_ROWS] = {(1 - y.share) * (1 - x.share),
                                                  (1 - y.share) * x.share, y.share * (1 - x.share),
                                                  y.share * x.share};
            for (size_t part = 0; part < VLMP_MIXED_ROWS; part++) {
                from[part * stride] =
                    first + vlmp_llava_map_row(config, plan, plan->first_row + at[part][0],
                                               plan->first_col + at[part][1]);
                weights[part * stride] = share[part];
            }
        }
        take(stride, newline, from++, weights++);
    }
}

const vlmp_family vlmp_family_llava_onevision = {
    .name = "LLaVA-OneVision",
    .model_type = "llava_onevision",
    .architectures = {"LlavaOnevisionForConditionalGeneration", "LlavaOnevisionModel"},
    .processors = 1u << VLMP_PROCESSOR_LLAVA_ONEVISION,
    .modules = &vlmp_llava_modules,
    .read_config = read_config,
    .canonical_name = vlmp_checkpoint_name,
    .plan_image = plan_image,
    .plan_is_valid = plan_is_valid,
    .mix = mix,
};
