#include "src/quant/run/record.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void vlmp_step_name(char out[VLMP_NAME_MAX], const char *prefix, int layer)
{
    if (layer < 0)
        snprintf(out, VLMP_NAME_MAX, "%s", prefix);
    else
        snprintf(out, VLMP_NAME_MAX, "%s.%d", prefix, layer);
}

int vlmp_step_is_done(const vlmp_quantize_job *job, const char *step, bool *done, vlmp_error *err)
{
    const char *record;
    VLMP_TRY(job->sink->record(job->sink, step, &record, err));
    *done = record != NULL;
    return VLMP_OK;
}

static void put(vlmp_json_writer *w, const char *key, double value)
{
    vlmp_json_key(w, key);
    vlmp_json_put_double(w, value);
}

void vlmp_record_write(vlmp_json_writer *w, const vlmp_linear_result *r)
{
    vlmp_json_open(w, '{');
    vlmp_json_key(w, "name");
    vlmp_json_put_string(w, r->name);
    vlmp_json_key(w, "method");
    vlmp_json_put_string(w, vlmp_method_name(r->method));
    put(w, "n", r->n);
    put(w, "k", r->k);
    if (vlmp_code_types[r->scheme.codes].name != NULL)
        vlmp_json_pair_string(w, "codes", vlmp_code_types[r->scheme.codes].name);
    put(w, "bits", vlmp_code_types[r->scheme.codes].bits);
    put(w, "group", r->scheme.group);
    vlmp_json_key(w, "symmetric");
    vlmp_json_put_bool(w, r->scheme.zeros == VLMP_ZEROS_NONE);
    vlmp_json_key(w, "activations");
    vlmp_json_put_string(w, r->scheme.int8_activations ? "int8" : "float");
    if (!isnan(r->error)) put(w, "error", r->error);
    if (!isnan(r->held_error)) put(w, "held_error", r->held_error);
    if (!isnan(r->held_rtn_error)) put(w, "held_rtn_error", r->held_rtn_error);
    if (r->damping > 0) put(w, "damping", r->damping);
    if (r->correction > 0) put(w, "correction", r->correction);
    const struct {
        const char *key;
        bool value;
    } flags[] = {{"kept_rtn", r->kept_rtn},
                 {"unguarded", r->unguarded},
                 {"fallback", r->fallback},
                 {"folded", r->folded}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (!flags[i].value) continue;
        vlmp_json_key(w, flags[i].key);
        vlmp_json_put_bool(w, true);
    }
    vlmp_json_close(w, '}');
}

int vlmp_record_read(vlmp_linear_result *r, const cJSON *object, const char *where, vlmp_error *err)
{
    const char *name, *method, *activations, *codes;
    int64_t n, k, bits, group;
    bool symmetric;
    *r = (vlmp_linear_result){0};
    VLMP_TRY(vlmp_json_string(object, "name", "", &name, where, err));
    VLMP_TRY(vlmp_json_string(object, "method", "", &method, where, err));
    VLMP_TRY(vlmp_json_string(object, "activations", "float", &activations, where, err));
    VLMP_TRY(vlmp_json_string(object, "codes", NULL, &codes, where, err));
    VLMP_TRY(vlmp_json_int(object, "n", 0, 0, 1 << 30, &n, where, err));
    VLMP_TRY(vlmp_json_int(object, "k", 0, 0, 1 << 30, &k, where, err));
    VLMP_TRY(vlmp_json_int(object, "bits", 0, 0, 8, &bits, where, err));
    VLMP_TRY(vlmp_json_int(object, "group", 0, 0, 1 << 30, &group, where, err));
    VLMP_TRY(vlmp_json_bool(object, "symmetric", true, &symmetric, where, err));
    VLMP_TRY(vlmp_json_double(object, "error", NAN, &r->error, where, err));
    VLMP_TRY(vlmp_json_double(object, "held_error", NAN, &r->held_error, where, err));
    VLMP_TRY(vlmp_json_double(object, "held_rtn_error", NAN, &r->held_rtn_error, where, err));
    VLMP_TRY(vlmp_json_double(object, "damping", 0, &r->damping, where, err));
    VLMP_TRY(vlmp_json_double(object, "correction", 0, &r->correction, where, err));
    VLMP_TRY(vlmp_json_bool(object, "kept_rtn", false, &r->kept_rtn, where, err));
    VLMP_TRY(vlmp_json_bool(object, "unguarded", false, &r->unguarded, where, err));
    VLMP_TRY(vlmp_json_bool(object, "fallback", false, &r->fallback, where, err));
    VLMP_TRY(vlmp_json_bool(object, "folded", false, &r->folded, where, err));
    r->method = vlmp_method_from_name(method);
    if (strlen(name) >= sizeof r->name || r->method == VLMP_METHOD_COUNT)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: a record of quantized linears is damaged",
                         where);
    memcpy(r->name, name, strlen(name) + 1);
    r->n = (int)n;
    r->k = (int)k;
    r->scheme = vlmp_scheme_make(vlmp_code_type_of(codes, (int)bits), (int)group,
                                 symmetric ? VLMP_ZEROS_NONE : VLMP_ZEROS_PACKED,
                                 strcmp(activations, "int8") == 0);
    return VLMP_OK;
}

int vlmp_commit_results(const vlmp_quantize_job *job, const char *step,
                        const vlmp_linear_result *results, int count, const char *const *replaced,
                        vlmp_error *err)
{
    vlmp_json_writer w = {0};
    vlmp_json_open(&w, '{');
    vlmp_json_key(&w, "linears");
    vlmp_json_open(&w, '[');
    for (int i = 0; i < count; i++) {
        vlmp_record_write(&w, &results[i]);
        job->on_linear(job->arg, &results[i]);
    }
    vlmp_json_close(&w, ']');
    vlmp_json_key(&w, "replaced");
    vlmp_json_open(&w, '[');
    for (; replaced != NULL && *replaced != NULL; replaced++)
        vlmp_json_put_string(&w, *replaced);
    vlmp_json_close(&w, ']');
    vlmp_json_close(&w, '}');
    int status = w.out.failed ? vlmp_fail_memory(err, "record of a step")
                              : job->sink->commit(job->sink, step, w.out.data, err);
    vlmp_buffer_free(&w.out);
    return status;
}
