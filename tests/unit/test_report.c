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
#include "src/base/utf8.h"
#include "src/eval/gates.h"
#include "src/eval/report.h"

static void sample_result(vlmp_eval_result *r)
{
    vlmp_result_init(r);
    r->model = "out/emoji<w4>.vlmp";
    r->reference = "models/emoji-llava";
    r->method = "gptq W4g128";
    r->metrics = VLMP_METRIC_ALL;
    r->samples = 256;
    r->left_out = 2;
    r->tokens = 3263;
    r->ppl = 1.3215;
    r->ppl_ci95 = (vlmp_interval){1.30, 1.35};
    r->reference_ppl = 1.3199;
    r->ppl_ratio = 1.0012;
    r->ppl_ratio_ci95 = (vlmp_interval){0.999, 1.003};
    r->kl = (vlmp_kl_result){
        4.65e-4, {4e-4, 5e-4}, 2e-3, 8.3e-3, 0.1, sqrt(4.65e-4 * 8.3e-3), {1.8e-3, 2.1e-3}};
    for (int c = 0; c < VLMP_KL_CLASSES; c++)
        r->kl_classes[c] = (vlmp_class_kl){100 * c, 1e-4 * (c + 1), {1e-5, 1e-3}};
    r->top1 = 0.9939;
    for (int i = 0; i < 4; i++) {
        r->bleu[i] = 0.8 - 0.05 * i;
        r->bleu_ci95[i] = (vlmp_interval){r->bleu[i] - 0.02, r->bleu[i] + 0.02};
    }
    r->cider = 3.3;
    r->cider_ci95 = (vlmp_interval){3.1, 3.5};
    r->speed.device = "cpu";
    r->speed.ttft_ms = (vlmp_quantiles){10, 20, 30};
    r->speed.prefill_tps = 900;
    r->speed.decode_tps = 120.5;
    r->memory.weights_bytes = 4500000;
    r->memory.kv_bytes = 1000;
    r->memory.peak_rss_bytes = 64000000;
    r->bits_per_weight = 4.25;
    r->bits_per_weight_quantized = 4.13;
    r->quantize_seconds = 12.5;
    r->fallbacks = 0;
    r->kept_rtn = 1;
    r->unguarded = 2;
}

/* Each name is found in the JSON document, with the same value: gates can't drift from it. */
static void every_name_is_in_the_document(void **state)
{
    (void)state;
    vlmp_eval_result r;
    sample_result(&r);
    r.memory.peak_device_bytes = 7;
    vlmp_json_writer w = {0};
    vlmp_results_write(&w, &(vlmp_eval_run){.data = "data.jsonl"}, &r, 1);
    vlmp_error err = {0};
    cJSON *tree;
    assert_int_equal(vlmp_json_parse(&tree, w.out.data, w.out.length, "result", &err), 0);
    assert_int_equal(vlmp_json_get(tree, "schema")->valueint, 1);
    const cJSON *result = vlmp_json_get(tree, "results")->child;
    size_t names = 0;
    for (const char *name; (name = vlmp_result_name(names)) != NULL; names++) {
        char copy[64];
        snprintf(copy, sizeof copy, "%s", name);
        const cJSON *at = result;
        char *rest = NULL;
        for (char *part = strtok_r(copy, ".", &rest); part != NULL;
             part = strtok_r(NULL, ".", &rest))
            at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, atoi(part) - 1)
                                   : vlmp_json_get(at, part);
        if (!cJSON_IsNumber(at)) fail_msg("%s is not in the document", name);
        double value;
        assert_true(vlmp_result_value(&r, name, &value));
        assert_true(value == at->valuedouble);
    }
    assert_int_equal(names, 56);
    cJSON_Delete(tree);
    vlmp_buffer_free(&w.out);
    vlmp_result_free(&r);
}

static void absent_and_null_differ(void **state)
{
    (void)state;
    vlmp_eval_result r;
    vlmp_result_init(&r);
    r.model = "m";
    r.metrics = VLMP_METRIC_PPL;
    vlmp_json_writer w = {0};
    vlmp_result_write(&w, &r);
    assert_non_null(strstr(w.out.data, "\"ppl\":null,\"ppl_ci95\":null,\"memory\":"));
    assert_null(strstr(w.out.data, "kl"
                                   "\":{"));
    assert_null(strstr(w.out.data, "ppl_ratio"));
    assert_null(strstr(w.out.data, "bleu"));
    assert_non_null(strstr(w.out.data, "\"reference\":null"));
    assert_non_null(strstr(w.out.data, "\"fallbacks\":null"));
    vlmp_buffer_free(&w.out);
    vlmp_result_free(&r);
}

static void gates_judge(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool pass;
    } table[] = {{"kl.mean<=0.02", true},
                 {"kl.mean < 4.65e-4", false},
                 {"kl.mean<=4.65e-4", true},
                 {"bleu.4>=0.30", true},
                 {"bleu.1>0.8", false},
                 {"bleu.1 >= 0.8", true},
                 {"ppl_ratio_ci95.hi<=1.003", true},
                 {"ppl_ratio_ci95.hi<1.003", false},
                 {"speed.ttft_ms.p95 == 20", true},
                 {"memory.weights_bytes<=4e6", false},
                 {"fallbacks==0", true},
                 {"memory.peak_device_bytes>=0", false},
                 {" top1 >= 0.99 ", true},
                 {"kl.score_ci95.lo>0.0017", true}};
    enum { COUNT = sizeof table / sizeof *table };
    vlmp_gate gates[COUNT];
    vlmp_error err = {0};
    size_t expected = 0, failed;
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(vlmp_gate_parse(&gates[i], table[i].text, &err), 0);
        expected += !table[i].pass;
    }
    vlmp_eval_result r;
    sample_result(&r);
    assert_int_equal(vlmp_gates_judge(&r, gates, COUNT, &failed, &err), 0);
    for (size_t i = 0; i < COUNT; i++)
        if (r.gates[i].pass != table[i].pass) fail_msg("gate %s", table[i].text);
    assert_int_equal(failed, expected);
    r.metrics = VLMP_METRIC_SPEED; /* what was not asked for fails */
    assert_int_equal(vlmp_gates_judge(&r, gates, 1, &failed, &err), 0);
    assert_int_equal(failed, 1);
    vlmp_result_free(&r);
}

static void gates_refuse(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } table[] = {
        {"", "write NAME<=NUMBER"},
        {"<=3", "write NAME<=NUMBER"},
        {"kl.mean", "one of <=, <, >=, >, =="},
        {"kl.mean=3", "one of <=, <, >=, >, =="},
        {"kl.mean!=3", "one of <=, <, >=, >, =="},
        {"kl.mean<=", "is not a number"},
        {"kl.mean<=3x", "'3x' is not a number"},
        {"kl.mean<=nan", "is not a number"},
        {"kl.median<=3", "unknown name 'kl.median' (did you mean kl.mean?); there are kl.mean, "},
        {"bleu<=3", "bleu.1, "},
        {"bleu.5<=3", "unknown name 'bleu.5'"},
        {"zzz<=3", "names are those of --json"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        vlmp_gate gate;
        vlmp_error err = {0};
        assert_int_equal(vlmp_gate_parse(&gate, table[i].text, &err), VLMP_ERR_USAGE);
        if (strstr(err.message, table[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", err.message, table[i].says);
    }
    vlmp_gate gate;
    vlmp_error err = {0};
    assert_int_equal(vlmp_gate_parse(&gate, "kl.mean<=1", &err), 0);
    assert_int_equal(vlmp_gate_check(&gate, VLMP_METRIC_ALL, true, &err), 0);
    assert_int_equal(vlmp_gate_check(&gate, VLMP_METRIC_PPL, true, &err), VLMP_ERR_USAGE);
    assert_non_null(strstr(err.message, "--metrics leaves 'kl.mean' out"));
    err = (vlmp_error){0};
    assert_int_equal(vlmp_gate_check(&gate, VLMP_METRIC_ALL, false, &err), VLMP_ERR_USAGE);
    assert_non_null(strstr(err.message, "needs --reference"));
}

static void metrics_parse(void **state)
{
    (void)state;
    unsigned bits;
    vlmp_error err = {0};
    assert_int_equal(vlmp_metrics_parse(&bits, "speed,ppl,kl", &err), 0);
    assert_int_equal(bits, VLMP_METRIC_PPL | VLMP_METRIC_KL | VLMP_METRIC_SPEED);
    static const char *const bad[] = {"", "ppl,", "pp", "ppl,kl2", ",kl"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (vlmp_error){0};
        assert_int_equal(vlmp_metrics_parse(&bits, bad[i], &err), VLMP_ERR_USAGE);
    }
    err = (vlmp_error){0};
    assert_int_equal(vlmp_metrics_parse(&bits, "kl,blue", &err), VLMP_ERR_USAGE);
    assert_non_null(strstr(err.message, "'blue' (did you mean bleu?); a list of ppl, kl"));
}

/* Every "<" in the HTML and XML belongs to a tag, so what the user named can't break out. */
static void reports_escape(void **state)
{
    (void)state;
    vlmp_eval_result r[2];
    sample_result(&r[0]);
    sample_result(&r[1]);
    r[1].model = "plain|folder";
    r[0].reference = "\x1b]0;title\x07<script>";
    r[1].ppl = NAN;
    r[1].kl.score = NAN;
    /* What overflows is shown, and drawn nowhere. */
    vlmp_linear_record linears[] = {{"text.layers.0.mlp.up", "rtn W4g128", 1e307, NAN},
                                    {"text.layers.1.mlp.up", "rtn W4g128", 0.01, NAN}};
    r[1].linears = linears;
    r[1].linear_count = 2;
    r[1].ppl_ratio = r[1].ppl_ratio_ci95.hi = INFINITY;
    vlmp_gate gates[2];
    size_t failed;
    vlmp_error err = {0};
    assert_int_equal(vlmp_gate_parse(&gates[0], "kl.mean<=0.02", &err), 0);
    assert_int_equal(vlmp_gate_parse(&gates[1], "bleu.4>0.9", &err), 0);
    assert_int_equal(vlmp_gates_judge(&r[0], gates, 2, &failed, &err), 0);
    assert_int_equal(failed, 1);
    assert_int_equal(vlmp_result_note(&r[1], &err, "a <note> & \"more\""), 0);
    assert_int_equal(vlmp_result_note(&r[0], &err, "\x1b[31m <script> `x` \xe2\x80\xae \xff\n| y"),
                     0);

    vlmp_buffer text = {0}, markdown = {0}, junit = {0}, html = {0};
    vlmp_report_text(&text, r, 2);
    vlmp_report_markdown(&markdown, "d_1.jsonl", r, 2);
    vlmp_report_junit(&junit, r, 2);
    const vlmp_report report = {
        .data = "<script>.jsonl", .results = r, .count = 2, .command = "vlm-eval '<script>'"};
    vlmp_report_html(&html, &report);
    assert_false(text.failed || markdown.failed || junit.failed || html.failed);
    assert_non_null(strstr(text.data, "gate FAILED: emoji<w4>.vlmp: bleu.4>0.9 (0.65)"));
    assert_non_null(strstr(text.data, "1.3215 ± 0.0250"));
    assert_non_null(strstr(text.data, "note: plain|folder: a <note>"));
    assert_non_null(strstr(markdown.data, "## vlm-eval: 1 of 2 gates FAILED"));
    assert_non_null(strstr(markdown.data, "plain&#124;folder"));
    assert_non_null(strstr(markdown.data, "d\\_1.jsonl"));
    assert_non_null(strstr(junit.data, "<testsuites tests=\"3\" failures=\"1\">"));
    assert_non_null(
        strstr(junit.data, "classname=\"emoji&lt;w4&gt;.vlmp\" name=\"bleu.4&gt;0.9\">"));
    assert_non_null(strstr(html.data, "&lt;script&gt;.jsonl"));
    assert_null(strstr(html.data, "<script"));
    assert_non_null(strstr(html.data, "a &lt;note&gt; &amp; &quot;more&quot;"));
    assert_non_null(strstr(html.data, "1 of 2 gates failed"));
    assert_non_null(strstr(html.data, "<svg"));
    assert_null(strstr(html.data, "\"nan")); /* in a figure's attribute */
    assert_null(strstr(html.data, ">nan"));
    assert_null(strstr(html.data, "\"inf"));
    assert_non_null(strstr(html.data, "text.layers.1.mlp.up (1 %)"));
    assert_non_null(strstr(html.data, "vlm-eval &#39;&lt;script&gt;&#39;"));
    const char *all[] = {text.data, markdown.data, junit.data, html.data};
    for (size_t i = 0; i < 4; i++) {
        assert_null(strchr(all[i], '\x1b'));
        assert_null(strchr(all[i], '\x07'));
        assert_null(strstr(all[i], "\xe2\x80\xae"));
        assert_int_equal(vlmp_utf8_check(all[i], strlen(all[i])), strlen(all[i]));
        if (i > 0) assert_null(strstr(all[i], "<script"));
    }
    assert_non_null(strstr(text.data, "\\x1b[31m <script> `x` \\u202e \\xff\\x0a| y\n"));
    assert_non_null(strstr(
        markdown.data, "\\\\x1b\\[31m &lt;script&gt; &#96;x&#96; \\\\u202e \\\\xff &#124; y\n"));
    vlmp_buffer_free(&text);
    vlmp_buffer_free(&markdown);
    vlmp_buffer_free(&junit);
    vlmp_buffer_free(&html);
    vlmp_result_free(&r[0]);
    vlmp_result_free(&r[1]);
}

static char *html_of(const vlmp_eval_result *results, size_t count)
{
    const vlmp_report report = {.data = "d", .results = results, .count = count};
    vlmp_buffer html = {0};
    vlmp_report_html(&html, &report);
    assert_false(html.failed);
    return html.data;
}

/* What was recorded, what an earlier version did not, and what no calibration made. */
static void calibrations_are_shown(void **state)
{
    (void)state;
    vlmp_eval_result r[3];
    vlmp_activation_range ranges[] = {{"vision", "vision.layers.0.mlp_out", 6.5504, 592},
                                      {"text", "text.layers.1.mlp_out", 32752, 1008}};
    vlmp_calibration_record records[] = {{true, 16, 14, 877, 2, 131, ranges, 2},
                                         {true, 16, -1, -1, -1, -1, NULL, 0},
                                         {false, 0, -1, -1, -1, -1, NULL, 0}};
    static const char *const names[] = {"new.vlmp", "old.vlmp", "rtn.vlmp"};
    for (int i = 0; i < 3; i++) {
        sample_result(&r[i]);
        r[i].model = names[i];
        r[i].calibration = &records[i];
    }
    char *html = html_of(r, 3);
    assert_non_null(strstr(html, "<td>877 tokens of 14 samples</td><td>131 tokens of 2 samples</td>"
                                 "<td>vision</td><td>592</td><td>6.55</td>"
                                 "<td>vision.layers.0.mlp_out</td><td>10000 times</td>"));
    assert_non_null(strstr(html, "<td class=\"bad\">2 times: too little</td>"));
    assert_non_null(strstr(html, "<td>old.vlmp</td><td>not recorded, of 16 samples</td>"
                                 "<td>not recorded</td><td>not recorded</td>"));
    assert_non_null(strstr(html, "rtn.vlmp: made without a calibration."));
    free(html);
    for (int i = 0; i < 3; i++)
        r[i].calibration = NULL;
    html = html_of(r, 3);
    assert_null(strstr(html, "<h2>Calibration"));
    free(html);
}

/* A column a file, the original left out; nothing where kinds are not known. */
static void kinds_of_tokens_are_shown(void **state)
{
    (void)state;
    vlmp_eval_result r[2];
    sample_result(&r[0]);
    sample_result(&r[1]);
    r[0].model = "the original";
    r[0].original = true;
    r[1].kl_classes[VLMP_KL_MARKS].ci95 = (vlmp_interval){NAN, NAN};
    char *html = html_of(r, 2);
    assert_non_null(strstr(html, "<th>how many</th><th>emoji&lt;w4&gt;.vlmp</th></tr>"));
    assert_non_null(strstr(html, "<td>content words</td><td>100</td><td>2·10⁻⁴ <span "
                                 "class=\"soft\">10⁻⁵ … 10⁻³</span></td></tr>"));
    assert_non_null(strstr(html, "<td>marks and end</td><td>300</td><td>4·10⁻⁴</td></tr>"));
    assert_non_null(strstr(html, "<tr class=\"apart\"><td>from the picture</td><td>400</td>"));
    free(html);
    r[1].kl_classes[0].tokens = -1;
    html = html_of(r, 2);
    assert_null(strstr(html, "KL by kind of token"));
    free(html);
}

/* The first token that differs is marked, and both are shown; by ids, not by text. */
static void answers_part_at_a_token(void **state)
{
    (void)state;
    static const int32_t ids[] = {7, 8, 9, 10}, other[] = {7, 8, 11, 10}, piece[] = {7, 12, 13},
                         longer[] = {7, 8, 9, 10, 10};
    static const size_t ends[] = {1, 5, 7, 8}, other_ends[] = {1, 5, 9, 10},
                        piece_ends[] = {1, 1, 6}, longer_ends[] = {1, 5, 7, 8, 9};
    static const struct {
        const char *answer;
        vlmp_answer_tokens tokens;
        const char *shown;
    } table[] = {
        {"a dog<s!", {ids, ends, 4}, "<dd>a dog&lt;s! <span class=\"soft\">KL"},
        {"a dogfish!",
         {other, other_ends, 4},
         "<dd>a dog<mark>fish</mark>! <span class=\"soft part\">token 3: “fish”, original "
         "“&lt;s”<"},
        {"a dog",
         {ids, ends, 2},
         "<dd>a dog<mark>∎</mark> <span class=\"soft part\">token 3: “∎”, original “&lt;s”<"},
        {"a dog<s!!",
         {longer, longer_ends, 5},
         "<dd>a dog&lt;s!<mark>!</mark> <span class=\"soft part\">token 5: “!”, original “∎”<"},
        {"a 中 x",
         {piece, piece_ends, 3},
         "<dd>a<mark>…</mark> 中 x <span class=\"soft part\">token 2: “…”"},
        {"a cat", {NULL, NULL, 0}, "<dd>a cat <span class=\"soft\">KL"},
    };
    vlmp_eval_result r;
    sample_result(&r);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        vlmp_sample_result sample = {.answer = table[i].answer, .answer_tokens = table[i].tokens};
        vlmp_worst_sample worst = {.where = "d:1",
                                   .prompt = "What?",
                                   .original = "a dog<s!",
                                   .original_tokens = {ids, ends, 4}};
        r.per_sample = &sample;
        const vlmp_report report = {
            .data = "d", .results = &r, .count = 1, .worst = &worst, .worst_count = 1};
        vlmp_buffer html = {0};
        vlmp_report_html(&html, &report);
        assert_non_null(strstr(html.data, "<dt>◇ original</dt><dd>a dog&lt;s!</dd>"));
        if (strstr(html.data, table[i].shown) == NULL) fail_msg("%s", table[i].shown);
        vlmp_buffer_free(&html);
        worst = (vlmp_worst_sample){.where = "d:1", .prompt = "What?"};
        vlmp_report_html(&html, &report);
        assert_non_null(strstr(html.data, "<dt>◇ original</dt><dd>not recorded: "));
        assert_null(strstr(html.data, "<mark>"));
        vlmp_buffer_free(&html);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_is_in_the_document),
        cmocka_unit_test(absent_and_null_differ),
        cmocka_unit_test(gates_judge),
        cmocka_unit_test(gates_refuse),
        cmocka_unit_test(metrics_parse),
        cmocka_unit_test(reports_escape),
        cmocka_unit_test(calibrations_are_shown),
        cmocka_unit_test(answers_part_at_a_token),
        cmocka_unit_test(kinds_of_tokens_are_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
