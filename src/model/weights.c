#include "src/model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/half.h"
#include "src/model/check.h"
#include "src/model/tiles.h"
#include "src/store/finite.h"

/* Of all tensors so far. */
static void release_pages(vlmp_loaded *loaded)
{
    for (int i = 0; i < loaded->tensor_count; i++)
        loaded->source->release(loaded->source, loaded->tensors[i]);
    loaded->tensor_count = 0;
}

void vlmp_unload(vlmp_loaded *loaded)
{
    for (int i = 0; i < loaded->prepared_count; i++)
        loaded->ctx->ops->release(loaded->ctx, loaded->prepared[i]);
    for (int i = 0; i < loaded->copy_count; i++)
        vlmp_ctx_free_memory(loaded->ctx, loaded->copies[i]);
    release_pages(loaded);
    free(loaded->prepared);
    free(loaded->copies);
    free(loaded->tensors);
    vlmp_arena_free(&loaded->arena);
    *loaded = (vlmp_loaded){.ctx = loaded->ctx};
}

/* Makes room for one more in a list of pointers. */
static int grow(void *list, int count, int *capacity, vlmp_error *err)
{
    void **items;
    memcpy(&items, list, sizeof items);
    if (count < *capacity) return VLMP_OK;
    int grown = *capacity == 0 ? 32 : 2 * *capacity;
    items = realloc(items, (size_t)grown * sizeof *items);
    if (items == NULL) return vlmp_fail_memory(err, "list of loaded tensors");
    memcpy(list, &items, sizeof items);
    *capacity = grown;
    return VLMP_OK;
}

static int remember(vlmp_loaded *loaded, const vlmp_source *source, const vlmp_tensor *tensor,
                    vlmp_error *err)
{
    loaded->source = source;
    VLMP_TRY(grow(&loaded->tensors, loaded->tensor_count, &loaded->tensor_capacity, err));
    loaded->tensors[loaded->tensor_count++] = tensor;
    return VLMP_OK;
}

/* The linear in the context's memory. */
static int prepare(vlmp_loaded *loaded, vlmp_linear *linear, vlmp_error *err)
{
    if (loaded->ctx == NULL || loaded->shapes_only) return VLMP_OK;
    VLMP_TRY(grow(&loaded->prepared, loaded->prepared_count, &loaded->prepared_capacity, err));
    VLMP_TRY(loaded->ctx->ops->prepare(loaded->ctx, linear, err));
    loaded->prepared[loaded->prepared_count++] = linear->own;
    /* What was read before it is a copy already; who reads the weight again reads the file. */
    if (loaded->ctx->ops->copies) release_pages(loaded);
    return VLMP_OK;
}

/* The same of a vector. */
static int copy(vlmp_loaded *loaded, const char *name, vlmp_vector *vector, vlmp_error *err)
{
    if (loaded->ctx == NULL || loaded->shapes_only) return VLMP_OK;
    VLMP_TRY(grow(&loaded->copies, loaded->copy_count, &loaded->copy_capacity, err));
    VLMP_TRY(vlmp_vector_copy(vector, loaded->ctx, name, err));
    loaded->copies[loaded->copy_count++] = vector->own.at;
    return VLMP_OK;
}

static int need(vlmp_loaded *loaded, const vlmp_source *source, const char *name, int rank,
                const int64_t *shape, const vlmp_tensor **out, vlmp_error *err)
{
    static const vlmp_tensor nothing;
    if (loaded->visit != NULL) {
        *out = &nothing;
        return loaded->visit(loaded->visit_arg, name, rank, shape, err);
    }
    VLMP_TRY(vlmp_source_need(source, name, rank, shape, out, err));
    if (loaded->shapes_only) return VLMP_OK;
    VLMP_TRY(remember(loaded, source, *out, err));
    return vlmp_tensor_check_finite(*out, err);
}

/* A vector or small matrix as F32, for the host. */
static int load_f32(vlmp_loaded *loaded, const vlmp_source *source, const char *name, int rank,
                    const int64_t *shape, float **out, size_t *count, vlmp_error *err)
{
    const vlmp_tensor *tensor;
    VLMP_TRY(need(loaded, source, name, rank, shape, &tensor, err));
    *out = NULL;
    if (loaded->shapes_only) return VLMP_OK;
    *count = tensor->bytes / vlmp_dtype_size(tensor->dtype);
    *out = vlmp_arena_alloc(&loaded->arena, *count, sizeof **out);
    if (*out == NULL) return vlmp_fail_memory(err, name);
    vlmp_to_f32(*out, tensor->data, tensor->dtype, *count);
    return VLMP_OK;
}

int vlmp_load_vector(vlmp_loaded *loaded, const vlmp_source *source, const char *name, int rank,
                     const int64_t *shape, vlmp_vector *out, vlmp_error *err)
{
    float *values;
    *out = (vlmp_vector){0};
    VLMP_TRY(load_f32(loaded, source, name, rank, shape, &values, &out->count, err));
    out->values = values;
    return copy(loaded, name, out, err);
}

/* Whether sums of int8 inputs by the linear's codes fit. */
static int check_int8(const vlmp_source *source, const char *name, const vlmp_linear *linear,
                      vlmp_error *err)
{
    int group = vlmp_linear_group(linear), most = vlmp_int8_most_inputs(vlmp_linear_bits(linear));
    if (!vlmp_linear_int8(linear) || group <= most) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: '%s' has int8 activations and %d inputs under one scale, more than the "
                     "%d whose products fit 32 bits; give it groups, or float activations",
                     source->path, name, group, most);
}

static int load_quantized(vlmp_loaded *loaded, const vlmp_source *source, const char *name,
                          const vlmp_scheme *scheme, vlmp_linear *out, vlmp_error *err)
{
    const vlmp_tensor *tensors[VLMP_PACKED_PARTS] = {0};
    vlmp_packed_shape shape;
    bool fits = vlmp_packed_shape_of(&shape, out->n, out->k, scheme);
    for (int i = 0; i < VLMP_PACKED_PARTS && fits; i++) {
        if (shape.parts[i].columns == 0) continue;
        char full[VLMP_NAME_MAX + 16];
        snprintf(full, sizeof full, "%s.%s", name,
                 vlmp_packed_part_name((vlmp_packed_part)i, scheme->codes));
        tensors[i] = source->find(source, full);
        if (tensors[i] == NULL)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: tensor '%s' is missing", source->path, full);
        VLMP_TRY(remember(loaded, source, tensors[i], err));
    }
    const vlmp_tensor *codes = tensors[VLMP_PACKED_CODES], *high = tensors[VLMP_PACKED_HIGH],
                      *zeros = tensors[VLMP_PACKED_ZEROS];
    if (!fits || codes->rank != 2 || codes->shape[0] != out->n ||
        codes->shape[1] != shape.parts[VLMP_PACKED_CODES].columns)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: tensor '%s.%s' does not have the shape of %d × %d %d-bit codes",
                         source->path, name,
                         vlmp_packed_part_name(VLMP_PACKED_CODES, scheme->codes), out->n, out->k,
                         vlmp_code_types[scheme->codes].bits);
    out->scheme = *scheme;
    out->scheme.int8_activations |=
        loaded->fast_activations && !vlmp_codes_are_floats(scheme->codes);
    if (tensors[VLMP_PACKED_GLOBAL] != NULL)
        out->scheme.global_scale = vlmp_scale_at(tensors[VLMP_PACKED_GLOBAL]->data, 0, VLMP_F32);
    out->codes = codes->data;
    out->high = high != NULL ? high->data : NULL;
    out->scales = tensors[VLMP_PACKED_SCALES]->data;
    out->zeros = zeros != NULL ? zeros->data : NULL;
    return check_int8(source, name, out, err);
}

static int load_bias(vlmp_loaded *loaded, const vlmp_source *source, const char *name, int n,
                     const float **out, vlmp_error *err)
{
    char full[VLMP_NAME_MAX + 16];
    float *values = NULL;
    size_t count;
    snprintf(full, sizeof full, "%s.bias", name);
    VLMP_TRY(load_f32(loaded, source, full, 1, (int64_t[]){n}, &values, &count, err));
    *out = values;
    return VLMP_OK;
}

int vlmp_load_linear(vlmp_loaded *loaded, const vlmp_source *source, const char *name, int n, int k,
                     bool bias, vlmp_linear *out, vlmp_error *err)
{
    *out = (vlmp_linear){.n = n, .k = k};
    if (bias) VLMP_TRY(load_bias(loaded, source, name, n, &out->bias, err));
    const vlmp_scheme *scheme = loaded->visit == NULL ? source->scheme(source, name) : NULL;
    if (scheme != NULL) {
        VLMP_TRY(load_quantized(loaded, source, name, scheme, out, err));
        return prepare(loaded, out, err);
    }
    char full[VLMP_NAME_MAX + 16];
    snprintf(full, sizeof full, "%s.weight", name);
    const vlmp_tensor *tensor;
    VLMP_TRY(need(loaded, source, full, 2, (int64_t[]){n, k}, &tensor, err));
    out->weight = tensor->data;
    out->dtype = tensor->dtype;
    return prepare(loaded, out, err);
}

static int load_norm(vlmp_loaded *loaded, const vlmp_source *source, const char *name, int dim,
                     vlmp_vector *weight, vlmp_vector *bias, vlmp_error *err)
{
    char full[VLMP_NAME_MAX + 16];
    int64_t shape[] = {dim};
    snprintf(full, sizeof full, "%s.weight", name);
    VLMP_TRY(vlmp_load_vector(loaded, source, full, 1, shape, weight, err));
    if (bias == NULL) return VLMP_OK;
    snprintf(full, sizeof full, "%s.bias", name);
    return vlmp_load_vector(loaded, source, full, 1, shape, bias, err);
}

int vlmp_load_block(vlmp_loaded *loaded, const vlmp_model *model, const vlmp_stack *stack,
                    int layer, vlmp_block *out, vlmp_error *err)
{
    loaded->fast_activations = model->fast_activations;
    const vlmp_block_shape *shape = &stack->shape;
    const vlmp_vision_config *vision = &model->config.vision;
    const vlmp_text_config *text = &model->config.text;
    bool layer_norm = shape->norm == VLMP_NORM_LAYER;
    *out = (vlmp_block){0};
    if (stack == &model->text && text->sliding[layer]) out->window = text->window;
    if (stack == &model->vision) out->windowed = vision->window > 0 && !vision->whole[layer];
    char name[VLMP_NAME_MAX];
    snprintf(name, sizeof name, "%s.layers.%d.%s", stack->prefix, layer, stack->norm_names[0]);
    VLMP_TRY(load_norm(loaded, model->source, name, shape->dim, &out->norm1,
                       layer_norm ? &out->norm1_bias : NULL, err));
    snprintf(name, sizeof name, "%s.layers.%d.%s", stack->prefix, layer, stack->norm_names[1]);
    VLMP_TRY(load_norm(loaded, model->source, name, shape->dim, &out->norm2,
                       layer_norm ? &out->norm2_bias : NULL, err));
    if (shape->qk_norm) {
        snprintf(name, sizeof name, "%s.layers.%d.attn.q_norm", stack->prefix, layer);
        VLMP_TRY(load_norm(loaded, model->source, name, shape->head_dim, &out->q_norm, NULL, err));
        snprintf(name, sizeof name, "%s.layers.%d.attn.k_norm", stack->prefix, layer);
        VLMP_TRY(load_norm(loaded, model->source, name, shape->head_dim, &out->k_norm, NULL, err));
    }
    int q = shape->heads * shape->head_dim, kv = shape->kv_heads * shape->head_dim;
    bool fused = shape->fused_qkv, gated = shape->gated, mlp_bias = shape->mlp_bias;
    const struct {
        const char *name;
        vlmp_linear *linear;
        int n, k;
        bool bias;
    } linears[] = {
        {"attn.qkv", fused ? &out->qkv : NULL, q + 2 * kv, shape->dim, shape->qkv_bias},
        {"attn.q", fused ? NULL : &out->q, q, shape->dim, shape->qkv_bias},
        {"attn.k", fused ? NULL : &out->k, kv, shape->dim, shape->qkv_bias},
        {"attn.v", fused ? NULL : &out->v, kv, shape->dim, shape->qkv_bias},
        {"attn.o", &out->o, shape->dim, q, shape->o_bias},
        {"mlp.gate", gated ? &out->gate : NULL, shape->intermediate, shape->dim, mlp_bias},
        {gated ? "mlp.up" : "mlp.fc1", &out->up, shape->intermediate, shape->dim, mlp_bias},
        {gated ? "mlp.down" : "mlp.fc2", &out->down, shape->dim, shape->intermediate, mlp_bias},
    };
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++) {
        if (linears[i].linear == NULL) continue;
        snprintf(name, sizeof name, "%s.layers.%d.%s", stack->prefix, layer, linears[i].name);
        VLMP_TRY(vlmp_load_linear(loaded, model->source, name, linears[i].n, linears[i].k,
                                  linears[i].bias, linears[i].linear, err));
    }
    return VLMP_OK;
}

/* rows[i]: of the table's, the one that patch i is taken for. */
static int choose_positions(vlmp_loaded *loaded, const vlmp_model *model, float **rows,
                            vlmp_error *err)
{
    size_t hidden = (size_t)model->config.vision.hidden;
    int side = model->config.vision.image_size / model->config.vision.patch_size;
    int patches = side * side;
    float *chosen = vlmp_arena_alloc(&loaded->arena, (size_t)patches * hidden, sizeof *chosen);
    if (chosen == NULL) return vlmp_fail_memory(err, "vision.position.weight");
    for (int i = 0; i < patches; i++) {
        int from =
            vlmp_position_bucket(i / side, side) * side + vlmp_position_bucket(i % side, side);
        memcpy(chosen + (size_t)i * hidden, *rows + (size_t)from * hidden, hidden * sizeof *chosen);
    }
    *rows = chosen;
    return VLMP_OK;
}

/* Positions, and the class row where it stands. */
static int load_tile_rows(vlmp_loaded *loaded, const vlmp_model *model, vlmp_vector *out,
                          vlmp_error *err)
{
    const vlmp_vision_config *vision = &model->config.vision;
    size_t count, hidden = (size_t)vision->hidden;
    bool stretched = vision->positions == VLMP_POSITIONS_STRETCHED;
    int tile_rows = stretched ? vision->table_side * vision->table_side
                              : vlmp_grid_tower_rows(vision, vlmp_tile_grid(vision, NULL));
    float *rows, *class_row = NULL;
    VLMP_TRY(load_f32(loaded, model->source, "vision.position.weight", 2,
                      (int64_t[]){tile_rows, vision->hidden}, &rows, &out->count, err));
    if (vision->has_class)
        VLMP_TRY(load_f32(loaded, model->source, "vision.class", 1, (int64_t[]){vision->hidden},
                          &class_row, &count, err));
    for (size_t i = 0; class_row != NULL && i < hidden; i++)
        rows[i] += class_row[i];
    if (vision->positions == VLMP_POSITIONS_BUCKETS && !loaded->shapes_only)
        VLMP_TRY(choose_positions(loaded, model, &rows, err));
    out->values = rows;
    if (stretched) return VLMP_OK; /* the host stretches it */
    return copy(loaded, "vision.position.weight", out, err);
}

/* All frames of a patch show the same: their weights [hidden][3][frames][patch²] are added to
 * [hidden][3][patch²]. A sum is rounded once, by 2⁻²⁴ of it. */
static int add_frames(vlmp_loaded *loaded, const vlmp_tensor *tensor, size_t frames, size_t pixels,
                      vlmp_linear *patch, vlmp_error *err)
{
    size_t count = tensor->bytes / vlmp_dtype_size(tensor->dtype), sums = count / frames;
    float *all = vlmp_alloc(count, sizeof *all);
    float *sum = vlmp_arena_alloc(&loaded->arena, sums, sizeof *sum);
    if (all == NULL || sum == NULL) {
        free(all);
        return vlmp_fail_memory(err, "vision.embed.weight");
    }
    vlmp_to_f32(all, tensor->data, tensor->dtype, count);
    for (size_t i = 0; i < sums; i++) {
        const float *first = all + i / pixels * frames * pixels + i % pixels;
        double total = 0;
        for (size_t f = 0; f < frames; f++)
            total += (double)first[f * pixels];
        sum[i] = (float)total;
    }
    free(all);
    patch->weight = sum;
    patch->dtype = VLMP_F32;
    return VLMP_OK;
}

/* The product that takes a patch to a row. */
static int load_patches(vlmp_loaded *loaded, const vlmp_model *model, vlmp_linear *out,
                        vlmp_error *err)
{
    const vlmp_vision_config *vision = &model->config.vision;
    int hidden = vision->hidden, patch = vision->patch_size;
    const vlmp_tensor *tensor;
    int64_t still[] = {hidden, 3, patch, patch},
            moving[] = {hidden, 3, vision->frames, patch, patch};
    bool several = vision->frames > 1;
    *out = (vlmp_linear){.n = hidden, .k = 3 * patch * patch};
    VLMP_TRY(need(loaded, model->source, "vision.embed.weight", several ? 5 : 4,
                  several ? moving : still, &tensor, err));
    out->weight = tensor->data;
    out->dtype = tensor->dtype;
    if (several && !loaded->shapes_only)
        VLMP_TRY(
            add_frames(loaded, tensor, (size_t)vision->frames, (size_t)(patch * patch), out, err));
    if (vision->patch_bias)
        VLMP_TRY(load_bias(loaded, model->source, "vision.embed", hidden, &out->bias, err));
    return prepare(loaded, out, err);
}

int vlmp_load_vision_input(vlmp_loaded *loaded, const vlmp_model *model, vlmp_vision_input *out,
                           vlmp_error *err)
{
    const vlmp_vision_config *vision = &model->config.vision;
    *out = (vlmp_vision_input){0};
    VLMP_TRY(load_patches(loaded, model, &out->patch, err));
    if (vision->positions != VLMP_POSITIONS_NONE)
        VLMP_TRY(load_tile_rows(loaded, model, &out->rows, err));
    if (!vision->has_pre_norm) return VLMP_OK;
    return load_norm(loaded, model->source, "vision.pre_norm", vision->hidden, &out->pre_norm,
                     &out->pre_norm_bias, err);
}

int vlmp_load_vision_output(vlmp_loaded *loaded, const vlmp_model *model, vlmp_vision_output *out,
                            vlmp_error *err)
{
    const vlmp_vision_config *vision = &model->config.vision;
    *out = (vlmp_vision_output){0};
    for (int t = 0; t < vision->tap_count; t++) {
        char name[VLMP_NAME_MAX];
        snprintf(name, sizeof name, "projector.taps.%d.norm", t);
        VLMP_TRY(load_norm(loaded, model->source, name, vlmp_feature_width(&model->config),
                           &out->tap_weight[t], &out->tap_bias[t], err));
    }
    if (!vision->has_post_norm) return VLMP_OK;
    return load_norm(loaded, model->source, "vision.post_norm", vision->hidden, &out->weight,
                     vision->norm == VLMP_NORM_LAYER ? &out->bias : NULL, err);
}

int vlmp_load_projector(vlmp_loaded *loaded, const vlmp_model *model, vlmp_projector *out,
                        vlmp_error *err)
{
    loaded->fast_activations = model->fast_activations;
    const vlmp_config *config = &model->config;
    const vlmp_projector_config *projector = &config->projector;
    int text = config->text.hidden;
    *out = (vlmp_projector){0};
    int inner = projector->linears > 1 ? projector->inner : text;
    VLMP_TRY(vlmp_load_linear(loaded, model->source, "projector.0", inner,
                              vlmp_feature_width(config), projector->bias, &out->first, err));
    if (projector->linears > 1)
        VLMP_TRY(vlmp_load_linear(loaded, model->source, "projector.1", text, inner,
                                  projector->bias, &out->second, err));
    if (!config->has_newline) return VLMP_OK;
    float *newline;
    size_t count;
    VLMP_TRY(
        load_f32(loaded, model->source, "newline", 1, (int64_t[]){text}, &newline, &count, err));
    out->newline = newline;
    return VLMP_OK;
}

int vlmp_load_tap(vlmp_loaded *loaded, const vlmp_model *model, int tap, vlmp_projector *out,
                  vlmp_error *err)
{
    const vlmp_config *config = &model->config;
    int inner = config->projector.inner;
    char name[VLMP_NAME_MAX];
    *out = (vlmp_projector){0};
    snprintf(name, sizeof name, "projector.taps.%d.0", tap);
    VLMP_TRY(vlmp_load_linear(loaded, model->source, name, inner, vlmp_feature_width(config),
                              config->projector.bias, &out->first, err));
    snprintf(name, sizeof name, "projector.taps.%d.1", tap);
    return vlmp_load_linear(loaded, model->source, name, config->text.hidden, inner,
                            config->projector.bias, &out->second, err);
}

int vlmp_load_text_embed(vlmp_loaded *loaded, const vlmp_model *model, vlmp_linear *out,
                         vlmp_error *err)
{
    const vlmp_text_config *text = &model->config.text;
    return vlmp_load_linear(loaded, model->source, "text.embed", text->vocab, text->hidden, false,
                            out, err);
}

int vlmp_load_text_norm(vlmp_loaded *loaded, const vlmp_model *model, vlmp_vector *out,
                        vlmp_error *err)
{
    return load_norm(loaded, model->source, "text.norm", model->config.text.hidden, out, NULL, err);
}

int vlmp_load_text_head(vlmp_loaded *loaded, const vlmp_model *model, vlmp_linear *out,
                        vlmp_error *err)
{
    loaded->fast_activations = model->fast_activations;
    const vlmp_text_config *text = &model->config.text;
    return vlmp_load_linear(loaded, model->source, text->tied ? "text.embed" : "text.head",
                            text->vocab, text->hidden, false, out, err);
}

static int load_all(vlmp_resident *out, const vlmp_model *model, vlmp_error *err)
{
    vlmp_loaded *loaded = &out->loaded;
    out->vision =
        vlmp_arena_alloc(&loaded->arena, (size_t)model->vision.layers, sizeof *out->vision);
    out->text = vlmp_arena_alloc(&loaded->arena, (size_t)model->text.layers, sizeof *out->text);
    if (out->vision == NULL || out->text == NULL) return vlmp_fail_memory(err, "blocks");
    VLMP_TRY(vlmp_load_vision_input(loaded, model, &out->vision_input, err));
    for (int i = 0; i < model->vision.layers; i++)
        VLMP_TRY(vlmp_load_block(loaded, model, &model->vision, i, &out->vision[i], err));
    VLMP_TRY(vlmp_load_vision_output(loaded, model, &out->vision_output, err));
    VLMP_TRY(vlmp_load_projector(loaded, model, &out->projector, err));
    for (int t = 0; t < model->config.vision.tap_count; t++)
        VLMP_TRY(vlmp_load_tap(loaded, model, t, &out->taps[t], err));
    VLMP_TRY(vlmp_load_text_embed(loaded, model, &out->embed, err));
    for (int i = 0; i < model->text.layers; i++)
        VLMP_TRY(vlmp_load_block(loaded, model, &model->text, i, &out->text[i], err));
    VLMP_TRY(vlmp_load_text_norm(loaded, model, &out->norm, err));
    out->head = out->embed; /* of a tied model: prepared once */
    return model->config.text.tied ? VLMP_OK : vlmp_load_text_head(loaded, model, &out->head, err);
}

int vlmp_load_all(vlmp_resident *out, vlmp_ctx *ctx, const vlmp_model *model, vlmp_error *err)
{
    *out = (vlmp_resident){.loaded.ctx = ctx};
    ctx->ops->range(ctx, "load");
    int status = load_all(out, model, err);
    ctx->ops->range(ctx, NULL);
    return status;
}

int vlmp_check_shapes(const vlmp_model *model, vlmp_error *err)
{
    vlmp_resident nothing = {.loaded.shapes_only = true};
    int status = load_all(&nothing, model, err);
    vlmp_resident_free(&nothing);
    return status;
}

int vlmp_list_tensors(const vlmp_model *model, vlmp_tensor_visit *visit, void *arg, vlmp_error *err)
{
    vlmp_resident nothing = {.loaded = {.shapes_only = true, .visit = visit, .visit_arg = arg}};
    int status = load_all(&nothing, model, err);
    for (int i = model->vision.layers; i < model->config.vision.layers && status == VLMP_OK; i++) {
        vlmp_block block;
        status = vlmp_load_block(&nothing.loaded, model, &model->vision, i, &block, err);
    }
    vlmp_resident_free(&nothing);
    return status;
}

void vlmp_resident_free(vlmp_resident *resident)
{
    vlmp_unload(&resident->loaded);
    *resident = (vlmp_resident){0};
}
