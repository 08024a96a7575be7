/* vlm-plan: what a model needs, before any work, from its headers alone. */
#include <string.h>

#include "tools/plan.h"

static int run(const vlmp_cli_command *command, const vlmp_cli_args *args,
               const vlmp_plan_options *o, vlmp_plan_document *d, vlmp_error *err)
{
    bool measured = o->device != NULL && strcmp(o->device, "cpu") == 0;
    vlmp_plan_device device = {0};
    if ((o->requests > 0 || o->latency > 0) && o->device == NULL)
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--qps and --latency are about a device; say which with --device-spec");
    if (o->device != NULL && !measured) VLMP_TRY(vlmp_plan_device_read(&device, o->device, err));
    VLMP_TRY(vlmp_plan_open(d, args->positionals[0], o, err));
    d->device = device;
    VLMP_TRY(vlmp_plan_measure(d, args, err));
    VLMP_TRY(vlmp_plan_look(d, err));
    bool more = o->device != NULL || o->memory > 0 || o->pictures.count > 0 ||
                o->batches.count > 0 || o->new_tokens.count > 0;
    if (!d->runs && more)
        vlmp_cli_warn(command, args,
                      "models of type '%s' are not run here: only sizes are known of them",
                      d->model.config.model_type);
    return (args->json ? vlmp_plan_print_json : vlmp_plan_print)(d, err);
}

int main(int argc, char **argv)
{
    vlmp_plan_options o = {.text = 64, .samples = 128, .tokens = VLMP_TOKENS_AUTO};
    const vlmp_cli_option options[] = {
        {.name = "recipe",
         .value = "R",
         .help = "a recipe to plan with: a JSON file, @w4, @seed, or a scheme's name as in recipes "
                 "(int8, gptq_4bit, …); default: int8, gptq_4bit and @w4",
         .list = &o.recipes},
        {.name = "memory",
         .value = "M",
         .help = "what fits this, as 24G, and which recipe to take (default: the device's)",
         .bytes = &o.memory},
        {.name = "picture",
         .value = "WxH",
         .help = "size of a request's picture, or none (default: the one with the most tokens, and "
                 "448x448)",
         .list = &o.pictures},
        {.name = "batch",
         .value = "N",
         .help = "requests at a time (default: 1 and 8)",
         .list = &o.batches},
        {.name = "new-tokens",
         .value = "N",
         .help = "of an answer (default 512)",
         .list = &o.new_tokens},
        {.name = "text-tokens",
         .value = "N",
         .help = "of a prompt beside its picture (default 64)",
         .integer = &o.text,
         .low = 1,
         .high = 1 << 24},
        {.name = "samples",
         .value = "N",
         .help = "of the calibration, each as large as the first request (default 128)",
         .integer = &o.samples,
         .low = 1,
         .high = 1 << 24},
        {.name = "tokens",
         .value = "N|all",
         .help = "of the calibration that methods see, as vlm-quantize takes it",
         .integer = &o.tokens,
         .word = "all",
         .low = 1,
         .high = 1ll << 40},
        {.name = "device-spec",
         .value = "SPEC",
         .help = "time and requests a second on it: cpu (this machine, measured), a name (t4, a10, "
                 "l4, l40s, rtx3090, rtx4090, a100-40g, a100-80g, h100, h200; 2xNAME: two), or "
                 "bandwidth=1555G,flops=312T,int8=624T,memory=40G",
         .string = &o.device},
        {.name = "qps",
         .value = "Q",
         .help = "whether so many requests a second can be answered",
         .number = &o.requests,
         .low = 0,
         .high = 1000000000},
        {.name = "latency",
         .value = "T",
         .help = "each within so many seconds",
         .number = &o.latency,
         .low = 0,
         .high = 1000000000},
        {0}};
    const vlmp_cli_command command = {
        .name = "vlm-plan",
        .summary = "Says what a model will need under each recipe, from its headers alone.",
        .usage = "MODEL [--recipe R]… [--memory M] [--device-spec D] [options]",
        .positional = "MODEL",
        .min_positionals = 1,
        .max_positionals = 1,
        .options = options,
        .computes_nothing = true,
        .notes = "MODEL may be a folder, one without weights, a config.json or a packed file.",
        .examples = "vlm-plan demo/model --recipe @w4 --picture 448x448 --batch 8\n"
                    "vlm-plan demo/model --memory 24G --device-spec l4 --qps 10 --latency 5"};
    vlmp_cli_args args;
    if (!vlmp_cli_begin(&command, argc, argv, &args)) return args.exit_code;
    vlmp_error err = {0};
    vlmp_plan_document d = {0};
    int status = run(&command, &args, &o, &d, &err);
    vlmp_plan_close(&d);
    return vlmp_cli_finish(&command, &args, status, &err);
}
