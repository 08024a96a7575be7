#include "src/plan/advice.h"

static const struct {
    const char *name;
    double bytes; /* a weight */
    bool int8;    /* products */
} kinds[VLMP_ARITHMETICS] = {{"W16A16", 2, false}, {"W8A8", 1, true}, {"W4A16", 4.125 / 8, false}};

const char *vlmp_arithmetic_name(vlmp_arithmetic arithmetic)
{
    return kinds[arithmetic].name;
}

vlmp_phase_advice vlmp_advise_phase(double weights, double rows, const vlmp_rates *rates)
{
    vlmp_phase_advice advice = {.best = VLMP_W16A16};
    for (int i = 0; i < VLMP_ARITHMETICS; i++) {
        double rate = kinds[i].int8 && rates->int8 > 0 ? rates->int8 : rates->flops;
        double bytes = weights * kinds[i].bytes, operations = 2 * weights * rows;
        advice.seconds[i] = vlmp_roofline_seconds(bytes, operations, rates->bandwidth, rate);
        if (advice.seconds[i] >= advice.seconds[advice.best] && i > 0) continue;
        advice.best = (vlmp_arithmetic)i;
        advice.reads = bytes / rates->bandwidth > operations / rate;
    }
    return advice;
}

double vlmp_rows_to_compute(const vlmp_rates *rates)
{
    return kinds[VLMP_W4A16].bytes / 2 * rates->flops / rates->bandwidth;
}

const char *vlmp_common_tree(bool memory_is_enough, bool latency_matters, bool accuracy_is_high)
{
    if (memory_is_enough) return "FP16/BF16";
    if (latency_matters) return "INT8";
    return accuracy_is_high ? "GPTQ 4-bit" : "AWQ 4-bit";
}
