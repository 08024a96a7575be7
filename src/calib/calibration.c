#include "src/calib/calibration.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/calib/calibration_layout.h"
#include "src/text/unicode/unicode.h"

const char *const vlmp_calib_size_names[VLMP_CALIB_SIZES] = {
    "image_size",   "vocabulary",  "vision_layers", "vision_width",
    "vision_inner", "text_layers", "text_width",    "text_inner"};

void vlmp_calibration_sizes(int sizes[VLMP_CALIB_SIZES], const vlmp_model *model)
{
    sizes[VLMP_CALIB_IMAGE_SIZE] = model->config.vision.image_size;
    sizes[VLMP_CALIB_VOCABULARY] = model->config.text.vocab;
    sizes[VLMP_CALIB_VISION_LAYERS] = model->vision.layers;
    sizes[VLMP_CALIB_VISION_WIDTH] = model->vision.shape.dim;
    sizes[VLMP_CALIB_VISION_INNER] = model->vision.shape.intermediate;
    sizes[VLMP_CALIB_TEXT_LAYERS] = model->text.layers;
    sizes[VLMP_CALIB_TEXT_WIDTH] = model->text.shape.dim;
    sizes[VLMP_CALIB_TEXT_INNER] = model->text.shape.intermediate;
}

vlmp_draw_item vlmp_calib_draw_item(const vlmp_calib_sample *sample, const vlmp_model *model)
{
    const vlmp_sequence *s = &sample->sequence;
    vlmp_draw_item item = {.tokens = s->length,
                           .tower_rows = (int64_t)vlmp_sequence_tower_rows(s, &model->config)};
    for (int i = 0; i < s->image_count; i++)
        item.pictures += s->plans[i].tokens;
    sscanf(sample->id, "%16" SCNx64, &item.key);
    return item;
}

void vlmp_calibration_free(vlmp_calibration *calibration)
{
    for (size_t i = 0; i < calibration->count; i++)
        vlmp_sequence_free(&calibration->samples[i].sequence);
    free(calibration->samples);
    vlmp_statistics_free(&calibration->statistics);
    free(calibration->audit);
    *calibration = (vlmp_calibration){0};
}

static void hash_loosely(vlmp_sha256 *hash, const char *text)
{
    size_t length = strlen(text), from = 0, at = 0;
    while (at < length) {
        size_t start = at;
        if (!vlmp_is_white_space(vlmp_utf8_next(text, length, &at))) continue;
        vlmp_sha256_update(hash, text + from, start - from);
        from = at;
    }
    vlmp_sha256_update(hash, text + from, length - from + 1);
}

void vlmp_sample_id(const vlmp_bytes *pictures, size_t picture_count, const char *const *texts,
                    size_t text_count, bool loose, char id[VLMP_SHA256_HEX])
{
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    for (size_t i = 0; i < picture_count; i++)
        vlmp_sha256_update(&hash, pictures[i].bytes, pictures[i].length);
    for (size_t i = 0; i < text_count; i++) {
        if (loose)
            hash_loosely(&hash, texts[i]);
        else
            vlmp_sha256_update(&hash, texts[i], strlen(texts[i]) + 1);
    }
    vlmp_sha256_finish(&hash, id);
}

/* Over the samples' identities, and over their tokens. */
void vlmp_calib_digests(const vlmp_calibration *c, char data[VLMP_SHA256_HEX],
                        char tokens[VLMP_SHA256_HEX])
{
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    for (size_t i = 0; i < c->count; i++)
        vlmp_sha256_update(&hash, c->samples[i].id, sizeof c->samples[i].id);
    vlmp_sha256_finish(&hash, data);
    vlmp_sha256_start(&hash);
    for (size_t i = 0; i < c->count; i++)
        vlmp_tokens_digest_add(&hash, &c->samples[i].sequence);
    vlmp_sha256_finish(&hash, tokens);
}
