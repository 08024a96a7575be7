/* GPTQ folders (AutoGPTQ, GPTQModel; versions 1 and 2) and AWQ folders (AutoAWQ's "gemm"): codes
 * and zeros in words, all turned. Bits, inputs and groups follow from the tensors' shapes. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "formats/code_words.h"
#include "formats/import.h"

/* How the folder stores codes and zeros. */
typedef struct {
    const vlmp_word_layout *codes, *zeros;
    bool whole_words; /* version 1, by a tool that takes 1 from whole words */
} settings;

static int make_settings(vlmp_import *import, const vlmp_word_layout *codes,
                         const vlmp_word_layout *zeros, settings **out, vlmp_error *err)
{
    *out = vlmp_arena_alloc(&import->arena, 1, sizeof **out);
    if (*out == NULL) return vlmp_fail_memory(err, import->where);
    **out = (settings){.codes = codes, .zeros = zeros};
    import->settings = *out;
    return VLMP_OK;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* The tool that wrote the folder, "NAME:VERSION"; newer ones list several, the first quantized it.
 */
static const char *maker_of(const cJSON *config)
{
    const cJSON *maker = vlmp_json_get(vlmp_json_get(config, "meta"), "quantizer");
    if (cJSON_IsArray(maker)) maker = maker->child;
    return cJSON_IsString(maker) ? maker->valuestring : "";
}

static int configure_gptq(vlmp_import *import, const cJSON *config, vlmp_error *err)
{
    const char *format;
    settings *s;
    VLMP_TRY(vlmp_json_string(config, "format", "gptq", &format, import->where, err));
    VLMP_TRY(vlmp_json_string(config, "checkpoint_format", format, &format, import->where, err));
    bool first = strcmp(format, "gptq") == 0;
    if (!first && strcmp(format, "gptq_v2") != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: quantization_config: the checkpoint_format '%.40s' is not read; gptq "
                         "and gptq_v2 are",
                         import->where, format);
    VLMP_TRY(make_settings(import, &vlmp_words_gptq_codes,
                           first ? &vlmp_words_gptq_zeros : &vlmp_words_gptq_v2_zeros, &s, err));
    const char *maker = maker_of(config);
    s->whole_words = begins(maker, "gptqmodel:") || begins(maker, "vlmpack:");
    return VLMP_OK;
}

static int configure_awq(vlmp_import *import, const cJSON *config, vlmp_error *err)
{
    const char *version;
    settings *s;
    VLMP_TRY(vlmp_json_string(config, "version", "gemm", &version, import->where, err));
    if (strcasecmp(version, "gemm") != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: quantization_config: the version '%.40s' is not read; gemm is",
                         import->where, version);
    return make_settings(import, &vlmp_words_awq, &vlmp_words_awq, &s, err);
}

/* Outputs and groups are the scales' sides; the bits are those that all zeros need. */
static int read_scales(vlmp_import_linear *linear, int64_t *groups, int *bits, vlmp_error *err)
{
    const vlmp_tensor *scales = linear->parts[VLMP_IMPORT_SCALES];
    const vlmp_tensor *zeros = linear->parts[VLMP_IMPORT_ZEROS];
    if (zeros == NULL)
        return vlmp_import_refuse(scales, err,
                                  "is there, but not the qzeros of its linear; is the download "
                                  "complete?");
    if (!vlmp_dtype_is_float(scales->dtype) || scales->rank != 2 || scales->shape[0] < 1 ||
        scales->shape[1] < 1 || scales->shape[0] > INT32_MAX || scales->shape[1] > INT32_MAX)
        return vlmp_import_refuse(scales, err,
                                  "is no matrix of F16, BF16 or F32; download the model again");
    *groups = scales->shape[0];
    linear->n = scales->shape[1];
    *bits = zeros->rank == 2 && zeros->shape[1] == (linear->n + 7) / 8 ? 4 : 8;
    return vlmp_import_need(linear, VLMP_IMPORT_ZEROS, VLMP_I32, *groups,
                            (linear->n * *bits + 31) / 32, err);
}

/* Inputs: those that have a group, else those that the words have room for. */
static int read_inputs(vlmp_import_linear *linear, const vlmp_word_layout *layout, int bits,
                       vlmp_error *err)
{
    const vlmp_tensor *codes = linear->parts[VLMP_IMPORT_CODES];
    const vlmp_tensor *index = linear->parts[VLMP_IMPORT_INDEX];
    int64_t in_word = layout->outputs_together ? 1 : VLMP_WORD_BITS / bits;
    if (codes->rank != 2 || codes->shape[0] < 1 || codes->shape[0] > INT32_MAX / in_word)
        return vlmp_import_refuse(codes, err, "is no matrix; download the model again");
    linear->k = codes->shape[0] * in_word;
    if (index != NULL && index->rank == 1) linear->k = index->shape[0];
    if (linear->k < 1 || linear->k > INT32_MAX)
        return vlmp_import_refuse(index, err, "has %lld inputs; download the model again",
                                  (long long)linear->k);
    const vlmp_code_rows rows = {.outputs = linear->n, .inputs = linear->k, .bits = bits};
    int64_t shape[2];
    vlmp_words_shape(shape, layout, &rows);
    return vlmp_import_need(linear, VLMP_IMPORT_CODES, VLMP_I32, shape[0], shape[1], err);
}

/* Tools that take 1 from each field, and not from whole words, leave the highest field for a zero
 * of 0 and for one beyond the highest code; which is meant is not told. */
static int check_fields(const vlmp_import_linear *linear, int bits, vlmp_error *err)
{
    const vlmp_tensor *zeros = linear->parts[VLMP_IMPORT_ZEROS];
    uint32_t mask = (1u << bits) - 1;
    for (size_t i = 0; i < zeros->bytes; i += sizeof(uint32_t)) {
        uint32_t word = vlmp_word_load(zeros->data + i);
        for (int shift = 0; shift < VLMP_WORD_BITS; shift += bits)
            if ((word >> shift & mask) == mask)
                return vlmp_import_refuse(zeros, err,
                                          "has at word %zu a zero of %d, which %d-bit codes do not "
                                          "have (or 0: tools differ); store it as gptq_v2",
                                          i / sizeof word, (int)mask + 1, bits);
    }
    return VLMP_OK;
}

static int fit(vlmp_import *import, vlmp_import_linear *linear, vlmp_error *err)
{
    const settings *s = import->settings;
    int64_t groups = 0;
    int bits = 0;
    VLMP_TRY(read_scales(linear, &groups, &bits, err));
    if (s->codes->awq_order && bits != 4)
        return vlmp_import_refuse(linear->parts[VLMP_IMPORT_ZEROS], err,
                                  "is not of 4 bits, which AWQ codes have; download it again");
    VLMP_TRY(read_inputs(linear, s->codes, bits, err));
    if (linear->k % groups != 0)
        return vlmp_import_refuse(linear->parts[VLMP_IMPORT_SCALES], err,
                                  "has %lld groups, which do not divide %lld inputs",
                                  (long long)groups, (long long)linear->k);
    VLMP_TRY(vlmp_import_check_order(linear, groups, err));
    if (s->zeros->less_one && !s->whole_words) VLMP_TRY(check_fields(linear, bits, err));
    int group = groups == 1 ? VLMP_GROUP_CHANNEL : (int)(linear->k / groups);
    linear->scheme = vlmp_scheme_make(vlmp_code_type_of_bits(bits), group, VLMP_ZEROS_NONE, false);
    linear->scheme.scales = linear->parts[VLMP_IMPORT_SCALES]->dtype;
    return VLMP_OK;
}

static void read_words(const vlmp_import *import, const vlmp_import_linear *linear, bool zeros,
                       int64_t first, int64_t count, uint8_t *out)
{
    const settings *s = import->settings;
    vlmp_words_get(out, zeros ? s->zeros : s->codes,
                   linear->parts[zeros ? VLMP_IMPORT_ZEROS : VLMP_IMPORT_CODES]->data, linear->n,
                   zeros ? vlmp_import_groups(linear) : linear->k,
                   vlmp_code_types[linear->scheme.codes].bits, first, count);
}

static void read_codes(const vlmp_import *import, const vlmp_import_linear *linear, int64_t first,
                       int64_t count, uint8_t *out)
{
    read_words(import, linear, false, first, count, out);
}

static void read_zeros(const vlmp_import *import, const vlmp_import_linear *linear, int64_t first,
                       int64_t count, uint8_t *out)
{
    read_words(import, linear, true, first, count, out);
}

static size_t scale_index(const vlmp_import_linear *linear, int64_t n, int64_t group)
{
    return (size_t)(group * linear->n + n);
}

static const vlmp_import_suffix suffixes[] = {{".qweight", VLMP_IMPORT_CODES, NULL},
                                              {".scales", VLMP_IMPORT_SCALES, NULL},
                                              {".qzeros", VLMP_IMPORT_ZEROS, NULL},
                                              {".g_idx", VLMP_IMPORT_INDEX, NULL},
                                              {0}};

const vlmp_import_layout vlmp_import_gptq = {
    .name = "gptq",
    .suffixes = suffixes,
    .configure = configure_gptq,
    .fit = fit,
    .codes = read_codes,
    .zeros = read_zeros,
    .scale = scale_index,
};

const vlmp_import_layout vlmp_import_awq = {
    .name = "awq",
    .suffixes = suffixes,
    .configure = configure_awq,
    .fit = fit,
    .codes = read_codes,
    .zeros = read_zeros,
    .scale = scale_index,
};
