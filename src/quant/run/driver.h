/* Quantizes a whole model, block by block: at any time one block's weights, its statistics and the
 * activations between blocks exist. Finished blocks go to a sink and are found there after an
 * interruption; the result has the same bytes. */
#pragma once

#include "src/calib/calibration.h"
#include "src/model/linears.h"
#include "src/quant/method/gptq.h"
#include "src/quant/scheme/plan.h"
#include "src/store/sink.h"

/* What was decided about one linear. Errors are Σ |W·x₀ − Q(W)·x|² over Σ |W·x|², x₀ the original
 * model's inputs where the method aims at its outputs, else the inputs x that the quantized linears
 * before give; NaN where there were no statistics. */
typedef struct {
    char name[VLMP_NAME_MAX];
    vlmp_method method; /* as stored: RTN where the guard kept it */
    vlmp_scheme scheme;
    int n, k;
    double error;          /* on the samples that the method saw */
    double held_error;     /* on the samples held out */
    double held_rtn_error; /* of round to nearest in the same format */
    double damping;        /* of H; 0 when not used */
    double correction; /* step towards the original model's outputs; 0: its weights are the aim */
    bool kept_rtn;     /* the guard preferred round to nearest */
    bool unguarded;    /* chosen by statistics, with no samples held out to judge it on */
    bool fallback;     /* the method failed (H did not factor), or the group did not divide */
    bool folded;       /* AWQ moved a scale into what precedes the site */
    double seconds;    /* not part of the result */
} vlmp_linear_result;

typedef void vlmp_on_linear(void *arg, const vlmp_linear_result *result);
typedef void vlmp_on_notice(void *arg, const char *text);

typedef struct vlmp_selection vlmp_selection; /* selection.h */

typedef struct {
    vlmp_sweep sweep;
    const vlmp_linear_info *linears;
    int linear_count;
    const vlmp_plan *plan;               /* an entry for each linear */
    const vlmp_calibration *calibration; /* NULL when the plan needs none */
    bool sequential;                     /* statistics on already quantized inputs */
    const vlmp_selection *selection;     /* what is taken of the calibration; NULL: all samples */
    vlmp_gptq_options gptq;
    vlmp_sink *sink;
    const char *boundary; /* path in front of "-0" and "-1": activations at block borders */
    vlmp_on_linear *on_linear;
    vlmp_on_notice
        *on_notice; /* one line for the user: where a resumed run goes on, what was lost */
    void *arg;      /* of both */
} vlmp_quantize_job;

/* Whether the calibration has inputs for every linear that needs them: none for the tower or the
 * projector is VLMP_ERR_INPUT. where: the calibration's file. vlmp_quantize takes it for granted.
 */
int vlmp_quantize_check(const vlmp_linear_info *linears, const vlmp_plan *plan,
                        const vlmp_calibration *calibration, const char *where, vlmp_error *err);

/* Bytes that a run keeps beside its output until it ends, at most: the quantized linears in the
 * sink, activations at two block borders. Needs model, linears, plan, sequential, and the selection
 * where the plan needs statistics. */
uint64_t vlmp_quantize_work_bytes(const vlmp_quantize_job *job);

/* Results of all steps lie in the sink's records, see record.h. */
int vlmp_quantize(const vlmp_quantize_job *job, vlmp_error *err);
