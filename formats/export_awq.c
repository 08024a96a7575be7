/* AWQ folders (AutoAWQ), version "gemm": 4 bits, one group size. Symmetric weights have their zeros
 * written too: kernels expect them. */
#include "formats/export_plan.h"

static int add_linear(vlmp_export *export, const vlmp_packed_linear *linear, vlmp_error *err)
{
    VLMP_TRY(
        vlmp_export_add_words(export, linear, "qweight", &vlmp_words_awq, VLMP_PACKED_CODES, err));
    VLMP_TRY(
        vlmp_export_add_words(export, linear, "qzeros", &vlmp_words_awq, VLMP_PACKED_ZEROS, err));
    return vlmp_export_add_turned_scales(export, linear, "scales", err);
}

static int plan(vlmp_export *export, vlmp_error *err)
{
    return vlmp_export_plan_tensors(export, add_linear, err);
}

static void put_name(void *arg, const char *name)
{
    vlmp_json_put_string(arg, name);
}

static int put_config(const vlmp_export *export, vlmp_json_writer *w, vlmp_error *err)
{
    const vlmp_scheme *scheme = &export->linears[0].scheme;
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "quant_method", "awq");
    vlmp_json_pair_string(w, "version", "gemm");
    vlmp_json_pair_int(w, "bits", vlmp_code_types[scheme->codes].bits);
    vlmp_json_pair_int(w, "group_size", scheme->group == VLMP_GROUP_CHANNEL ? -1 : scheme->group);
    vlmp_json_pair_bool(w, "zero_point", true);
    vlmp_json_key(w, "modules_to_not_convert");
    vlmp_json_open(w, '[');
    VLMP_TRY(vlmp_export_names(export, vlmp_export_is_kept, NULL, put_name, w, err));
    vlmp_json_close(w, ']');
    vlmp_json_close(w, '}');
    return VLMP_OK;
}

static int write_all(const vlmp_export *export, vlmp_outfolder *folder,
                     vlmp_export_progress *progress, void *arg, vlmp_error *err)
{
    return vlmp_export_write_safetensors(export, folder, put_config, NULL, progress, arg, err);
}

const vlmp_export_layout vlmp_export_awq = {
    .layout = VLMP_LAYOUT_AWQ, .plan = plan, .write = write_all};
