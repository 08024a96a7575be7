/* Parts of packed linears as they are laid out for more than one format. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/export_plan.h"

/* The codes, or zeros, of a linear, or what stands for zeros that it lacks. */
static vlmp_code_rows rows_of(const vlmp_packed_linear *linear, vlmp_packed_part part)
{
    int group = vlmp_scheme_group(&linear->scheme, (int)linear->k);
    return (vlmp_code_rows){.outputs = linear->n,
                            .inputs = part == VLMP_PACKED_CODES ? linear->k : linear->k / group,
                            .bits = vlmp_code_types[linear->scheme.codes].bits};
}

static void fill_codes(const vlmp_export_tensor *t, size_t first, size_t count, unsigned char *out)
{
    vlmp_code_rows rows = rows_of(t->linear, VLMP_PACKED_CODES);
    rows.data = t->source->data;
    if (t->high != NULL) {
        rows.high = t->high->data;
        if (t->linear->scheme.zeros == VLMP_ZEROS_NONE)
            rows.more =
                vlmp_code_types[VLMP_CODES_U4].middle - vlmp_code_types[VLMP_CODES_U3].middle;
    }
    vlmp_words_put(out, t->words, &rows, first, count);
}

static void fill_zeros(const vlmp_export_tensor *t, size_t first, size_t count, unsigned char *out)
{
    vlmp_code_rows rows = rows_of(t->linear, VLMP_PACKED_ZEROS);
    if (t->source != NULL) {
        rows.data = t->source->data;
        vlmp_words_put(out, t->words, &rows, first, count);
        return;
    }
    uint32_t middle = (uint32_t)vlmp_code_types[t->linear->scheme.codes].middle;
    uint32_t word = vlmp_words_ones(rows.bits) * (middle - t->words->less_one);
    for (size_t i = 0; i < count; i++, out += sizeof word)
        vlmp_word_store(out, word);
}

int vlmp_export_add_words(vlmp_export *export, const vlmp_packed_linear *linear, const char *suffix,
                          const vlmp_word_layout *words, vlmp_packed_part part, vlmp_error *err)
{
    vlmp_code_rows rows = rows_of(linear, part);
    vlmp_export_tensor made = {.tensor = {.dtype = VLMP_I32, .rank = 2},
                               .fate = VLMP_EXPORT_EXACT,
                               .fill = part == VLMP_PACKED_CODES ? fill_codes : fill_zeros,
                               .words = words};
    vlmp_words_shape(made.tensor.shape, words, &rows);
    return vlmp_export_add(export, linear, suffix, &made, part, err);
}

static void fill_turned_scales(const vlmp_export_tensor *t, size_t first, size_t count,
                               unsigned char *out)
{
    size_t outputs = (size_t)t->tensor.shape[1], groups = (size_t)t->tensor.shape[0];
    for (size_t i = first; i < first + count; i++, out += sizeof(uint16_t)) {
        size_t from = i % outputs * groups + i / outputs;
        uint16_t half =
            vlmp_f32_to_f16(vlmp_scale_at(t->source->data, from, t->linear->scheme.scales));
        memcpy(out, &half, sizeof half);
    }
}

int vlmp_export_add_turned_scales(vlmp_export *export, const vlmp_packed_linear *linear,
                                  const char *suffix, vlmp_error *err)
{
    const vlmp_scheme *scheme = &linear->scheme;
    int64_t groups = linear->k / vlmp_scheme_group(scheme, (int)linear->k);
    vlmp_export_tensor made = {
        .tensor = {.dtype = VLMP_F16, .rank = 2, .shape = {groups, linear->n}},
        .fate = scheme->scales == VLMP_F16 ? VLMP_EXPORT_EXACT : VLMP_EXPORT_CONVERTED,
        .fill = fill_turned_scales};
    VLMP_TRY(vlmp_export_add(export, linear, suffix, &made, VLMP_PACKED_SCALES, err));
    const vlmp_tensor *scales = export->tensors[export->count - 1].source;
    for (size_t i = 0; i < (size_t)(linear->n * groups); i++) {
        float scale = vlmp_scale_at(scales->data, i, scheme->scales);
        if (isfinite(vlmp_f16_to_f32(vlmp_f32_to_f16(scale)))) continue;
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: %s: the scale %g is beyond F16, in which this format has its scales; "
                         "export as compressed-tensors",
                         export->source->path, linear->name, (double)scale);
    }
    return VLMP_OK;
}
