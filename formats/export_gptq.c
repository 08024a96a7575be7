/* GPTQ folders (AutoGPTQ, GPTQModel): version 1, whose zeros are stored less one, inputs in their
 * own order (desc_act false). A scheme that is not the first linear's, and what is kept, are
 * entries of `dynamic`. */
#include <stdio.h>
#include <string.h>

#include "formats/export_plan.h"
#include "src/model/family.h"

/* The group that an input belongs to. */
static void fill_groups(const vlmp_export_tensor *t, size_t first, size_t count, unsigned char *out)
{
    size_t group = (size_t)vlmp_scheme_group(&t->linear->scheme, (int)t->linear->k);
    for (size_t i = first; i < first + count; i++, out += sizeof(uint32_t))
        vlmp_word_store(out, (uint32_t)(i / group));
}

static int add_linear(vlmp_export *export, const vlmp_packed_linear *linear, vlmp_error *err)
{
    const vlmp_export_tensor groups = {
        .tensor = {.dtype = VLMP_I32, .rank = 1, .shape = {linear->k}},
        .fate = VLMP_EXPORT_EXACT,
        .fill = fill_groups};
    VLMP_TRY(vlmp_export_add_words(export, linear, "qweight", &vlmp_words_gptq_codes,
                                   VLMP_PACKED_CODES, err));
    VLMP_TRY(vlmp_export_add_words(export, linear, "qzeros", &vlmp_words_gptq_zeros,
                                   VLMP_PACKED_ZEROS, err));
    VLMP_TRY(vlmp_export_add_turned_scales(export, linear, "scales", err));
    return vlmp_export_add(export, linear, "g_idx", &groups, VLMP_PACKED_PARTS, err);
}

static int plan(vlmp_export *export, vlmp_error *err)
{
    return vlmp_export_plan_tensors(export, add_linear, err);
}

static void put_scheme(vlmp_json_writer *w, const vlmp_scheme *scheme)
{
    bool channel = scheme->group == VLMP_GROUP_CHANNEL;
    vlmp_json_pair_int(w, "bits", vlmp_code_types[scheme->codes].bits);
    vlmp_json_pair_int(w, "group_size", channel ? -1 : scheme->group);
    vlmp_json_pair_bool(w, "sym", scheme->zeros == VLMP_ZEROS_NONE);
    vlmp_json_pair_bool(w, "desc_act", false);
}

/* An entry of `dynamic`: modules of another scheme; NULL: that are not quantized. */
typedef struct {
    vlmp_json_writer *w;
    const vlmp_scheme *scheme;
} entry;

static void put_entry(void *arg, const char *pattern)
{
    const entry *e = arg;
    vlmp_buffer key = {0};
    vlmp_buffer_printf(&key, "%s:%s", e->scheme != NULL ? "+" : "-", pattern);
    if (key.failed) {
        e->w->out.failed = true;
    } else {
        vlmp_json_key(e->w, key.data);
        vlmp_json_open(e->w, '{');
        if (e->scheme != NULL) put_scheme(e->w, e->scheme);
        vlmp_json_close(e->w, '}');
    }
    vlmp_buffer_free(&key);
}

static int put_dynamic(const vlmp_export *export, vlmp_json_writer *w, vlmp_error *err)
{
    vlmp_json_key(w, "dynamic");
    vlmp_json_open(w, '{');
    for (size_t i = 1; i < export->linear_count; i++) {
        vlmp_scheme scheme = export->linears[i].scheme;
        entry other = {w, &scheme};
        if (vlmp_export_scheme_is_new(export, i))
            VLMP_TRY(vlmp_export_patterns(export, vlmp_export_has_scheme, &scheme, put_entry,
                                          &other, err));
    }
    entry kept = {w, NULL};
    VLMP_TRY(vlmp_export_patterns(export, vlmp_export_is_kept, NULL, put_entry, &kept, err));
    vlmp_json_close(w, '}');
    return VLMP_OK;
}

/* Where optimum, which transformers loads with, finds no layers: it looks for those of
 * "model.language_model". */
static void put_layers(const vlmp_export *export, vlmp_json_writer *w)
{
    char path[64];
    const vlmp_module_names *names = export->config->family->modules;
    if (names == NULL || strncmp(names->text[0], "language_model.", 15) == 0) return;
    snprintf(path, sizeof path, "model.%s", names->text[0]);
    vlmp_json_pair_string(w, "block_name_to_quantize", path);
}

static int put_config(const vlmp_export *export, vlmp_json_writer *w, vlmp_error *err)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "quant_method", "gptq");
    vlmp_json_pair_string(w, "checkpoint_format", "gptq");
    put_scheme(w, &export->linears[0].scheme);
    vlmp_json_pair_string(w, "pack_dtype", "int32");
    vlmp_json_pair_bool(w, "lm_head", false);
    put_layers(export, w);
    VLMP_TRY(put_dynamic(export, w, err));
    vlmp_json_key(w, "meta");
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "quantizer", "vlmpack:" VLMP_VERSION);
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
    return VLMP_OK;
}

static int write_all(const vlmp_export *export, vlmp_outfolder *folder,
                     vlmp_export_progress *progress, void *arg, vlmp_error *err)
{
    return vlmp_export_write_safetensors(export, folder, put_config, "quantize_config.json",
                                         progress, arg, err);
}

const vlmp_export_layout vlmp_export_gptq = {
    .layout = VLMP_LAYOUT_GPTQ, .plan = plan, .write = write_all};
