#include "formats/export_rules.h"

#include <stdio.h>
#include <string.h>

#include "formats/export.h"
#include "formats/export_products.h"
#include "src/base/scheme.h"
#include "src/model/names.h"

static const struct {
    const char *name;
    vlmp_serve engine;
} layouts[VLMP_LAYOUTS] = {
    [VLMP_LAYOUT_COMPRESSED_TENSORS] = {"compressed-tensors", VLMP_SERVE_VLLM},
    [VLMP_LAYOUT_GPTQ] = {"gptq", VLMP_SERVE_VLLM},
    [VLMP_LAYOUT_AWQ] = {"awq", VLMP_SERVE_VLLM},
    [VLMP_LAYOUT_GGUF] = {"gguf", VLMP_SERVE_LLAMACPP},
};

#define CT   (1u << VLMP_LAYOUT_COMPRESSED_TENSORS)
#define GPTQ (1u << VLMP_LAYOUT_GPTQ)
#define AWQ  (1u << VLMP_LAYOUT_AWQ)
#define GGUF (1u << VLMP_LAYOUT_GGUF)

/* Beside a rule's layouts: what breaks it can be rounded to something that fits. */
#define ROUNDED (1u << VLMP_LAYOUTS)

static const struct {
    const char *name;
    unsigned layouts; /* the lowest bit is the one it reads best */
} engines[VLMP_SERVES] = {
    [VLMP_SERVE_VLLM] = {"vllm", CT | GPTQ | AWQ},
    [VLMP_SERVE_SGLANG] = {"sglang", CT | GPTQ | AWQ},
    [VLMP_SERVE_TRANSFORMERS] = {"transformers", CT | GPTQ | AWQ},
    [VLMP_SERVE_LLAMACPP] = {"llamacpp", GGUF},
};

#define VLLM         (1u << VLMP_SERVE_VLLM)
#define SGLANG       (1u << VLMP_SERVE_SGLANG)
#define TRANSFORMERS (1u << VLMP_SERVE_TRANSFORMERS)
#define LLAMACPP     (1u << VLMP_SERVE_LLAMACPP)
#define EVERY        (VLLM | SGLANG | TRANSFORMERS | LLAMACPP)

const char *vlmp_layout_name(vlmp_layout layout)
{
    return layouts[layout].name;
}

const char *vlmp_serve_name(vlmp_serve engine)
{
    return engines[engine].name;
}

vlmp_serve vlmp_serve_from_name(const char *name)
{
    int i = 0;
    while (i < VLMP_SERVES && strcmp(name, engines[i].name) != 0)
        i++;
    return (vlmp_serve)i;
}

bool vlmp_serve_reads(vlmp_serve engine, vlmp_layout layout)
{
    return (engines[engine].layouts & 1u << layout) != 0;
}

vlmp_layout vlmp_serve_layout(vlmp_serve engine)
{
    int layout = 0;
    while (!vlmp_serve_reads(engine, (vlmp_layout)layout))
        layout++;
    return (vlmp_layout)layout;
}

vlmp_serve vlmp_layout_serve(vlmp_layout layout)
{
    return layouts[layout].engine;
}

bool vlmp_scheme_same(const vlmp_scheme *a, const vlmp_scheme *b)
{
    return a->codes == b->codes && a->group == b->group && a->zeros == b->zeros &&
           a->int8_activations == b->int8_activations && a->blocks == b->blocks;
}

void vlmp_scheme_text(char *out, size_t capacity, const vlmp_scheme *scheme)
{
    char codes[16], group[16] = "channel";
    vlmp_codes_text(codes, sizeof codes, scheme);
    if (scheme->group != VLMP_GROUP_CHANNEL) snprintf(group, sizeof group, "g%d", scheme->group);
    snprintf(out, capacity, "%s %s%s%s", codes, scheme->blocks ? "blocks" : group,
             scheme->zeros == VLMP_ZEROS_NONE ? "" : " asymmetric",
             scheme->int8_activations ? " A8" : "");
}

vlmp_scheme vlmp_export_scheme(const vlmp_scheme *scheme)
{
    vlmp_scheme out = *scheme;
    if (out.codes == VLMP_CODES_U3) out.codes = VLMP_CODES_U4;
    return out;
}

/* What a rule looks at. */
typedef struct {
    const vlmp_packed_linear *linears; /* all that are quantized */
    size_t count;
    const vlmp_packed_linear *linear; /* the one in question */
    const vlmp_config *config;        /* for caveats */
    char other[VLMP_NAME_BYTES + 64]; /* set by rules that compare: with what it does not agree */
} subject;

typedef bool broken_fn(subject *s);

static bool starts(const char *name, const char *head)
{
    return strncmp(name, head, strlen(head)) == 0;
}

static int bits_of(const subject *s)
{
    return vlmp_code_types[vlmp_export_scheme(&s->linear->scheme).codes].bits;
}

static bool is_integer(const subject *s)
{
    return !vlmp_codes_are_floats(s->linear->scheme.codes);
}

static bool is_asymmetric(const subject *s)
{
    return s->linear->scheme.zeros != VLMP_ZEROS_NONE;
}

static bool three_bits(subject *s)
{
    return s->linear->scheme.codes == VLMP_CODES_U3;
}

static bool no_integer(subject *s)
{
    return !is_integer(s);
}

static bool is_fp8(const subject *s)
{
    return s->linear->scheme.codes == VLMP_CODES_FP8;
}

static bool fp8(subject *s)
{
    return is_fp8(s);
}

static bool floats_of_4_bits(subject *s)
{
    return !is_integer(s) && bits_of(s) == 4;
}

static bool fp8_sizes(subject *s)
{
    return is_fp8(s) && (s->linear->n % 16 != 0 || s->linear->k % 16 != 0);
}

static bool cut_blocks(subject *s)
{
    return s->linear->scheme.blocks && s->linear->n % VLMP_BLOCK_OUTPUTS != 0;
}

static bool embedding(subject *s)
{
    return strcmp(s->linear->name, "text.embed") == 0;
}

static bool head(subject *s)
{
    return strcmp(s->linear->name, "text.head") == 0;
}

static bool projector(subject *s)
{
    return starts(s->linear->name, "projector.");
}

static bool outside_text_layers(subject *s)
{
    return !starts(s->linear->name, "text.layers.");
}

static bool int8_activations(subject *s)
{
    return s->linear->scheme.int8_activations;
}

static bool int8_activations_of_others(subject *s)
{
    return int8_activations(s) && (s->linear->scheme.codes != VLMP_CODES_U8 || is_asymmetric(s) ||
                                   s->linear->scheme.group != VLMP_GROUP_CHANNEL);
}

static bool int8_sizes(subject *s)
{
    return int8_activations(s) && (s->linear->n % 16 != 0 || s->linear->k % 16 != 0);
}

static bool asymmetric(subject *s)
{
    return is_asymmetric(s);
}

static bool asymmetric_8(subject *s)
{
    return is_asymmetric(s) && bits_of(s) == 8;
}

static bool other_bits_than_4(subject *s)
{
    return bits_of(s) != 4;
}

static bool other_group(subject *s)
{
    int group = s->linear->scheme.group;
    return is_integer(s) && group != VLMP_GROUP_CHANNEL && group != 32 && group != 64 &&
           group != 128;
}

/* Codes of an output fill 32-bit words. */
static bool inputs_fill_no_words(subject *s)
{
    return is_integer(s) && !int8_activations(s) && s->linear->k * bits_of(s) % 32 != 0;
}

static bool outputs_fill_no_words(subject *s)
{
    return s->linear->n * bits_of(s) % 32 != 0;
}

static bool zeros_fill_no_words(subject *s)
{
    return is_asymmetric(s) && outputs_fill_no_words(s);
}

static bool no_blocks_of_32(subject *s)
{
    return s->linear->k % 32 != 0 || s->linear->scheme.group % 32 != 0;
}

static bool class_row(subject *s)
{
    return s->config->vision.has_class;
}

static bool channel_scales(subject *s)
{
    return s->linear->scheme.group == VLMP_GROUP_CHANNEL;
}

static const vlmp_packed_linear *find(const subject *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->linears[i].name, name) == 0) return &s->linears[i];
    return NULL;
}

/* Whether the linear called name has another scheme; s->other says which. */
static bool differs_from(subject *s, const char *name)
{
    const vlmp_packed_linear *other = find(s, name);
    if (other != NULL) {
        vlmp_scheme own = vlmp_export_scheme(&s->linear->scheme);
        vlmp_scheme its = vlmp_export_scheme(&other->scheme);
        if (vlmp_scheme_same(&own, &its)) return false;
    }
    char scheme[48] = "kept";
    if (other != NULL) vlmp_scheme_text(scheme, sizeof scheme, &other->scheme);
    snprintf(s->other, sizeof s->other, " and %s (%s)", name, scheme);
    return true;
}

/* Whether what the engine computes as one product with the linear is apart from it. */
static bool any_of_product(subject *s, bool (*apart)(subject *s, const char *name))
{
    const char *name = s->linear->name;
    vlmp_product product;
    if (!vlmp_product_of(&product, name, strlen(name))) return false;
    for (int m = 0; m < VLMP_PRODUCT_MEMBERS && product.members[m] != NULL; m++) {
        char sibling[VLMP_NAME_BYTES];
        snprintf(sibling, sizeof sibling, "%.*s%s%s", product.head, name, product.members[m],
                 product.tail);
        if (m != product.index && apart(s, sibling)) return true;
    }
    return false;
}

static bool product_of_schemes(subject *s)
{
    return any_of_product(s, differs_from);
}

static bool has_other_global(subject *s, const char *name)
{
    const vlmp_packed_linear *other = find(s, name);
    if (other == NULL || other->scheme.global_scale == s->linear->scheme.global_scale) return false;
    snprintf(s->other, sizeof s->other, " and %s, whose global scale is another", name);
    return true;
}

static bool product_of_globals(subject *s)
{
    return vlmp_scheme_has_global(&s->linear->scheme) && any_of_product(s, has_other_global);
}

static bool differs_from_first(subject *s)
{
    vlmp_scheme first = vlmp_export_scheme(&s->linears[0].scheme);
    vlmp_scheme own = vlmp_export_scheme(&s->linear->scheme);
    if (first.group == own.group && first.codes == own.codes) return false;
    return differs_from(s, s->linears[0].name);
}

/* Integers in words, integers with int8 activations, floats: each is a layout of its own. */
static bool layouts_differ(subject *s)
{
    const vlmp_scheme *first = &s->linears[0].scheme, *own = &s->linear->scheme;
    bool floats = vlmp_codes_are_floats(own->codes);
    if (first->int8_activations == own->int8_activations &&
        vlmp_codes_are_floats(first->codes) == floats && (!floats || first->codes == own->codes))
        return false;
    return differs_from(s, s->linears[0].name);
}

/* Neither family of the Marlin kernels' tiles divides the weight. */
static bool no_tiles(subject *s)
{
    int64_t n = s->linear->n, k = s->linear->k;
    return is_integer(s) && !int8_activations(s) && !(n % 64 == 0 && k % 128 == 0) &&
           !(n % 128 == 0 && k % 64 == 0);
}

/* A rule is broken by a linear; why and fits make the sentence. Without fits it is a caveat: the
 * export works, but not everywhere. Sources: the loaders of vLLM 0.29, SGLang of autumn 2026,
 * transformers 5.24 with compressed-tensors 0.20, GPTQModel 7.7, AutoAWQ 0.2.9. */
static const struct {
    unsigned layouts, engines;
    broken_fn *broken;
    const char *why, *fits;
} rules[] = {
    {GGUF, EVERY, three_bits, "no type of this format holds 3-bit codes with scales of their own",
     "export as compressed-tensors or gptq, where they become the 4-bit codes of the same weights"},
    {GPTQ | AWQ | GGUF, EVERY, no_integer,
     "only integer codes of 4 and 8 bits have a place in this format", "use 4 or 8 bits"},
    {CT | GPTQ | AWQ, EVERY, embedding,
     "most models' embedding tables are read as they are, and a quantized one fails to load",
     "keep it (\"text.embed\": null)"},
    {GPTQ | AWQ, EVERY, head, "readers of this format take a dense head",
     "keep it (\"text.head\": null), or export as compressed-tensors"},
    {GPTQ | AWQ, EVERY, projector, "readers of this format take a dense projector",
     "keep it (\"projector.*\": null), or export as compressed-tensors"},
    {CT | GPTQ | AWQ, SGLANG, projector, "SGLang builds the projector without quantization",
     "keep it (\"projector.*\": null)"},
    {CT, SGLANG, head, "SGLang is not known to load a quantized head",
     "keep it (\"text.head\": null)"},
    {GPTQ, TRANSFORMERS, outside_text_layers,
     "GPTQModel reads quantized linears in the text model's layers alone",
     "keep it, or export as compressed-tensors"},
    {CT | GPTQ | AWQ, VLLM | SGLANG, product_of_schemes,
     "the engine computes them as one product, which has one scheme",
     "give q, k and v one scheme, and gate and up"},
    {CT, VLLM | SGLANG, product_of_globals,
     "the engine computes them as one product, under one of the global scales",
     "use mxfp4 or fp8 where the model is not run and its linears stand alone"},
    {CT, EVERY, int8_activations_of_others,
     "int8 activations go with symmetric 8-bit weights, one scale an output",
     "use 8 bits, group channel, symmetric, or float activations"},
    {CT, VLLM | SGLANG, int8_sizes, "the engine's int8 kernels take multiples of 16",
     "use float activations or keep it"},
    {GPTQ | AWQ, EVERY, int8_activations, "this format holds weights alone",
     "use float activations, or export as compressed-tensors"},
    {CT, SGLANG, floats_of_4_bits, "SGLang is not known to load weights of such codes alone",
     "use fp8, or integers of 4 bits"},
    {CT, SGLANG, layouts_differ,
     "SGLang takes integer weights alone, int8 activations or fp8, one of these for a whole model",
     "use one of them everywhere"},
    {CT, VLLM | SGLANG, fp8_sizes, "the engine's fp8 kernels take multiples of 16", "keep it"},
    {CT, VLLM | SGLANG, cut_blocks,
     "the engine's kernels for blocks take whole ones, of 128 outputs", "use group channel"},
    {CT, VLLM | SGLANG, asymmetric_8, "the engine's 8-bit kernels know no zero points",
     "use symmetric 8 bits, or asymmetric 4 bits for vllm"},
    {CT, SGLANG, asymmetric, "SGLang may read asymmetric weights as symmetric ones",
     "use symmetric weights"},
    {GPTQ, VLLM | SGLANG, asymmetric, "the engine computes symmetric GPTQ weights alone",
     "use symmetric weights, or export as compressed-tensors or awq"},
    {AWQ, EVERY, other_bits_than_4, "AWQ folders hold 4 bits alone",
     "use 4 bits, or export as compressed-tensors or gptq"},
    {AWQ, EVERY, differs_from_first, "an AWQ folder has one group size for all its linears",
     "give all one group size, or export as compressed-tensors"},
    {CT | GPTQ | AWQ, VLLM | SGLANG, other_group,
     "the engine's kernels take groups of 32, 64, 128 or whole channels", "use one of these"},
    {CT, VLLM | SGLANG, inputs_fill_no_words, "an output's codes fill no whole 32-bit words",
     "keep it, or use 8 bits where the inputs are a multiple of 4"},
    {GPTQ, EVERY, inputs_fill_no_words, "an output's codes fill no whole 32-bit words",
     "keep it, or use 8 bits where the inputs are a multiple of 4"},
    {CT, VLLM | SGLANG, zeros_fill_no_words, "the zeros of a group fill no whole 32-bit words",
     "use symmetric weights or keep it"},
    {GPTQ | AWQ, EVERY, outputs_fill_no_words, "the zeros of a group fill no whole 32-bit words",
     "keep it"},
    {GPTQ | AWQ | ROUNDED, EVERY, channel_scales,
     "scales of this format are F16, those of whole channels here F32",
     "use groups of 32, 64 or 128, or export as compressed-tensors"},
    {GGUF | ROUNDED, EVERY, int8_activations, "this format holds weights alone",
     "use float activations"},
    {GGUF | ROUNDED, EVERY, asymmetric_8, "llama.cpp has no asymmetric type of 8 bits",
     "use symmetric 8 bits"},
    {GGUF | ROUNDED, EVERY, asymmetric, "llama.cpp stores a minimum in F16, not a zero point",
     "use symmetric weights"},
    {GGUF | ROUNDED, EVERY, no_blocks_of_32, "llama.cpp's types are blocks of 32 inputs",
     "keep it, or use groups of 32, 64 or 128"},
    {GGUF | ROUNDED, EVERY, channel_scales,
     "llama.cpp's scales are F16, those of whole channels here F32", "use groups of 32, 64 or 128"},

    {GGUF, LLAMACPP, class_row,
     "llama.cpp's graph of CLIP towers reads pictures one patch off, whoever made the file, unless "
     "the build has the fix of its issue 25814",
     NULL},
    {CT | GPTQ | AWQ, VLLM, no_tiles,
     "sizes that are no multiples of the kernels' tiles (64 × 128) need a vLLM of 2026, which pads "
     "them",
     NULL},
    {CT, VLLM, int8_activations,
     "int8 activations need a GPU of Turing to Hopper; vLLM has no such kernel for Blackwell",
     NULL},
    {CT, EVERY, fp8,
     "with fp8 weights engines round activations to fp8 too, which figures measured with vlmpack "
     "do "
     "not include",
     NULL},
    {CT, VLLM | TRANSFORMERS, asymmetric,
     "transformers 5.24 loads asymmetric weights with "
     "CompressedTensorsConfig(dequantize=True) alone",
     NULL},
};

#define RULES ((int)(sizeof rules / sizeof *rules))

static bool is_rounded(int rule)
{
    return (rules[rule].layouts & ROUNDED) != 0;
}

static bool applies(int rule, vlmp_layout layout, vlmp_serve engine)
{
    return (rules[rule].layouts & 1u << layout) != 0 && (rules[rule].engines & 1u << engine) != 0;
}

/* The first linear that breaks the rule. */
static bool is_broken(int rule, subject *s)
{
    for (size_t i = 0; i < s->count; i++) {
        s->linear = &s->linears[i];
        if (rules[rule].broken(s)) return true;
    }
    return false;
}

int vlmp_export_check(vlmp_layout layout, vlmp_serve engine, const vlmp_packed_linear *linears,
                      size_t count, bool requantize, const char *where, vlmp_error *err)
{
    if (count == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: nothing is quantized; the source model's folder serves as it is",
                         where);
    subject s = {.linears = linears, .count = count};
    for (int i = 0; i < RULES; i++) {
        if (rules[i].fits == NULL || (is_rounded(i) && requantize)) continue;
        if (!applies(i, layout, engine) || !is_broken(i, &s)) continue;
        char scheme[48];
        vlmp_scheme_text(scheme, sizeof scheme, &s.linear->scheme);
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %s for %s cannot express %s (%s)%s: %s; %s%s",
                         where, vlmp_layout_name(layout), vlmp_serve_name(engine), s.linear->name,
                         scheme, s.other, rules[i].why, rules[i].fits,
                         is_rounded(i) ? ", or round it with vlm-export --allow-requantize" : "");
    }
    return VLMP_OK;
}

int vlmp_serve_check(vlmp_layout *layout, vlmp_serve engine, const vlmp_packed_linear *linears,
                     size_t count, const char *where, vlmp_error *err)
{
    for (int i = vlmp_serve_layout(engine); i < VLMP_LAYOUTS; i++) {
        vlmp_error fault = {0};
        *layout = (vlmp_layout)i;
        if (!vlmp_serve_reads(engine, *layout)) continue;
        if (vlmp_export_check(*layout, engine, linears, count, false, where, &fault) == VLMP_OK)
            return VLMP_OK;
        if (err->code == VLMP_OK) *err = fault;
    }
    return err->code;
}

const char *vlmp_export_caveat(const vlmp_export *export, int index)
{
    subject s = {
        .linears = export->linears, .count = export->linear_count, .config = export->config};
    for (int i = 0; i < RULES; i++)
        if (rules[i].fits == NULL && applies(i, export->layout->layout, export->engine) &&
            is_broken(i, &s) && index-- == 0)
            return rules[i].why;
    return NULL;
}
