/* Image processors: their configurations in all spellings, and pixel values equal to the
 * reference's. */
#include "tests/unit/golden_images.h"

#include "src/base/file.h"
#include "src/picture/preprocess.h"

static void check_line(const char *line)
{
    char name[64], path[4096], hex[VLMP_SHA256_HEX], *json;
    int w, h, kind, seed, count, tile_h, tile_w;
    size_t length;
    assert_int_equal(sscanf(line, "%63s %d %d %d %d %d %d %d %64s", name, &w, &h, &kind, &seed,
                            &count, &tile_h, &tile_w, hex),
                     9);
    snprintf(path, sizeof path, "%s%s", GOLDEN_IMAGES, name);
    vlmp_error err = {0};
    vlmp_preprocess pre;
    vlmp_tiles tiles;
    assert_int_equal(vlmp_file_read(&json, &length, path, 1 << 20, &err), VLMP_OK);
    assert_int_equal(vlmp_preprocess_parse(&pre, json, length, name, &err), VLMP_OK);
    /* Two files of one processor: a picture alone, and among others. */
    int among = strcmp(name, "onevision-several.json") == 0 ? 2 : 1;
    vlmp_image image = pattern(w, h, kind, seed);
    assert_int_equal(vlmp_preprocess_tiles(&tiles, &pre, &image, among, "pattern", &err), VLMP_OK);
    if (tiles.count != count || tiles.height != tile_h || tiles.width != tile_w)
        fail_msg("%s: got %d tiles of %d x %d", line, tiles.count, tiles.height, tiles.width);
    assert_int_equal(tiles.image_height, h);
    assert_int_equal(tiles.image_width, w);
    size_t values = (size_t)tile_h * (size_t)tile_w * 3;
    float *out = malloc((size_t)count * values * sizeof *out), levels[3 * 256];
    assert_non_null(out);
    vlmp_preprocess_levels(&pre, levels);
    for (size_t i = 0; i < (size_t)count * values; i++) { /* [tile][channel][row][column] */
        size_t plane = values / 3, at = i % plane, c = i / plane % 3, tile = i / values;
        out[i] = levels[c * 256 + tiles.pixels[tile * values + 3 * at + c]];
    }
    assert_golden(out, (size_t)count * values * sizeof *out, hex, line);
    free(out);
    free(tiles.pixels);
    free(image.pixels);
    free(json);
}

static void equals_reference(void **state)
{
    (void)state;
    each_golden_line("processors.txt", 60, check_line);
}

static int parse(vlmp_preprocess *pre, const char *json, vlmp_error *err)
{
    *err = (vlmp_error){0};
    return vlmp_preprocess_parse(pre, json, strlen(json), "folder/preprocessor_config.json", err);
}

/* What transformers' classes hold when the file says nothing. */
static void class_defaults(void **state)
{
    (void)state;
    vlmp_preprocess p;
    vlmp_error err;
    assert_int_equal(parse(&p, "{\"image_processor_type\": \"CLIPImageProcessorFast\"}", &err), 0);
    assert_int_equal(p.kind, VLMP_PROCESSOR_CLIP);
    assert_int_equal(p.size.shortest_edge, 224);
    assert_int_equal(p.crop_height, 224);
    assert_int_equal(p.resample, VLMP_RESAMPLE_BICUBIC);
    assert_true(p.do_resize && p.do_center_crop && p.do_rescale && p.do_normalize && !p.do_pad);
    assert_true(p.rescale_factor == 1.0 / 255.0);
    assert_true(p.mean[0] == 0.48145466 && p.std[2] == 0.27577711);
    assert_int_equal(parse(&p, "{\"image_processor_type\": \"LlavaNextImageProcessor\"}", &err), 0);
    assert_int_equal(p.kind, VLMP_PROCESSOR_LLAVA_NEXT);
    assert_int_equal(p.pinpoint_count, 5);
    assert_int_equal(p.pinpoints[3][0], 1008);
    assert_int_equal(parse(&p, "{\"image_processor_type\": \"SiglipImageProcessor\"}", &err), 0);
    assert_true(!p.do_center_crop && p.size.height == 224 && p.size.shortest_edge == 0);
    assert_true(p.mean[1] == 0.5 && p.std[1] == 0.5);
    assert_int_equal(parse(&p, "{\"image_processor_type\": \"SmolVLMImageProcessorFast\"}", &err),
                     0);
    assert_int_equal(p.kind, VLMP_PROCESSOR_IDEFICS3);
    assert_true(p.do_image_splitting && p.tile_side == 364 && p.size.longest_edge == 1456);
    assert_true(!p.do_center_crop && p.resample == VLMP_RESAMPLE_LANCZOS && p.mean[2] == 0.5);
    assert_int_equal(parse(&p, "{\"feature_extractor_type\": \"CLIPFeatureExtractor\"}", &err), 0);
    assert_int_equal(parse(&p, "{\"image_processor_type\": \"LlavaImageProcessorPil\"}", &err), 0);
    assert_int_equal(p.kind, VLMP_PROCESSOR_LLAVA);
}

/* Sizes as transformers 2 to 5 wrote them; null means the default. */
static void spellings(void **state)
{
    (void)state;
    vlmp_preprocess p;
    vlmp_error err;
    assert_int_equal(parse(&p,
                           "{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": 336, "
                           "\"crop_size\": 336, \"resample\": null, \"image_mean\": 0.5}",
                           &err),
                     0);
    assert_int_equal(p.size.shortest_edge, 336);
    assert_int_equal(p.crop_width, 336);
    assert_int_equal(p.resample, VLMP_RESAMPLE_BICUBIC);
    assert_true(p.mean[0] == 0.5 && p.mean[2] == 0.5);
    assert_int_equal(
        parse(&p,
              "{\"image_processor\": {\"image_processor_type\": \"CLIPImageProcessor\","
              " \"size\": [20, 30], \"crop_size\": {\"height\": 8, \"width\": 9}}}",
              &err),
        0);
    assert_true(p.size.height == 20 && p.size.width == 30 && p.size.shortest_edge == 0);
    assert_true(p.crop_height == 8 && p.crop_width == 9);
}

static void refuses_configurations(void **state)
{
    (void)state;
    static const struct {
        const char *json, *named;
    } bad[] = {
        {"{}", "image_processor_type"},
        {"[]", "object"},
        {"{\"image_processor\": 3}", "image_processor"},
        {"{\"image_processor_type\": \"FuyuImageProcessor\"}", "FuyuImageProcessor"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": {\"longest_edge\": 9}}",
         "size"},
        {"{\"image_processor_type\": \"Qwen2VLImageProcessor\", \"size\": {}}", "longest_edge"},
        {"{\"image_processor_type\": \"Qwen2VLImageProcessor\", \"size\": \"big\"}",
         "longest_edge"},
        {"{\"image_processor_type\": \"Qwen2VLImageProcessor\", \"max_pixels\": 9000, "
         "\"size\": {\"height\": 9, \"width\": 9}}",
         "longest_edge"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": {\"max_pixels\": 9}}",
         "size"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": {\"height\": 9}}", "size"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": {\"shortest_edge\": 0}}",
         "shortest_edge"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": [1]}", "size"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": 1e9}", "size"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": \"big\"}", "size"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"crop_size\": {\"shortest_edge\": "
         "9}}",
         "crop_size"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"resample\": 6}", "resample"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"image_std\": [1, 0, 1]}",
         "image_std"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"image_mean\": [1, 2]}",
         "image_mean"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"do_resize\": \"yes\"}", "do_resize"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"rescale_factor\": -1}",
         "rescale_factor"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\", \"pad_size\": {\"height\": 1}}",
         "pad_size"},
        {"{\"image_processor_type\": \"SiglipImageProcessor\", \"do_center_crop\": true}",
         "crop_size"},
        {"{\"image_processor_type\": \"LlavaNextImageProcessor\", \"image_grid_pinpoints\": []}",
         "image_grid_pinpoints"},
        {"{\"image_processor_type\": \"LlavaNextImageProcessor\", \"image_grid_pinpoints\": [[1, "
         "2],"
         " [3]]}",
         "entry 1"},
        {"{\"image_processor_type\": \"LlavaNextImageProcessor\", \"crop_size\": 1, \"size\": 1, "
         "\"image_grid_pinpoints\": [[1, 1], [64, 17]]}",
         "makes 1088 tiles of 1 x 1"},
        {"{\"image_processor_type\": \"LlavaNextImageProcessor\", \"crop_size\": 2, "
         "\"image_grid_pinpoints\": [[65536, 65536]]}",
         "more than the limit of 1024"},
        {"{\"image_processor_type\": \"LlavaNextImageProcessor\", \"image_grid_pinpoints\": "
         "[[-336, "
         "336]]}",
         "entry 0"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vlmp_preprocess p;
        vlmp_error err;
        if (parse(&p, bad[i].json, &err) != VLMP_ERR_INPUT) fail_msg("accepted: %s", bad[i].json);
        if (strstr(err.message, bad[i].named) == NULL || strstr(err.message, "folder/") == NULL)
            fail_msg("%s: message is: %s", bad[i].json, err.message);
    }
}

static void settings(void **state)
{
    (void)state;
    vlmp_processor_settings s;
    vlmp_error err = {0};
    const char *full = "{\"patch_size\": 14, \"vision_feature_select_strategy\": \"default\", "
                       "\"num_additional_image_tokens\": 1, \"image_token\": \"<image>\"}";
    assert_int_equal(vlmp_processor_settings_parse(&s, full, strlen(full), "p", &err), VLMP_OK);
    assert_int_equal(s.patch_size, 14);
    assert_int_equal(s.select, VLMP_SELECT_DEFAULT);
    assert_int_equal(s.num_additional_image_tokens, 1);
    assert_string_equal(s.image_token, "<image>");
    assert_int_equal(vlmp_processor_settings_parse(&s, "{}", 2, "p", &err), VLMP_OK);
    assert_true(s.patch_size == 0 && s.select == VLMP_SELECT_ABSENT && s.image_token[0] == '\0');
    assert_int_equal(s.num_additional_image_tokens, -1);
    const char *odd = "{\"vision_feature_select_strategy\": \"some\"}";
    assert_int_equal(vlmp_processor_settings_parse(&s, odd, strlen(odd), "p", &err),
                     VLMP_ERR_INPUT);
}

/* A source of two files. */
static const char *outer_text, *inner_text;

static const char *two_files(const vlmp_source *self, const char *name, size_t *length)
{
    (void)self;
    const char *text = strcmp(name, "processor_config.json") == 0      ? outer_text
                       : strcmp(name, "preprocessor_config.json") == 0 ? inner_text
                                                                       : NULL;
    *length = text != NULL ? strlen(text) : 0;
    return text;
}

static void picks_the_right_file(void **state)
{
    (void)state;
    vlmp_source source = {.path = "model", .file = two_files};
    vlmp_preprocess p;
    vlmp_processor_settings s;
    vlmp_error err = {0};
    inner_text = "{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": 32}";
    outer_text = "{\"patch_size\": 7}";
    assert_int_equal(vlmp_preprocess_from_source(&p, &s, &source, &err), VLMP_OK);
    assert_int_equal(p.size.shortest_edge, 32);
    assert_int_equal(s.patch_size, 7);
    outer_text = "{\"image_processor\": {\"image_processor_type\": \"CLIPImageProcessor\", "
                 "\"size\": 48}}";
    assert_int_equal(vlmp_preprocess_from_source(&p, NULL, &source, &err), VLMP_OK);
    assert_int_equal(p.size.shortest_edge, 48); /* the nested one wins, as in transformers 5 */
    outer_text = NULL;
    assert_int_equal(vlmp_preprocess_from_source(&p, &s, &source, &err), VLMP_OK);
    assert_int_equal(s.patch_size, 0);
    inner_text = NULL;
    assert_int_equal(vlmp_preprocess_from_source(&p, &s, &source, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "model: "));
}

/* A line of a million pixels: cropping needs little memory; what needs much is refused. */
static void extreme_shapes(void **state)
{
    (void)state;
    vlmp_preprocess p;
    vlmp_tiles t;
    vlmp_error err;
    vlmp_image line = pattern(1000000, 1, 0, 1);
    assert_int_equal(parse(&p, "{\"image_processor_type\": \"CLIPImageProcessor\"}", &err), 0);
    assert_int_equal(vlmp_preprocess_tiles(&t, &p, &line, 1, "line.png", &err), VLMP_OK);
    assert_int_equal(t.width, 224);
    free(t.pixels);
    const char *uncropped = "{\"image_processor_type\": \"CLIPImageProcessor\", "
                            "\"do_center_crop\": false, \"size\": 3000}";
    assert_int_equal(parse(&p, uncropped, &err), 0);
    assert_int_equal(vlmp_preprocess_tiles(&t, &p, &line, 1, "line.png", &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "line.png"));
    assert_null(t.pixels);
    const char *padded = "{\"image_processor_type\": \"LlavaImageProcessor\", \"do_pad\": true}";
    assert_int_equal(parse(&p, padded, &err), 0);
    assert_int_equal(vlmp_preprocess_tiles(&t, &p, &line, 1, "line.png", &err), VLMP_ERR_INPUT);
    free(line.pixels);
}

/* What a processor asks for is refused before it is computed, however small the picture. */
static void refuses_large_grids(void **state)
{
    (void)state;
    static const struct {
        const char *size, *crop, *pinpoints, *named;
    } bad[] = {
        {"65536", "16384", "[[16384, 16384]]", "a base"},
        {"16384", "16384", "[[16384, 16384]]", "a base"},
        {"224", "512", "[[16384, 16384]]", "a grid"},
        {"{\"height\": 4096, \"width\": 4096}, \"do_center_crop\": false", "1", "[[32, 32]]",
         "tiles"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char json[512];
        vlmp_preprocess pre;
        vlmp_tiles tiles;
        vlmp_error err;
        snprintf(json, sizeof json,
                 "{\"image_processor_type\": \"LlavaNextImageProcessor\", \"size\": %s, "
                 "\"crop_size\": %s, \"image_grid_pinpoints\": %s}",
                 bad[i].size, bad[i].crop, bad[i].pinpoints);
        if (parse(&pre, json, &err) != VLMP_OK) fail_msg("%s: %s", json, err.message);
        vlmp_image image = pattern(3, 2, 0, 1);
        assert_int_equal(vlmp_preprocess_tiles(&tiles, &pre, &image, 1, "pattern", &err),
                         VLMP_ERR_INPUT);
        assert_null(tiles.pixels);
        if (strstr(err.message, bad[i].named) == NULL) fail_msg("%s: %s", json, err.message);
        free(image.pixels);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_reference), cmocka_unit_test(class_defaults),
        cmocka_unit_test(spellings),        cmocka_unit_test(refuses_configurations),
        cmocka_unit_test(settings),         cmocka_unit_test(picks_the_right_file),
        cmocka_unit_test(extreme_shapes),   cmocka_unit_test(refuses_large_grids),
    };
    return cmocka_run_group_tests_name("preprocess", tests, NULL, NULL);
}
