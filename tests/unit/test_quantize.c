/* quant: a whole run on a tiny model. What the text blocks calibrate on, AWQ's scales taken back,
 * samples held out, what an interruption leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/packed.h"
#include "src/base/file.h"
#include "src/quant/method/guard.h"
#include "src/quant/method/moments.h"
#include "src/quant/method/rtn.h"
#include "src/quant/run/driver.h"
#include "src/quant/run/holdout.h"
#include "src/quant/run/record.h"
#include "tests/unit/tiny_run.h"

static const vlmp_linear_result *result_of(const struct run *r, const char *name)
{
    for (int i = 0; i < r->result_count; i++)
        if (strcmp(r->results[i].name, name) == 0) return &r->results[i];
    fail_msg("no result of %s", name);
    return NULL;
}

/* A quantized linear of a packed file as codes. */
static vlmp_quantized read_linear(const vlmp_source *source, const char *name, int n, int k)
{
    static const char *const parts[] = {"codes", "scales", "zeros"};
    const vlmp_tensor *tensors[3];
    vlmp_error err = {0};
    vlmp_quantized q;
    const vlmp_scheme *scheme = source->scheme(source, name);
    assert_non_null(scheme);
    for (int i = 0; i < 3; i++) {
        char full[VLMP_NAME_MAX + 16];
        snprintf(full, sizeof full, "%s.%s", name, parts[i]);
        tensors[i] = source->find(source, full);
    }
    good(vlmp_quantized_alloc(&q, n, k, scheme, &err), &err);
    good(vlmp_unpack(&q, tensors[0]->data, NULL, tensors[1]->data,
                     tensors[2] != NULL ? tensors[2]->data : NULL, name, &err),
         &err);
    return q;
}

/* The error of text.layers.0.attn.q in a packed file on the inputs that the file itself gives, by
 * the samples that the method saw. */
static double error_in_file(const struct run *r, const struct samples *s, const char *file)
{
    vlmp_error err = {0};
    vlmp_source *source = open_packed(file);
    vlmp_model model;
    vlmp_sequence sequences[32];
    vlmp_activations pixels, features = {.fd = -1}, x;
    vlmp_batches tiles, batches;
    bool held[32];
    int count = (int)s->calibration.count, seen = 0, at = 0, k = 64;
    vlmp_hold_out(&s->calibration, held);
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < count; i++)
            if (held[i] == (half == 1)) sequences[at++] = s->samples[i].sequence, seen += half == 0;
    good(vlmp_model_open(&model, source, &err), &err);
    vlmp_sweep sweep = {.ctx = ctx,
                        .model = &model,
                        .preprocess = &preprocess,
                        .break_at = seen,
                        .work_folder = temp_folder,
                        .memory_limit = 1 << 20};
    good(vlmp_sweep_vision_input(&sweep, sequences, count, &pixels, &tiles, &err), &err);
    good(vlmp_sweep_vision(&sweep, &pixels, &tiles, NULL, NULL, &features, &err), &err);
    good(vlmp_sweep_text_input(&sweep, sequences, count, &features, &x, &batches, &err), &err);
    vlmp_loaded loaded = {.ctx = ctx}, original = {0};
    vlmp_block block, source_block;
    vlmp_pass pass;
    good(vlmp_load_block(&loaded, &model, &model.text, 0, &block, &err), &err);
    good(vlmp_load_block(&original, &r->model, &r->model.text, 0, &source_block, &err), &err);
    float *gram = vlmp_calloc((size_t)(k * k), sizeof *gram), *w = vlmp_alloc(64 * 64, sizeof *w);
    vlmp_moments moments;
    assert_true(gram != NULL && w != NULL);
    good(vlmp_pass_create(&pass, ctx, &model.text.shape, &batches, &err), &err);
    good(vlmp_moments_create(&moments, ctx, k, false, false, NULL, &err), &err);
    for (int i = 0; i < batches.break_batch; i++) {
        const vlmp_batch *batch = &batches.batches[i];
        size_t rows = (size_t)batch->rows;
        good(vlmp_activations_upload(&x, batch->first_row, rows, ctx, pass.x, &err), &err);
        ctx->ops->rms_norm(ctx, pass.work.h, pass.x, batch->rows, k, block.norm1.own,
                           model.config.text.norm_eps);
        vlmp_moments_add(&moments, VLMP_GRAM, pass.work.h, (vlmp_act){NULL}, batch->rows);
    }
    good(vlmp_moments_finish(&moments, &err), &err);
    memcpy(gram, moments.gram, (size_t)(k * k) * sizeof *gram);
    vlmp_moments_free(&moments);
    vlmp_pass_free(&pass);
    vlmp_to_f32(w, source_block.q.weight, source_block.q.dtype, 64 * 64);
    vlmp_quantized q = read_linear(source, "text.layers.0.attn.q", 64, 64);
    const vlmp_guard_linear linear = {.name = "q", .w = w, .q = &q};
    const vlmp_guard_tokens tokens = {.gram = gram};
    double error, energy;
    good(vlmp_guard_error(&error, ctx, &linear, &tokens, NULL, &err), &err);
    good(vlmp_guard_energy(&energy, ctx, w, 64, 64, gram, &err), &err);
    vlmp_quantized_free(&q);
    free(gram);
    free(w);
    vlmp_unload(&loaded);
    vlmp_unload(&original);
    vlmp_activations_free(&pixels);
    vlmp_activations_free(&features);
    vlmp_activations_free(&x);
    vlmp_batches_free(&tiles);
    vlmp_batches_free(&batches);
    vlmp_model_close(&model);
    source->close(source);
    return error / energy;
}

/* Projector and table quantized by every method, int8 activations included: the first text block is
 * calibrated on the very rows that the packed file gives it. Without --sequential it is not. */
static void text_blocks_see_what_the_file_gives(void **state)
{
    (void)state;
    static const char *const methods[] = {"rtn", "int8", "gptq", "awq", "awq+gptq"};
    struct samples s;
    make_samples(&s, "pptptp");
    for (int tied = 0; tied < 2; tied++)
        for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
            struct run r;
            char recipe[800];
            bool int8 = strcmp(methods[m], "int8") == 0;
            const char *rest = int8 ? "\"activations\":\"int8\""
                                    : "\"bits\":4,\"group\":32,\"activations\":\"int8\"";
            snprintf(recipe, sizeof recipe,
                     "{\"version\":1,\"rules\":["
                     "{\"match\":\"projector.*\",\"scheme\":{\"method\":\"%s\",%s}},"
                     "{\"match\":\"text.%s\",\"scheme\":{\"method\":\"%s\",%s}},"
                     "{\"match\":\"text.layers.0.attn.q\",\"scheme\":{\"method\":\"gptq\","
                     "\"bits\":4,\"group\":32,\"target\":\"weights\"}},"
                     "{\"match\":\"*\",\"scheme\":null}]}",
                     methods[m], rest, tied ? "head" : "embed", methods[m], rest);
            start(&r, tied ? "tied" : "model", recipe);
            assert_int_equal(run_to_file(&r, &s, true, false, "ends.vlmp"), VLMP_OK);
            double said = result_of(&r, "text.layers.0.attn.q")->error;
            assert_true(said > 0);
            assert_true(said == error_in_file(&r, &s, "ends.vlmp"));
            assert_int_equal(run_to_file(&r, &s, false, false, "ends.vlmp"), VLMP_OK);
            said = result_of(&r, "text.layers.0.attn.q")->error;
            assert_true(said != error_in_file(&r, &s, "ends.vlmp"));
            end(&r);
        }
}

/* GPTQ of the text blocks behind a tower of a method. */
static void run_text_to_target(struct run *r, const struct samples *s, const char *tower,
                               const char *target, bool sequential)
{
    char recipe[600];
    snprintf(recipe, sizeof recipe,
             "{\"version\":1,\"rules\":[{\"match\":\"vision.*\",\"scheme\":%s},"
             "{\"match\":\"text.layers.*\",\"scheme\":{\"method\":\"gptq\",\"bits\":4,"
             "\"group\":32,\"target\":\"%s\"}},{\"match\":\"*\",\"scheme\":null}]}",
             tower, target);
    start(r, "model", recipe);
    assert_int_equal(run_to_file(r, s, sequential, false, "target.vlmp"), VLMP_OK);
}

/* The outputs of the original model are another aim than its weights from where the first inputs
 * differ: at the first block where the tower is quantized, behind its first site where it is kept,
 * and nowhere where all is calibrated on the original's inputs. */
static void outputs_are_the_target(void **state)
{
    (void)state;
    static const struct {
        const char *tower;
        bool sequential, first, last; /* errors told of the first and the last linear differ */
    } cases[] = {{"null", true, false, true},
                 {"\"rtn_4bit\"", true, true, true},
                 {"\"rtn_4bit\"", false, false, false}};
    struct samples s;
    make_samples(&s, "pptptp");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct run weights, outputs;
        int moved = 0;
        run_text_to_target(&weights, &s, cases[i].tower, "weights", cases[i].sequential);
        run_text_to_target(&outputs, &s, cases[i].tower, "outputs", cases[i].sequential);
        const char *first = "text.layers.0.attn.q", *last = "text.layers.1.mlp.down";
        assert_int_equal(result_of(&weights, first)->error != result_of(&outputs, first)->error,
                         cases[i].first);
        assert_int_equal(result_of(&weights, last)->error != result_of(&outputs, last)->error,
                         cases[i].last);
        for (int n = 0; n < outputs.result_count; n++) {
            assert_true(weights.results[n].correction == 0);
            moved += outputs.results[n].correction > 0;
            if (strncmp(outputs.results[n].name, "text", 4) != 0) continue;
            assert_true(outputs.results[n].held_error <= outputs.results[n].held_rtn_error);
        }
        assert_int_equal(moved > 0, cases[i].last);
        end(&weights);
        end(&outputs);
    }
}

/* Which samples are held out: h, of samples with (p) and without (t) pictures. */
static void samples_are_held_out(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"p", "."},
        {"t", "."},
        {"pp", ".h"},
        {"tt", ".h"},
        {"pt", ".h"},
        {"tp", "h."},
        {"ptttt", "....h"},
        {"ttptp", "....h"},
        {"pppppppp", ".......h"},
        {"ppppppppppppppppp", ".......h.......h."},
        {"ttttttttttttttttt", ".......h.......h."},
        {"tttttttpttttttttt", "........h.......h"},
        {"ptptptptptptptpt", "..............hh"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct samples s;
        bool held[32];
        char got[33] = "";
        int marked = 0;
        make_samples(&s, cases[i][0]);
        int count = vlmp_hold_out(&s.calibration, held);
        for (size_t n = 0; n < s.calibration.count; n++) {
            got[n] = held[n] ? 'h' : '.';
            marked += held[n];
        }
        assert_string_equal(got, cases[i][1]);
        assert_int_equal(count, marked);
    }
}

static const char everything[] =
    "{\"version\":1,\"rules\":[{\"match\":\"*\",\"scheme\":{\"method\":\"awq+gptq\","
    "\"bits\":4,\"group\":32}}]}";

/* What nothing was held out for says so, part by part; what plain rounding does never says it. */
static void unguarded_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *pictures;
        bool vision, text;
    } cases[] = {{"p", true, true}, {"pt", true, false}, {"pp", false, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct samples s;
        struct run r;
        make_samples(&s, cases[i].pictures);
        start(&r, "model", everything);
        assert_int_equal(run_to_file(&r, &s, true, false, "held.vlmp"), VLMP_OK);
        for (int n = 0; n < r.result_count; n++) {
            const vlmp_linear_result *result = &r.results[n];
            bool picture = strncmp(result->name, "vision", 6) == 0 ||
                           strncmp(result->name, "projector", 9) == 0;
            bool nothing = picture ? cases[i].vision : cases[i].text;
            if (strcmp(result->name, "text.embed") == 0) nothing = false; /* needs no samples */
            assert_int_equal(result->unguarded, nothing);
            assert_int_equal(isnan(result->held_error), nothing);
            if (nothing) continue;
            assert_true(result->held_error <= result->held_rtn_error);
        }
        end(&r);
        start(&r, "model",
              "{\"version\":1,\"rules\":[{\"match\":\"text.head\",\"scheme\":{\"method\":"
              "\"gptq\"}},{\"match\":\"*\",\"scheme\":{\"method\":\"int8\"}}]}");
        assert_int_equal(run_to_file(&r, &s, true, false, "held.vlmp"), VLMP_OK);
        for (int n = 0; n < r.result_count; n++)
            assert_int_equal(r.results[n].unguarded,
                             cases[i].text && strcmp(r.results[n].name, "text.head") == 0);
        end(&r);
    }
}

/* Text alone: the tower and the projector have no inputs. */
static void pictures_must_be_there(void **state)
{
    (void)state;
    static const struct {
        const char *match, *method;
        int status;
    } cases[] = {
        {"vision.*", "gptq", VLMP_ERR_INPUT},
        {"projector.*", "awq", VLMP_ERR_INPUT},
        {"projector.1", "gptq", VLMP_ERR_INPUT},
        {"vision.layers.0.mlp.fc2", "awq+gptq", VLMP_ERR_INPUT},
        {"vision.*", "rtn", VLMP_OK},
        {"text.layers.1.*", "gptq", VLMP_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct samples s;
        struct run r;
        vlmp_error err = {0};
        char recipe[400];
        snprintf(recipe, sizeof recipe,
                 "{\"version\":1,\"rules\":[{\"match\":\"%s\",\"scheme\":{\"method\":\"%s\"}},"
                 "{\"match\":\"text.layers.*\",\"scheme\":{\"method\":\"gptq\"}},"
                 "{\"match\":\"*\",\"scheme\":null}]}",
                 cases[i].match, cases[i].method);
        start(&r, "model", recipe);
        make_samples(&s, "ttt");
        assert_int_equal(vlmp_quantize_check(r.linears, &r.plan, &s.calibration, "c.calib", &err),
                         cases[i].status);
        if (cases[i].status == VLMP_OK)
            assert_int_equal(run_to_file(&r, &s, true, false, "text.vlmp"), VLMP_OK);
        else
            assert_non_null(strstr(err.message, "c.calib: none of its 3 samples has a picture"));
        make_samples(&s, "ttp");
        assert_int_equal(vlmp_quantize_check(r.linears, &r.plan, &s.calibration, "c.calib", &err),
                         VLMP_OK);
        assert_int_equal(run_to_file(&r, &s, true, false, "text.vlmp"), VLMP_OK);
        end(&r);
    }
}

/* A linear that is kept as round to nearest has the bytes of round to nearest, and one before a
 * site that takes no scales is its own weight to rounding, whatever was tried on the way. */
static void check_linear(const struct run *r, const vlmp_source *packed, const char *name, int n,
                         int k)
{
    vlmp_error err = {0};
    vlmp_loaded loaded = {0};
    vlmp_linear linear;
    size_t values = (size_t)n * (size_t)k;
    float *w = vlmp_alloc(values, sizeof *w), *got = vlmp_alloc(values, sizeof *got);
    assert_true(w != NULL && got != NULL);
    good(vlmp_load_linear(&loaded, r->source, name, n, k, false, &linear, &err), &err);
    vlmp_to_f32(w, linear.weight, linear.dtype, values);
    vlmp_quantized q = read_linear(packed, name, n, k), nearest;
    if (result_of(r, name)->kept_rtn) {
        good(vlmp_quantized_alloc(&nearest, n, k, packed->scheme(packed, name), &err), &err);
        good(vlmp_rtn(&nearest, w, pool, name, &err), &err);
        assert_memory_equal(q.codes, nearest.codes, values);
        assert_memory_equal(q.scales, nearest.scales,
                            (size_t)n * (size_t)q.groups * sizeof *q.scales);
        vlmp_quantized_free(&nearest);
    }
    double error = 0, square = 0;
    vlmp_dequantize(&q, 0, n, got);
    for (size_t i = 0; i < values; i++) {
        error += ((double)w[i] - (double)got[i]) * ((double)w[i] - (double)got[i]);
        square += (double)w[i] * (double)w[i];
    }
    if (!result_of(r, name)->folded) assert_true(error < 0.05 * square);
    vlmp_quantized_free(&q);
    vlmp_unload(&loaded);
    free(w);
    free(got);
}

/* No linear is worse than round to nearest on the samples held out, o and down under AWQ's scales
 * not either, which are folded into v and up before these are quantized. */
static void scales_that_lose_are_taken_back(void **state)
{
    (void)state;
    struct samples s;
    struct run r;
    int kept = 0;
    make_samples(&s, "pptptp");
    start(&r, "model", everything);
    assert_int_equal(run_to_file(&r, &s, true, false, "back.vlmp"), VLMP_OK);
    vlmp_source *packed = open_packed("back.vlmp");
    for (int i = 0; i < r.result_count; i++) {
        const vlmp_linear_result *result = &r.results[i];
        assert_true(result->held_error <= result->held_rtn_error);
        assert_false(result->kept_rtn && result->folded);
    }
    for (int layer = 0; layer < 2; layer++) {
        static const char *const pairs[][2] = {{"attn.v", "attn.o"}, {"mlp.up", "mlp.down"}};
        for (int p = 0; p < 2; p++) {
            char before[VLMP_NAME_MAX], name[VLMP_NAME_MAX];
            snprintf(before, sizeof before, "text.layers.%d.%s", layer, pairs[p][0]);
            snprintf(name, sizeof name, "text.layers.%d.%s", layer, pairs[p][1]);
            const vlmp_linear_result *first = result_of(&r, before), *second = result_of(&r, name);
            check_linear(&r, packed, name, second->n, second->k);
            if (!second->folded) check_linear(&r, packed, before, first->n, first->k);
            kept += second->kept_rtn;
        }
    }
    assert_true(kept > 0);
    packed->close(packed);
    end(&r);
}

static float global_scale(const vlmp_source *packed, const char *name)
{
    char full[VLMP_NAME_MAX];
    float scale;
    snprintf(full, sizeof full, "text.layers.1.%s.global", name);
    const vlmp_tensor *tensor = packed->find(packed, full);
    assert_non_null(tensor);
    memcpy(&scale, tensor->data, sizeof scale);
    return scale;
}

/* q, k and v, and gate and up, have one global scale, also where one of them is larger. */
static void fused_linears_share_a_global_scale(void **state)
{
    (void)state;
    static const char *const methods[] = {"rtn", "gptq"};
    struct samples s;
    make_samples(&s, "pptptp");
    for (int m = 0; m < 2; m++) {
        struct run r;
        char recipe[200];
        snprintf(recipe, sizeof recipe,
                 "{\"version\":1,\"rules\":[{\"match\":\"*\",\"scheme\":{\"method\":\"%s\","
                 "\"codes\":\"nvfp4\"}}]}",
                 methods[m]);
        start(&r, "large", recipe);
        assert_int_equal(run_to_file(&r, &s, true, false, "global.vlmp"), VLMP_OK);
        vlmp_source *packed = open_packed("global.vlmp");
        float q = global_scale(packed, "attn.q"), gate = global_scale(packed, "mlp.gate");
        assert_true(q == global_scale(packed, "attn.k") && q == global_scale(packed, "attn.v"));
        assert_true(gate == global_scale(packed, "mlp.up"));
        assert_true(q == 64 * global_scale(packed, "attn.o"));
        packed->close(packed);
        end(&r);
    }
}

/* Stopped behind several steps in turn, a run goes on to the same bytes; so does one whose
 * activations and moments lie in work files. */
static void interruptions_leave_the_same_bytes(void **state)
{
    (void)state;
    struct samples s;
    struct run r;
    make_samples(&s, "pptptp");
    for (int tied = 0; tied < 2; tied++) {
        start(&r, tied ? "tied" : "model", everything);
        assert_int_equal(run_to_file(&r, &s, true, false, "whole.vlmp"), VLMP_OK);
        int all = r.result_count, stops = 0;
        memory_limit = 0;
        assert_int_equal(run_to_file(&r, &s, true, false, "spilled.vlmp"), VLMP_OK);
        assert_true(temp_same("whole.vlmp", "spilled.vlmp"));
        memory_limit = 1 << 20;
        for (r.stop_after = 1; r.stop_after < all; r.stop_after += 6) {
            if (run_to_file(&r, &s, true, false, "parts.vlmp") == VLMP_OK) continue;
            stops++;
            int stop_after = r.stop_after;
            r.stop_after = 0;
            assert_int_equal(run_to_file(&r, &s, true, true, "parts.vlmp"), VLMP_OK);
            r.stop_after = stop_after;
            assert_true(temp_same("whole.vlmp", "parts.vlmp"));
        }
        assert_true(stops >= 3);
        end(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_blocks_see_what_the_file_gives),
        cmocka_unit_test(outputs_are_the_target),
        cmocka_unit_test(samples_are_held_out),
        cmocka_unit_test(unguarded_is_said),
        cmocka_unit_test(pictures_must_be_there),
        cmocka_unit_test(scales_that_lose_are_taken_back),
        cmocka_unit_test(fused_linears_share_a_global_scale),
        cmocka_unit_test(interruptions_leave_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
