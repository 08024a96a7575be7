/* vlm-plan: what a model needs, before any work, from its headers alone. */
#include "tools/plan.h"

struct options {
    vlmp_cli_list recipes;
};

int main(int argc, char **argv)
{
    struct options o = {0};
    const vlmp_cli_option options[] = {
        {.name = "recipe",
         .value = "R",
         .help = "a recipe to plan with: a JSON file, @w4, @seed, or a scheme's name as in recipes "
                 "(int8, gptq_4bit, …)",
         .list = &o.recipes},
        {0}};
    const vlmp_cli_command command = {
        .name = "vlm-plan",
        .summary = "Says what a model will need under each recipe, from its headers alone.",
        .usage = "MODEL [--recipe R]… [options]",
        .positional = "MODEL",
        .min_positionals = 1,
        .max_positionals = 1,
        .options = options};
    vlmp_cli_args args;
    if (!vlmp_cli_begin(&command, argc, argv, &args)) return args.exit_code;
    vlmp_error err = {0};
    vlmp_plan_document d;
    int status = vlmp_plan_open(&d, args.positionals[0], &o.recipes, &err);
    if (status == VLMP_OK) status = (args.json ? vlmp_plan_print_json : vlmp_plan_print)(&d, &err);
    vlmp_plan_close(&d);
    return vlmp_cli_finish(&command, &args, status, &err);
}
