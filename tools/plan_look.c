/* What is asked for, and how each choice gets on with it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/plan.h"

static int read_number(const char *text, const char *option, double low, double high, double *out,
                       vlmp_error *err)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end != text && *end == '\0' && (double)value >= low && (double)value <= high) {
        *out = (double)value;
        return VLMP_OK;
    }
    return vlmp_fail(err, VLMP_ERR_USAGE, "--%s '%.40s': give a number from %.0f to %.0f", option,
                     text, low, high);
}

/* none: 0 x 0. */
static int read_size(const char *text, int *width, int *height, vlmp_error *err)
{
    int end = 0;
    *width = *height = 0;
    if (strcmp(text, "none") == 0) return VLMP_OK;
    if (sscanf(text, "%5dx%5d%n", width, height, &end) == 2 && text[end] == '\0' && *width >= 1 &&
        *height >= 1)
        return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_USAGE,
                     "--picture '%.40s': give width and height in pixels, as 1280x720, or none",
                     text);
}

static int read_batch(const char *text, double *out, vlmp_error *err)
{
    return read_number(text, "batch", 1, 1 << 20, out, err);
}

static int read_new_tokens(const char *text, double *out, vlmp_error *err)
{
    return read_number(text, "new-tokens", 1, 1 << 24, out, err);
}

/* What is asked for, also of a model of which that is not known. */
static int check_lists(const vlmp_plan_options *o, vlmp_error *err)
{
    int width, height;
    double number;
    for (size_t i = 0; i < o->pictures.count; i++)
        VLMP_TRY(read_size(o->pictures.items[i], &width, &height, err));
    for (size_t i = 0; i < o->batches.count; i++)
        VLMP_TRY(read_batch(o->batches.items[i], &number, err));
    for (size_t i = 0; i < o->new_tokens.count; i++)
        VLMP_TRY(read_new_tokens(o->new_tokens.items[i], &number, err));
    return VLMP_OK;
}

static int read_picture(const vlmp_plan_document *d, const char *text, vlmp_picture_cost *out,
                        vlmp_error *err)
{
    int width, height;
    *out = (vlmp_picture_cost){0};
    VLMP_TRY(read_size(text, &width, &height, err));
    if (width == 0) return VLMP_OK;
    return vlmp_picture_cost_of(out, &d->model.config, d->has_processor ? &d->processor : NULL,
                                width, height, err);
}

/* The folder's processor; where it has none, its class's. */
static int find_processor(vlmp_plan_document *d, vlmp_error *err)
{
    bool there;
    VLMP_TRY(vlmp_preprocess_look(&there, d->source, err));
    if (there) {
        d->has_processor = true;
        return vlmp_preprocess_from_source(&d->processor, NULL, d->source, err);
    }
    d->has_processor = d->processor_is_usual =
        vlmp_usual_processor(&d->processor, d->model.config.family);
    return VLMP_OK;
}

static size_t at_least_one(size_t count, size_t usual)
{
    return count > 0 ? count : usual;
}

/* Pictures: those asked for, or a small one and the largest. */
static int list_pictures(vlmp_plan_document *d, vlmp_picture_cost *out, size_t *count,
                         vlmp_error *err)
{
    const vlmp_cli_list *asked = &d->options->pictures;
    const vlmp_preprocess *processor = d->has_processor ? &d->processor : NULL;
    *count = 0;
    VLMP_TRY(vlmp_largest_picture(&d->worst, &d->model.config, processor, 0, err));
    for (size_t i = 0; i < asked->count; i++)
        VLMP_TRY(read_picture(d, asked->items[i], &out[(*count)++], err));
    if (asked->count > 0) return VLMP_OK;
    out[(*count)++] = d->worst;
    vlmp_error unheard = {0};
    vlmp_picture_cost small;
    int status = vlmp_picture_cost_of(&small, &d->model.config, processor, 448, 448, &unheard);
    if (status == VLMP_OK && small.tokens < d->worst.tokens) out[(*count)++] = small;
    return VLMP_OK;
}

static int list_loads(vlmp_plan_document *d, const vlmp_picture_cost *pictures, size_t count,
                      vlmp_error *err)
{
    static const char *const usual_batches[] = {"1", "8"}, *const usual_tokens[] = {"512"};
    const vlmp_plan_options *o = d->options;
    size_t batches = at_least_one(o->batches.count, 2);
    size_t lengths = at_least_one(o->new_tokens.count, 1);
    d->loads = vlmp_calloc(count * batches, lengths * sizeof *d->loads);
    if (d->loads == NULL) return vlmp_fail_memory(err, "plan");
    for (size_t p = 0; p < count; p++)
        for (size_t b = 0; b < batches; b++)
            for (size_t n = 0; n < lengths; n++) {
                vlmp_workload *load = &d->loads[d->load_count++];
                *load = (vlmp_workload){.picture = pictures[p], .text = (double)o->text};
                VLMP_TRY(read_batch(o->batches.count > 0 ? o->batches.items[b] : usual_batches[b],
                                    &load->batch, err));
                VLMP_TRY(read_new_tokens(o->new_tokens.count > 0 ? o->new_tokens.items[n]
                                                                 : usual_tokens[n],
                                         &load->new_tokens, err));
            }
    d->asked = d->loads[0];
    return VLMP_OK;
}

/* The largest picture that leaves room in a batch as asked for. */
static void find_picture(const vlmp_plan_document *d, double room, vlmp_plan_fit *fit)
{
    const vlmp_preprocess *processor = d->has_processor ? &d->processor : NULL;
    double low = 1, high = d->worst.tokens;
    vlmp_workload load = d->asked;
    while (low <= high) {
        double middle = (double)(long)((low + high) / 2);
        vlmp_error unheard = {0};
        vlmp_picture_cost found;
        int status = vlmp_largest_picture(&found, &d->model.config, processor, middle, &unheard);
        load.picture = found;
        bool good = status != VLMP_OK || vlmp_workload_kv(&d->model.config.text, &load) +
                                                 vlmp_workload_work(&d->model, &load) <=
                                             room;
        if (good && status == VLMP_OK) fit->picture = found;
        if (good)
            low = middle + 1;
        else
            high = found.tokens - 1.0;
    }
    fit->any_picture = fit->picture.tokens == d->worst.tokens;
}

static void look_at(const vlmp_plan_document *d, const vlmp_plan_choice *choice, vlmp_plan_fit *fit)
{
    const vlmp_workload *load = &d->asked;
    double weights = choice->held_bytes, room = d->memory - weights, batch = 1;
    *fit = (vlmp_plan_fit){.needed = weights + vlmp_workload_kv(&d->model.config.text, load) +
                                     vlmp_workload_work(&d->model, load)};
    if (d->memory > 0) {
        fit->fits = fit->needed <= d->memory;
        fit->batch = room > 0 ? vlmp_largest_batch(&d->model, load, room) : 0;
        if (room > 0) find_picture(d, room, fit);
        batch = fit->batch;
    }
    if (d->device.name[0] == '\0') return;
    vlmp_rates reached = vlmp_rates_reached(&d->device.rates);
    fit->best = vlmp_phase_times_of(&d->model, &choice->weights, load, &d->device.rates, true);
    fit->reached = vlmp_phase_times_of(&d->model, &choice->weights, load, &reached, false);
    if (d->memory <= 0) batch = 4096;
    double latency = d->options->latency;
    fit->most = vlmp_requests_within(&d->model, &choice->weights, load, &d->device.rates, true,
                                     latency, batch, &fit->most_batch);
    fit->likely = vlmp_requests_within(&d->model, &choice->weights, load, &reached, false, latency,
                                       batch, &fit->likely_batch);
}

static void look_at_quantizing(const vlmp_plan_document *d, const vlmp_plan_choice *choice,
                               vlmp_quantizing *out)
{
    int64_t tokens = d->options->tokens;
    const vlmp_calibration_load load = {.picture = d->asked.picture,
                                        .tokens = vlmp_workload_prompt(&d->asked),
                                        .samples = (double)d->options->samples,
                                        .seen_tokens = tokens == VLMP_TOKENS_AUTO ? 0
                                                       : tokens == 0              ? INFINITY
                                                                                  : (double)tokens};
    if (choice->is_source) return;
    *out = vlmp_quantizing_of(&d->model, choice->plan.linears, &choice->plan.plan, &load);
}

int vlmp_plan_look(vlmp_plan_document *d, vlmp_error *err)
{
    const vlmp_plan_options *o = d->options;
    d->fits = vlmp_calloc((size_t)d->choice_count, sizeof *d->fits);
    d->quantizings = vlmp_calloc((size_t)d->choice_count, sizeof *d->quantizings);
    if (d->fits == NULL || d->quantizings == NULL) return vlmp_fail_memory(err, "plan");
    VLMP_TRY(check_lists(o, err));
    if (!d->runs) return VLMP_OK;
    d->memory = o->memory > 0 ? (double)o->memory : d->device.memory;
    VLMP_TRY(find_processor(d, err));
    size_t count;
    vlmp_picture_cost *pictures = vlmp_alloc(o->pictures.count + 2, sizeof *pictures);
    if (pictures == NULL) return vlmp_fail_memory(err, "plan");
    int status = list_pictures(d, pictures, &count, err);
    if (status == VLMP_OK) status = list_loads(d, pictures, count, err);
    free(pictures);
    for (int i = 0; i < d->choice_count && status == VLMP_OK; i++) {
        look_at(d, &d->choices[i], &d->fits[i]);
        look_at_quantizing(d, &d->choices[i], &d->quantizings[i]);
    }
    return status;
}

int vlmp_plan_best(const vlmp_plan_document *d)
{
    int best = -1;
    for (int i = 0; i < d->choice_count; i++)
        if (d->fits[i].fits &&
            (best < 0 || d->choices[i].sizes.total.bytes > d->choices[best].sizes.total.bytes))
            best = i;
    return best;
}
