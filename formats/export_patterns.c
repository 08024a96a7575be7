/* Names of modules as regular expressions. transformers and the engines put other prefixes before
 * the same leaves, and engines fuse q, k, v and gate, up; a pattern names both spellings, so that
 * it matches wherever the module is looked for. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "formats/export_plan.h"
#include "src/model/family.h"
#include "src/model/names.h"

/* A linear's place in a layer. fused: the module that an engine makes of the whole set. */
typedef struct {
    const char *canonical; /* '#' is the layer's number */
    const char *module;    /* "self_attn" */
    const char *leaf;
    const char *fused; /* at the last member of its set */
    unsigned set;      /* bits of all members */
} place;

typedef struct {
    const char *prefix;   /* of modules, before the layer's number */
    const char *whole[2]; /* names of the component's module */
    const char *heads[2]; /* of a layer's module, before its number, behind what may differ */
    place places[8];
} stack;

static const stack stacks[] = {
    {".*vision_tower\\.(vision_model\\.)?encoder\\.layers\\.",
     {"vision_tower", "model.vision_tower"},
     {"vision_tower.vision_model.encoder.layers.", "vision_tower.encoder.layers."},
     {{"vision.layers.#.attn.q", "self_attn", "q_proj", NULL, 0},
      {"vision.layers.#.attn.k", "self_attn", "k_proj", NULL, 0},
      {"vision.layers.#.attn.v", "self_attn", "v_proj", "qkv_proj", 7},
      {"vision.layers.#.attn.o", "self_attn", "out_proj", NULL, 0},
      {"vision.layers.#.mlp.fc1", "mlp", "fc1", NULL, 0},
      {"vision.layers.#.mlp.fc2", "mlp", "fc2", NULL, 0}}},
    {".*language_model\\.(model\\.)?layers\\.",
     {"language_model", "model.language_model"},
     {"language_model.model.layers.", "language_model.layers."},
     {{"text.layers.#.attn.q", "self_attn", "q_proj", NULL, 0},
      {"text.layers.#.attn.k", "self_attn", "k_proj", NULL, 0},
      {"text.layers.#.attn.v", "self_attn", "v_proj", "qkv_proj", 7},
      {"text.layers.#.attn.o", "self_attn", "o_proj", NULL, 0},
      {"text.layers.#.mlp.gate", "mlp", "gate_proj", NULL, 0},
      {"text.layers.#.mlp.up", "mlp", "up_proj", "gate_up_proj", 48},
      {"text.layers.#.mlp.down", "mlp", "down_proj", NULL, 0}}},
};

#define STACKS (sizeof stacks / sizeof *stacks)

/* Modules outside the layers. */
static const struct {
    const char *canonical, *pattern;
    const char *name; /* NULL: no module that readers would replace */
} singles[] = {
    {"projector.0", ".*multi_modal_projector\\.linear_1$", "multi_modal_projector.linear_1"},
    {"projector.1", ".*multi_modal_projector\\.linear_2$", "multi_modal_projector.linear_2"},
    {"text.embed", ".*embed_tokens$", NULL},
    {"text.head", ".*lm_head$", "lm_head"},
};

/* The members of a set, layer by layer: a bit for each place. */
typedef struct {
    unsigned char members[VLMP_MAX_LAYERS];
    unsigned char present[VLMP_MAX_LAYERS]; /* linears that the model has */
    int layers;
} layer_sets;

static const vlmp_packed_linear *quantized(const vlmp_export *export, const char *stem)
{
    return vlmp_packed_linear_find(export->source, stem, strlen(stem));
}

/* The place of a linear's name, and its layer; NULL when it is none of the stack. */
static const place *place_of(const stack *from, const char *name, size_t length, int *layer)
{
    for (const place *p = from->places; p->canonical != NULL; p++)
        if (vlmp_name_match(p->canonical, name, length, layer) && *layer < VLMP_MAX_LAYERS)
            return p;
    return NULL;
}

static void gather(layer_sets *sets, const vlmp_export *export, const stack *from,
                   vlmp_export_member *member, void *arg)
{
    const vlmp_source *source = export->source;
    *sets = (layer_sets){0};
    for (size_t i = 0; i < source->count(source); i++) {
        const char *name = source->at(source, i)->name;
        size_t stem = vlmp_name_stem(name);
        if (strcmp(name + stem, ".weight") != 0 && strcmp(name + stem, ".codes") != 0) continue;
        int layer;
        const place *p = place_of(from, name, stem, &layer);
        if (p == NULL) continue;
        unsigned bit = 1u << (p - from->places);
        sets->present[layer] |= (unsigned char)bit;
        if (member(arg, vlmp_packed_linear_find(source, name, stem)))
            sets->members[layer] |= (unsigned char)bit;
        if (layer >= sets->layers) sets->layers = layer + 1;
    }
}

/* The leaves of one module that are in the set: "self_attn\.(q_proj|k_proj)". */
static bool put_module(vlmp_buffer *out, const stack *from, unsigned set, const char *module,
                       bool first)
{
    bool any = false;
    for (int i = 0; from->places[i].canonical != NULL; i++) {
        const place *p = &from->places[i];
        if ((set & 1u << i) == 0 || strcmp(p->module, module) != 0) continue;
        if (any)
            vlmp_buffer_text(out, "|");
        else
            vlmp_buffer_printf(out, "%s%s\\.(", first ? "" : "|", module);
        any = true;
        vlmp_buffer_text(out, p->leaf);
        if (p->fused != NULL && (set & p->set) == p->set) vlmp_buffer_printf(out, "|%s", p->fused);
    }
    if (any) vlmp_buffer_text(out, ")");
    return any;
}

/* The layers whose members are `set`; all there are: "\d+". */
static void put_layers(vlmp_buffer *out, const layer_sets *sets, unsigned set)
{
    bool all = true, first = true;
    for (int i = 0; i < sets->layers; i++)
        all = all && (sets->present[i] == 0 || sets->members[i] == set);
    if (all) {
        vlmp_buffer_text(out, "\\d+");
        return;
    }
    for (int i = 0; i < sets->layers; i++) {
        if (sets->present[i] == 0 || sets->members[i] != set) continue;
        vlmp_buffer_printf(out, "%s%d", first ? "(" : "|", i);
        first = false;
    }
    vlmp_buffer_text(out, ")");
}

static int put_stack(const layer_sets *sets, const stack *from, vlmp_export_each *each, void *arg,
                     vlmp_error *err)
{
    bool done[256] = {[0] = true};
    for (int i = 0; i < sets->layers; i++) {
        unsigned set = sets->members[i];
        if (done[set]) continue;
        done[set] = true;
        vlmp_buffer out = {0};
        vlmp_buffer_text(&out, from->prefix);
        put_layers(&out, sets, set);
        vlmp_buffer_text(&out, "\\.(");
        bool any = put_module(&out, from, set, "self_attn", true);
        put_module(&out, from, set, "mlp", !any);
        vlmp_buffer_text(&out, ")$");
        bool failed = out.failed;
        if (!failed) each(arg, out.data);
        vlmp_buffer_free(&out);
        if (failed) return vlmp_fail_memory(err, "names");
    }
    return VLMP_OK;
}

static void escape_pattern(char out[2 * VLMP_NAME_BYTES + 1], const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)name[i]) && name[i] != '_') *out++ = '\\';
        *out++ = name[i];
    }
    memcpy(out, "$", 2);
}

/* Of a model that is not run, how engines name its modules is not known: as the checkpoint does. */
static void put_own_names(const vlmp_export *export, vlmp_export_member *member, void *member_arg,
                          bool as_pattern, vlmp_export_each *each, void *each_arg)
{
    const vlmp_source *source = export->source;
    for (size_t i = 0; i < source->count(source); i++) {
        const vlmp_tensor *tensor = source->at(source, i);
        char stem[VLMP_NAME_BYTES], name[2 * VLMP_NAME_BYTES + 1];
        const char *leaf = tensor->name + vlmp_name_stem(tensor->name);
        bool codes = strcmp(leaf, ".codes") == 0;
        if (!codes && (strcmp(leaf, ".weight") != 0 || tensor->rank != 2)) continue;
        snprintf(stem, sizeof stem, "%.*s", (int)(leaf - tensor->name), tensor->name);
        if (!member(member_arg, quantized(export, stem))) continue;
        size_t length = vlmp_name_stem(tensor->source_name);
        if (length >= VLMP_NAME_BYTES) continue; /* the reader of packed files has refused it */
        if (as_pattern)
            escape_pattern(name, tensor->source_name, length);
        else
            snprintf(name, sizeof name, "%.*s", (int)length, tensor->source_name);
        each(each_arg, name);
    }
}

int vlmp_export_patterns(const vlmp_export *export, vlmp_export_member *member, void *member_arg,
                         vlmp_export_each *each, void *each_arg, vlmp_error *err)
{
    if (!vlmp_family_runs(export->config->family)) {
        put_own_names(export, member, member_arg, true, each, each_arg);
        return VLMP_OK;
    }
    for (size_t i = 0; i < STACKS; i++) {
        layer_sets sets;
        gather(&sets, export, &stacks[i], member, member_arg);
        VLMP_TRY(put_stack(&sets, &stacks[i], each, each_arg, err));
    }
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++)
        if (member(member_arg, quantized(export, singles[i].canonical)))
            each(each_arg, singles[i].pattern);
    return VLMP_OK;
}

bool vlmp_export_has_scheme(void *arg, const vlmp_packed_linear *linear)
{
    return linear != NULL && vlmp_scheme_same(arg, &linear->scheme);
}

bool vlmp_export_is_kept(void *arg, const vlmp_packed_linear *linear)
{
    (void)arg;
    return linear == NULL;
}

bool vlmp_export_scheme_is_new(const vlmp_export *export, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (vlmp_scheme_same(&export->linears[k].scheme, &export->linears[i].scheme)) return false;
    return true;
}

static void name_stack(const layer_sets *sets, const stack *from, vlmp_export_each *each, void *arg)
{
    bool whole = true;
    for (int i = 0; i < sets->layers; i++)
        whole = whole && sets->members[i] == sets->present[i];
    for (int spelling = 0; spelling < 2; spelling++) {
        if (whole) each(arg, from->whole[spelling]);
        for (int i = 0; i < sets->layers && !whole; i++)
            for (int p = 0; from->places[p].canonical != NULL; p++) {
                const place *at = &from->places[p];
                char name[2 * VLMP_NAME_BYTES];
                if ((sets->members[i] & 1u << p) == 0) continue;
                snprintf(name, sizeof name, "%s%d.%s.%s", from->heads[spelling], i, at->module,
                         at->leaf);
                each(arg, name);
                if (at->fused == NULL || (sets->members[i] & at->set) != at->set) continue;
                snprintf(name, sizeof name, "%s%d.%s.%s", from->heads[spelling], i, at->module,
                         at->fused);
                each(arg, name);
            }
    }
}

void vlmp_export_names(const vlmp_export *export, vlmp_export_member *member, void *member_arg,
                       vlmp_export_each *each, void *each_arg)
{
    if (!vlmp_family_runs(export->config->family)) {
        put_own_names(export, member, member_arg, false, each, each_arg);
        return;
    }
    for (size_t i = 0; i < STACKS; i++) {
        layer_sets sets;
        gather(&sets, export, &stacks[i], member, member_arg);
        name_stack(&sets, &stacks[i], each, each_arg);
    }
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++)
        if (singles[i].name != NULL && member(member_arg, quantized(export, singles[i].canonical)))
            each(each_arg, singles[i].name);
}
