#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "src/base/json.h"
#include "src/picture/preprocess.h"

#define MAX_SIDE 65536 /* pixels, of any size in a configuration */

static const double clip_mean[3] = {0.48145466, 0.4578275, 0.40821073};
static const double clip_std[3] = {0.26862954, 0.26130258, 0.27577711};
static const double half[3] = {0.5, 0.5, 0.5};

/* The class's own values, which a file may omit. */
static void class_defaults(vlmp_preprocess *out, vlmp_processor_kind kind)
{
    bool siglip = kind == VLMP_PROCESSOR_SIGLIP, idefics3 = kind == VLMP_PROCESSOR_IDEFICS3;
    bool qwen = kind == VLMP_PROCESSOR_QWEN2_VL, onevision = kind == VLMP_PROCESSOR_LLAVA_ONEVISION;
    *out = (vlmp_preprocess){.kind = kind,
                             .do_convert_rgb = true,
                             .do_resize = true,
                             .size = {.shortest_edge = 224},
                             .resample = idefics3 ? VLMP_RESAMPLE_LANCZOS : VLMP_RESAMPLE_BICUBIC,
                             .do_center_crop = !siglip && !idefics3 && !qwen && !onevision,
                             .crop_height = 224,
                             .crop_width = 224,
                             .do_rescale = true,
                             .rescale_factor = 1.0 / 255.0,
                             .do_normalize = true,
                             .do_pad = kind == VLMP_PROCESSOR_LLAVA_NEXT || onevision};
    memcpy(out->mean, siglip || idefics3 ? half : clip_mean, sizeof out->mean);
    memcpy(out->std, siglip || idefics3 ? half : clip_std, sizeof out->std);
    if (siglip || idefics3 || onevision) out->crop_height = out->crop_width = 0;
    if (qwen) {
        out->crop_height = out->crop_width = 0;
        out->least_pixels = 56 * 56;
        out->most_pixels = 28 * 28 * 1280;
        out->patch_size = 14;
        out->merge_size = out->frames = 2;
    }
    if (siglip) out->size = (vlmp_resize_size){.height = 224, .width = 224};
    if (onevision) out->size = (vlmp_resize_size){.height = 384, .width = 384};
    if (idefics3) {
        out->size = (vlmp_resize_size){.longest_edge = 4 * 364};
        out->do_image_splitting = true;
        out->tile_side = 364;
    }
}

/* "CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil", "CLIPFeatureExtractor".
 */
static bool is_class(const char *type, const char *family)
{
    static const char *const endings[] = {"ImageProcessor", "ImageProcessorFast",
                                          "ImageProcessorPil", "FeatureExtractor"};
    size_t length = strlen(family);
    if (strncmp(type, family, length) != 0) return false;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (strcmp(type + length, endings[i]) == 0) return true;
    return false;
}

static int read_kind(const cJSON *o, vlmp_processor_kind *kind, const char *where, vlmp_error *err)
{
    static const struct {
        const char *family;
        vlmp_processor_kind kind;
    } classes[] = {
        {"CLIP", VLMP_PROCESSOR_CLIP},
        {"Llava", VLMP_PROCESSOR_LLAVA},
        {"LlavaNext", VLMP_PROCESSOR_LLAVA_NEXT},
        {"LlavaOnevision", VLMP_PROCESSOR_LLAVA_ONEVISION},
        {"Siglip", VLMP_PROCESSOR_SIGLIP},
        {"Idefics3", VLMP_PROCESSOR_IDEFICS3},
        {"SmolVLM", VLMP_PROCESSOR_IDEFICS3},
        {"Qwen2VL", VLMP_PROCESSOR_QWEN2_VL},
        {"Qwen2_5_VL", VLMP_PROCESSOR_QWEN2_VL},
    };
    const char *type;
    VLMP_TRY(vlmp_json_string(o, "image_processor_type", NULL, &type, where, err));
    if (type == NULL)
        VLMP_TRY(vlmp_json_string(o, "feature_extractor_type", NULL, &type, where, err));
    if (type == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'image_processor_type' is missing; add it (for LLaVA-1.5 it is "
                         "\"CLIPImageProcessor\")",
                         where);
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (!is_class(type, classes[i].family)) continue;
        *kind = classes[i].kind;
        return VLMP_OK;
    }
    return vlmp_fail(
        err, VLMP_ERR_INPUT,
        "%s: image processor '%.64s' is not supported; known are CLIP-, Llava-, "
        "LlavaNext-, LlavaOnevision-, Siglip-, Idefics3-, SmolVLM- and Qwen2VLImageProcessor",
        where, type);
}

static int fail_size(const char *key, const char *where, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: '%s' must be {height, width}, {shortest_edge} or {shortest_edge, "
                     "longest_edge}, for 'crop_size' {height, width}, or for Idefics3's "
                     "processors {height, width} or {longest_edge}",
                     where, key);
}

/* A whole number of pixels in an array. */
static int array_int(const cJSON *array, int index, int *out)
{
    const cJSON *item = cJSON_GetArrayItem(array, index);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 1 && item->valuedouble <= MAX_SIDE) ||
        item->valuedouble != (int)item->valuedouble)
        return -1;
    *out = (int)item->valuedouble;
    return 0;
}

/* A size in the forms of all transformers versions: a number, [height, width] or an object.
 * square: what a number means. */
static int read_size(const cJSON *o, const char *key, bool square, vlmp_resize_size *size,
                     const char *where, vlmp_error *err)
{
    static const char *const names[4] = {"height", "width", "shortest_edge", "longest_edge"};
    const cJSON *value = vlmp_json_get(o, key);
    if (value == NULL) return VLMP_OK;
    int v[4] = {0};
    if (cJSON_IsNumber(value)) {
        int64_t edge;
        VLMP_TRY(vlmp_json_int(o, key, 0, 1, MAX_SIDE, &edge, where, err));
        if (square)
            v[0] = v[1] = (int)edge;
        else
            v[2] = (int)edge;
    } else if (cJSON_IsArray(value)) {
        if (cJSON_GetArraySize(value) != 2 || array_int(value, 0, &v[0]) != 0 ||
            array_int(value, 1, &v[1]) != 0)
            return fail_size(key, where, err);
    } else if (cJSON_IsObject(value)) {
        for (const cJSON *m = value->child; m != NULL; m = m->next) {
            int i = 0;
            while (i < 4 && strcmp(m->string, names[i]) != 0)
                i++;
            if (i == 4 && !cJSON_IsNull(m)) return fail_size(key, where, err);
        }
        for (int i = 0; i < 4; i++) {
            int64_t side;
            VLMP_TRY(vlmp_json_int(value, names[i], 0, 1, MAX_SIDE, &side, where, err));
            v[i] = (int)side;
        }
    } else {
        return fail_size(key, where, err);
    }
    bool sides = v[0] != 0 && v[1] != 0 && v[2] == 0 && v[3] == 0;
    bool edges = v[0] == 0 && v[1] == 0 && (v[2] != 0 || v[3] != 0);
    if (!sides && !edges) return fail_size(key, where, err);
    *size = (vlmp_resize_size){v[0], v[1], v[2], v[3]};
    return VLMP_OK;
}

/* Three numbers, or one for all channels. */
static int read_triple(const cJSON *o, const char *key, double out[3], const char *where,
                       vlmp_error *err)
{
    const cJSON *value = vlmp_json_get(o, key);
    if (value == NULL) return VLMP_OK;
    for (int i = 0; i < 3; i++) {
        const cJSON *item = cJSON_IsArray(value) ? cJSON_GetArrayItem(value, i) : value;
        if ((cJSON_IsArray(value) && cJSON_GetArraySize(value) != 3) || !cJSON_IsNumber(item))
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' must be three numbers", where, key);
        out[i] = item->valuedouble;
    }
    return VLMP_OK;
}

/* Multiples of 384 from 1 to 6, all pairs. */
static void onevision_pinpoints(int pinpoints[VLMP_MAX_PINPOINTS][2], int *count)
{
    for (*count = 0; *count < 36; ++*count) {
        pinpoints[*count][0] = 384 * (*count / 6 + 1);
        pinpoints[*count][1] = 384 * (*count % 6 + 1);
    }
}

int vlmp_pinpoints_read(int pinpoints[VLMP_MAX_PINPOINTS][2], int *count, vlmp_processor_kind kind,
                        const cJSON *object, const char *where, vlmp_error *err)
{
    static const int published[5][2] = {
        {336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}};
    const cJSON *list = vlmp_json_get(object, "image_grid_pinpoints");
    if (list == NULL && kind == VLMP_PROCESSOR_LLAVA_ONEVISION) {
        onevision_pinpoints(pinpoints, count);
        return VLMP_OK;
    }
    if (list == NULL) {
        memcpy(pinpoints, published, sizeof published);
        *count = 5;
        return VLMP_OK;
    }
    int given = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    if (given < 1 || given > VLMP_MAX_PINPOINTS)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'image_grid_pinpoints' must be a list of 1 to %d resolutions", where,
                         VLMP_MAX_PINPOINTS);
    int i = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next, i++)
        if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != 2 ||
            array_int(item, 0, &pinpoints[i][0]) != 0 || array_int(item, 1, &pinpoints[i][1]) != 0)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: entry %d of 'image_grid_pinpoints' is not [height, width] in "
                             "pixels",
                             where, i);
    *count = given;
    return VLMP_OK;
}

/* "max_image_size": {"longest_edge": pixels}. */
static int read_tile_side(const cJSON *o, vlmp_preprocess *out, const char *where, vlmp_error *err)
{
    vlmp_resize_size size = {.longest_edge = out->tile_side};
    VLMP_TRY(read_size(o, "max_image_size", false, &size, where, err));
    out->tile_side = size.longest_edge;
    if (size.height == 0 && size.shortest_edge == 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'max_image_size' must be {longest_edge}", where);
}

static int read_resample(const cJSON *o, vlmp_preprocess *out, const char *where, vlmp_error *err)
{
    int64_t code;
    VLMP_TRY(vlmp_json_int(o, "resample", out->resample, 0, 1000, &code, where, err));
    if (code > VLMP_RESAMPLE_HAMMING)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: resample filter %d is not supported (0 to 5 are)", where, (int)code);
    out->resample = (vlmp_resample)code;
    return VLMP_OK;
}

static int read_flags(const cJSON *o, vlmp_preprocess *out, const char *where, vlmp_error *err)
{
    const struct {
        const char *key;
        bool *value;
    } flags[] = {
        {"do_convert_rgb", &out->do_convert_rgb},
        {"do_resize", &out->do_resize},
        {"do_center_crop", &out->do_center_crop},
        {"do_rescale", &out->do_rescale},
        {"do_normalize", &out->do_normalize},
        {"do_pad", &out->do_pad},
        {"do_image_splitting", &out->do_image_splitting},
    };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        VLMP_TRY(vlmp_json_bool(o, flags[i].key, *flags[i].value, flags[i].value, where, err));
    return VLMP_OK;
}

/* What would change pixels and is not done here. */
static int refuse_unknown(const cJSON *o, const vlmp_preprocess *out, const char *where,
                          vlmp_error *err)
{
    bool square;
    VLMP_TRY(vlmp_json_bool(o, "use_square_size", false, &square, where, err));
    const char *what = square                                 ? "use_square_size"
                       : vlmp_json_get(o, "pad_size") != NULL ? "pad_size"
                       : vlmp_json_get(o, "max_num_tiles")    ? "max_num_tiles"
                       : vlmp_json_get(o, "crop_to_patches")  ? "crop_to_patches"
                                                              : NULL;
    if (what != NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is not supported", where, what);
    if (out->do_center_crop && out->crop_height == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'do_center_crop' needs 'crop_size'", where);
    if (out->do_rescale && !(out->rescale_factor > 0 && out->rescale_factor <= 1))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'rescale_factor' is %g; it must be in (0, 1]",
                         where, out->rescale_factor);
    for (int i = 0; i < 3; i++)
        if (out->do_normalize && (!(out->std[i] > 1e-6 && out->std[i] < 1e6) ||
                                  !(out->mean[i] > -1e6 && out->mean[i] < 1e6)))
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: 'image_mean' or 'image_std' of channel %d is out of range", where,
                             i);
    if (!vlmp_preprocess_has_grid(out)) return VLMP_OK;
    int height, width, side;
    vlmp_preprocess_base(out, &height, &width, &side);
    return vlmp_anyres_check(out->pinpoints, out->pinpoint_count, side, where, err);
}

/* Qwen-VL's sizes are numbers of pixels, whatever they are called; min_pixels and max_pixels say
 * the same and count where they are given. */
static int read_pixel_limits(const cJSON *o, vlmp_preprocess *out, const char *where,
                             vlmp_error *err)
{
    const int64_t limit = (int64_t)1 << 40;
    const cJSON *size = vlmp_json_get(o, "size");
    int64_t patch, merge, frames;
    const struct {
        const cJSON *object;
        const char *key;
        int64_t *value;
    } limits[] = {
        {size, "shortest_edge", &out->least_pixels}, {size, "longest_edge", &out->most_pixels},
        {size, "min_pixels", &out->least_pixels},    {size, "max_pixels", &out->most_pixels},
        {o, "min_pixels", &out->least_pixels},       {o, "max_pixels", &out->most_pixels}};
    bool given[2] = {false, false}; /* the least, the most */
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        VLMP_TRY(vlmp_json_int(limits[i].object, limits[i].key, *limits[i].value, 1, limit,
                               limits[i].value, where, err));
        given[i % 2] |= vlmp_json_get(limits[i].object, limits[i].key) != NULL;
    }
    if (size != NULL && !(cJSON_IsObject(size) && given[0] && given[1]))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'size' must be {shortest_edge, longest_edge}, numbers of pixels",
                         where);
    VLMP_TRY(vlmp_json_int(o, "patch_size", out->patch_size, 1, 1024, &patch, where, err));
    VLMP_TRY(vlmp_json_int(o, "merge_size", out->merge_size, 1, 64, &merge, where, err));
    VLMP_TRY(vlmp_json_int(o, "temporal_patch_size", out->frames, 1, 64, &frames, where, err));
    out->patch_size = (int)patch;
    out->merge_size = (int)merge;
    out->frames = (int)frames;
    if (out->least_pixels <= out->most_pixels) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the least number of pixels, %lld, is above the most, %lld", where,
                     (long long)out->least_pixels, (long long)out->most_pixels);
}

static int read_processor(vlmp_preprocess *out, const cJSON *o, const char *where, vlmp_error *err)
{
    vlmp_processor_kind kind = VLMP_PROCESSOR_CLIP;
    bool square;
    VLMP_TRY(read_kind(o, &kind, where, err));
    class_defaults(out, kind);
    VLMP_TRY(read_flags(o, out, where, err));
    VLMP_TRY(vlmp_json_bool(o, "default_to_square", false, &square, where, err));
    if (kind == VLMP_PROCESSOR_QWEN2_VL)
        VLMP_TRY(read_pixel_limits(o, out, where, err));
    else
        VLMP_TRY(read_size(o, "size", square, &out->size, where, err));
    if (kind == VLMP_PROCESSOR_IDEFICS3 ? out->size.shortest_edge != 0
                                        : out->size.height == 0 && out->size.shortest_edge == 0)
        return fail_size("size", where, err);
    if (kind == VLMP_PROCESSOR_IDEFICS3) VLMP_TRY(read_tile_side(o, out, where, err));
    vlmp_resize_size crop = {.height = out->crop_height, .width = out->crop_width};
    VLMP_TRY(read_size(o, "crop_size", true, &crop, where, err));
    if (crop.shortest_edge != 0) return fail_size("crop_size", where, err);
    out->crop_height = crop.height;
    out->crop_width = crop.width;
    VLMP_TRY(read_resample(o, out, where, err));
    VLMP_TRY(vlmp_json_double(o, "rescale_factor", out->rescale_factor, &out->rescale_factor, where,
                              err));
    VLMP_TRY(read_triple(o, "image_mean", out->mean, where, err));
    VLMP_TRY(read_triple(o, "image_std", out->std, where, err));
    if (vlmp_preprocess_has_grid(out))
        VLMP_TRY(vlmp_pinpoints_read(out->pinpoints, &out->pinpoint_count, kind, o, where, err));
    return refuse_unknown(o, out, where, err);
}

static int parse_object(cJSON **root, const char *json, size_t length, const char *where,
                        vlmp_error *err)
{
    VLMP_TRY(vlmp_json_parse(root, json, length, where, err));
    if (cJSON_IsObject(*root)) return VLMP_OK;
    cJSON_Delete(*root);
    *root = NULL;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: not a JSON object", where);
}

int vlmp_preprocess_parse(vlmp_preprocess *out, const char *json, size_t length, const char *where,
                          vlmp_error *err)
{
    cJSON *root;
    *out = (vlmp_preprocess){0};
    VLMP_TRY(parse_object(&root, json, length, where, err));
    const cJSON *nested = vlmp_json_get(root, "image_processor");
    int status;
    if (nested != NULL && !cJSON_IsObject(nested))
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'image_processor' is not an object", where);
    else
        status = read_processor(out, nested != NULL ? nested : root, where, err);
    cJSON_Delete(root);
    return status;
}

static int read_settings(vlmp_processor_settings *out, const cJSON *o, const char *where,
                         vlmp_error *err)
{
    int64_t patch, additional, rows;
    const char *select, *token;
    VLMP_TRY(vlmp_json_int(o, "patch_size", 0, 1, MAX_SIDE, &patch, where, err));
    VLMP_TRY(
        vlmp_json_int(o, "num_additional_image_tokens", -1, 0, MAX_SIDE, &additional, where, err));
    VLMP_TRY(vlmp_json_int(o, "image_seq_len", 0, 1, MAX_SIDE, &rows, where, err));
    VLMP_TRY(vlmp_json_string(o, "vision_feature_select_strategy", NULL, &select, where, err));
    VLMP_TRY(vlmp_json_string(o, "image_token", "", &token, where, err));
    out->patch_size = (int)patch;
    out->num_additional_image_tokens = (int)additional;
    out->image_seq_len = (int)rows;
    if (select == NULL)
        out->select = VLMP_SELECT_ABSENT;
    else if (strcmp(select, "default") == 0)
        out->select = VLMP_SELECT_DEFAULT;
    else if (strcmp(select, "full") == 0)
        out->select = VLMP_SELECT_FULL;
    else
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: vision_feature_select_strategy '%.64s' is neither 'default' nor "
                         "'full'",
                         where, select);
    if (strlen(token) >= sizeof out->image_token)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'image_token' has more than %zu bytes", where,
                         sizeof out->image_token - 1);
    strcpy(out->image_token, token);
    return VLMP_OK;
}

int vlmp_processor_settings_parse(vlmp_processor_settings *out, const char *json, size_t length,
                                  const char *where, vlmp_error *err)
{
    cJSON *root;
    *out = (vlmp_processor_settings){.num_additional_image_tokens = -1};
    VLMP_TRY(parse_object(&root, json, length, where, err));
    int status = read_settings(out, root, where, err);
    cJSON_Delete(root);
    return status;
}

/* Is there an image processor inside processor_config.json? */
static int has_nested(bool *nested, const char *json, size_t length, const char *where,
                      vlmp_error *err)
{
    cJSON *root;
    VLMP_TRY(parse_object(&root, json, length, where, err));
    *nested = vlmp_json_get(root, "image_processor") != NULL;
    cJSON_Delete(root);
    return VLMP_OK;
}

int vlmp_preprocess_look(bool *there, const vlmp_source *source, vlmp_error *err)
{
    static const char outer[] = "processor_config.json";
    size_t length;
    char where[1024];
    *there = source->file(source, "preprocessor_config.json", &length) != NULL;
    const char *json = source->file(source, outer, &length);
    if (*there || json == NULL) return VLMP_OK;
    snprintf(where, sizeof where, "%s/%s", source->path, outer);
    return has_nested(there, json, length, where, err);
}

int vlmp_preprocess_from_source(vlmp_preprocess *out, vlmp_processor_settings *settings,
                                const vlmp_source *source, vlmp_error *err)
{
    static const char outer[] = "processor_config.json", inner[] = "preprocessor_config.json";
    size_t outer_length = 0, inner_length = 0;
    const char *outer_json = source->file(source, outer, &outer_length);
    const char *inner_json = source->file(source, inner, &inner_length);
    char where[1024];
    bool nested = false;
    if (settings != NULL) *settings = (vlmp_processor_settings){.num_additional_image_tokens = -1};
    if (outer_json != NULL) {
        snprintf(where, sizeof where, "%s/%s", source->path, outer);
        if (settings != NULL)
            VLMP_TRY(vlmp_processor_settings_parse(settings, outer_json, outer_length, where, err));
        VLMP_TRY(has_nested(&nested, outer_json, outer_length, where, err));
        if (nested) return vlmp_preprocess_parse(out, outer_json, outer_length, where, err);
    }
    if (inner_json == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: neither %s nor an image_processor in %s; pictures cannot be prepared "
                         "without%s",
                         source->path, inner, outer, vlmp_source_lack_hint(source));
    snprintf(where, sizeof where, "%s/%s", source->path, inner);
    return vlmp_preprocess_parse(out, inner_json, inner_length, where, err);
}
