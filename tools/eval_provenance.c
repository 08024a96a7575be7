#include "tools/eval_provenance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/packed.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "tools/eval_record.h"

#define MAX_RUN_FILE ((size_t)1 << 20)
#define MAX_SCHEMES  4 /* named in a result's method; more are "…" */

static int parse_note(cJSON **out, const vlmp_source *source, const char *key, vlmp_error *err)
{
    size_t length;
    const char *text = vlmp_packed_note(source, key, &length);
    *out = NULL;
    if (text == NULL) return VLMP_OK;
    return vlmp_json_parse(out, text, length, source->path, err);
}

int vlmp_calibration_alpha(const vlmp_source *source, char out[8], vlmp_error *err)
{
    cJSON *provenance = NULL;
    const char *alpha = "";
    out[0] = '\0';
    if (strcmp(source->kind, "packed") != 0) return VLMP_OK;
    int status = parse_note(&provenance, source, "vlmp.provenance", err);
    if (status == VLMP_OK)
        status = vlmp_json_string(provenance, "calibration_alpha", "", &alpha, source->path, err);
    if (status == VLMP_OK) snprintf(out, 8, "%s", alpha);
    cJSON_Delete(provenance);
    return status;
}

static int note_alpha(const vlmp_eval_job *job, const vlmp_source *source, vlmp_eval_result *result,
                      vlmp_error *err)
{
    char alpha[8];
    VLMP_TRY(vlmp_calibration_alpha(source, alpha, err));
    if (alpha[0] == '\0' || strcmp(alpha, job->pictures->alpha) == 0) return VLMP_OK;
    return vlmp_result_note(result, err,
                            "calibrated on transparent pictures with --alpha %s, evaluated with %s",
                            alpha, job->pictures->alpha);
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The strings of a list, sorted; free *out. */
static int sorted_ids(const cJSON *list, const char ***out, size_t *count, vlmp_error *err)
{
    *count = 0;
    *out = malloc(((size_t)cJSON_GetArraySize(list) + 1) * sizeof **out);
    if (*out == NULL) return vlmp_fail_memory(err, "calibration samples");
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        if (cJSON_IsString(item)) (*out)[(*count)++] = item->valuestring;
    }
    qsort(*out, *count, sizeof **out, compare_text);
    return VLMP_OK;
}

static bool holds(const char **ids, size_t count, const char *id)
{
    return bsearch(&id, ids, count, sizeof *ids, compare_text) != NULL;
}

/* Samples of the calibration are refused; those that differ from one in white space are noted. */
static int check_overlap(const vlmp_eval_job *job, const cJSON *provenance,
                         vlmp_eval_result *result, vlmp_error *err)
{
    const char **exact = NULL, **loose = NULL;
    size_t exact_count, loose_count, changed = 0, first = 0;
    const vlmp_eval_data *data = job->data;
    if (job->allow_overlap) return VLMP_OK;
    int status =
        sorted_ids(vlmp_json_get(provenance, "calibration_samples"), &exact, &exact_count, err);
    if (status == VLMP_OK)
        status = sorted_ids(vlmp_json_get(provenance, "calibration_samples_loose"), &loose,
                            &loose_count, err);
    for (size_t i = 0; i < data->count && status == VLMP_OK; i++) {
        vlmp_sample sample;
        if (holds(exact, exact_count, data->ids[i].exact)) {
            status = vlmp_eval_sample(data, i, &sample, err);
            if (status == VLMP_OK)
                status = vlmp_fail(err, VLMP_ERR_INPUT,
                                   "%s: this sample was used to calibrate %s, so a score on it "
                                   "says nothing; take other data, or --allow-overlap",
                                   sample.where, job->path);
            vlmp_sample_free(&sample);
        } else if (holds(loose, loose_count, data->ids[i].loose)) {
            if (changed++ == 0) first = i;
        }
    }
    free(exact);
    free(loose);
    if (status != VLMP_OK || changed == 0) return status;
    vlmp_sample sample;
    VLMP_TRY(vlmp_eval_sample(data, first, &sample, err));
    status = vlmp_result_note(result, err,
                              "%zu samples differ in white space alone from one that calibrated "
                              "this file, so their scores say little; the first: %s",
                              changed, sample.where);
    vlmp_sample_free(&sample);
    return status;
}

/* "gptq W4g128 + int8 W8": the schemes in order of first appearance. */
static int describe(const cJSON *decisions, vlmp_eval_result *result, vlmp_error *err)
{
    char names[MAX_SCHEMES][VLMP_SCHEME_NAME], name[VLMP_SCHEME_NAME];
    int count = 0;
    vlmp_buffer text = {0};
    const cJSON *item;
    cJSON_ArrayForEach(item, decisions)
    {
        if (!vlmp_record_scheme(name, item)) continue;
        result->fallbacks += cJSON_IsTrue(vlmp_json_get(item, "fallback"));
        result->unguarded += cJSON_IsTrue(vlmp_json_get(item, "unguarded"));
        bool kept_rtn = cJSON_IsTrue(vlmp_json_get(item, "kept_rtn"));
        result->kept_rtn += kept_rtn;
        if (kept_rtn) continue;
        int at = 0;
        while (at < count && strcmp(names[at], name) != 0)
            at++;
        if (at < count || count == MAX_SCHEMES) continue;
        memcpy(names[count++], name, sizeof name);
        vlmp_buffer_printf(&text, "%s%s", text.length > 0 ? " + " : "", name);
    }
    if (text.length > 0) result->method = vlmp_arena_copy(&result->arena, text.data, text.length);
    bool failed = text.failed || (text.length > 0 && result->method == NULL);
    vlmp_buffer_free(&text);
    return failed ? vlmp_fail_memory(err, "method") : VLMP_OK;
}

/* What this program does otherwise than the folder asks for. */
static int note_import(const vlmp_source *source, vlmp_eval_result *result, vlmp_error *err)
{
    cJSON *import;
    const char *note = NULL;
    if (source->imported == NULL) return VLMP_OK;
    VLMP_TRY(parse_note(&import, source, VLMP_PACKED_IMPORT, err));
    int status = vlmp_json_string(import, "note", NULL, &note, source->path, err);
    if (status == VLMP_OK && note != NULL) status = vlmp_result_note(result, err, "%s", note);
    cJSON_Delete(import);
    return status;
}

/* OUT.run.json is written beside the file by vlm-quantize; its absence is no fault. */
static int read_run_file(const vlmp_source *source, vlmp_eval_result *result, vlmp_error *err)
{
    char path[4200];
    vlmp_error refused = {0};
    cJSON *run;
    snprintf(path, sizeof path, "%s.run.json", source->path);
    if (vlmp_json_load(&run, path, MAX_RUN_FILE, &refused) != VLMP_OK)
        return vlmp_fail_tried(err, &refused);
    vlmp_json_double(run, "seconds", result->quantize_seconds, &result->quantize_seconds, path,
                     &refused);
    cJSON_Delete(run);
    return VLMP_OK;
}

/* In a packed file's place the model that it was made from. */
static int trace_back(vlmp_identity *identity, const vlmp_source *source, vlmp_error *err)
{
    if (strcmp(source->kind, "packed") != 0) return VLMP_OK;
    cJSON *provenance;
    VLMP_TRY(parse_note(&provenance, source, "vlmp.provenance", err));
    const cJSON *made_from = vlmp_json_get(provenance, "source");
    if (cJSON_IsString(made_from) && strlen(made_from->valuestring) == VLMP_SHA256_HEX - 1)
        memcpy(identity->tensors, made_from->valuestring, VLMP_SHA256_HEX);
    cJSON_Delete(provenance);
    return VLMP_OK;
}

int vlmp_eval_origin(vlmp_identity *out, char itself[VLMP_SHA256_HEX], vlmp_source *source,
                     vlmp_error *err)
{
    VLMP_TRY(vlmp_identity_of(out, source, err));
    if (itself != NULL) memcpy(itself, out->tensors, VLMP_SHA256_HEX);
    return trace_back(out, source, err);
}

/* Spares reading every byte of the reference once more. */
static bool same_place(const char *a, const char *b)
{
    char *x = realpath(a, NULL), *y = realpath(b, NULL);
    bool same = x != NULL && y != NULL && strcmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}

int vlmp_eval_check_origin(const vlmp_eval_job *job, vlmp_source *source, vlmp_eval_result *result,
                           vlmp_error *err)
{
    const vlmp_reference *r = job->reference;
    vlmp_identity origin, reference = r->model;
    memcpy(reference.tensors, r->itself, sizeof reference.tensors);
    result->original = !r->saved && same_place(job->path, r->where);
    if (result->original) return VLMP_OK;
    VLMP_TRY(vlmp_identity_of(&origin, source, err));
    result->original = vlmp_identity_difference(&origin, &reference) == NULL;
    if (result->original) return VLMP_OK;
    if (source->imported != NULL)
        return vlmp_result_note(result, err,
                                "that it was made from the reference is not known: %s does not say",
                                source->imported);
    /* Two folders of one call are two models that the user wants compared. */
    if (!r->saved && strcmp(source->kind, "packed") != 0) return VLMP_OK;
    VLMP_TRY(trace_back(&origin, source, err));
    const char *what = vlmp_identity_difference(&origin, &r->model);
    if (what == NULL) return VLMP_OK;
    if (!r->saved)
        return vlmp_result_note(result, err,
                                "not made from the reference as it is now (%s differ%s): figures "
                                "are about more than quantization",
                                what, strcmp(what, "weights") == 0 ? "" : "s");
    if (strcmp(origin.tensors, r->model.tensors) != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: made with another model, %s (weights %.12s…), than %s (%.12s…); save "
                         "this one's, or give --reference MODEL to compare two models",
                         r->where, r->name, r->model.tensors, job->path, origin.tensors);
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: its %s differs from the one that %s was made with; make the reference "
                     "again with --save-reference",
                     job->path, what, r->where);
}

int vlmp_eval_provenance(const vlmp_eval_job *job, vlmp_source *source, vlmp_eval_result *result,
                         vlmp_error *err)
{
    cJSON *provenance = NULL, *decisions = NULL;
    result->fallbacks = result->kept_rtn = result->unguarded = 0;
    if (strcmp(source->kind, "packed") != 0) return VLMP_OK;
    int status = parse_note(&provenance, source, "vlmp.provenance", err);
    if (status == VLMP_OK) status = parse_note(&decisions, source, "vlmp.decisions", err);
    if (status == VLMP_OK && provenance != NULL)
        status = check_overlap(job, provenance, result, err);
    if (status == VLMP_OK && decisions != NULL) status = describe(decisions, result, err);
    if (status == VLMP_OK && result->unguarded > 0)
        status = vlmp_result_note(result, err,
                                  "%lld linears are unguarded: no samples were held out to judge "
                                  "them against round to nearest",
                                  (long long)result->unguarded);
    if (status == VLMP_OK) status = vlmp_eval_record(source, provenance, decisions, result, err);
    if (status == VLMP_OK) status = note_alpha(job, source, result, err);
    if (status == VLMP_OK) status = note_import(source, result, err);
    if (status == VLMP_OK) status = read_run_file(source, result, err);
    cJSON_Delete(provenance);
    cJSON_Delete(decisions);
    return status;
}
