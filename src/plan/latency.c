#include "src/plan/latency.h"

#include <math.h>

/* Seconds for rows that pass a component's weights, and operations beside them. */
static double pass(const vlmp_plan_part *part, double rows, double more_bytes,
                   double more_operations, const vlmp_rates *rates)
{
    double whole = rates->int8 > 0 ? part->int8 : 0;
    double seconds = 2 * rows * ((part->weights - whole) / rates->flops);
    if (whole > 0) seconds += 2 * rows * whole / rates->int8;
    double computes = seconds + more_operations / rates->flops;
    double reads = vlmp_roofline_seconds(part->bytes + more_bytes, 0, rates->bandwidth, 1);
    return reads > computes ? reads : computes;
}

/* Operations of attention: a product of scores and one of values, each 2 a pair of rows and
 * value. */
static double attention(const vlmp_stack *stack, double queries, double keys)
{
    return 4.0 * stack->layers * stack->shape.heads * stack->shape.head_dim * queries * keys;
}

vlmp_phase_times vlmp_phase_times_of(const vlmp_model *model, const vlmp_plan_weights *weights,
                                     const vlmp_workload *load, const vlmp_rates *rates)
{
    vlmp_phase_times t = {0};
    double prompt = vlmp_workload_prompt(load), batch = load->batch;
    double keys = prompt + load->new_tokens / 2;
    if (load->picture.width > 0) {
        double rows = load->picture.tower_rows;
        t.encode = pass(&weights->vision, rows, 0,
                        attention(&model->vision, rows, load->picture.tile_rows), rates);
        t.encode += pass(&weights->projector, load->picture.tokens, 0, 0, rates);
    }
    /* each row sees half of the others on average */
    t.prefill = pass(&weights->text, prompt, 0, attention(&model->text, prompt, prompt / 2), rates);
    double kv = batch * keys * vlmp_row_kv_bytes(&model->config.text, false);
    t.decode = pass(&weights->text, batch, kv, attention(&model->text, batch, keys), rates);
    t.decode += pass(&weights->head, batch, 0, 0, rates);
    t.prefill += pass(&weights->head, 1, 0, 0, rates);
    t.request =
        vlmp_request_seconds(batch * t.encode, batch * t.prefill, t.decode, load->new_tokens, 0);
    t.rate = batch / t.request;
    return t;
}

vlmp_rates vlmp_rates_reached(const vlmp_rates *rates)
{
    return (vlmp_rates){.bandwidth = VLMP_REACHED_BANDWIDTH * rates->bandwidth,
                        .flops = VLMP_REACHED_RATE * rates->flops,
                        .int8 = VLMP_REACHED_RATE * rates->int8};
}

double vlmp_requests_within(const vlmp_model *model, const vlmp_plan_weights *weights,
                            const vlmp_workload *load, const vlmp_rates *rates, double latency,
                            double most, double *batch)
{
    /* More at a time take longer, each of them and together, and are more a second. */
    double low = 0, high = most;
    vlmp_workload many = *load;
    while (low < high) {
        many.batch = ceil((low + high) / 2);
        double request = vlmp_phase_times_of(model, weights, &many, rates).request;
        if (latency <= 0 || request <= latency)
            low = many.batch;
        else
            high = many.batch - 1;
    }
    *batch = many.batch = low;
    return low > 0 ? vlmp_phase_times_of(model, weights, &many, rates).rate : 0;
}
