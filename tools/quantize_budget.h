/* vlm-quantize --budget and --max-size: the recipe that does least measured damage within them. */
#pragma once

#include "src/budget/sensitivity.h"
#include "tools/engine.h"
#include "tools/quantize_options.h"

/* Whether the options ask for one. What contradicts that is VLMP_ERR_USAGE. */
int vlmp_budget_asked(bool *asked, const vlmp_cli_command *cli, const vlmp_cli_args *args,
                      const vlmp_quantize_options *o, vlmp_error *err);

/* Measures, unless that was done before, chooses, says what was chosen, and keeps the recipe where
 * --save-recipe says. work: folder for what measuring needs. A budget below what is possible is
 * VLMP_ERR_INPUT with the least. */
int vlmp_budget_make_recipe(vlmp_recipe *recipe, const vlmp_cli_command *cli,
                            const vlmp_cli_args *args, const vlmp_quantize_options *o,
                            vlmp_engine *engine, const char *work, vlmp_error *err);
