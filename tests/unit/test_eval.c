#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/json.h"
#include "src/base/memory.h"
#include "src/eval/against.h"
#include "src/eval/cider.h"
#include "src/eval/gates.h"
#include "src/eval/metrics.h"
#include "src/eval/ptb.h"

/* Both sides compute in double precision; they differ in the order of sums of at most a few
 * thousand terms and in exp, log and pow by an ulp or two: n·2⁻⁵³ ≈ 10⁻¹². What is asked for is
 * 10⁻⁹. */
#define RELATIVE 1e-9

static void near(double have, double want, const char *what)
{
    if (!(fabs(have - want) <= RELATIVE * fabs(want) + 1e-300))
        fail_msg("%s: %.17g instead of %.17g", what, have, want);
}

static cJSON *golden(const char *name)
{
    vlmp_error err = {0};
    cJSON *tree;
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/captions/%s", VLMP_SOURCE_ROOT, name);
    if (vlmp_json_load(&tree, path, 10 << 20, &err) != 0) fail_msg("%s", err.message);
    return tree;
}

static double number(const cJSON *object, const char *key)
{
    const cJSON *item = vlmp_json_get(object, key);
    assert_true(cJSON_IsNumber(item));
    return item->valuedouble;
}

static void tokens_equal_the_reference(void **state)
{
    (void)state;
    cJSON *tree = golden("tokens.json");
    size_t wrong = 0, all = 0;
    const cJSON *pair;
    cJSON_ArrayForEach(pair, tree)
    {
        const char *text = pair->child->valuestring, *want = pair->child->next->valuestring;
        vlmp_buffer out = {0};
        vlmp_ptb_tokenize(&out, text, strlen(text));
        assert_false(out.failed);
        /* The reference leaves double and no-break spaces where it removed or joined something;
         * its scorers split again, so white space is compared as such. */
        char normal[4096] = "";
        size_t length = 0;
        for (const char *at = want; *at != '\0' && length + 2 < sizeof normal;) {
            size_t space = strncmp(at, "\xc2\xa0", 2) == 0 ? 2 : *at == ' ';
            if (space > 0) {
                if (length > 0 && normal[length - 1] != ' ') normal[length++] = ' ';
                at += space;
            } else {
                normal[length++] = *at++;
            }
        }
        while (length > 0 && normal[length - 1] == ' ')
            length--;
        normal[length] = '\0';
        if (strcmp(out.data != NULL ? out.data : "", normal) != 0) {
            print_message("'%s'\n  is  '%s'\n  not '%s'\n", text, out.data, normal);
            wrong++;
        }
        all++;
        vlmp_buffer_free(&out);
    }
    assert_true(all > 500);
    assert_int_equal(wrong, 0);
    cJSON_Delete(tree);
}

typedef struct {
    const char *hypotheses[128];
    char **answers[128]; /* into all */
    size_t counts[128];
    char *all[1024];
} corpus;

static int references(void *arg, size_t index, char *const **answers, size_t *count,
                      vlmp_error *err)
{
    (void)err;
    corpus *c = arg;
    *answers = c->answers[index];
    *count = c->counts[index];
    return VLMP_OK;
}

/* Hypotheses and answers that point into the tree. */
static size_t read_corpus(const cJSON *list, corpus *out)
{
    size_t n = 0;
    char **answers = out->all;
    const cJSON *item;
    *out = (corpus){0};
    cJSON_ArrayForEach(item, list)
    {
        out->hypotheses[n] = vlmp_json_get(item, "hypothesis")->valuestring;
        out->answers[n] = answers;
        const cJSON *answer;
        cJSON_ArrayForEach(answer, vlmp_json_get(item, "answers"))
        {
            *answers++ = answer->valuestring;
            out->counts[n]++;
        }
        n++;
    }
    return n;
}

static void each_cider_equals(corpus *c, size_t count, const cJSON *want)
{
    vlmp_error err = {0};
    vlmp_caption_words vocabulary = {0};
    vlmp_cider cider = {0};
    vlmp_caption captions[128];
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(vlmp_caption_build(&captions[i], &vocabulary, c->hypotheses[i],
                                            c->answers[i], c->counts[i], &err),
                         0);
        assert_int_equal(vlmp_cider_add(&cider, &captions[i], &err), 0);
    }
    for (size_t i = 0; i < count; i++, want = want->next) {
        near(vlmp_cider_score(&cider, &captions[i]), want->valuedouble, "CIDEr of a sample");
        vlmp_caption_free(&captions[i]);
    }
    vlmp_cider_free(&cider);
    vlmp_caption_words_free(&vocabulary);
}

static void scores_equal_the_reference(void **state)
{
    (void)state;
    cJSON *tree = golden("scores.json");
    const cJSON *one;
    cJSON_ArrayForEach(one, tree)
    {
        corpus c;
        size_t count = read_corpus(vlmp_json_get(one, "samples"), &c);
        vlmp_eval_input input = {.count = count,
                                 .references = references,
                                 .references_arg = &c,
                                 .hypotheses = c.hypotheses,
                                 .metrics = VLMP_METRIC_BLEU | VLMP_METRIC_CIDER};
        vlmp_eval_result result;
        vlmp_result_init(&result);
        vlmp_error err = {0};
        assert_int_equal(vlmp_eval_fill(&result, &input, &err), 0);
        const cJSON *bleu = vlmp_json_get(one, "bleu")->child;
        for (int i = 0; i < 4; i++, bleu = bleu->next) {
            near(result.bleu[i], bleu->valuedouble, "BLEU");
            assert_true(result.bleu_ci95[i].lo <= result.bleu_ci95[i].hi);
        }
        near(result.cider, number(one, "cider"), "CIDEr");
        each_cider_equals(&c, count, vlmp_json_get(one, "cider_each")->child);
        vlmp_result_free(&result);
    }
    cJSON_Delete(tree);
}

static void read_scores(vlmp_token_scores *scores, const cJSON *list)
{
    vlmp_error err = {0};
    const cJSON *sample;
    *scores = (vlmp_token_scores){.has_reference = true};
    cJSON_ArrayForEach(sample, list)
    {
        assert_int_equal(vlmp_scores_sample(scores, &err), 0);
        const cJSON *reference = vlmp_json_get(sample, "reference_nll")->child;
        const cJSON *kl = vlmp_json_get(sample, "kl")->child;
        const cJSON *top1 = vlmp_json_get(sample, "top1")->child;
        const cJSON *nll;
        cJSON_ArrayForEach(nll, vlmp_json_get(sample, "nll"))
        {
            assert_int_equal(vlmp_scores_token(scores, nll->valuedouble, reference->valuedouble,
                                               kl->valuedouble, cJSON_IsTrue(top1), &err),
                             0);
            reference = reference->next;
            kl = kl->next;
            top1 = top1->next;
        }
    }
}

static void metrics_equal_numpy(void **state)
{
    (void)state;
    cJSON *tree = golden("intervals.json");
    vlmp_token_scores scores;
    read_scores(&scores, vlmp_json_get(tree, "samples"));
    vlmp_eval_input input = {.count = scores.samples,
                             .metrics = VLMP_METRIC_PPL | VLMP_METRIC_KL,
                             .scores = &scores,
                             .seed = (uint64_t)number(tree, "seed")};
    vlmp_eval_result result;
    vlmp_result_init(&result);
    result.reference = "reference";
    vlmp_error err = {0};
    assert_int_equal(vlmp_eval_fill(&result, &input, &err), 0);
    assert_int_equal(result.tokens, scores.tokens);
    const cJSON *item;
    cJSON_ArrayForEach(item, vlmp_json_get(tree, "values"))
    {
        double value;
        assert_true(vlmp_result_value(&result, item->string, &value));
        near(value, item->valuedouble, item->string);
    }
    cJSON_ArrayForEach(item, vlmp_json_get(tree, "intervals"))
    {
        char name[64];
        double value;
        snprintf(name, sizeof name, "%s.lo", item->string);
        assert_true(vlmp_result_value(&result, name, &value));
        near(value, item->child->valuedouble, name);
        snprintf(name, sizeof name, "%s.hi", item->string);
        assert_true(vlmp_result_value(&result, name, &value));
        near(value, item->child->next->valuedouble, name);
    }
    vlmp_result_free(&result);
    vlmp_scores_free(&scores);
    cJSON_Delete(tree);
}

static void quantiles_interpolate(void **state)
{
    (void)state;
    const double values[] = {1, 2, 4, 8};
    assert_true(vlmp_quantile(values, 4, 0) == 1);
    assert_true(vlmp_quantile(values, 4, 1) == 8);
    assert_true(vlmp_quantile(values, 4, 0.5) == 3);
    near(vlmp_quantile(values, 4, 0.95), 7.4, "quantile"); /* rank 2.85: 4 + 0.85·4 */
    assert_true(isnan(vlmp_quantile(values, 0, 0.5)));
    double out[3], unsorted[] = {8, 1, 4, 2};
    vlmp_percentiles(out, unsorted, 4);
    assert_true(out[0] == 3);
}

/* What can't be computed is NAN and has a note. */
static void nulls_have_notes(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_token_scores scores = {.has_reference = true};
    assert_int_equal(vlmp_scores_sample(&scores, &err), 0);
    assert_int_equal(vlmp_scores_token(&scores, 0.5, 0.5, NAN, true, &err), 0);
    corpus none = {.answers = {none.all}};
    vlmp_eval_input input = {.references = references,
                             .references_arg = &none,
                             .count = 1,
                             .metrics = VLMP_METRIC_ALL,
                             .scores = &scores};
    vlmp_eval_result r;
    vlmp_result_init(&r);
    r.reference = "x";
    assert_int_equal(vlmp_eval_fill(&r, &input, &err), 0);
    assert_true(isnan(r.ppl) && isnan(r.kl.mean) && isnan(r.bleu[3]) && isnan(r.cider));
    assert_int_equal(r.note_count, 2);
    assert_non_null(strstr(r.notes[0], "NaN"));
    assert_non_null(strstr(r.notes[1], "no answers were generated"));
    vlmp_result_free(&r);

    scores.kl[0] = 0.25;
    const char *hypotheses[] = {"a"};
    input.hypotheses = hypotheses;
    input.answers_are_stand_ins = true;
    r.reference = "x";
    assert_int_equal(vlmp_eval_fill(&r, &input, &err), 0);
    assert_true(isnan(r.ppl) && r.kl.mean == 0.25 && r.top1 == 1 && isnan(r.bleu[0]));
    assert_non_null(strstr(r.notes[0], "stand in"));
    vlmp_result_free(&r);

    input.answers_are_stand_ins = false;
    assert_int_equal(vlmp_eval_fill(&r, &input, &err), 0); /* no reference, no answers */
    near(r.ppl, exp(0.5), "ppl");
    assert_true(isnan(r.kl.mean) && isnan(r.ppl_ratio) && isnan(r.bleu[0]));
    assert_int_equal(r.note_count, 2);
    assert_non_null(strstr(r.notes[0], "no reference"));
    assert_non_null(strstr(r.notes[1], "sample 1 has no answer"));
    vlmp_result_free(&r);
    vlmp_scores_free(&scores);
}

/* Samples differ much from each other, files by as much on each: the interval is of the latter. */
static void differences_are_paired(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_sample_result samples[2][3];
    vlmp_eval_result r[2];
    for (int f = 0; f < 2; f++) {
        vlmp_result_init(&r[f]);
        r[f].samples = 3;
        r[f].per_sample = samples[f];
        r[f].bleu[3] = f == 0 ? 1 : 0.5;
        r[f].cider = f == 0 ? 3 : 2.75;
        for (int i = 0; i < 3; i++) {
            samples[f][i] =
                (vlmp_sample_result){.captioned = true,
                                     .cider = 1 + 2 * i - 0.25 * f,
                                     .bleu = {.length = 10 << i, .reference_length = 10 << i}};
            for (int n = 0; n < VLMP_NGRAM; n++) {
                samples[f][i].bleu.guess[n] = (10 << i) - 2 * n;
                samples[f][i].bleu.correct[n] = samples[f][i].bleu.guess[n] / (1 + f);
            }
        }
    }
    assert_int_equal(vlmp_against_original(r, 2, 0, &err), 0);
    assert_true(isnan(r[0].cider_difference.value) && isnan(r[1].cider_difference.value));
    r[0].original = true;
    assert_int_equal(vlmp_against_original(r, 2, 0, &err), 0);
    assert_true(isnan(r[0].cider_difference.value) && isnan(r[0].bleu_difference.value));
    near(r[1].cider_difference.value, -0.25, "CIDEr");
    near(r[1].cider_difference.ci95.lo, -0.25, "CIDEr, low");
    near(r[1].cider_difference.ci95.hi, -0.25, "CIDEr, high");
    near(r[1].bleu_difference.value, -0.5, "BLEU");
    near(r[1].bleu_difference.ci95.lo, -0.5, "BLEU, low");
    near(r[1].bleu_difference.ci95.hi, -0.5, "BLEU, high");
    /* What was not asked for is not compared, nor are samples without captions. */
    r[1].bleu_difference.value = r[1].cider_difference.value = r[1].bleu[3] = NAN;
    assert_int_equal(vlmp_against_original(r, 2, 0, &err), 0);
    assert_true(isnan(r[1].bleu_difference.value));
    near(r[1].cider_difference.value, -0.25, "CIDEr alone");
    samples[1][2].captioned = false;
    r[1].cider_difference.value = NAN;
    assert_int_equal(vlmp_against_original(r, 2, 0, &err), 0);
    assert_true(isnan(r[1].cider_difference.value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_equal_the_reference), cmocka_unit_test(scores_equal_the_reference),
        cmocka_unit_test(metrics_equal_numpy),        cmocka_unit_test(quantiles_interpolate),
        cmocka_unit_test(nulls_have_notes),           cmocka_unit_test(differences_are_paired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
