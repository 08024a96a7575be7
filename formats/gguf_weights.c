/* From the tensors of a pair of GGUF files to those of its model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf_blocks.h"
#include "formats/gguf_pair.h"
#include "src/base/file.h"
#include "src/model/family.h"

/* A tensor of the files that the model has a place for. */
typedef struct {
    const vlmp_gguf_place *place;
    const vlmp_gguf_stored *stored;
    vlmp_tensor tensor; /* its names and its file */
} found;

/* Files of llama.cpp's first converters call fc1 "ffn_down" and fc2 "ffn_up". */
static bool names_are_swapped(const vlmp_gguf_pair *pair)
{
    const vlmp_vision_config *vision = &pair->t.config.vision;
    const vlmp_gguf_stored *down =
        vlmp_gguf_find_tensor(&pair->files[VLMP_GGUF_TOWER], "v.blk.0.ffn_down.weight");
    return down != NULL && vision->hidden != vision->intermediate && down->about.rank == 2 &&
           down->about.shape[0] == vision->intermediate && down->about.shape[1] == vision->hidden;
}

static void swap_names(char name[VLMP_GGUF_MAX_NAME + 1], const char *stored)
{
    static const char *const ends[] = {".ffn_up.", ".ffn_down."};
    snprintf(name, VLMP_GGUF_MAX_NAME + 1, "%s", stored);
    for (int i = 0; i < 2; i++) {
        const char *at = strstr(stored, ends[i]);
        if (at != NULL)
            snprintf(name, VLMP_GGUF_MAX_NAME + 1, "%.*s%s%s", (int)(at - stored), stored,
                     ends[1 - i], at + strlen(ends[i]));
    }
}

static int find_place(vlmp_gguf_pair *pair, found *out, vlmp_gguf_part part,
                      const vlmp_gguf_stored *stored, bool swapped, vlmp_error *err)
{
    char canonical[VLMP_NAME_BYTES], name[VLMP_GGUF_MAX_NAME + 1];
    if (swapped)
        swap_names(name, stored->about.name);
    else
        snprintf(name, sizeof name, "%s", stored->about.name);
    *out = (found){.place = vlmp_gguf_place_named(canonical, part, name, &pair->t.config),
                   .stored = stored,
                   .tensor = {.source_name = stored->about.name,
                              .file = pair->files[part].path,
                              .dtype = VLMP_U8}};
    if (out->place == NULL)
        return vlmp_import_refuse(&out->tensor, err,
                                  "has no place in a model of type %s; use a supported model",
                                  pair->t.config.family->model_type);
    out->tensor.name = vlmp_arena_copy(&pair->t.arena, canonical, strlen(canonical));
    return out->tensor.name != NULL ? VLMP_OK : vlmp_fail_memory(err, pair->files[part].path);
}

static int by_piece(const void *a, const void *b)
{
    const found *x = a, *y = b;
    int order = strcmp(x->tensor.name, y->tensor.name);
    if (order == 0) order = x->place->pieces - y->place->pieces;
    return order != 0 ? order : x->place->piece - y->place->piece;
}

/* Tensors of both files but RoPE's, which the base's configuration tells, in order of by_piece. */
static int find_places(vlmp_gguf_pair *pair, found *out, size_t *count, vlmp_error *err)
{
    bool swapped = names_are_swapped(pair);
    *count = 0;
    for (int part = VLMP_GGUF_TEXT; part <= VLMP_GGUF_TOWER; part++)
        for (size_t i = 0; i < pair->files[part].tensor_count; i++) {
            const vlmp_gguf_stored *stored = &pair->files[part].tensors[i];
            if (strcmp(stored->about.name, VLMP_GGUF_ROPE_FACTORS) == 0) continue;
            VLMP_TRY(find_place(pair, &out[*count], (vlmp_gguf_part)part, stored,
                                swapped && part == VLMP_GGUF_TOWER, err));
            ++*count;
        }
    if (*count > 0) qsort(out, *count, sizeof *out, by_piece);
    return VLMP_OK;
}

/* All pieces are there, once, and alike. */
static int check_pieces(const found *first, int count, vlmp_error *err)
{
    const vlmp_gguf_tensor *about = &first->stored->about;
    int pieces = first->place->pieces;
    for (int i = 0; i < count; i++) {
        const vlmp_gguf_tensor *other = &first[i].stored->about;
        if (first[i].place->pieces != pieces || i >= pieces)
            return vlmp_import_refuse(&first[i].tensor, err,
                                      "and tensor '%s' are the same weights; remove one",
                                      about->name);
        if (other->rank != about->rank ||
            memcmp(other->shape, about->shape, (size_t)about->rank * sizeof *about->shape) != 0)
            return vlmp_import_refuse(&first[i].tensor, err, "has another shape than '%s'",
                                      about->name);
    }
    if (count < pieces)
        return vlmp_import_refuse(
            &first->tensor, err,
            "is there, but %d of the %d tensors that it stands with are not; is the "
            "download complete?",
            pieces - count, pieces);
    if (pieces == 2 && about->rank != 4)
        return vlmp_import_refuse(&first->tensor, err, "has %d dimensions, not 4", about->rank);
    return VLMP_OK;
}

/* The model's shape; of a vector each element is a row. */
static int set_shape(vlmp_gguf_weight *weight, const vlmp_config *config, const found *first,
                     vlmp_arena *arena, vlmp_error *err)
{
    const vlmp_gguf_tensor *about = &first->stored->about;
    int64_t *shape = weight->blocks.shape, rows = 1;
    bool elements = about->rank == 1 && vlmp_gguf_block_of(about->type).inputs == 1;
    weight->width = elements ? 1 : about->shape[about->rank - 1];
    for (int d = 0; d + !elements < about->rank; d++)
        rows *= about->shape[d];
    VLMP_TRY(vlmp_gguf_order_of(&weight->order, first->place, rows, config, arena, err));
    weight->blocks.rank = about->rank + (weight->order.pieces == 2);
    memcpy(shape, about->shape, (size_t)about->rank * sizeof *shape);
    if (weight->order.pieces == 3) shape[0] *= 3;
    if (weight->order.pieces == 2) { /* [outputs][channels][frames][rows][columns] */
        memmove(shape + 3, shape + 2, 2 * sizeof *shape);
        shape[2] = 2;
    }
    return VLMP_OK;
}

static void set_bytes(vlmp_gguf_weight *weight)
{
    const vlmp_gguf_stored *low = weight->pieces[0], *high = low;
    for (int i = 1; i < weight->order.pieces; i++) {
        if (weight->pieces[i]->offset < low->offset) low = weight->pieces[i];
        if (weight->pieces[i]->offset > high->offset) high = weight->pieces[i];
    }
    weight->blocks.file_offset = low->offset;
    weight->blocks.data = low->data;
    weight->blocks.bytes = (size_t)(high->offset - low->offset) + high->bytes;
}

static int add_weight(vlmp_gguf_pair *pair, const found *first, int count, vlmp_error *err)
{
    const vlmp_gguf_tensor *about = &first->stored->about;
    vlmp_gguf_weight *weight = &pair->weights[pair->weight_count];
    VLMP_TRY(check_pieces(first, count, err));
    *weight = (vlmp_gguf_weight){
        .name = first->tensor.name, .blocks = first->tensor, .floats = first->place->f32};
    for (int i = 0; i < count; i++)
        weight->pieces[i] = first[i].stored;
    VLMP_TRY(set_shape(weight, &pair->t.config, first, &pair->t.arena, err));
    set_bytes(weight);
    int heads = weight->order.heads;
    if (heads > 0 && about->rank == 1 && vlmp_gguf_block_of(about->type).inputs > 1)
        return vlmp_import_refuse(&first->tensor, err, "is quantized, which no vector is");
    if (heads > 0 && about->shape[0] % (2 * heads) != 0)
        return vlmp_import_refuse(&first->tensor, err,
                                  "has %lld rows, which are no %d heads; give another --base",
                                  (long long)about->shape[0], heads);
    pair->weight_count++;
    return VLMP_OK;
}

static int add_weights(vlmp_gguf_pair *pair, const found *all, size_t count, vlmp_error *err)
{
    pair->weights = vlmp_calloc(count, sizeof *pair->weights);
    if (pair->weights == NULL) return vlmp_fail_memory(err, pair->t.base.path);
    for (size_t i = 0; i < count;) {
        size_t end = i + 1;
        while (end < count && strcmp(all[end].tensor.name, all[i].tensor.name) == 0)
            end++;
        VLMP_TRY(add_weight(pair, &all[i], (int)(end - i), err));
        i = end;
    }
    return VLMP_OK;
}

int vlmp_gguf_pair_weights(vlmp_gguf_pair *pair, vlmp_error *err)
{
    size_t count =
        pair->files[VLMP_GGUF_TEXT].tensor_count + pair->files[VLMP_GGUF_TOWER].tensor_count;
    found *all = vlmp_calloc(count, sizeof *all);
    if (all == NULL) return vlmp_fail_memory(err, pair->t.base.path);
    int status = find_places(pair, all, &count, err);
    if (status == VLMP_OK) status = add_weights(pair, all, count, err);
    free(all);
    return status;
}

const unsigned char *vlmp_gguf_row_at(const vlmp_gguf_weight *weight, int64_t row,
                                      vlmp_gguf_type *type)
{
    int piece;
    int64_t at = vlmp_gguf_file_row(&weight->order, row, &piece);
    const vlmp_gguf_stored *stored = weight->pieces[piece];
    *type = stored->about.type;
    vlmp_gguf_block block = vlmp_gguf_block_of(*type);
    return stored->data + (size_t)at * (size_t)(weight->width / block.inputs) * (size_t)block.bytes;
}
