/* What vlm-plan finds out, from headers alone, and how it is shown. */
#pragma once

#include "formats/weight_sizes.h"
#include "src/base/json.h"
#include "src/model/model.h"
#include "src/plan/advice.h"
#include "src/plan/devices.h"
#include "src/plan/quantizing.h"
#include "src/quant/run/selection.h"
#include "tools/cli.h"
#include "tools/quantize_plan.h"

typedef struct {
    vlmp_cli_list recipes;
    vlmp_cli_list pictures;            /* "672x336" */
    vlmp_cli_list batches, new_tokens; /* numbers */
    int64_t text;                      /* tokens of a prompt beside its picture */
    int64_t samples;                   /* of the calibration */
    int64_t tokens;                    /* of it that methods see; VLMP_TOKENS_AUTO; 0: all */
    uint64_t memory;                   /* 0: not asked for */
    const char *device;                /* NULL: none */
    double requests, latency;          /* a second, seconds; 0: not asked for */
} vlmp_plan_options;

/* The model as it is, or under a recipe. */
typedef struct {
    const char *name; /* "as it is"; else the recipe's, as asked for */
    bool is_source;
    vlmp_quantize_plan plan; /* of a recipe */
    vlmp_weight_sizes sizes;
    uint64_t file_bytes;       /* of a recipe: the packed file, exactly; else all tensors */
    vlmp_plan_weights weights; /* as they are read while it runs */
    double held_bytes;         /* of all weights, while it runs */
    double error; /* rounding's, over the norm, of normal weights in integer codes; 0: no such */
} vlmp_plan_choice;

/* How a choice gets on within the memory that there is. */
typedef struct {
    bool fits; /* the load asked for */
    double needed;
    double batch;              /* the largest of such requests */
    vlmp_picture_cost picture; /* the largest, in a batch as asked for; width 0: none */
    bool any_picture;          /* which is the largest that there is */
    vlmp_phase_times best;     /* of the load asked for, no engine is faster */
    vlmp_phase_times reached;  /* what good engines reach */
    double most, most_batch;   /* requests a second within the latency, and at how many at a time */
    double likely, likely_batch; /* the same as good engines reach it */
} vlmp_plan_fit;

typedef struct {
    const vlmp_plan_options *options;
    vlmp_source *source;
    vlmp_model model;
    bool runs; /* its family; else sizes are all that is known */
    bool packed;
    vlmp_plan_choice *choices;    /* the first is the model as it is */
    vlmp_plan_fit *fits;          /* of each */
    vlmp_quantizing *quantizings; /* of each; of the model as it is nothing */
    int choice_count;
    /* Of a family that runs. */
    vlmp_preprocess processor;
    bool has_processor, processor_is_usual; /* the class's, where the folder has none */
    vlmp_picture_cost worst;
    vlmp_workload asked;  /* what the answers are about */
    vlmp_workload *loads; /* of the table */
    int load_count;
    vlmp_plan_device device; /* name "": none */
    double memory;           /* asked for, or the device's; 0: neither */
    double products;         /* F32 operations a second of this machine's processor, measured */
} vlmp_plan_document;

/* Opens the model and applies recipes; none: those that are worth a look. Free it, after a failure
 * too. */
int vlmp_plan_open(vlmp_plan_document *d, const char *model, const vlmp_plan_options *options,
                   vlmp_error *err);
void vlmp_plan_close(vlmp_plan_document *d);

/* This machine's processor, measured for a moment: products, and as d->device, where it is asked
 * for, also what memory gives. */
int vlmp_plan_measure(vlmp_plan_document *d, const vlmp_cli_args *args, vlmp_error *err);

/* Workloads and fits; of a family that does not run, nothing. */
int vlmp_plan_look(vlmp_plan_document *d, vlmp_error *err);

/* The recipe to take for the load asked for: of those that fit, the one that keeps most bits; −1:
 * none does. */
int vlmp_plan_best(const vlmp_plan_document *d);

/* On stdout. */
int vlmp_plan_print(const vlmp_plan_document *d, vlmp_error *err);
int vlmp_plan_print_json(const vlmp_plan_document *d, vlmp_error *err);

/* Parts of the first: memory, disk and time of quantizing. */
int vlmp_plan_print_quantizing(const vlmp_plan_document *d, vlmp_error *err);

/* Phases on the device, the method of each, whether the rate is reached. */
int vlmp_plan_print_device(const vlmp_plan_document *d, vlmp_error *err);
void vlmp_plan_print_rate(const vlmp_plan_document *d);
