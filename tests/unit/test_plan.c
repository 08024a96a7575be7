/* The arithmetic of plans, on problems with known answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/hf_folder.h"
#include "src/base/packed_parts.h"
#include "src/base/rng.h"
#include "src/plan/advice.h"
#include "src/plan/devices.h"
#include "src/plan/quantizing.h"

static void near(double value, double wanted, double relative)
{
    if (!(fabs(value - wanted) <= relative * fabs(wanted)))
        fail_msg("%.9g, not %.9g", value, wanted);
}

/* 40 layers, 40 heads of 128, a batch of 8 with 576 + 512 tokens, F16. */
static void keys_and_values(void **state)
{
    (void)state;
    double bytes = vlmp_kv_bytes(40, 40, 128, 8 * (576 + 512), 2);
    assert_true(bytes == 7130316800.0);
    near(bytes / (1 << 30), 6.641, 1e-4);
}

/* 14 GB of F16 at 4 bits in groups of 128, symmetric and with zeros of 4 bits. */
static void packed_weights(void **state)
{
    (void)state;
    const int64_t n = 437500, k = 16000; /* 7·10⁹ */
    const double zeros[] = {3.609e9, 3.637e9}, factors[] = {3.879, 3.850};
    for (int i = 0; i < 2; i++) {
        vlmp_scheme scheme =
            vlmp_scheme_make(VLMP_CODES_U4, 128, i ? VLMP_ZEROS_PACKED : VLMP_ZEROS_NONE, false);
        vlmp_packed_shape shape;
        assert_true(vlmp_packed_shape_of(&shape, n, k, &scheme));
        near((double)shape.bytes, zeros[i], 2e-4);
        near(14e9 / (double)shape.bytes, factors[i], 2e-4);
    }
}

/* 4096 tokens, a batch of 8, 32 heads, F16: all scores, or one tile of 128 × 128 a head. */
static void scores(void **state)
{
    (void)state;
    assert_true(vlmp_score_bytes(8, 32, 4096, 4096, 2) == 8.0 * (1 << 30));
    assert_true(vlmp_score_bytes(8, 32, 128, 128, 2) == 8.0 * (1 << 20));
}

/* 34·10⁹ weights on two A100 of 40 GB in F16, 2048 tokens a request. */
static void requests(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_plan_device device;
    assert_int_equal(vlmp_plan_device_read(&device, "2xa100-40g", &err), VLMP_OK);
    vlmp_plan_weights weights = {
        .vision.weights = 3e8, .projector.weights = 5e7, .text.weights = 34e9, .head.weights = 4e8};
    vlmp_workload load = {.text = 1536, .new_tokens = 512};
    double operations = vlmp_request_operations(&weights, &load);
    assert_true(operations == 2 * (34e9 * 2047 + 4e8 * 512));
    double most = device.rates.flops / operations;
    assert_true(most > 4.4 && most <= 4.5);
    /* A tower has rows of its own; the projector those of the picture. */
    load.picture = (vlmp_picture_cost){.width = 1, .tokens = 576, .tower_rows = 577};
    near(vlmp_request_operations(&weights, &load),
         operations + 2 * (34e9 * 576 + 3e8 * 577 + 5e7 * 576), 1e-12);
    assert_true(device.memory == 80e9 && device.count == 2 && device.source != NULL);
}

/* Rounds count weights, standard normal, to multiples of a step for each group: 15 between ± the
 * largest. Returns the error's norm; steps gets the steps. */
static double round_groups(double *steps, size_t groups, size_t group, double *norm)
{
    vlmp_rng rng = {7};
    double sum = 0, whole = 0;
    for (size_t g = 0; g < groups; g++) {
        double *w = malloc(group * sizeof *w), largest = 0;
        assert_non_null(w);
        for (size_t i = 0; i < group; i++) {
            double u = (vlmp_rng_below(&rng, 1 << 30) + 0.5) / (1 << 30);
            double v = (vlmp_rng_below(&rng, 1 << 30) + 0.5) / (1 << 30);
            w[i] = sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
            largest = fmax(largest, fabs(w[i]));
        }
        steps[g] = largest / 7.5;
        for (size_t i = 0; i < group; i++) {
            double e = w[i] - steps[g] * fmin(fmax(rint(w[i] / steps[g]), -8), 7);
            sum += e * e;
            whole += w[i] * w[i];
        }
        free(w);
    }
    *norm = sqrt(whole);
    return sqrt(sum);
}

/* What rounding does, against both formulas, and against σ·n/(√12·2^b), which takes a step of
 * σ/2^b. The largest weight of a group lies in the middle of two levels: its error is Δ²/4 and not
 * Δ²/12, which adds 2/group to the sum of squares and half of that to the norm. By chance the norm
 * of 2^20 errors differs by 0.05 % (their kurtosis is 1.8: √(0.8/2^20)/2), and the root of the mean
 * square of steps that differ by a tenth from group to group by a tenth over √groups; three times
 * both. */
static void rounding(void **state)
{
    (void)state;
    static double steps[(1 << 20) / 32];
    const size_t sizes[] = {32, 128, 4096};
    const double old_is_low[] = {4.3, 5.6, 7};
    for (int i = 0; i < 3; i++) {
        size_t group = sizes[i], groups = (1 << 20) / group;
        double norm, error = round_groups(steps, groups, group, &norm);
        near(vlmp_rounding_error(steps, groups, (double)group), error,
             1.0 / (double)group + 0.0015);
        near(vlmp_normal_error((double)group, 7.5), error / norm,
             1.0 / (double)group + 0.0015 + 0.3 / sqrt((double)groups));
        double old = sqrt((double)(1 << 20)) / (sqrt(12) * 16);
        assert_true(error / old >= old_is_low[i]);
    }
    /* A step for all weights of one magnitude is exact: Δ/√12 each. */
    near(vlmp_rounding_error(&(double){0.3}, 1, 48), 0.3 * 2, 1e-12);
    /* The largest of one weight is itself: E[w²] = 1. */
    near(vlmp_normal_error(1, 7.5), 1 / (7.5 * sqrt(12)), 1e-4);
}

static void batches(void **state)
{
    (void)state;
    const double lengths[] = {100, 200, 300, 400};
    near(vlmp_padded_efficiency(lengths, 4, 1), 1000.0 / 1600, 1e-12);
    near(vlmp_padded_efficiency(lengths, 4, 64), 1000.0 / (4 * 448), 1e-12);
    near(vlmp_paged_efficiency(lengths, 4, 64), 1000.0 / (128 + 256 + 320 + 448), 1e-12);
    near(vlmp_padded_efficiency(lengths + 3, 1, 8), 1, 1e-12);
}

/* The prompt's pass is not a decoding step, and gives the first token. */
static void latency(void **state)
{
    (void)state;
    near(vlmp_request_seconds(0.1, 0.2, 0.01, 101, 0.05), 0.1 + 0.2 + 1.0 + 0.05, 1e-12);
    near(vlmp_request_seconds(0.1, 0.2, 0.01, 1, 0), 0.3, 1e-12);
    near(vlmp_roofline_seconds(1e9, 1e12, 1e9, 2e12), 1, 1e-12);
    near(vlmp_roofline_seconds(1e9, 4e12, 1e9, 2e12), 2, 1e-12);
}

static void phases(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_plan_device device;
    assert_int_equal(vlmp_plan_device_read(&device, "h100", &err), VLMP_OK);
    vlmp_phase_advice prefill = vlmp_advise_phase(12.7e9, 2000, &device.rates);
    vlmp_phase_advice decode = vlmp_advise_phase(12.7e9, 1, &device.rates);
    assert_true(prefill.best == VLMP_W8A8 && !prefill.reads);
    assert_true(decode.best == VLMP_W4A16 && decode.reads);
    near(decode.seconds[VLMP_W16A16] / decode.seconds[VLMP_W4A16], 16 / 4.125, 1e-9);
    near(vlmp_rows_to_compute(&device.rates), 76, 0.01);
    assert_string_equal(vlmp_common_tree(true, true, true), "FP16/BF16");
    assert_string_equal(vlmp_common_tree(false, true, true), "INT8");
    assert_string_equal(vlmp_common_tree(false, false, true), "GPTQ 4-bit");
    assert_string_equal(vlmp_common_tree(false, false, false), "AWQ 4-bit");
}

static void devices(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "a1000",
                                      "0xh100",
                                      "2x",
                                      "xh100",
                                      "bandwidth=1G",
                                      "flops=1T,memory=",
                                      "bandwidth=-1,flops=1",
                                      "bandwidth=1G,flops=1T,speed=2",
                                      "bandwidth=nan,flops=1T"};
    vlmp_error err = {0};
    vlmp_plan_device device;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (vlmp_plan_device_read(&device, bad[i], &err) != VLMP_ERR_USAGE) fail_msg("%s", bad[i]);
    assert_int_equal(vlmp_plan_device_read(&device, "bandwidth=50G,flops=1.5T,memory=64G", &err),
                     VLMP_OK);
    assert_true(device.rates.bandwidth == 50e9 && device.rates.flops == 1.5e12);
    assert_true(device.rates.int8 == 0 && device.memory == 64e9);
    for (int i = 0; vlmp_device_at(i) != NULL; i++) {
        const vlmp_device_row *row = vlmp_device_at(i);
        assert_int_equal(vlmp_plan_device_read(&device, row->name, &err), VLMP_OK);
        assert_true(row->int8 > row->flops && row->flops > row->bandwidth && row->source != NULL);
    }
}

struct fixture {
    vlmp_source *source;
    vlmp_model model;
};

static void open_model(struct fixture *f, const char *name)
{
    char path[1024];
    vlmp_error err = {0};
    snprintf(path, sizeof path, VLMP_SOURCE_ROOT "/tests/golden/models/%s", name);
    if (vlmp_folder_open_headers(&f->source, path, &err) != VLMP_OK) fail_msg("%s", err.message);
    if (vlmp_model_open(&f->model, f->source, &err) != VLMP_OK) fail_msg("%s", err.message);
}

static void close_model(struct fixture *f)
{
    vlmp_model_close(&f->model);
    f->source->close(f->source);
}

/* Every family has a largest picture, with and without its folder's processor, and the limit on
 * tokens is kept. */
static void pictures(void **state)
{
    (void)state;
    static const char *const names[] = {"llava-llama",     "next-llama",    "onevision-qwen2",
                                        "qwen2-vl",        "qwen2.5-vl",    "qwen3-vl",
                                        "idefics3-llama3", "smolvlm-llama", "siglip-llama"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct fixture f;
        vlmp_error err = {0};
        vlmp_preprocess pre, usual;
        vlmp_picture_cost worst, less;
        open_model(&f, names[i]);
        assert_int_equal(vlmp_preprocess_from_source(&pre, NULL, f.source, &err), VLMP_OK);
        const vlmp_config *config = &f.model.config;
        if (vlmp_largest_picture(&worst, config, &pre, 0, &err) != VLMP_OK)
            fail_msg("%s: %s", names[i], err.message);
        assert_true(worst.tokens > 0 && worst.tower_rows == worst.tiles * worst.tile_rows);
        if (vlmp_largest_picture(&less, config, &pre, worst.tokens - 1, &err) == VLMP_OK)
            assert_true(less.tokens < worst.tokens);
        bool any = vlmp_usual_processor(&usual, config->family);
        if (vlmp_largest_picture(&less, config, any ? &usual : NULL, 0, &err) != VLMP_OK)
            fail_msg("%s: %s", names[i], err.message);
        close_model(&f);
    }
}

/* The largest batch fits and one more does not; the largest within a latency keeps it. */
static void limits(void **state)
{
    (void)state;
    struct fixture f;
    vlmp_error err = {0};
    open_model(&f, "next-llama");
    vlmp_workload load = {.text = 64, .new_tokens = 100, .batch = 1};
    assert_int_equal(vlmp_picture_cost_of(&load.picture, &f.model.config, NULL, 64, 64, &err),
                     VLMP_OK);
    const double room = 1e8;
    double most = vlmp_largest_batch(&f.model, &load, room);
    assert_true(most > 1);
    for (int more = 0; more < 2; more++) {
        load.batch = most + more;
        double needed =
            vlmp_workload_kv(&f.model.config.text, &load) + vlmp_workload_work(&f.model, &load);
        assert_true(more ? needed > room : needed <= room);
    }
    load.batch = 1;
    assert_true(vlmp_largest_batch(&f.model, &load, 1000) == 0);
    const vlmp_plan_weights weights = {.vision = {1e5, 2e5, 0},
                                       .projector = {1e4, 2e4, 0},
                                       .text = {1e6, 2e6, 0},
                                       .head = {1e5, 2e5, 0}};
    const vlmp_rates rates = {.bandwidth = 1e9, .flops = 1e11, .int8 = 2e11};
    double alone = vlmp_phase_times_of(&f.model, &weights, &load, &rates, true).request, batch,
           none;
    double rate =
        vlmp_requests_within(&f.model, &weights, &load, &rates, true, 2 * alone, 1000, &batch);
    assert_true(batch >= 1);
    load.batch = batch;
    assert_true(vlmp_phase_times_of(&f.model, &weights, &load, &rates, true).request <= 2 * alone);
    load.batch = batch + 1;
    assert_true(vlmp_phase_times_of(&f.model, &weights, &load, &rates, true).request > 2 * alone);
    assert_true(rate >= batch / (2 * alone) && rate > 1 / alone);
    assert_true(
        vlmp_requests_within(&f.model, &weights, &load, &rates, true, alone / 2, 1000, &none) == 0);
    assert_true(none == 0);
    close_model(&f);
}

/* One pass reads its weights once, for however many requests: eight take longer than one by their
 * keys and values where all else is free, and eight times as long where reading is. */
static void shared_passes(void **state)
{
    (void)state;
    struct fixture f;
    vlmp_error err = {0};
    open_model(&f, "next-llama");
    const vlmp_plan_weights weights = {.vision = {1e5, 2e5, 0},
                                       .projector = {1e4, 2e4, 0},
                                       .text = {1e6, 2e6, 0},
                                       .head = {1e5, 2e5, 0}};
    const vlmp_rates reading = {.bandwidth = 1e9, .flops = 1e30},
                     computing = {.bandwidth = 1e30, .flops = 1e11},
                     both = {.bandwidth = 1e9, .flops = 1e11};
    vlmp_workload one = {.text = 64, .new_tokens = 100, .batch = 1};
    assert_int_equal(vlmp_picture_cost_of(&one.picture, &f.model.config, NULL, 64, 64, &err),
                     VLMP_OK);
    vlmp_workload eight = one;
    eight.batch = 8;
    double kv = (vlmp_workload_prompt(&one) + 50) * vlmp_row_kv_bytes(&f.model.config.text, false);
    for (int overlap = 0; overlap < 2; overlap++) {
        near(vlmp_phase_times_of(&f.model, &weights, &one, &reading, overlap).request,
             (2e5 + 2e4 + 100 * (2e6 + 2e5) + 99 * kv) / 1e9, 1e-9);
        near(vlmp_phase_times_of(&f.model, &weights, &eight, &reading, overlap).request,
             (2e5 + 2e4 + 100 * (2e6 + 2e5) + 8 * 99 * kv) / 1e9, 1e-9);
        near(vlmp_phase_times_of(&f.model, &weights, &eight, &computing, overlap).request,
             8 * vlmp_phase_times_of(&f.model, &weights, &one, &computing, overlap).request, 1e-9);
    }
    /* Alone, phases wait for each other; eight prompts are computed while steps read. */
    near(vlmp_phase_times_of(&f.model, &weights, &one, &both, true).request,
         vlmp_phase_times_of(&f.model, &weights, &one, &both, false).request, 1e-12);
    assert_true(vlmp_phase_times_of(&f.model, &weights, &eight, &both, true).request <
                vlmp_phase_times_of(&f.model, &weights, &eight, &both, false).request);
    close_model(&f);
}

/* What quantizing the model by a scheme takes, its calibration of so many samples. */
static vlmp_quantizing quantizing_seen(const struct fixture *f, const char *method, bool outputs,
                                       double samples, double seen_tokens)
{
    vlmp_error err = {0};
    vlmp_linear_info *linears;
    vlmp_recipe recipe;
    vlmp_plan plan;
    int count;
    vlmp_recipe_scheme scheme = vlmp_recipe_scheme_default(vlmp_method_from_name(method));
    if (!outputs) scheme.target = VLMP_TARGET_WEIGHTS;
    vlmp_calibration_load load = {.samples = samples, .tokens = 64, .seen_tokens = seen_tokens};
    assert_int_equal(vlmp_picture_cost_of(&load.picture, &f->model.config, NULL, 64, 64, &err),
                     VLMP_OK);
    load.tokens += load.picture.tokens;
    assert_int_equal(vlmp_model_linears(&f->model, &linears, &count, &err), VLMP_OK);
    vlmp_plan_linear *list = calloc((size_t)count, sizeof *list);
    assert_non_null(list);
    for (int i = 0; i < count; i++)
        list[i] = (vlmp_plan_linear){.name = linears[i].name,
                                     .n = linears[i].n,
                                     .k = linears[i].k,
                                     .bytes = 2 * (size_t)linears[i].n * (size_t)linears[i].k,
                                     .embedding = linears[i].component == VLMP_COMPONENT_EMBED};
    assert_int_equal(vlmp_recipe_from_scheme(&recipe, &scheme, &err), VLMP_OK);
    assert_int_equal(vlmp_plan_make(&plan, &recipe, list, count, "test", &err), VLMP_OK);
    vlmp_quantizing q = vlmp_quantizing_of(&f->model, linears, &plan, &load);
    vlmp_plan_free(&plan);
    vlmp_recipe_free(&recipe);
    free(list);
    free(linears);
    return q;
}

static vlmp_quantizing quantizing(const struct fixture *f, const char *method, bool outputs,
                                  double samples)
{
    return quantizing_seen(f, method, outputs, samples, 0);
}

static void quantizing_takes(void **state)
{
    (void)state;
    struct fixture f;
    open_model(&f, "next-llama");
    vlmp_quantizing rtn = quantizing(&f, "rtn", false, 100);
    assert_true(rtn.operations == 0 && rtn.memory.activations == 0 && rtn.memory.moments == 0);
    assert_true(rtn.memory.total > rtn.memory.weights && rtn.disk > 0);
    vlmp_quantizing weights = quantizing(&f, "gptq", false, 100);
    vlmp_quantizing outputs = quantizing(&f, "gptq", true, 100);
    assert_true(weights.memory.total > rtn.memory.total);
    assert_true(outputs.memory.total > weights.memory.total);
    assert_true(outputs.operations > 1.5 * weights.operations);
    /* Rows that methods see are limited, and what memory holds of them. */
    vlmp_quantizing few = quantizing(&f, "gptq", true, 10),
                    many = quantizing(&f, "gptq", true, 1e5),
                    more = quantizing(&f, "gptq", true, 1e6);
    assert_true(few.rows < outputs.rows && few.memory.total < outputs.memory.total);
    assert_true(many.rows == more.rows && many.memory.total == more.memory.total);
    /* --tokens: whole samples, in proportion those that are held out; all is all. */
    double sample = few.rows / 10;
    assert_true(quantizing_seen(&f, "gptq", true, 1e5, 6.5 * sample).rows == 8 * sample);
    assert_true(quantizing_seen(&f, "gptq", true, 1e5, INFINITY).rows == 1e5 * sample);
    near(vlmp_quantizing_seconds(&outputs, 1e9) - vlmp_quantizing_seconds(&outputs, 2e9),
         0.8 * outputs.operations / 1e9, 1e-9);
    close_model(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_values),  cmocka_unit_test(packed_weights),
        cmocka_unit_test(scores),           cmocka_unit_test(requests),
        cmocka_unit_test(rounding),         cmocka_unit_test(batches),
        cmocka_unit_test(latency),          cmocka_unit_test(phases),
        cmocka_unit_test(devices),          cmocka_unit_test(pictures),
        cmocka_unit_test(limits),           cmocka_unit_test(shared_passes),
        cmocka_unit_test(quantizing_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
