/* Pictures as a model's image processor makes them, in two steps: 8-bit tiles (resized, padded,
 * cropped, cut up), which is what calibration files store, and their normalization. Both equal the
 * reference implementation's PIL backend bit for bit. */
#pragma once

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/picture/anyres.h"
#include "src/picture/resize.h"
#include "src/picture/split.h"
#include "src/store/image.h"
#include "src/store/source.h"

typedef enum {
    VLMP_PROCESSOR_CLIP,       /* CLIPImageProcessor */
    VLMP_PROCESSOR_LLAVA,      /* LlavaImageProcessor: CLIP's, or padded to a square first */
    VLMP_PROCESSOR_LLAVA_NEXT, /* LlavaNextImageProcessor: a base tile and a grid of tiles */
    VLMP_PROCESSOR_SIGLIP,     /* SiglipImageProcessor */
    VLMP_PROCESSOR_IDEFICS3, /* Idefics3- and SmolVLMImageProcessor: a grid of tiles, then the whole
                              * picture */
    VLMP_PROCESSOR_QWEN2_VL, /* Qwen2VLImageProcessor: one tile of about the picture's own size */
    VLMP_PROCESSOR_LLAVA_ONEVISION, /* LlavaOnevisionImageProcessor: LLAVA_NEXT's of a picture
                                     * alone; each of several is padded to a square */
} vlmp_processor_kind;

/* Pixels. Either height and width, or shortest_edge with or without longest_edge, or (IDEFICS3)
 * longest_edge alone; the rest is 0. */
typedef struct {
    int height, width;
    int shortest_edge, longest_edge;
} vlmp_resize_size;

/* An image processor's configuration with its class's defaults filled in. */
typedef struct vlmp_preprocess {
    vlmp_processor_kind kind;
    bool do_convert_rgb; /* pictures are RGB already */
    bool do_resize;
    vlmp_resize_size size;
    vlmp_resample resample;
    vlmp_resize_precision precision; /* not in the file: Pillow's unless the caller changes it */
    bool do_center_crop;
    int crop_height, crop_width;
    bool do_rescale;
    double rescale_factor;
    bool do_normalize;
    double mean[3], std[3];
    bool do_pad; /* LLAVA: to a square of the mean colour, before resizing */
    int pinpoints[VLMP_MAX_PINPOINTS][2]; /* LLAVA_NEXT, LLAVA_ONEVISION: height, width */
    int pinpoint_count;
    bool do_image_splitting; /* IDEFICS3 */
    int tile_side;           /* IDEFICS3: max_image_size */
    /* QWEN2_VL: pixels of a tile, and the parts that it is made of. */
    int64_t least_pixels, most_pixels;
    int patch_size, merge_size, frames;
} vlmp_preprocess;

/* Whether pictures become a base tile and a grid: LLAVA_NEXT, LLAVA_ONEVISION. */
static inline bool vlmp_preprocess_has_grid(const vlmp_preprocess *pre)
{
    return pre->kind == VLMP_PROCESSOR_LLAVA_NEXT || pre->kind == VLMP_PROCESSOR_LLAVA_ONEVISION;
}

/* LLAVA_NEXT: the size of the base picture and the side of the tiles that the grid is cut into,
 * before both are resized and cropped to what the tower reads. */
void vlmp_preprocess_base(const vlmp_preprocess *pre, int *height, int *width, int *side);

/* From the text of preprocessor_config.json, or of processor_config.json, whose member
 * "image_processor" is taken. where names the file. What this code does not do is VLMP_ERR_INPUT
 * and named. */
int vlmp_preprocess_parse(vlmp_preprocess *out, const char *json, size_t length, const char *where,
                          vlmp_error *err);

/* "image_grid_pinpoints" of a configuration object: height, width. Absent: those of the class,
 * LLAVA_NEXT's five or LLAVA_ONEVISION's 36. */
int vlmp_pinpoints_read(int pinpoints[VLMP_MAX_PINPOINTS][2], int *count, vlmp_processor_kind kind,
                        const cJSON *object, const char *where, vlmp_error *err);

typedef enum {
    VLMP_SELECT_ABSENT,
    VLMP_SELECT_DEFAULT, /* without the class row */
    VLMP_SELECT_FULL,
} vlmp_feature_select;

/* What processor_config.json says about counting picture tokens. */
typedef struct {
    int patch_size;                  /* 0: absent */
    vlmp_feature_select select;      /* vision_feature_select_strategy */
    int num_additional_image_tokens; /* -1: absent */
    int image_seq_len;               /* 0: absent */
    char image_token[64];            /* "": absent */
} vlmp_processor_settings;

int vlmp_processor_settings_parse(vlmp_processor_settings *out, const char *json, size_t length,
                                  const char *where, vlmp_error *err);

/* Whether a model's files have an image processor. */
int vlmp_preprocess_look(bool *there, const vlmp_source *source, vlmp_error *err);

/* Both from a model's files: the image processor nested in processor_config.json if there is one,
 * else preprocessor_config.json. settings may be NULL. */
int vlmp_preprocess_from_source(vlmp_preprocess *out, vlmp_processor_settings *settings,
                                const vlmp_source *source, vlmp_error *err);

/* Tiles of one picture, all of one size. */
typedef struct {
    int count; /* LLAVA_NEXT: the base, then the grid row by row; IDEFICS3: the grid, then the
                * whole; else 1 */
    int height, width;
    uint8_t *pixels;               /* [count][height][width][3]; free with free() */
    int image_height, image_width; /* of the picture */
} vlmp_tiles;

/* among: pictures in the prompt, this one included. On failure out->pixels is NULL. A picture whose
 * shape would take more memory than the reference can handle is VLMP_ERR_INPUT. name (a path) is
 * for messages. */
int vlmp_preprocess_tiles(vlmp_tiles *out, const vlmp_preprocess *pre, const vlmp_image *image,
                          int among, const char *name, vlmp_error *err);

/* IDEFICS3: how a picture is cut up. One whose grid is empty or too large is VLMP_ERR_INPUT. */
int vlmp_preprocess_split(vlmp_split_plan *plan, const vlmp_preprocess *pre, int height, int width,
                          const char *name, vlmp_error *err);

/* QWEN2_VL: the size of a picture's tile, whose sides are multiples of merge_size·patch_size. One
 * that is too long and thin or too large is VLMP_ERR_INPUT. */
int vlmp_preprocess_size(const vlmp_preprocess *pre, int *height, int *width, const char *name,
                         vlmp_error *err);

/* levels[3][256]: what each byte of each channel becomes, rescaled and normalized. */
void vlmp_preprocess_levels(const vlmp_preprocess *pre, float *levels);
