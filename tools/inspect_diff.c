#include "tools/inspect_diff.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/packed.h"
#include "formats/weight_sizes.h"
#include "src/base/json.h"
#include "src/base/packed_parts.h"
#include "src/model/names.h"
#include "tools/inspect.h"
#include "tools/progress.h"
#include "tools/terminal.h"

/* One of the two. */
struct side {
    const vlmp_source *source;
    cJSON *decisions; /* NULL: none are known */
};

/* What stands under one name: a weight, or the parts that it was quantized to. */
struct item {
    char name[VLMP_NAME_BYTES];
    const vlmp_tensor *parts[VLMP_PACKED_PARTS]; /* the first: codes, or the tensor itself */
    const vlmp_scheme *scheme;                   /* NULL: dense */
};

struct diff {
    struct side sides[2];
    vlmp_listing rows;
    vlmp_json_writer *w; /* of --json; NULL: rows */
    int same;            /* names under which both hold the same bytes */
    int different;
    bool failed;
};

/* false: the tensor is a part that its codes stand for. */
static bool item_of(struct item *item, const vlmp_source *source, const vlmp_tensor *tensor)
{
    *item = (struct item){.parts = {tensor}};
    snprintf(item->name, sizeof item->name, "%s", tensor->name);
    char *leaf = strrchr(item->name, '.');
    if (leaf == NULL) return true;
    vlmp_packed_part part = vlmp_packed_part_of(leaf);
    bool whole = part == VLMP_PACKED_PARTS && strcmp(leaf, ".weight") != 0;
    if (!whole) *leaf = '\0';
    if (part == VLMP_PACKED_PARTS) return true;
    item->scheme = source->scheme(source, item->name);
    if (part != VLMP_PACKED_CODES || item->scheme == NULL) return false;
    for (int i = 1; i < VLMP_PACKED_PARTS; i++) {
        char name[VLMP_NAME_BYTES + 16];
        snprintf(name, sizeof name, "%s.%s", item->name,
                 vlmp_packed_part_name((vlmp_packed_part)i, item->scheme->codes));
        item->parts[i] = source->find(source, name);
    }
    return true;
}

/* What a source has under a name; false: nothing. */
static bool find(struct item *item, const vlmp_source *source, const char *name)
{
    static const char *const leaves[] = {".weight", ".codes", ".codes2", ""};
    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++) {
        char full[VLMP_NAME_BYTES + 16];
        snprintf(full, sizeof full, "%s%s", name, leaves[i]);
        const vlmp_tensor *tensor = source->find(source, full);
        if (tensor != NULL) return item_of(item, source, tensor);
    }
    return false;
}

static bool same_tensor(const vlmp_source *source_a, const vlmp_tensor *a,
                        const vlmp_source *source_b, const vlmp_tensor *b)
{
    if (a == NULL || b == NULL) return a == b;
    bool same = a->dtype == b->dtype && a->rank == b->rank && a->bytes == b->bytes &&
                memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0;
    vlmp_tensor part_a, part_b;
    for (size_t at = 0; same && vlmp_tensor_part(&part_a, a, at); at += part_a.bytes) {
        vlmp_tensor_part(&part_b, b, at);
        same = memcmp(part_a.data, part_b.data, part_a.bytes) == 0;
        source_a->release(source_a, &part_a);
        source_b->release(source_b, &part_b);
    }
    return same;
}

static bool same_item(const struct diff *d, const struct item *a, const struct item *b)
{
    if ((a->scheme == NULL) != (b->scheme == NULL)) return false;
    if (a->scheme != NULL &&
        (a->scheme->codes != b->scheme->codes || a->scheme->group != b->scheme->group ||
         a->scheme->int8_activations != b->scheme->int8_activations))
        return false;
    for (int i = 0; i < VLMP_PACKED_PARTS; i++)
        if (!same_tensor(d->sides[0].source, a->parts[i], d->sides[1].source, b->parts[i]))
            return false;
    return true;
}

/* "gptq W4A16 sym 64", "BF16"; empty: there is no such tensor. */
static void stored(char *out, size_t capacity, const struct item *item, const cJSON *decision)
{
    out[0] = '\0';
    if (item == NULL) return;
    if (item->scheme == NULL) {
        snprintf(out, capacity, "%s", vlmp_dtype_name(item->parts[0]->dtype));
        return;
    }
    const char *method = cJSON_GetStringValue(vlmp_json_get(decision, "method"));
    char scheme[64];
    vlmp_listing_scheme(scheme, sizeof scheme, item->scheme);
    snprintf(out, capacity, "%.30s%s%s", method != NULL ? method : "", method != NULL ? " " : "",
             scheme);
}

static const cJSON *decision_of(const struct side *side, const char *name)
{
    const cJSON *each;
    cJSON_ArrayForEach(each, side->decisions)
    {
        const char *have = cJSON_GetStringValue(vlmp_json_get(each, "name"));
        if (have != NULL && strcmp(have, name) == 0) return each;
    }
    return NULL;
}

static void add(struct diff *d, const char *name, const struct item *const items[2])
{
    static const char *const keys[2][2] = {{"a", "error_a"}, {"b", "error_b"}};
    d->different++;
    if (d->w != NULL) {
        vlmp_json_open(d->w, '{');
        vlmp_json_pair_string(d->w, "name", name);
    } else {
        d->failed |= !vlmp_listing_add(&d->rows, 0, name);
    }
    for (int i = 0; i < 2 && !d->failed; i++) {
        char text[96], error[32] = "";
        const cJSON *decision = decision_of(&d->sides[i], name);
        const cJSON *held = vlmp_json_get(decision, "held_error");
        stored(text, sizeof text, items[i], decision);
        if (d->w != NULL) {
            vlmp_json_pair_string(d->w, keys[i][0], text[0] != '\0' ? text : NULL);
            vlmp_json_pair_double(d->w, keys[i][1],
                                  cJSON_IsNumber(held) ? held->valuedouble : (double)NAN);
            continue;
        }
        if (cJSON_IsNumber(held)) snprintf(error, sizeof error, "%.4f %%", 100 * held->valuedouble);
        d->failed |= !vlmp_listing_add(&d->rows, 1 + (size_t)i, text[0] != '\0' ? text : "none") ||
                     !vlmp_listing_add(&d->rows, 3 + (size_t)i, error);
    }
    if (d->w != NULL) vlmp_json_close(d->w, '}');
}

/* Those of the first with their like in the second, then those of the second alone. */
static void compare_tensors(struct diff *d)
{
    for (int side = 0; side < 2; side++) {
        const vlmp_source *source = d->sides[side].source, *other = d->sides[1 - side].source;
        for (size_t i = 0; i < source->count(source) && !d->failed; i++) {
            struct item item, like;
            if (!item_of(&item, source, source->at(source, i))) continue;
            bool both = find(&like, other, item.name);
            if (both && side == 1) continue;
            if (both && same_item(d, &item, &like)) {
                d->same++;
                continue;
            }
            const struct item *const items[2] = {side == 0 ? &item : NULL, side == 1 ? &item
                                                                           : both    ? &like
                                                                                     : NULL};
            add(d, item.name, items);
        }
    }
}

/* Files of the model folder that one lacks or has otherwise. */
static bool file_differs(const struct diff *d, int side, const char *name)
{
    size_t length, other_length;
    const vlmp_source *source = d->sides[side].source, *other = d->sides[1 - side].source;
    const char *text = source->file(source, name, &length);
    const char *like = other->file(other, name, &other_length);
    if (like != NULL && side == 1) return false; /* the first has told it */
    return like == NULL || length != other_length || memcmp(text, like, length) != 0;
}

static const char *note_of(const vlmp_source *source, const char *key, size_t *length)
{
    *length = 0;
    return strcmp(source->kind, "packed") == 0 ? vlmp_packed_note(source, key, length) : NULL;
}

static bool same_recipe(const struct diff *d)
{
    size_t a, b;
    const char *one = note_of(d->sides[0].source, "vlmp.recipe", &a);
    const char *two = note_of(d->sides[1].source, "vlmp.recipe", &b);
    if (one == NULL || two == NULL) return one == two;
    return a == b && memcmp(one, two, a) == 0;
}

static int print_text(struct diff *d, vlmp_error *err)
{
    vlmp_column columns[] = {{"tensor", false, 0},
                             {"A", false, 0},
                             {"B", false, 0},
                             {"error of A", true, 0},
                             {"of B", true, 0}};
    for (int i = 0; i < 2; i++) {
        char text[32];
        vlmp_weight_sizes sizes;
        vlmp_weight_sizes_of(d->sides[i].source, &sizes);
        vlmp_format_bytes(text, sizeof text, (double)sizes.total.bytes);
        vlmp_show_line(stdout, "%c: %s, %s, %.3f bits/weight", "AB"[i], d -> sides[i].source->path,
                       text, vlmp_bits_per_weight(sizes.total.bytes, sizes.total.weights));
    }
    d->rows.columns = 5;
    compare_tensors(d);
    printf("%d tensors differ, %d are the same; the recipes are %s\n", d->different, d->same,
           same_recipe(d) ? "the same" : "different");
    for (int side = 0; side < 2; side++) {
        const char *name;
        const vlmp_source *source = d->sides[side].source;
        for (size_t i = 0; (name = source->file_at(source, i)) != NULL; i++)
            if (file_differs(d, side, name)) vlmp_show_line(stdout, "file %s differs", name);
    }
    if (d->different == 0 && !d->failed) return VLMP_OK;
    putchar('\n');
    return vlmp_listing_print(&d->rows, columns, d->failed, err);
}

static int print_json(struct diff *d, vlmp_error *err)
{
    vlmp_json_writer w = {.indent = 1};
    d->w = &w;
    vlmp_json_open(&w, '{');
    vlmp_json_pair_int(&w, "schema", 1);
    vlmp_json_pair_string(&w, "a", d->sides[0].source->path);
    vlmp_json_pair_string(&w, "b", d->sides[1].source->path);
    vlmp_json_pair_open(&w, "tensors", '[');
    compare_tensors(d);
    vlmp_json_close(&w, ']');
    vlmp_json_pair_int(&w, "same", d->same);
    vlmp_json_pair_bool(&w, "same_recipe", same_recipe(d));
    vlmp_json_pair_open(&w, "files", '[');
    for (int side = 0; side < 2; side++) {
        const char *name;
        const vlmp_source *source = d->sides[side].source;
        for (size_t i = 0; (name = source->file_at(source, i)) != NULL; i++)
            if (file_differs(d, side, name)) vlmp_json_put_string(&w, name);
    }
    vlmp_json_close(&w, ']');
    vlmp_json_close(&w, '}');
    int status = w.out.failed ? vlmp_fail_memory(err, "comparison") : VLMP_OK;
    if (status == VLMP_OK) puts(w.out.data);
    vlmp_buffer_free(&w.out);
    return status;
}

int vlmp_inspect_diff(const vlmp_source *a, const vlmp_source *b, bool json, vlmp_error *err)
{
    struct diff d = {.sides = {{.source = a}, {.source = b}}};
    int status = VLMP_OK;
    for (int i = 0; i < 2 && status == VLMP_OK; i++) {
        size_t length;
        const char *text = note_of(d.sides[i].source, "vlmp.decisions", &length);
        if (text != NULL)
            status =
                vlmp_json_parse(&d.sides[i].decisions, text, length, d.sides[i].source->path, err);
    }
    if (status == VLMP_OK) status = json ? print_json(&d, err) : print_text(&d, err);
    for (int i = 0; i < 2; i++)
        cJSON_Delete(d.sides[i].decisions);
    return status;
}
