#include "src/plan/quantizing.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MEMORY_LIMIT  268435456.0 /* bytes of a store of activations, or a matrix of moments */
#define PROGRAM       10e6        /* measured of round to nearest on small models */
#define PROGRAM_BLAS  20e6        /* of what computes statistics, its buffers included */
/* What methods see of a calibration by default, as src/quant/run/selection.h has it: tokens for
 * each input of the widest linear, at least so many, and of at least so many samples. */
#define TOKENS_INPUT  16.0
#define TOKENS_LEAST  16384.0
#define SAMPLES_LEAST 32.0
#define HELD_SHARE    7.0  /* samples seen for each that is held out */
#define PASSES        3.5  /* products of n × k with k × k that a search makes, fitted */
#define PASSES_AIMED  5.5  /* of one that aims at the original outputs */
#define CANDIDATES    20.0 /* of AWQ, each tried on so many rows */
#define AWQ_ROWS      128.0
#define OVERHEAD      1.6 /* time over that of the products */
#define STORE_RATE    4e8 /* bytes/s of weights through the program */

/* One stack on its way. */
struct stack {
    const vlmp_stack *stack;
    double rows, batch_rows;
    double samples_bytes; /* their pixels, and what the projector sees of them */
    bool two;             /* the original model's activations beside the others */
    bool looks;           /* AWQ looks at its blocks before */
};

static bool is_aimed(const vlmp_plan_entry *entry)
{
    return entry->target == VLMP_TARGET_OUTPUTS;
}

static bool has_scales(const vlmp_plan_entry *entry)
{
    return entry->method == VLMP_METHOD_AWQ || entry->method == VLMP_METHOD_AWQ_GPTQ;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* Samples that are seen and held out, the load's being alike. */
static double selected(const vlmp_calibration_load *load, double widest)
{
    const double share = HELD_SHARE / (HELD_SHARE + 1);
    double usual = fmax(SAMPLES_LEAST, fmax(TOKENS_LEAST, TOKENS_INPUT * widest) / load->tokens);
    double seen = load->seen_tokens > 0 ? ceil(load->seen_tokens / load->tokens) : usual;
    return smaller(load->samples, seen / share);
}

static double widest(const vlmp_linear_info *linears, const vlmp_plan *plan)
{
    double k = 0;
    for (int i = 0; i < plan->count; i++)
        if (vlmp_method_needs_calibration(plan->entries[i].method) && linears[i].k > k)
            k = linears[i].k;
    return k;
}

static struct stack stack_of(const vlmp_stack *stack, vlmp_component component,
                             const vlmp_linear_info *linears, const vlmp_plan *plan, double rows,
                             double sample_rows)
{
    struct stack s = {.stack = stack, .rows = rows};
    s.batch_rows = smaller(rows, VLMP_PLAN_STEP - 1 + sample_rows);
    for (int i = 0; i < plan->count; i++) {
        s.two |= linears[i].component == component && is_aimed(&plan->entries[i]);
        s.looks |= linears[i].component == component && has_scales(&plan->entries[i]);
    }
    return s;
}

static double store(double rows, double width)
{
    return smaller(rows * width * sizeof(float), MEMORY_LIMIT);
}

static double beyond(double rows, double width)
{
    double bytes = rows * width * sizeof(float);
    return bytes > MEMORY_LIMIT ? bytes : 0;
}

/* Bytes of what lies between two blocks or sites: the residual stream, attention's outputs, the
 * MLP's; count: what of a store counts. */
static double stores_of(const struct stack *s, double (*count)(double rows, double width))
{
    const vlmp_block_shape *shape = &s->stack->shape;
    double q = (double)shape->heads * shape->head_dim;
    double sum =
        count(s->rows, shape->dim) + count(s->rows, q) + count(s->rows, shape->intermediate);
    return s->two ? 2 * sum : sum;
}

/* The block that a linear is of, or the linear alone: as stored and packed. */
static double weights_around(const vlmp_linear_info *linears, const vlmp_plan *plan, int index)
{
    double bytes = 0;
    for (int i = 0; i < plan->count; i++) {
        const vlmp_linear_info *a = &linears[i], *b = &linears[index];
        bool same =
            b->layer < 0 ? i == index : a->component == b->component && a->layer == b->layer;
        if (!same) continue;
        bytes += 2.0 * a->n * a->k;
        if (plan->entries[i].method != VLMP_METHOD_KEEP) bytes += (double)plan->entries[i].bytes;
    }
    return bytes;
}

static double moments_of(const vlmp_plan_entry *entry, double k, bool two)
{
    double square = k * k * sizeof(float), matrices = 2; /* of samples seen and held out */
    if (!vlmp_method_needs_calibration(entry->method)) return 0;
    if (two && is_aimed(entry) && square <= MEMORY_LIMIT) matrices = 4;
    if (entry->method != VLMP_METHOD_AWQ) matrices++; /* the factor */
    return matrices * square;
}

static double linear_bytes(const vlmp_plan_entry *entry, double values)
{
    double arrays = 1; /* F32 of all weights */
    if (vlmp_method_needs_calibration(entry->method)) arrays++;
    if (is_aimed(entry)) arrays++;
    if (has_scales(entry)) arrays++;
    return values * (arrays * sizeof(float) + 2); /* codes, and those of round to nearest */
}

/* Memory while linear i is quantized. */
static vlmp_quantizing_memory memory_at(const vlmp_linear_info *linears, const vlmp_plan *plan,
                                        int i, const struct stack *s, bool statistics)
{
    const vlmp_plan_entry *entry = &plan->entries[i];
    double values = (double)linears[i].n * linears[i].k;
    vlmp_quantizing_memory m = {.weights = weights_around(linears, plan, i),
                                .linear = linear_bytes(entry, values),
                                .program = statistics ? PROGRAM_BLAS : PROGRAM};
    memcpy(m.at, linears[i].name, sizeof m.at);
    m.moments = moments_of(entry, linears[i].k, s->two);
    if (statistics) {
        m.activations = stores_of(s, store) + s->samples_bytes;
        m.batch = s->batch_rows * vlmp_pass_row_values(&s->stack->shape) * sizeof(float);
        if (s->two) m.batch *= 2;
    }
    m.total = m.weights + m.activations + m.batch + m.moments + m.linear + m.program;
    return m;
}

/* Products of one linear: its forward passes, moments of its inputs (each site once: of the linear
 * with the most outputs), and what its method searches. */
static double operations_of(const vlmp_linear_info *info, const vlmp_plan_entry *entry,
                            const struct stack *s)
{
    bool passes = info->layer >= 0 || info->component == VLMP_COMPONENT_PROJECTOR;
    double n = info->n, k = info->k, forward = passes ? 2 * n * k * s->rows : 0, sum = forward;
    bool reads = vlmp_method_needs_calibration(entry->method);
    if (s->two) sum += forward;
    if (s->looks) sum += forward * 2 / 3;
    if (!reads) return sum;
    if (has_scales(entry)) sum += CANDIDATES * 2 * smaller(n, AWQ_ROWS) * k * k;
    if (entry->method == VLMP_METHOD_AWQ) return sum;
    return sum + (is_aimed(entry) ? PASSES_AIMED : PASSES) * 2 * n * k * k + 2 * k * k * k / 3;
}

static double site_operations(const vlmp_linear_info *info, const vlmp_plan_entry *entry,
                              const struct stack *s)
{
    double k = info->k, sum = s->rows * k * k;
    if (s->two && is_aimed(entry)) sum += 2 * s->rows * k * k;
    if (has_scales(entry)) sum += s->rows * k * k;
    return sum;
}

/* Bytes of the borders of a run that can be resumed, two of them, and of what memory does not hold.
 */
static double disk_of(const vlmp_model *model, const struct stack *vision, const struct stack *text,
                      double pictures)
{
    const vlmp_config *config = &model->config;
    double taps = 1 + config->vision.tap_count;
    double tower =
        vision->rows * config->vision.hidden + pictures * taps * vlmp_feature_width(config);
    double rows = (text->rows + pictures * config->vision.tap_count) * config->text.hidden;
    if (vision->two) tower *= 2;
    if (text->two) rows *= 2;
    return 2 * fmax(tower, rows) * sizeof(float) +
           fmax(stores_of(vision, beyond), stores_of(text, beyond));
}

vlmp_quantizing vlmp_quantizing_of(const vlmp_model *model, const vlmp_linear_info *linears,
                                   const vlmp_plan *plan, const vlmp_calibration_load *load)
{
    vlmp_quantizing out = {0};
    struct stack text = {.stack = &model->text}, vision = {.stack = &model->vision};
    bool statistics = plan->needs_calibration && load != NULL;
    if (statistics) {
        double samples = selected(load, widest(linears, plan));
        out.rows = samples * load->tokens;
        text = stack_of(&model->text, VLMP_COMPONENT_TEXT, linears, plan, out.rows, load->tokens);
        vision = stack_of(&model->vision, VLMP_COMPONENT_VISION, linears, plan,
                          samples * load->picture.tower_rows, load->picture.tile_rows);
        double features = samples * load->picture.tokens;
        vision.samples_bytes = text.samples_bytes =
            3 * samples * load->picture.pixels +
            store(features, vlmp_feature_width(&model->config));
        out.disk = disk_of(model, &vision, &text, samples * load->picture.tokens);
    }
    vlmp_site site = VLMP_SITES;
    for (int i = 0; i < plan->count; i++) {
        const vlmp_plan_entry *entry = &plan->entries[i];
        bool of_tower = linears[i].component == VLMP_COMPONENT_VISION;
        const struct stack *s = of_tower ? &vision : &text;
        out.bytes += 2.0 * linears[i].n * linears[i].k;
        if (statistics) out.operations += operations_of(&linears[i], entry, s);
        bool first = linears[i].layer < 0 || linears[i].site != site;
        site = linears[i].layer < 0 ? VLMP_SITES : linears[i].site;
        if (statistics && first && vlmp_method_needs_calibration(entry->method))
            out.operations += site_operations(&linears[i], entry, s);
        if (entry->method == VLMP_METHOD_KEEP) continue;
        out.bytes += (double)entry->bytes;
        out.disk += (double)entry->bytes;
        vlmp_quantizing_memory m = memory_at(linears, plan, i, s, statistics);
        if (m.total > out.memory.total) out.memory = m;
    }
    return out;
}

double vlmp_quantizing_seconds(const vlmp_quantizing *quantizing, double flops)
{
    return OVERHEAD * quantizing->operations / flops + quantizing->bytes / STORE_RATE;
}
