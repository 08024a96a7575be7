/* Time on a device: phases, the method of each, requests a second. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/inspect.h"
#include "tools/plan.h"
#include "tools/progress.h"
#include "tools/terminal.h"

/* "0.8 ms", "12 s". */
static void time_text(char out[24], double seconds)
{
    if (seconds < 1e-3)
        snprintf(out, 24, "%.3g us", 1e6 * seconds);
    else if (seconds < 1)
        snprintf(out, 24, "%.3g ms", 1e3 * seconds);
    else if (seconds < 100)
        snprintf(out, 24, "%.3g s", seconds);
    else
        vlmp_format_seconds(out, 24, seconds);
}

static void head(const vlmp_plan_document *d)
{
    const vlmp_plan_device *device = &d->device;
    char int8[32] = "";
    if (device->rates.int8 > 0)
        snprintf(int8, sizeof int8, ", int8 %.4g", device->rates.int8 / 1e12);
    vlmp_show_line(stdout, "on %s: %.4g GB/s, %.4g TFLOP/s%s%s%s%s", device->name,
                   device->rates.bandwidth / 1e9, device->rates.flops / 1e12, int8,
                   device->source != NULL ? " (" : "", device->source != NULL ? device->source : "",
                   device->source != NULL ? ")" : "");
    printf("bounds that no engine beats; likely: at %.0f %% of products, %.0f %% of bandwidth\n",
           100 * VLMP_REACHED_RATE, 100 * VLMP_REACHED_BANDWIDTH);
}

static bool add_phases(vlmp_listing *rows, const vlmp_plan_choice *choice, const vlmp_plan_fit *fit)
{
    char text[24];
    const double times[] = {fit->best.encode, fit->best.prefill, fit->best.decode,
                            fit->best.request, fit->reached.request};
    bool good = vlmp_listing_add(rows, 0, choice->name);
    for (size_t i = 0; i < 5 && good; i++) {
        time_text(text, times[i]);
        good = vlmp_listing_add(rows, 1 + i, text);
    }
    snprintf(text, sizeof text, "%.3g", fit->most);
    good = good && vlmp_listing_add(rows, 6, text);
    snprintf(text, sizeof text, "%.0f", fit->most_batch);
    return good && vlmp_listing_add(rows, 7, text);
}

static int print_phases(const vlmp_plan_document *d, vlmp_error *err)
{
    vlmp_column columns[] = {{.header = "recipe"},
                             {.header = "tower", .right = true},
                             {.header = "prompt", .right = true},
                             {.header = "token", .right = true},
                             {.header = "answer", .right = true},
                             {.header = "likely", .right = true},
                             {.header = "1/s", .right = true},
                             {.header = "batch", .right = true}};
    vlmp_listing rows = {.columns = sizeof columns / sizeof *columns};
    bool good = true;
    for (int i = 0; i < d->choice_count && good; i++)
        good = add_phases(&rows, &d->choices[i], &d->fits[i]);
    VLMP_TRY(vlmp_listing_print(&rows, columns, !good, err));
    printf("answer: a batch of %.0f, %.0f + %.0f tokens each\n"
           "1/s: requests a second%s, at the largest batch that is possible\n",
           d->asked.batch, vlmp_workload_prompt(&d->asked), d->asked.new_tokens,
           d->options->latency > 0 ? " within the latency" : "");
    return VLMP_OK;
}

static void print_method(const char *phase, double rows, double weights, const vlmp_rates *rates)
{
    vlmp_phase_advice a = vlmp_advise_phase(weights, rows, rates);
    double gain = a.seconds[VLMP_W16A16] / a.seconds[a.best];
    printf("  %-7s %5.0f rows  %-6s  ", phase, rows, vlmp_arithmetic_name(a.best));
    if (a.reads)
        printf("weights are read %.2g times as fast as in 16 bits\n", gain);
    else if (a.best == VLMP_W8A8)
        printf("bound by products: int8 are %.2g times as fast as F16\n", gain);
    else if (a.best == VLMP_W4A16)
        printf("bound by products, %.2g times as fast as in 16 bits\n", gain);
    else
        printf("bound by products; no rate of int8 is known\n");
}

/* Where the rates contradict the tree. */
static void print_errors(const vlmp_plan_document *d, double prompt_rows, double weights)
{
    const vlmp_rates *rates = &d->device.rates;
    vlmp_phase_advice prompt = vlmp_advise_phase(weights, prompt_rows, rates);
    vlmp_phase_advice answer = vlmp_advise_phase(weights, d->asked.batch, rates);
    if (answer.best != VLMP_W16A16)
        printf("  but with memory to spare, too, answers come %.2g times as fast by %s\n",
               answer.seconds[VLMP_W16A16] / answer.seconds[answer.best],
               vlmp_arithmetic_name(answer.best));
    if (prompt.best == VLMP_W8A8 && answer.best != VLMP_W8A8)
        printf("  but INT8 is the fastest for prompts alone, %.2g times as fast as F16\n",
               prompt.seconds[VLMP_W16A16] / prompt.seconds[VLMP_W8A8]);
    printf("  whether GPTQ is nearer than AWQ no tree settles: vlm-eval --metrics kl\n");
}

/* The tree of many guides beside what follows from the rates. */
static void print_methods(const vlmp_plan_document *d)
{
    const vlmp_rates *rates = &d->device.rates;
    double weights = d->choices[0].weights.text.weights;
    double prompt_rows = d->asked.batch * vlmp_workload_prompt(&d->asked);
    bool enough = d->memory > 0 && d->fits[0].fits;
    printf("\nmethod of each phase\n");
    print_method("prompt", prompt_rows, weights, rates);
    print_method("answer", d->asked.batch, weights, rates);
    printf("  4-bit weights are bound by memory up to %.0f rows at a time\n",
           floor(vlmp_rows_to_compute(rates)));
    printf("the usual tree (memory? latency? accuracy?) says %s%s%s\n",
           vlmp_common_tree(enough, true, true), enough ? "" : "; without haste ",
           enough ? "" : vlmp_common_tree(false, false, true));
    print_errors(d, prompt_rows, weights);
}

int vlmp_plan_print_device(const vlmp_plan_document *d, vlmp_error *err)
{
    putchar('\n');
    head(d);
    VLMP_TRY(print_phases(d, err));
    print_methods(d);
    return VLMP_OK;
}

/* The choice that answers most requests a second, within its bound. */
static int fastest(const vlmp_plan_document *d)
{
    int best = 0;
    for (int i = 1; i < d->choice_count; i++)
        if (d->fits[i].likely > d->fits[best].likely) best = i;
    return best;
}

void vlmp_plan_print_rate(const vlmp_plan_document *d)
{
    const vlmp_plan_options *o = d->options;
    if (!d->runs || d->device.name[0] == '\0' || (o->requests <= 0 && o->latency <= 0)) return;
    int best = fastest(d);
    const vlmp_plan_fit *fit = &d->fits[best];
    const char *verdict = fit->most < o->requests     ? "no"
                          : fit->likely < o->requests ? "at most just"
                                                      : "yes";
    putchar('\n');
    if (o->requests > 0) printf("%.4g requests a second", o->requests);
    if (o->latency > 0) printf("%s%.4g s", o->requests > 0 ? " within " : "within ", o->latency);
    if (o->requests > 0)
        vlmp_show_line(stdout, " on %s: %s", d->device.name, verdict);
    else
        vlmp_show_line(stdout, " on %s", d->device.name);
    vlmp_show_line(stdout, "  %s: likely %.3g a second, %.0f at a time; never above %.3g",
                   d->choices[best].name, fit->likely, fit->likely_batch, fit->most);
    if (fit->likely <= 0) {
        printf("  not one request fits: take more memory, fewer bits, a smaller picture%s\n",
               o->latency > 0 ? ", a longer\n  latency or a faster device" : "");
        return;
    }
    if (o->requests > fit->likely)
        printf("  needed: %.0f such devices, each with its copy of the model\n",
               ceil(o->requests / fit->likely));
    double operations = vlmp_request_operations(&d->choices[0].weights, &d->asked);
    printf("  F16 products alone allow %.3g a second, each of %.3g operations\n",
           d->device.rates.flops / operations, operations);
}
