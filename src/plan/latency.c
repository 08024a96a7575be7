#include "src/plan/latency.h"

#include <math.h>

/* Seconds of a pass, or of several: what it reads, what it computes. */
typedef struct {
    double reads, computes;
} cost;

static double slower(cost c)
{
    return c.reads > c.computes ? c.reads : c.computes;
}

/* Rows that pass a component's weights, and operations beside them. */
static cost pass(const vlmp_plan_part *part, double rows, double more_bytes, double more_operations,
                 const vlmp_rates *rates)
{
    double whole = rates->int8 > 0 ? part->int8 : 0;
    double seconds = 2 * rows * ((part->weights - whole) / rates->flops);
    if (whole > 0) seconds += 2 * rows * whole / rates->int8;
    return (cost){.reads = (part->bytes + more_bytes) / rates->bandwidth,
                  .computes = seconds + more_operations / rates->flops};
}

/* Operations of attention: a product of scores and one of values, each 2 a pair of rows and
 * value. */
static double attention(const vlmp_stack *stack, double queries, double keys)
{
    return 4.0 * stack->layers * stack->shape.heads * stack->shape.head_dim * queries * keys;
}

enum { TOWER, PROJECTOR, PROMPT, FIRST, STEP, HEAD, PASSES };

/* Of so many requests, each of which passes together with the others. */
static void passes_of(cost out[PASSES], const vlmp_model *model, const vlmp_plan_weights *weights,
                      const vlmp_workload *load, double batch, const vlmp_rates *rates)
{
    const vlmp_picture_cost *picture = &load->picture;
    double prompt = vlmp_workload_prompt(load), keys = prompt + load->new_tokens / 2;
    double rows = picture->tower_rows;
    out[TOWER] = out[PROJECTOR] = (cost){0};
    if (picture->width > 0) {
        out[TOWER] = pass(&weights->vision, batch * rows, 0,
                          batch * attention(&model->vision, rows, picture->tile_rows), rates);
        out[PROJECTOR] = pass(&weights->projector, batch * picture->tokens, 0, 0, rates);
    }
    /* each row sees half of the others on average */
    out[PROMPT] = pass(&weights->text, batch * prompt, 0,
                       batch * attention(&model->text, prompt, prompt / 2), rates);
    out[FIRST] = pass(&weights->head, batch, 0, 0, rates);
    double kv = batch * keys * vlmp_row_kv_bytes(&model->config.text, false);
    out[STEP] = pass(&weights->text, batch, kv, attention(&model->text, batch, keys), rates);
    out[HEAD] = pass(&weights->head, batch, 0, 0, rates);
}

/* One pass after the other. */
static double in_turn(const cost passes[PASSES], double tokens)
{
    return vlmp_request_seconds(slower(passes[TOWER]) + slower(passes[PROJECTOR]),
                                slower(passes[PROMPT]) + slower(passes[FIRST]),
                                slower(passes[STEP]) + slower(passes[HEAD]), tokens, 0);
}

/* All reads beside all products, as if passes of one request always met others of another. */
static double at_once(const cost passes[PASSES], double tokens)
{
    cost sum = {0};
    for (int i = 0; i < PASSES; i++) {
        double times = i < STEP ? 1 : tokens - 1;
        sum.reads += times * passes[i].reads;
        sum.computes += times * passes[i].computes;
    }
    return slower(sum);
}

vlmp_phase_times vlmp_phase_times_of(const vlmp_model *model, const vlmp_plan_weights *weights,
                                     const vlmp_workload *load, const vlmp_rates *rates,
                                     bool overlap)
{
    cost one[PASSES], all[PASSES];
    passes_of(one, model, weights, load, 1, rates);
    passes_of(all, model, weights, load, load->batch, rates);
    vlmp_phase_times t = {.encode = slower(one[TOWER]) + slower(one[PROJECTOR]),
                          .prefill = slower(one[PROMPT]) + slower(one[FIRST]),
                          .decode = slower(all[STEP]) + slower(all[HEAD])};
    if (overlap)
        t.request = fmax(in_turn(one, load->new_tokens), at_once(all, load->new_tokens));
    else
        t.request = in_turn(all, load->new_tokens);
    t.rate = load->batch / t.request;
    return t;
}

double vlmp_request_operations(const vlmp_plan_weights *weights, const vlmp_workload *load)
{
    const vlmp_picture_cost *picture = &load->picture;
    double rows = vlmp_workload_prompt(load) + load->new_tokens - 1; /* the last is not passed */
    double sum = weights->text.weights * rows + weights->head.weights * load->new_tokens;
    if (picture->width > 0)
        sum += weights->vision.weights * picture->tower_rows +
               weights->projector.weights * picture->tokens;
    return 2 * sum;
}

vlmp_rates vlmp_rates_reached(const vlmp_rates *rates)
{
    return (vlmp_rates){.bandwidth = VLMP_REACHED_BANDWIDTH * rates->bandwidth,
                        .flops = VLMP_REACHED_RATE * rates->flops,
                        .int8 = VLMP_REACHED_RATE * rates->int8};
}

double vlmp_requests_within(const vlmp_model *model, const vlmp_plan_weights *weights,
                            const vlmp_workload *load, const vlmp_rates *rates, bool overlap,
                            double latency, double most, double *batch)
{
    /* More at a time take longer, each of them and together, and are more a second. */
    double low = 0, high = most;
    vlmp_workload many = *load;
    while (low < high) {
        many.batch = ceil((low + high) / 2);
        double request = vlmp_phase_times_of(model, weights, &many, rates, overlap).request;
        if (latency <= 0 || request <= latency)
            low = many.batch;
        else
            high = many.batch - 1;
    }
    *batch = many.batch = low;
    return low > 0 ? vlmp_phase_times_of(model, weights, &many, rates, overlap).rate : 0;
}
