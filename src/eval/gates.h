/* Quality gates: "NAME op NUMBER" over the numbers of a result. */
#pragma once

#include "src/eval/results.h"

typedef enum { VLMP_GATE_LE, VLMP_GATE_LT, VLMP_GATE_GE, VLMP_GATE_GT, VLMP_GATE_EQ } vlmp_gate_op;

typedef struct {
    const char *text; /* as given; belongs to the caller */
    char name[64];    /* "kl.mean", "bleu.4", "ppl_ratio_ci95.hi" */
    vlmp_gate_op op;
    double limit;
} vlmp_gate;

typedef struct vlmp_gate_outcome {
    const char *expr;
    double value; /* NAN: null */
    bool pass;    /* null never passes */
} vlmp_gate_outcome;

/* A malformed expression or an unknown name is VLMP_ERR_USAGE with the nearest names. */
int vlmp_gate_parse(vlmp_gate *out, const char *text, vlmp_error *err);

/* VLMP_ERR_USAGE when the run that is about to start can't give the gate a value: its metric is not
 * in metrics, or it needs a reference and there is none. */
int vlmp_gate_check(const vlmp_gate *gate, unsigned metrics, bool has_reference, vlmp_error *err);

/* Judges result and stores the outcomes in it; the number that failed goes to *failed. */
int vlmp_gates_judge(vlmp_eval_result *result, const vlmp_gate *gates, size_t count, size_t *failed,
                     vlmp_error *err);

/* The value of a name; false: unknown name. NAN: null, or not asked for. */
bool vlmp_result_value(const vlmp_eval_result *result, const char *name, double *out);

/* All names, in the contract's order; NULL after the last. */
const char *vlmp_result_name(size_t index);
