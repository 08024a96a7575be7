/* The result of evaluating one file: what `vlm-eval --json` prints, what gates look at, what the
 * reports show. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/json.h"
#include "src/base/memory.h"
#include "src/base/sha256.h"
#include "src/eval/bootstrap.h"
#include "src/eval/sample_result.h"

enum {
    VLMP_METRIC_PPL = 1,
    VLMP_METRIC_KL = 2, /* and top-1 agreement */
    VLMP_METRIC_BLEU = 4,
    VLMP_METRIC_CIDER = 8,
    VLMP_METRIC_SPEED = 16,
    VLMP_METRIC_ALL = 31,
};

typedef struct {
    double p50, p95, p99;
} vlmp_quantiles;

typedef struct {
    double mean;
    vlmp_interval ci95;
    double p95, p99, max;
    double score; /* √(mean · p99) */
    vlmp_interval score_ci95;
} vlmp_kl_result;

/* From the original's value, over the same samples. */
typedef struct {
    double value;       /* NAN: not known */
    vlmp_interval ci95; /* paired; NAN: not computable */
} vlmp_difference;

/* Kinds of answer tokens (token_classes.h). The first four are all tokens, and so are the last two:
 * numbers and content words that the question does not hold, and everything else. */
typedef enum {
    VLMP_KL_NUMBERS,
    VLMP_KL_CONTENT,
    VLMP_KL_FUNCTION,
    VLMP_KL_MARKS,
    VLMP_KL_PICTURE,
    VLMP_KL_TEXT,
    VLMP_KL_CLASSES
} vlmp_kl_class;

typedef struct {
    int64_t tokens;
    double mean;        /* KL a token, nats; NAN: there are none */
    vlmp_interval ci95; /* NAN: a resample may hold none */
} vlmp_class_kl;

/* A linear of a packed file, as the run that made it recorded it. Errors are relative to the
 * linear's output, on samples held out or else on those seen; NAN: not recorded. */
typedef struct {
    const char *name;   /* "text.layers.3.mlp.down" */
    const char *scheme; /* "gptq W4g128" */
    double error, rtn_error;
} vlmp_linear_record;

/* The largest activation that a component saw while the file was calibrated. */
typedef struct {
    const char *component, *site; /* "text", "text.layers.3.mlp_out" */
    double max_abs;
    int64_t tokens; /* that were measured */
} vlmp_activation_range;

/* What a packed file records of its calibration. Tokens and samples −1: not recorded. */
typedef struct {
    bool calibrated; /* else no method looked at samples */
    int64_t samples; /* in the calibration */
    int64_t samples_seen, tokens_seen, samples_held, tokens_held;
    vlmp_activation_range *ranges; /* [range_count]; 0: not recorded */
    size_t range_count;
} vlmp_calibration_record;

/* A metric against that of an earlier run over the same samples (baseline.h). */
typedef struct {
    const char *metric;
    double old, now;
    vlmp_interval ci95;  /* of now − old, paired; NAN: not computable */
    const char *verdict; /* "worse", "better": the interval lies beyond 0; else "same" */
} vlmp_change;

/* A line of provenance. */
typedef struct {
    const char *key, *value;
} vlmp_fact;

/* A number that is unknown or could not be computed is NAN (a double) or −1 (an integer): null in
 * JSON. Strings belong to the caller, or to the result's arena, and outlive it. */
typedef struct {
    const char *model;
    const char *reference; /* NULL: none; ratios, kl and top1 are left out */
    bool original;         /* it is the reference itself */
    const char *method;    /* "gptq W4g128"; NULL: the model is not quantized */
    unsigned metrics;      /* VLMP_METRIC_…: those not asked for are left out */
    int64_t samples;
    int64_t left_out; /* samples: broken, or longer than the context */
    int64_t tokens;   /* answer tokens scored, end-of-sequence included */

    double ppl;
    vlmp_interval ppl_ci95;
    double reference_ppl;
    double ppl_ratio;
    vlmp_interval ppl_ratio_ci95;
    vlmp_kl_result kl;
    vlmp_class_kl kl_classes[VLMP_KL_CLASSES]; /* tokens −1: not known */
    double top1;                               /* share, 0 … 1 */
    double bleu[4];
    vlmp_interval bleu_ci95[4];
    double cider;
    vlmp_interval cider_ci95;
    vlmp_difference bleu_difference, cider_difference; /* of BLEU-4 and CIDEr (against.h) */

    struct {
        const char *device;
        vlmp_quantiles ttft_ms;
        double prefill_tps, decode_tps; /* tokens per second */
    } speed;
    struct {
        int64_t weights_bytes, kv_bytes, peak_rss_bytes, peak_device_bytes;
    } memory;
    double bits_per_weight, bits_per_weight_quantized;
    double quantize_seconds;
    int64_t fallbacks, kept_rtn, unguarded;

    vlmp_sample_result *per_sample; /* [samples]; NULL before anything was measured */
    vlmp_linear_record *linears;    /* [linear_count] in the file's order; for reports alone */
    size_t linear_count;
    vlmp_calibration_record *calibration; /* NULL: not a packed file. For reports alone */
    vlmp_fact *facts;                     /* [fact_count] where it comes from; for reports alone */
    size_t fact_count;
    const char *recipe; /* JSON; NULL: none. For reports alone */

    const char **notes;
    size_t note_count;
    struct vlmp_gate_outcome *gates; /* [gate_count], see gates.h */
    size_t gate_count;
    vlmp_change *changes; /* [change_count] */
    size_t change_count;
    vlmp_arena arena;
} vlmp_eval_result;

void vlmp_result_init(vlmp_eval_result *result); /* everything unknown */
void vlmp_result_free(vlmp_eval_result *result);

__attribute__((format(printf, 3, 4))) int vlmp_result_note(vlmp_eval_result *result,
                                                           vlmp_error *err, const char *fmt, ...);

/* One result as an object. */
void vlmp_result_write(vlmp_json_writer *w, const vlmp_eval_result *result);

/* A sample that was not evaluated. */
typedef struct {
    int line;     /* in the data file, or the entry's number; 0 for folders */
    char *reason; /* names the place */
} vlmp_left_out;

/* What all results of a run share. */
typedef struct {
    const char *data;
    size_t samples;
    char digest[VLMP_SHA256_HEX]; /* over the identities of the samples and all their answers */
    int max_new_tokens;
    const vlmp_left_out *left_out; /* [left_out_count] */
    size_t left_out_count;
} vlmp_eval_run;

/* The whole document: {"schema": 1, "data": data, …, "results": […]}. */
void vlmp_results_write(vlmp_json_writer *w, const vlmp_eval_run *run,
                        const vlmp_eval_result *results, size_t count);

/* "ppl,kl,bleu" to bits; an unknown name is VLMP_ERR_USAGE. */
int vlmp_metrics_parse(unsigned *out, const char *text, vlmp_error *err);
