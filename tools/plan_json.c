#include <stdio.h>

#include "src/model/family.h"
#include "tools/plan.h"

static void put_size(vlmp_json_writer *w, const char *key, const vlmp_weight_size *size)
{
    vlmp_json_pair_open(w, key, '{');
    vlmp_json_pair_int(w, "weights", (int64_t)size->weights);
    vlmp_json_pair_int(w, "bytes", (int64_t)size->bytes);
    vlmp_json_pair_double(w, "bits_per_weight", vlmp_bits_per_weight(size->bytes, size->weights));
    vlmp_json_close(w, '}');
}

static void put_choice(vlmp_json_writer *w, const vlmp_plan_choice *choice)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "recipe", choice->is_source ? NULL : choice->name);
    if (!choice->is_source) {
        vlmp_json_pair_int(w, "file_bytes", (int64_t)choice->file_bytes);
        vlmp_json_pair_bool(w, "needs_calibration", choice->plan.plan.needs_calibration);
        vlmp_json_pair_int(w, "group_fallbacks", choice->plan.plan.group_fallbacks);
    }
    put_size(w, "all", &choice->sizes.total);
    vlmp_json_pair_open(w, "components", '{');
    for (int i = 0; i < VLMP_PARTS; i++)
        put_size(w, vlmp_part_name((vlmp_part)i), &choice->sizes.parts[i]);
    vlmp_json_close(w, '}');
    vlmp_json_pair_int(w, "unused_bytes", (int64_t)choice->sizes.unused_bytes);
    vlmp_json_close(w, '}');
}

int vlmp_plan_print_json(const vlmp_plan_document *d, vlmp_error *err)
{
    vlmp_json_writer w = {.indent = 1};
    vlmp_json_open(&w, '{');
    vlmp_json_pair_int(&w, "schema", 1);
    vlmp_json_pair_string(&w, "model", d->source->path);
    vlmp_json_pair_string(&w, "model_type", d->model.config.model_type);
    vlmp_json_pair_bool(&w, "weights_present", !d->source->promised);
    vlmp_json_pair_open(&w, "recipes", '[');
    for (int i = 0; i < d->choice_count; i++)
        put_choice(&w, &d->choices[i]);
    vlmp_json_close(&w, ']');
    vlmp_json_close(&w, '}');
    int status = w.out.failed ? vlmp_fail_memory(err, "plan") : VLMP_OK;
    if (status == VLMP_OK) puts(w.out.data);
    vlmp_buffer_free(&w.out);
    return status;
}
