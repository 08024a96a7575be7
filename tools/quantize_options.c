#include "tools/quantize_options.h"

#include <stdlib.h>
#include <string.h>

#include "src/quant/run/selection.h"

void vlmp_quantize_options_init(vlmp_quantize_options *o,
                                vlmp_cli_option list[VLMP_QUANTIZE_OPTIONS])
{
    *o = (vlmp_quantize_options){.group = "auto",
                                 .activations = "float",
                                 .precision = "f32",
                                 .bits = 4,
                                 .tokens = VLMP_TOKENS_AUTO,
                                 .sequential = true};
    const vlmp_cli_option options[] = {
        {.name = "output",
         .letter = 'o',
         .value = "OUT.vlmp",
         .help = "packed file to write",
         .string = &o->output},
        {.name = "method",
         .value = "M",
         .help = "gptq, awq, awq+gptq, int8 or rtn",
         .string = &o->method,
         .choices = "gptq|awq|awq+gptq|int8|rtn"},
        {.name = "calib",
         .value = "CALIB",
         .help = "statistics and samples of vlm-calibrate; gptq and awq need them",
         .string = &o->calib},
        {.name = "tokens",
         .value = "N|all",
         .help =
             "tokens of the calibration that methods see, in whole samples (default: sixteen for "
             "each input of the widest linear, at least 16384)",
         .integer = &o->tokens,
         .word = "all",
         .low = 1,
         .high = 1ll << 40},
        {.name = "codes",
         .value = "C",
         .help = "floats in place of integers: fp8 (E4M3), mxfp4 or nvfp4 (E2M1), by rtn or gptq",
         .string = &o->codes,
         .choices = "fp8|mxfp4|nvfp4"},
        {.name = "bits",
         .value = "N",
         .help = "bits per weight: 3, 4 or 8 (default 4; int8: 8)",
         .integer = &o->bits,
         .low = 2, /* which has an error of its own */
         .high = 8},
        {.name = "group",
         .value = "G",
         .help =
             "inputs that share a scale (default auto: the largest of 128, 64, 32 that divides; "
             "fp8: channel, or block: 128 by 128 weights; mxfp4: 32, nvfp4: 16)",
         .string = &o->group,
         .choices = "auto|16|32|64|128|channel|block"},
        {.name = "symmetric", .help = "zero point in the middle (default)", .flag = &o->symmetric},
        {.name = "asymmetric", .help = "a zero point for each group", .flag = &o->asymmetric},
        {.name = "activations",
         .value = "A",
         .help = "float (default) or int8, per token",
         .string = &o->activations,
         .choices = "float|int8"},
        {.name = "target",
         .value = "T",
         .help = "what gptq and awq+gptq come near to: outputs, those of the original model "
                 "(default), or weights, its weights on the inputs that the file gives: faster",
         .string = &o->target,
         .choices = "outputs|weights"},
        {.name = "precision",
         .value = "P",
         .help = "of what products multiply while statistics are gathered: f32 (default), or bf16, "
                 "faster where the processor has AVX512-BF16",
         .string = &o->precision,
         .choices = "f32|bf16"},
        {.name = "recipe",
         .value = "R",
         .help =
             "scheme of each component: a JSON file, @w4, @seed, or a scheme's name (gptq_4bit, "
             "…) as --method means it",
         .string = &o->recipe},
        {.name = "budget",
         .value = "BITS",
         .help = "bits per weight over all tensors in use: measures what rounding each linear "
                 "costs, tower to head, and chooses the recipe that costs least (by gptq, or "
                 "--method)",
         .number = &o->budget,
         .low = 1,
         .high = 32},
        {.name = "max-size",
         .value = "SIZE",
         .help = "the same for the size of the packed file: 800M, 8G",
         .bytes = &o->max_size},
        {.name = "save-recipe",
         .value = "FILE",
         .help = "write the chosen recipe, to be read, edited and given to --recipe",
         .string = &o->save_recipe},
        {.name = "data-free",
         .help =
             "weights alone, by rtn or int8: of architectures too that are not run here, by the "
             "names of their tensors",
         .flag = &o->data_free},
        {.name = "for",
         .value = "ENGINE",
         .help =
             "refuse, before any work, what this engine cannot load: vllm, sglang, transformers "
             "or llamacpp",
         .string = &o->engine,
         .choices = "vllm|sglang|transformers|llamacpp"},
        {.name = "dry-run",
         .help = "print plan and exact size, write nothing",
         .flag = &o->dry_run},
        {.name = "resume", .help = "continue an interrupted run", .flag = &o->resume},
        {.name = "work",
         .value = "DIR",
         .help = "folder for the journal and for activations (default: beside OUT)",
         .string = &o->work},
        {.name = "no-sequential",
         .help = "statistics on the original model's inputs",
         .flag = &o->sequential,
         .off = true},
        {.name = "allow-fallbacks",
         .value = "N",
         .help = "linears that may fall back before the run fails (default 0)",
         .integer = &o->allow_fallbacks},
        {.name = "force", .help = "replace an existing output", .flag = &o->force},
        {0}};
    _Static_assert(sizeof options == VLMP_QUANTIZE_OPTIONS * sizeof *options, "room in lists");
    memcpy(list, options, sizeof options);
}

int vlmp_quantize_choose_recipe(vlmp_recipe *recipe, const vlmp_cli_command *cli,
                                const vlmp_cli_args *args, const vlmp_quantize_options *o,
                                vlmp_error *err)
{
    if (o->recipe != NULL) {
        static const char *const scheme_options[] = {
            "method", "codes", "bits", "group", "symmetric", "asymmetric", "activations", "target"};
        for (size_t i = 0; i < sizeof scheme_options / sizeof *scheme_options; i++)
            if (vlmp_cli_given(cli, args, scheme_options[i]))
                return vlmp_fail(err, VLMP_ERR_USAGE,
                                 "--recipe and --%s contradict each other; the recipe states the "
                                 "scheme of every component",
                                 scheme_options[i]);
        return vlmp_recipe_load(recipe, o->recipe, err);
    }
    if (o->method == NULL)
        return vlmp_fail(
            err, VLMP_ERR_USAGE,
            "say what to do: --method gptq|awq|awq+gptq|int8|rtn, --recipe FILE, or --budget "
            "BITS");
    if (o->symmetric && o->asymmetric)
        return vlmp_fail(err, VLMP_ERR_USAGE, "--symmetric and --asymmetric contradict each other");
    vlmp_recipe_scheme scheme = vlmp_recipe_scheme_default(vlmp_method_from_name(o->method));
    if (o->codes != NULL && vlmp_cli_given(cli, args, "bits"))
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--codes and --bits contradict each other; %s codes have their own bits",
                         o->codes);
    if (o->codes != NULL) VLMP_TRY(vlmp_recipe_scheme_set_codes(&scheme, o->codes, "options", err));
    if (o->asymmetric) scheme.zeros = VLMP_ZEROS_PACKED;
    scheme.int8_activations = strcmp(o->activations, "int8") == 0;
    if (o->target != NULL) scheme.target = vlmp_recipe_target_from_name(o->target);
    if (vlmp_cli_given(cli, args, "group"))
        scheme.group = strcmp(o->group, "auto") == 0      ? VLMP_GROUP_AUTO
                       : strcmp(o->group, "channel") == 0 ? VLMP_GROUP_CHANNEL
                       : strcmp(o->group, "block") == 0   ? VLMP_GROUP_BLOCK
                                                          : atoi(o->group);
    if ((vlmp_cli_given(cli, args, "bits") &&
         vlmp_recipe_scheme_set_bits(&scheme, (int)o->bits, "options", err) != VLMP_OK) ||
        vlmp_recipe_scheme_check(&scheme, "options", err) != VLMP_OK)
        return err->code = VLMP_ERR_USAGE;
    return vlmp_recipe_from_scheme(recipe, &scheme, err);
}
