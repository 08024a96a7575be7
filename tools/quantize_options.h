/* The options of vlm-quantize, and the recipe that they state. */
#pragma once

#include "src/quant/scheme/recipe.h"
#include "tools/cli.h"

typedef struct {
    const char *calib, *method, *codes, *group, *activations, *target, *precision, *recipe, *output,
        *work;
    const char *engine, *save_recipe;
    double budget;     /* bits per weight; 0: not given */
    uint64_t max_size; /* bytes; 0: not given */
    int64_t bits, tokens, allow_fallbacks;
    bool data_free, symmetric, asymmetric, dry_run, resume, force, sequential;
} vlmp_quantize_options;

#define VLMP_QUANTIZE_OPTIONS 25 /* the closing one included */

/* o: the defaults. list: of the command line, which fills o; o must outlive it. */
void vlmp_quantize_options_init(vlmp_quantize_options *o,
                                vlmp_cli_option list[VLMP_QUANTIZE_OPTIONS]);

/* The recipe file, or the scheme that the options give the text model. What contradicts itself is
 * VLMP_ERR_USAGE. */
int vlmp_quantize_choose_recipe(vlmp_recipe *recipe, const vlmp_cli_command *cli,
                                const vlmp_cli_args *args, const vlmp_quantize_options *o,
                                vlmp_error *err);
