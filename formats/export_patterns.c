/* Names of modules, as lists and as regular expressions. transformers and the engines put other
 * prefixes before the same layers, and engines fuse q, k, v and gate, up; a pattern names all
 * spellings, so that it matches wherever the module is looked for. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/export_plan.h"
#include "formats/export_products.h"
#include "src/model/family.h"
#include "src/model/names.h"

/* Layers that are named alike. */
typedef struct {
    const char *canonical;    /* "text.layers." */
    const char *const *heads; /* [VLMP_SPELLINGS] of vlmp_module_names */
    bool whole;               /* all of the module that a head begins with is the component's */
} stack;

#define STACKS     3
#define MAX_LEAVES 16 /* linears of a layer; no family has more */

static void find_stacks(stack out[STACKS], const vlmp_module_names *modules)
{
    out[0] = (stack){"vision.layers.", modules->tower, true};
    out[1] = (stack){"projector.taps.", modules->taps, false};
    out[2] = (stack){"text.layers.", modules->text, true};
}

typedef struct {
    const char *text; /* of the source's name, behind the layer's number: "self_attn.q_proj" */
    int length;
} leaf;

/* The members of a set, layer by layer: a bit for each leaf. */
typedef struct {
    leaf leaves[MAX_LEAVES];
    int count;
    uint16_t members[VLMP_MAX_LAYERS];
    uint16_t present[VLMP_MAX_LAYERS]; /* linears that the model has */
    int layers;
} layer_sets;

static const vlmp_packed_linear *quantized(const vlmp_export *export, const char *stem)
{
    return vlmp_export_linear_find(export, stem, strlen(stem));
}

/* Codes, or a matrix that is kept. */
static bool is_linear(const vlmp_tensor *tensor)
{
    const char *part = tensor->name + vlmp_name_stem(tensor->name);
    return vlmp_packed_part_of(part) == VLMP_PACKED_CODES ||
           (strcmp(part, ".weight") == 0 && tensor->rank == 2);
}

/* sets->count: there is none. */
static int find_leaf(const layer_sets *sets, const char *text, int length)
{
    int i = 0;
    while (i < sets->count && (sets->leaves[i].length != length ||
                               memcmp(sets->leaves[i].text, text, (size_t)length) != 0))
        i++;
    return i;
}

/* Names of files that vlmpack has written are within bounds. */
static int refuse_name(const vlmp_tensor *tensor, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the source name of '%.100s', '%.200s', is no linear's; make the file "
                     "again",
                     tensor->file, tensor->name, tensor->source_name);
}

/* *at: the leaf of a linear, which may be a new one; *layer: its number. */
static int find_place(layer_sets *sets, const stack *from, const vlmp_tensor *tensor, int *at,
                      int *layer, vlmp_error *err)
{
    char number[16];
    long value = strtol(tensor->name + strlen(from->canonical), NULL, 10);
    if (value < 0 || value >= VLMP_MAX_LAYERS) return refuse_name(tensor, err);
    *layer = (int)value;
    snprintf(number, sizeof number, ".%d.", *layer);
    const char *text = strstr(tensor->source_name, number);
    const char *end = tensor->source_name + vlmp_name_stem(tensor->source_name);
    if (text != NULL) text += strlen(number);
    if (text != NULL && text < end && end - text < VLMP_NAME_BYTES) {
        *at = find_leaf(sets, text, (int)(end - text));
        if (*at == sets->count && sets->count < MAX_LEAVES)
            sets->leaves[sets->count++] = (leaf){text, (int)(end - text)};
        if (*at < sets->count) return VLMP_OK;
    }
    return refuse_name(tensor, err);
}

static int gather(layer_sets *sets, const vlmp_export *export, const stack *from,
                  vlmp_export_member *member, void *arg, vlmp_error *err)
{
    const vlmp_source *source = export->source;
    *sets = (layer_sets){0};
    for (size_t i = 0; i < source->count(source); i++) {
        const vlmp_tensor *tensor = source->at(source, i);
        int layer = 0, at = 0;
        if (!is_linear(tensor) ||
            strncmp(tensor->name, from->canonical, strlen(from->canonical)) != 0)
            continue;
        VLMP_TRY(find_place(sets, from, tensor, &at, &layer, err));
        uint16_t bit = (uint16_t)(1u << at);
        size_t stem = vlmp_name_stem(tensor->name);
        sets->present[layer] |= bit;
        if (member(arg, vlmp_export_linear_find(export, tensor->name, stem)))
            sets->members[layer] |= bit;
        if (layer >= sets->layers) sets->layers = layer + 1;
    }
    return VLMP_OK;
}

/* The product that leaf number i is the first member of, where all its members are in the set. */
static bool find_product(char out[2 * VLMP_NAME_BYTES], const layer_sets *sets, unsigned set, int i)
{
    const size_t room = 2 * VLMP_NAME_BYTES;
    const leaf *first = &sets->leaves[i];
    vlmp_product product;
    if (!vlmp_product_of(&product, first->text, (size_t)first->length) || product.index != 0)
        return false;
    for (int m = 0; m < VLMP_PRODUCT_MEMBERS && product.members[m] != NULL; m++) {
        int length = snprintf(out, room, "%.*s%s%s", product.head, first->text, product.members[m],
                              product.tail);
        if ((set & 1u << find_leaf(sets, out, length)) == 0) return false;
    }
    snprintf(out, room, "%.*s%s%s", product.head, first->text, product.product, product.tail);
    return true;
}

/* Calls each for the leaves of the set, and for products whose members are all in it. */
static void each_leaf(const layer_sets *sets, unsigned set, vlmp_export_each *each, void *arg)
{
    for (int i = 0; i < sets->count; i++) {
        char name[2 * VLMP_NAME_BYTES];
        if ((set & 1u << i) == 0) continue;
        snprintf(name, sizeof name, "%.*s", sets->leaves[i].length, sets->leaves[i].text);
        each(arg, name);
        if (find_product(name, sets, set, i)) each(arg, name);
    }
}

static void put_escaped(vlmp_buffer *out, const char *name)
{
    for (; *name != '\0'; name++)
        vlmp_buffer_printf(out, "%s%c", isalnum((unsigned char)*name) || *name == '_' ? "" : "\\",
                           *name);
}

/* The choices of a group: "(a|b". */
typedef struct {
    vlmp_buffer *out;
    bool any;
} choices;

static void put_choice(void *arg, const char *name)
{
    choices *c = arg;
    vlmp_buffer_text(c->out, c->any ? "|" : "(");
    put_escaped(c->out, name);
    c->any = true;
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

/* ".*(language_model\.model\.layers|language_model\.layers)\.\d+\.(self_attn\.q_proj|…)$" */
static void put_pattern(vlmp_buffer *out, const layer_sets *sets, const stack *from, unsigned set)
{
    choices heads = {.out = out}, leaves = {.out = out};
    vlmp_buffer_text(out, ".*");
    for (int i = 0; i < VLMP_SPELLINGS && from->heads[i] != NULL; i++)
        put_choice(&heads, from->heads[i]);
    vlmp_buffer_text(out, ")\\.");
    put_layers(out, sets, set);
    vlmp_buffer_text(out, "\\.");
    each_leaf(sets, set, put_choice, &leaves);
    vlmp_buffer_text(out, ")$");
}

static int put_stack(const layer_sets *sets, const stack *from, vlmp_export_each *each, void *arg,
                     vlmp_error *err)
{
    for (int i = 0; i < sets->layers; i++) {
        unsigned set = sets->members[i];
        bool done = set == 0;
        for (int k = 0; k < i; k++)
            done = done || sets->members[k] == set;
        if (done) continue;
        vlmp_buffer out = {0};
        put_pattern(&out, sets, from, set);
        bool failed = out.failed;
        if (!failed) each(arg, out.data);
        vlmp_buffer_free(&out);
        if (failed) return vlmp_fail_memory(err, "names");
    }
    return VLMP_OK;
}

/* Of a model that is not run, how engines name its modules is not known: as the checkpoint does. */
static int each_own_name(const vlmp_export *export, vlmp_export_member *member, void *member_arg,
                         vlmp_export_each *each, void *each_arg, vlmp_error *err)
{
    const vlmp_source *source = export->source;
    for (size_t i = 0; i < source->count(source); i++) {
        const vlmp_tensor *tensor = source->at(source, i);
        char name[VLMP_NAME_BYTES];
        size_t length = vlmp_name_stem(tensor->source_name), stem = vlmp_name_stem(tensor->name);
        if (!is_linear(tensor) ||
            !member(member_arg, vlmp_export_linear_find(export, tensor->name, stem)))
            continue;
        if (length >= VLMP_NAME_BYTES) return refuse_name(tensor, err);
        snprintf(name, sizeof name, "%.*s", (int)length, tensor->source_name);
        each(each_arg, name);
    }
    return VLMP_OK;
}

/* Modules outside the layers. */
static void each_single(const vlmp_export *export, vlmp_export_member *member, void *member_arg,
                        bool table, vlmp_export_each *each, void *each_arg)
{
    const vlmp_module_names *modules = export->config->family->modules;
    const struct {
        const char *canonical, *module;
    } singles[] = {{"projector.0", modules->projector[0]},
                   {"projector.1", modules->projector[1]},
                   {"text.embed", table ? "embed_tokens" : NULL},
                   {"text.head", "lm_head"}};
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++) {
        const vlmp_packed_linear *linear = quantized(export, singles[i].canonical);
        if (singles[i].module != NULL && member(member_arg, linear))
            each(each_arg, singles[i].module);
    }
}

/* Hands a name on as a pattern. */
typedef struct {
    const char *begin;
    vlmp_export_each *each;
    void *arg;
    bool failed;
} as_pattern;

static void pass_pattern(void *arg, const char *name)
{
    as_pattern *to = arg;
    vlmp_buffer out = {0};
    vlmp_buffer_text(&out, to->begin);
    put_escaped(&out, name);
    vlmp_buffer_text(&out, "$");
    if (out.failed)
        to->failed = true;
    else
        to->each(to->arg, out.data);
    vlmp_buffer_free(&out);
}

int vlmp_export_patterns(const vlmp_export *export, vlmp_export_member *member, void *member_arg,
                         vlmp_export_each *each, void *each_arg, vlmp_error *err)
{
    const vlmp_module_names *modules = export->config->family->modules;
    as_pattern whole = {"", each, each_arg, false}, single = {".*", each, each_arg, false};
    stack stacks[STACKS];
    if (modules == NULL)
        VLMP_TRY(each_own_name(export, member, member_arg, pass_pattern, &whole, err));
    else
        find_stacks(stacks, modules);
    for (int i = 0; i < STACKS && modules != NULL; i++) {
        layer_sets sets;
        VLMP_TRY(gather(&sets, export, &stacks[i], member, member_arg, err));
        VLMP_TRY(put_stack(&sets, &stacks[i], each, each_arg, err));
    }
    if (modules != NULL) each_single(export, member, member_arg, true, pass_pattern, &single);
    return whole.failed || single.failed ? vlmp_fail_memory(err, "names") : VLMP_OK;
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

/* Hands a leaf on behind a layer. */
typedef struct {
    const char *head;
    int layer;
    vlmp_export_each *each;
    void *arg;
} in_layer;

static void pass_in_layer(void *arg, const char *name)
{
    const in_layer *to = arg;
    char full[4 * VLMP_NAME_BYTES];
    snprintf(full, sizeof full, "%s.%d.%s", to->head, to->layer, name);
    to->each(to->arg, full);
}

static void name_stack(const layer_sets *sets, const stack *from, vlmp_export_each *each, void *arg)
{
    bool whole = from->whole;
    for (int i = 0; i < sets->layers; i++)
        whole = whole && sets->members[i] == sets->present[i];
    if (whole) {
        char name[VLMP_NAME_BYTES];
        for (int i = 0; i < 2; i++) {
            snprintf(name, sizeof name, "%s%.*s", i == 0 ? "" : "model.",
                     (int)strcspn(from->heads[0], "."), from->heads[0]);
            each(arg, name);
        }
        return;
    }
    for (int s = 0; s < VLMP_SPELLINGS && from->heads[s] != NULL; s++)
        for (int i = 0; i < sets->layers; i++) {
            in_layer to = {from->heads[s], i, each, arg};
            each_leaf(sets, sets->members[i], pass_in_layer, &to);
        }
}

int vlmp_export_names(const vlmp_export *export, vlmp_export_member *member, void *member_arg,
                      vlmp_export_each *each, void *each_arg, vlmp_error *err)
{
    const vlmp_module_names *modules = export->config->family->modules;
    if (modules == NULL) return each_own_name(export, member, member_arg, each, each_arg, err);
    stack stacks[STACKS];
    find_stacks(stacks, modules);
    for (int i = 0; i < STACKS; i++) {
        layer_sets sets;
        VLMP_TRY(gather(&sets, export, &stacks[i], member, member_arg, err));
        name_stack(&sets, &stacks[i], each, each_arg);
    }
    each_single(export, member, member_arg, false, each, each_arg);
    return VLMP_OK;
}
