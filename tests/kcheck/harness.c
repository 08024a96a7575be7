#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/half.h"
#include "src/base/memory.h"
#include "tests/kcheck/kcheck.h"

enum { GUARD = 256, GUARD_BYTE = 0xa5, SHOWN = 5 };

void *kc_need(size_t count, size_t size)
{
    void *memory = vlmp_calloc(count, size);
    if (memory == NULL) {
        fprintf(stderr, "kcheck: out of memory\n");
        exit(1);
    }
    return memory;
}

static uint64_t hash(const void *data, size_t bytes) /* FNV-1a */
{
    const unsigned char *p = data;
    uint64_t value = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++)
        value = (value ^ p[i]) * 0x100000001b3u;
    return value;
}

static kc_buffer make_buffer(size_t bytes)
{
    kc_buffer buffer = {.memory = kc_need(bytes + 2 * GUARD, 1), .bytes = bytes};
    memset(buffer.memory, GUARD_BYTE, GUARD);
    memset(buffer.memory + GUARD + bytes, GUARD_BYTE, GUARD);
    return buffer;
}

static bool guards_hold(const kc_buffer *buffer)
{
    for (size_t i = 0; i < GUARD; i++)
        if (buffer->memory[i] != GUARD_BYTE ||
            buffer->memory[GUARD + buffer->bytes + i] != GUARD_BYTE)
            return false;
    return true;
}

void kc_begin(kc *k, const char *name)
{
    for (int i = 0; i < k->input_count; i++)
        free(k->inputs[i].memory);
    k->input_count = 0;
    k->rng.state = k->seed ^ hash(name, strlen(name));
}

void *kc_input(kc *k, size_t bytes)
{
    if (k->input_count == KC_MAX_INPUTS) {
        fprintf(stderr, "kcheck: a case has more than %d inputs\n", KC_MAX_INPUTS);
        abort();
    }
    k->inputs[k->input_count] = make_buffer(bytes);
    return k->inputs[k->input_count++].memory + GUARD;
}

double kc_normal(kc *k)
{
    double sum = 0; /* Irwin-Hall: close enough to normal, bounded by 6 */
    for (int i = 0; i < 12; i++)
        sum += vlmp_rng_uniform(&k->rng);
    return sum - 6;
}

float kc_value(const kc *k, double value)
{
    return k->half ? vlmp_f16_to_f32(vlmp_f32_to_f16((float)value)) : (float)value;
}

void kc_fill(kc *k, float *values, size_t count, kc_kind kind)
{
    size_t hot = count > 0 ? (size_t)vlmp_rng_below(&k->rng, count) : 0;
    for (size_t i = 0; i < count; i++) {
        double value = kc_normal(k);
        switch (kind) {
        case KC_UNIFORM:
            value = vlmp_rng_uniform(&k->rng) * 2 - 1;
            break;
        case KC_NORMAL:
            break;
        case KC_OUTLIERS:
            if (vlmp_rng_below(&k->rng, 16) == 0) value *= 100;
            break;
        case KC_ZEROS:
            value = 0;
            break;
        case KC_ONE_HOT:
            value = i == hot ? 3 : 0;
            break;
        case KC_TINY:
            value *= k->half ? 0x1p-18 : 0x1p-130;
            break;
        case KC_KINDS:
            break;
        }
        values[i] = kc_value(k, value);
    }
    /* A dropped tail must show. */
    if (count > 0 && (kind == KC_UNIFORM || kind == KC_NORMAL)) values[count - 1] = 1.75f;
}

float *kc_floats(kc *k, size_t count, kc_kind kind)
{
    float *values = kc_input(k, count * sizeof *values);
    kc_fill(k, values, count, kind);
    return values;
}

uint8_t *kc_bytes(kc *k, size_t bytes)
{
    uint8_t *data = kc_input(k, bytes);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)vlmp_rng_next(&k->rng);
    return data;
}

const char *kc_kind_name(kc_kind kind)
{
    static const char *const names[KC_KINDS] = {"uniform", "normal",  "outliers",
                                                "zeros",   "one-hot", "tiny"};
    return names[kind];
}

void kc_fail(kc *k, const char *name, const char *what)
{
    k->failures++;
    if (!k->quiet) printf("FAILED %s %s: %s\n", k->level, name, what);
}

static bool same_value(double value, double expected, double bound)
{
    if (isnan(expected)) return isnan(value);
    if (value == expected) return true;
    return fabs(value - expected) <= bound;
}

/* The same of a value that was rounded to F16: from half an ulp beyond the largest it is infinite.
 */
static bool same_half(double value, double expected, double bound)
{
    bound += KC_HALF * (fabs(expected) + bound) + KC_HALF_TINY;
    if (isinf(value) && fabs(expected) + bound >= 65520) return (value > 0) == (expected > 0);
    return same_value(value, expected, bound);
}

static bool compare(const kc *k, const kc_case *c, const float *out)
{
    size_t wrong = 0;
    for (size_t i = 0; i < c->count; i++) {
        double bound = c->bound != NULL ? c->bound[i] : 0;
        if (k->half && k->act ? same_half(out[i], c->expected[i], bound)
                              : same_value(out[i], c->expected[i], bound))
            continue;
        if (wrong++ < SHOWN && !k->quiet)
            printf("  %s %s: output %zu is %.9g, expected %.9g ± %.3g\n", k->level, c->name, i,
                   (double)out[i], c->expected[i], bound);
    }
    return wrong == 0;
}

static void start_output(const kc_case *c, float *out)
{
    for (size_t i = 0; i < c->count; i++)
        out[i] = c->initial != NULL ? c->initial[i] : NAN;
}

/* One run into a fresh output; NULL or what is wrong. */
static const char *run_once(kc *k, const kc_case *c, vlmp_ctx *ctx, float *copy)
{
    kc_buffer output = make_buffer(c->count * sizeof(float));
    float *out = (float *)(void *)(output.memory + GUARD);
    start_output(c, out);
    for (int i = 0; i < k->input_count; i++)
        k->inputs[i].hash = hash(k->inputs[i].memory + GUARD, k->inputs[i].bytes);
    c->run(ctx, out, c->arg);
    const char *fault = guards_hold(&output) ? NULL : "it wrote beside the output";
    for (int i = 0; i < k->input_count; i++) {
        if (!guards_hold(&k->inputs[i])) fault = "it wrote beside an input";
        if (k->inputs[i].hash != hash(k->inputs[i].memory + GUARD, k->inputs[i].bytes))
            fault = "it changed an input";
    }
    memcpy(copy, out, c->count * sizeof *copy);
    free(output.memory);
    return fault;
}

bool kc_check(kc *k, const kc_case *c)
{
    if (k->cases++ % k->step != 0) return true;
    k->checks++;
    float *first = kc_need(c->count + 1, sizeof *first);
    float *other = kc_need(c->count + 1, sizeof *other);
    int runs = k->context_count > 1 ? 2 * k->context_count : 1;
    const char *fault = run_once(k, c, k->contexts[0], first);
    if (fault == NULL && !compare(k, c, first)) fault = "outputs differ from the reference";
    for (int run = 0; run < runs && fault == NULL; run++) {
        fault = run_once(k, c, k->contexts[run / 2], other);
        if (fault == NULL && memcmp(first, other, c->count * sizeof *first) != 0)
            fault = run < 2 ? "a second run gives other bits"
                            : "another number of threads gives other bits";
    }
    free(first);
    free(other);
    if (fault != NULL) kc_fail(k, c->name, fault);
    return fault == NULL;
}

bool kc_check_act(kc *k, const kc_case *c)
{
    k->act = true;
    bool passed = kc_check(k, c);
    k->act = false;
    return passed;
}

vlmp_step *kc_step(vlmp_ctx *ctx, const vlmp_step_rows *rows)
{
    vlmp_step_size size = {.rows = rows->rows, .segments = rows->segment_count};
    vlmp_error err = {0};
    vlmp_step *step;
    for (int s = 0; s < rows->segment_count; s++)
        size.pages += rows->segments[s].page_count;
    if (ctx->ops->step_create(ctx, &step, &size, &err) != VLMP_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    ctx->ops->step_set(ctx, step, rows);
    return step;
}
