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

static void put_picture(vlmp_json_writer *w, const vlmp_picture_cost *picture)
{
    if (picture->width == 0) {
        vlmp_json_put_null(w);
        return;
    }
    vlmp_json_open(w, '{');
    vlmp_json_pair_int(w, "width", picture->width);
    vlmp_json_pair_int(w, "height", picture->height);
    vlmp_json_pair_int(w, "tiles", picture->tiles);
    vlmp_json_pair_int(w, "tokens", picture->tokens);
    vlmp_json_pair_int(w, "tower_rows", picture->tower_rows);
    vlmp_json_close(w, '}');
}

static void put_times(vlmp_json_writer *w, const char *key, const vlmp_phase_times *times,
                      double most, double batch)
{
    vlmp_json_pair_open(w, key, '{');
    vlmp_json_pair_double(w, "picture_seconds", times->encode);
    vlmp_json_pair_double(w, "prompt_seconds", times->prefill);
    vlmp_json_pair_double(w, "token_seconds", times->decode);
    vlmp_json_pair_double(w, "answer_seconds", times->request);
    vlmp_json_pair_double(w, "requests_per_second", most);
    vlmp_json_pair_double(w, "requests_at_a_time", batch);
    vlmp_json_close(w, '}');
}

static void put_fit(vlmp_json_writer *w, const vlmp_plan_document *d, const vlmp_plan_fit *fit)
{
    vlmp_json_pair_double(w, "needed_bytes", fit->needed);
    if (d->memory > 0) {
        vlmp_json_pair_bool(w, "fits", fit->fits);
        vlmp_json_pair_double(w, "largest_batch", fit->batch);
        vlmp_json_key(w, "largest_picture");
        put_picture(w, &fit->picture);
    }
    if (d->device.name[0] == '\0') return;
    put_times(w, "at_best", &fit->best, fit->most, fit->most_batch);
    put_times(w, "likely", &fit->reached, fit->likely, fit->likely_batch);
}

static void put_quantizing(vlmp_json_writer *w, const vlmp_plan_document *d,
                           const vlmp_quantizing *q)
{
    const vlmp_quantizing_memory *m = &q->memory;
    vlmp_json_pair_open(w, "quantizing", '{');
    vlmp_json_pair_double(w, "memory_bytes", m->total);
    vlmp_json_pair_string(w, "at", m->at);
    vlmp_json_pair_open(w, "of_it", '{');
    vlmp_json_pair_double(w, "block", m->weights);
    vlmp_json_pair_double(w, "activations", m->activations);
    vlmp_json_pair_double(w, "largest_sample", m->batch);
    vlmp_json_pair_double(w, "moments", m->moments);
    vlmp_json_pair_double(w, "linear", m->linear);
    vlmp_json_pair_double(w, "program", m->program);
    vlmp_json_close(w, '}');
    vlmp_json_pair_double(w, "disk_bytes", q->disk);
    vlmp_json_pair_double(w, "tokens", q->rows);
    vlmp_json_pair_double(w, "operations", q->operations);
    vlmp_json_pair_double(w, "seconds", vlmp_quantizing_seconds(q, d->products));
    vlmp_json_close(w, '}');
}

static void put_choice(vlmp_json_writer *w, const vlmp_plan_document *d, int index)
{
    const vlmp_plan_choice *choice = &d->choices[index];
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "recipe", choice->is_source ? NULL : choice->name);
    if (!choice->is_source) {
        vlmp_json_pair_int(w, "file_bytes", (int64_t)choice->file_bytes);
        vlmp_json_pair_bool(w, "needs_calibration", choice->plan.plan.needs_calibration);
        vlmp_json_pair_int(w, "group_fallbacks", choice->plan.plan.group_fallbacks);
        vlmp_json_key(w, "rounding_error");
        if (choice->error > 0)
            vlmp_json_put_double(w, choice->error);
        else
            vlmp_json_put_null(w);
    }
    put_size(w, "all", &choice->sizes.total);
    vlmp_json_pair_open(w, "components", '{');
    for (int i = 0; i < VLMP_COMPONENTS; i++)
        put_size(w, vlmp_component_name((vlmp_component)i), &choice->sizes.parts[i]);
    vlmp_json_close(w, '}');
    vlmp_json_pair_int(w, "unused_bytes", (int64_t)choice->sizes.unused_bytes);
    if (d->runs) put_fit(w, d, &d->fits[index]);
    if (d->runs && !choice->is_source) put_quantizing(w, d, &d->quantizings[index]);
    vlmp_json_close(w, '}');
}

static void put_load(vlmp_json_writer *w, const vlmp_plan_document *d, const vlmp_workload *load)
{
    vlmp_json_open(w, '{');
    vlmp_json_key(w, "picture");
    put_picture(w, &load->picture);
    vlmp_json_pair_double(w, "prompt_tokens", vlmp_workload_prompt(load));
    vlmp_json_pair_double(w, "new_tokens", load->new_tokens);
    vlmp_json_pair_double(w, "batch", load->batch);
    vlmp_json_pair_double(w, "kv_bytes", vlmp_workload_kv(&d->model.config.text, load));
    vlmp_json_pair_double(w, "work_bytes", vlmp_workload_work(&d->model, load));
    vlmp_json_close(w, '}');
}

static void put_phase(vlmp_json_writer *w, const vlmp_plan_document *d, const char *key,
                      double rows)
{
    double weights = d->choices[0].weights.text.weights;
    vlmp_phase_advice advice = vlmp_advise_phase(weights, rows, &d->device.rates);
    vlmp_json_pair_open(w, key, '{');
    vlmp_json_pair_string(w, "arithmetic", vlmp_arithmetic_name(advice.best));
    vlmp_json_pair_double(w, "rows", rows);
    vlmp_json_pair_string(w, "bound_by", advice.reads ? "memory" : "products");
    vlmp_json_pair_open(w, "seconds", '{');
    for (int i = 0; i < VLMP_ARITHMETICS; i++)
        vlmp_json_pair_double(w, vlmp_arithmetic_name((vlmp_arithmetic)i), advice.seconds[i]);
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
}

static void put_device(vlmp_json_writer *w, const vlmp_plan_document *d)
{
    const vlmp_plan_device *device = &d->device;
    vlmp_json_pair_open(w, "device", '{');
    vlmp_json_pair_string(w, "name", device->name);
    vlmp_json_pair_int(w, "count", device->count);
    vlmp_json_pair_double(w, "bandwidth", device->rates.bandwidth);
    vlmp_json_pair_double(w, "flops", device->rates.flops);
    vlmp_json_pair_double(w, "int8", device->rates.int8);
    vlmp_json_pair_double(w, "memory", device->memory);
    vlmp_json_pair_string(w, "source", device->source);
    vlmp_json_close(w, '}');
    vlmp_json_pair_open(w, "methods", '{');
    put_phase(w, d, "prompt", d->asked.batch * vlmp_workload_prompt(&d->asked));
    put_phase(w, d, "answer", d->asked.batch);
    bool enough = d->memory > 0 && d->fits[0].fits;
    vlmp_json_pair_string(w, "usual_tree", vlmp_common_tree(enough, true, true));
    vlmp_json_close(w, '}');
    if (d->options->requests <= 0) return;
    double likely = 0, most = 0;
    for (int i = 0; i < d->choice_count; i++) {
        if (d->fits[i].likely > likely) likely = d->fits[i].likely;
        if (d->fits[i].most > most) most = d->fits[i].most;
    }
    vlmp_json_pair_open(w, "requests", '{');
    vlmp_json_pair_double(w, "asked", d->options->requests);
    vlmp_json_pair_double(w, "latency_seconds", d->options->latency);
    vlmp_json_pair_double(w, "likely", likely);
    vlmp_json_pair_double(w, "at_best", most);
    vlmp_json_pair_bool(w, "reached", likely >= d->options->requests);
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
    vlmp_json_pair_double(&w, "processor_flops", d->products);
    if (d->memory > 0) {
        int best = vlmp_plan_best(d);
        vlmp_json_pair_double(&w, "memory", d->memory);
        vlmp_json_pair_string(&w, "take", best >= 0 ? d->choices[best].name : NULL);
    }
    vlmp_json_pair_open(&w, "recipes", '[');
    for (int i = 0; i < d->choice_count; i++)
        put_choice(&w, d, i);
    vlmp_json_close(&w, ']');
    if (d->runs) {
        const vlmp_text_config *text = &d->model.config.text;
        vlmp_json_pair_double(&w, "kv_bytes_per_token", vlmp_row_kv_bytes(text, false));
        vlmp_json_pair_double(&w, "kv_bytes_per_token_here", vlmp_row_kv_bytes(text, true));
        vlmp_json_pair_open(&w, "loads", '[');
        for (int i = 0; i < d->load_count; i++)
            put_load(&w, d, &d->loads[i]);
        vlmp_json_close(&w, ']');
        if (d->device.name[0] != '\0') put_device(&w, d);
    }
    vlmp_json_close(&w, '}');
    int status = w.out.failed ? vlmp_fail_memory(err, "plan") : VLMP_OK;
    if (status == VLMP_OK) puts(w.out.data);
    vlmp_buffer_free(&w.out);
    return status;
}
