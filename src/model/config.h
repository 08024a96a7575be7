/* What a model is: plain numbers, filled by a family's reader from config.json. */
#pragma once

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/model/block.h"
#include "src/picture/anyres.h"

#define VLMP_MAX_FEATURE_LAYERS 8
#define VLMP_MAX_TAPS           8
#define VLMP_MAX_LAYERS         1024 /* no plausible model has more */

typedef enum { VLMP_ROPE_DEFAULT, VLMP_ROPE_LINEAR, VLMP_ROPE_LLAMA3 } vlmp_rope_kind;

typedef struct {
    vlmp_rope_kind kind;
    double theta;
    double factor;
    double low_freq_factor;
    double high_freq_factor;
    double original_max_positions;
} vlmp_rope_config;

/* Which row of the position table a patch gets. */
typedef enum {
    VLMP_POSITIONS_IN_ORDER,
    VLMP_POSITIONS_BUCKETS,   /* vlmp_position_bucket of its row and of its column */
    VLMP_POSITIONS_NONE,      /* there is no table */
    VLMP_POSITIONS_STRETCHED, /* between those of a square table, stretched over the tile's grid */
} vlmp_vision_positions;

/* A pre-norm ViT with biases in all linears of its blocks. */
typedef struct {
    int hidden;
    int intermediate;
    int layers;     /* in the files */
    int run_layers; /* computed: what lies above the last feature layer is never needed */
    int heads;
    int head_dim;
    int image_size; /* pixels a side of every tile; 0: any, multiples of merge·patch_size */
    int patch_size;
    int frames; /* that a patch spans; each shows the picture again */
    vlmp_norm_kind norm;
    float norm_eps;
    vlmp_activation act;
    bool gated;     /* MLP */
    bool fused_qkv; /* one linear for queries, keys and values */
    bool patch_bias;
    vlmp_vision_positions positions;
    int table_side;              /* STRETCHED */
    double rope_theta;           /* of rotary pairs by row and column; 0: none */
    bool has_class;              /* a class row comes first */
    bool has_pre_norm;           /* a norm before the first block */
    bool has_post_norm;          /* features go through the norm behind the last block */
    int window;                  /* patches a side that rows of a layer see; 0: all of the tile */
    bool whole[VLMP_MAX_LAYERS]; /* layers that see all in spite of the window */
    int merge;                   /* side of the squares of patches in which rows stand together */
    int feature_layers[VLMP_MAX_FEATURE_LAYERS]; /* outputs after this many layers, concatenated */
    int feature_count;
    bool drop_first; /* the projector does not see row 0 */
    /* Outputs after this many layers, each with a projector of its own, that are added to pictures'
     * rows behind the first layers of the text model, one each. */
    int taps[VLMP_MAX_TAPS];
    int tap_count;
} vlmp_vision_config;

/* A pre-norm decoder (Llama, Mistral, Qwen2): RMSNorm, RoPE, gated MLP, grouped-query attention. */
typedef struct {
    char model_type[32];
    int hidden;
    int intermediate;
    int layers;
    int heads;
    int kv_heads;
    int head_dim;
    int vocab;
    int max_positions;
    float norm_eps;
    vlmp_activation act;
    vlmp_rope_config rope;
    /* Rotary pairs that turn by time, row and column of a picture's place; 0: all by place in the
     * sequence. */
    int sections[VLMP_POSITION_AXES];
    bool interleaved; /* axes take turns, as far as their sections go; the first has the rest */
    bool qk_norm;     /* RMSNorm of each head's query and key */
    bool qkv_bias;
    bool o_bias;
    bool mlp_bias;
    bool tied;                     /* the head is the embedding table */
    int window;                    /* rows that a sliding layer sees, its own included */
    bool sliding[VLMP_MAX_LAYERS]; /* layers with the window */
} vlmp_text_config;

/* One linear, or two with an activation between. */
typedef struct {
    int linears;
    int inner; /* width between the two */
    vlmp_activation act;
    bool bias;
    int shuffle; /* side of the square of features that make one row; 1: each is a row */
} vlmp_projector_config;

struct vlmp_family;

typedef struct vlmp_config {
    const struct vlmp_family *family;
    char model_type[64];
    vlmp_vision_config vision;
    vlmp_projector_config projector;
    vlmp_text_config text;
    int32_t image_token;
    bool has_bare_token; /* the picture's may be the first id behind the embedding table */
    int32_t video_token; /* −1: none; prompts must not have it */
    bool has_newline;    /* a learned row after each row of picture features (LLaVA-NeXT) */
    /* Height, width of the resolutions that a picture may be tiled to; none in LLaVA-1.5. */
    int pinpoints[VLMP_MAX_PINPOINTS][2];
    int pinpoint_count;
    int most_tiles; /* whose features a map is shrunk to (LLaVA-OneVision); 0: any */
} vlmp_config;

/* Picks the family by "model_type" and reads the whole configuration; of a family that does not
 * run, nothing else. where names the file. */
int vlmp_config_read(vlmp_config *config, const char *json, size_t length, const char *where,
                     vlmp_error *err);

/* For families: the parts that several share, with transformers' class defaults. object may be NULL
 * (the section is missing).
 * A tower of a class: "clip_vision_model", … */
int vlmp_config_read_tower(vlmp_vision_config *vision, const char *class_name, const cJSON *object,
                           const char *where, vlmp_error *err);
/* One whose class the section's "model_type" names, or where nothing does, fallback; a missing
 * section means the sizes of the tower that its LLaVA was published with. */
int vlmp_config_read_named_tower(vlmp_vision_config *vision, const char *fallback,
                                 const cJSON *object, const char *where, vlmp_error *err);
int vlmp_config_read_text(vlmp_text_config *text, const cJSON *object, const cJSON *root,
                          const char *where, vlmp_error *err);
int vlmp_config_read_activation(const cJSON *object, const char *key, const char *fallback,
                                vlmp_activation *out, const char *where, vlmp_error *err);

/* The position, of `side` along an axis, that index i of as many patches is taken for: the number
 * of boundaries k/side, k = 1 … side − 1, at or below i·(1/side) in F32 (Idefics3). Not always i.
 */
int vlmp_position_bucket(int i, int side);

/* Values of the features that make one row of the projector's input. */
int vlmp_feature_width(const vlmp_config *config);

/* inv_freq[head_dim/2] in F32 arithmetic, as the reference implementation computes it. */
void vlmp_rope_frequencies(const vlmp_rope_config *rope, int head_dim, float *inv_freq);
