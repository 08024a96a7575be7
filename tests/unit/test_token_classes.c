#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/eval/metrics.h"
#include "src/eval/token_classes.h"

/* Tokens are separated by '|'; ∎ is one without text. */
static void classes_are(const char *tokens, const char *question, const char *want)
{
    char text[256] = "", have[64];
    size_t ends[64], count = 0, length = 0;
    vlmp_error err = {0};
    for (const char *at = tokens; *at != '\0'; at += *at == '|') {
        size_t part = strcspn(at, "|");
        bool empty = strncmp(at, "∎", strlen("∎")) == 0;
        if (!empty) memcpy(text + length, at, part);
        length += empty ? 0 : part;
        ends[count++] = length;
        at += part;
    }
    text[length] = 'x'; /* is not looked at */
    assert_int_equal(vlmp_token_classes(have, text, ends, count, question, &err), 0);
    have[count] = '\0';
    assert_string_equal(have, want);
}

static void tokens_have_the_class_of_their_word(void **state)
{
    (void)state;
    classes_are("a| small| ot|ter| on| a| pur|ple| back|ground|.|∎", "", "FCCCFFCCCCMM");
    classes_are("Three| dogs| and| 12| ca|ts|,| one| 3|rd", "", "NCFNCCMNNN");
    /* What the question holds, whatever its case; and no part of a word of it. */
    classes_are("The| Dog| is| an| ott|er| of| two", "Is the dog (or two) an otters' friend?",
                "FcFFCCFn");
    classes_are("it|'s| the| dog|'s| do|n't| don’t| ' |O'|Neill", "", "FFFCCFFFMCC");
    /* A space of its own is no word; what awaits the rest of its character is of that one's kind.
     */
    classes_are("∎|Ä|pfel| |∎|∎|中|。|∎", "", "CCCMCCCMM");
    classes_are("twenty|-|one| left| under| \xff| the", "", "NMNCCMF");
    classes_are("ones| thee| o| n", "", "CCCC");
    classes_are("", "", "");
    classes_are("∎", "what", "M");
}

/* Two samples; by hand. */
static void each_class_has_its_mean(void **state)
{
    (void)state;
    static const char letters[] = "FCcMNCn";
    const double kl[] = {0.5, 1, 2, 0.25, 8, 3, 4};
    vlmp_error err = {0};
    vlmp_token_scores scores = {.has_reference = true};
    for (size_t t = 0; t < 7; t++) {
        if (t == 0 || t == 4) assert_int_equal(vlmp_scores_sample(&scores, &err), 0);
        assert_int_equal(vlmp_scores_token(&scores, 1, 1, kl[t], true, &err), 0);
    }
    scores.classes = strdup(letters);
    vlmp_eval_input input = {.count = 2, .metrics = VLMP_METRIC_KL, .scores = &scores};
    vlmp_eval_result r;
    vlmp_result_init(&r);
    r.reference = "x";
    assert_int_equal(vlmp_eval_fill(&r, &input, &err), 0);
    static const struct {
        int64_t tokens;
        double mean, lo, hi;
    } want[VLMP_KL_CLASSES] = {
        [VLMP_KL_NUMBERS] = {2, 6, NAN, NAN}, /* in the second sample alone */
        [VLMP_KL_CONTENT] = {3, 2, 1.5, 3},   /* the first sample twice, or the second */
        [VLMP_KL_FUNCTION] = {1, 0.5, NAN, NAN}, [VLMP_KL_MARKS] = {1, 0.25, NAN, NAN},
        [VLMP_KL_PICTURE] = {3, 4, 1, 5.5},      [VLMP_KL_TEXT] = {4, 6.75 / 4, 2.75 / 3, 4},
    };
    for (int c = 0; c < VLMP_KL_CLASSES; c++) {
        const vlmp_class_kl *have = &r.kl_classes[c];
        assert_int_equal(have->tokens, want[c].tokens);
        assert_true(fabs(have->mean - want[c].mean) < 1e-15);
        assert_int_equal(isnan(have->ci95.lo), isnan(want[c].lo));
        if (isnan(want[c].lo)) continue;
        assert_true(fabs(have->ci95.lo - want[c].lo) < 1e-15);
        assert_true(fabs(have->ci95.hi - want[c].hi) < 1e-15);
    }
    assert_memory_equal(r.per_sample[1].classes, letters + 4, 3);
    vlmp_result_free(&r);
    vlmp_scores_free(&scores);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_have_the_class_of_their_word),
        cmocka_unit_test(each_class_has_its_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
