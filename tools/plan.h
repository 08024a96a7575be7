/* What vlm-plan finds out, from headers alone, and how it is shown. */
#pragma once

#include "formats/weight_sizes.h"
#include "src/base/json.h"
#include "src/model/model.h"
#include "tools/cli.h"
#include "tools/quantize_plan.h"

/* The model as it is, or under a recipe. */
typedef struct {
    const char *name; /* "as it is"; else the recipe's, as asked for */
    bool is_source;
    vlmp_quantize_plan plan; /* of a recipe */
    vlmp_weight_sizes sizes;
    uint64_t file_bytes; /* of a recipe: the packed file, exactly; else all tensors */
} vlmp_plan_choice;

typedef struct {
    vlmp_source *source;
    vlmp_model model;
    bool runs; /* its family; else sizes are all that is known */
    bool packed;
    vlmp_plan_choice *choices; /* the first is the model as it is */
    int choice_count;
} vlmp_plan_document;

/* Opens the model and applies recipes; none: those that are worth a look. Free it, after a failure
 * too. */
int vlmp_plan_open(vlmp_plan_document *d, const char *model, const vlmp_cli_list *recipes,
                   vlmp_error *err);
void vlmp_plan_close(vlmp_plan_document *d);

/* On stdout. */
int vlmp_plan_print(const vlmp_plan_document *d, vlmp_error *err);
int vlmp_plan_print_json(const vlmp_plan_document *d, vlmp_error *err);
