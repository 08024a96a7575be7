/* CHECKLIST.md: what should be known before a model serves people, each item with what was measured
 * or "not checked". */
#include <stdio.h>
#include <string.h>

#include "formats/packed.h"
#include "src/base/escape.h"
#include "src/base/json.h"
#include "src/model/family.h"
#include "tools/export_report.h"
#include "tools/export_serve.h"

#define NOT_CHECKED "not checked"
#define NOT_KNOWN   "not known to vlmpack, which does not run this architecture"

static void area(vlmp_buffer *out, const char *name)
{
    vlmp_buffer_printf(out, "\n## %s\n\n| item | result |\n| --- | --- |\n", name);
}

static void item(vlmp_buffer *out, const char *name, const char *result)
{
    vlmp_buffer_printf(out, "| %s | ", name);
    vlmp_escape(out, VLMP_ESCAPE_MARKDOWN, result, strlen(result));
    vlmp_buffer_text(out, " |\n");
}

/* Numbers of the report, one after the other through format. */
static void measured(vlmp_buffer *out, const vlmp_export_facts *facts, const char *name,
                     const char *format, const char *first, const char *second, const char *third)
{
    double values[3] = {0};
    const char *paths[3] = {first, second, third};
    char text[160];
    bool all = true;
    for (int i = 0; i < 3 && paths[i] != NULL; i++)
        all = all && vlmp_export_number(facts, paths[i], &values[i]);
    snprintf(text, sizeof text, format, values[0], values[1], values[2]);
    item(out, name, all ? text : NOT_CHECKED);
}

static void put_model(vlmp_buffer *out, const vlmp_export_facts *facts)
{
    const vlmp_export *export = facts->export;
    char text[256];
    size_t counts[3];
    vlmp_export_count_fates(export, counts);
    area(out, "Model");
    item(out, "hashes of the packed file", "every tensor and file matches");
    snprintf(text, sizeof text, "%zu kept, %zu laid out anew without loss, %zu converted",
             counts[0], counts[1], counts[2]);
    item(out, "tensors of the export", text);
    snprintf(text, sizeof text, "every linear keeps the rules of %s for %s",
             vlmp_layout_name(export->layout->layout), vlmp_serve_name(export->engine));
    item(out, "what the engine can express", text);
    const char *caveat;
    for (int i = 0; (caveat = vlmp_export_caveat(export, i)) != NULL; i++)
        item(out, "to be kept in mind", caveat);
    item(out, "loads in the engine", NOT_CHECKED);
    item(out, "licence of the source allows this use", NOT_CHECKED);
}

static void put_quality(vlmp_buffer *out, const vlmp_export_facts *facts)
{
    area(out, "Quality");
    measured(out, facts, "perplexity against the source, 95 % interval", "ratio %.4f, %.4f … %.4f",
             "ppl_ratio", "ppl_ratio_ci95.lo", "ppl_ratio_ci95.hi");
    measured(out, facts, "KL divergence from the source",
             "mean %.3e, 99th percentile %.3e, "
             "largest %.3e",
             "kl.mean", "kl.p99", "kl.max");
    measured(out, facts, "answers", "BLEU-4 %.4f, CIDEr %.4f", "bleu.3", "cider", NULL);
    measured(out, facts, "linears that fell back, or were kept as round to nearest", "%.0f, %.0f",
             "fallbacks", "kept_rtn", NULL);
    item(out, "the engine's answers against those measured", NOT_CHECKED);
    item(out, "the use's own tasks", NOT_CHECKED);
}

static void put_speed(vlmp_buffer *out, const vlmp_export_facts *facts)
{
    area(out, "Performance");
    measured(out, facts, "time to first token, vlmpack's runtime",
             "%.1f ms, 95th percentile %.1f, 99th %.1f", "speed.ttft_ms.p50", "speed.ttft_ms.p95",
             "speed.ttft_ms.p99");
    measured(out, facts, "tokens a second, vlmpack's runtime", "prefill %.1f, decode %.1f",
             "speed.prefill_tps", "speed.decode_tps", NULL);
    item(out, "latency in the engine, percentiles at every batch size", NOT_CHECKED);
    item(out, "throughput in the engine", NOT_CHECKED);
}

static void put_capacity(vlmp_buffer *out, const vlmp_export_facts *facts)
{
    const vlmp_export *export = facts->export;
    const vlmp_text_config *text_model = &export->config->text;
    char text[160];
    long long kv = 4ll * text_model->layers * text_model->kv_heads * text_model->head_dim;
    area(out, "Capacity");
    snprintf(text, sizeof text, "%llu bytes", (unsigned long long)vlmp_export_bytes(export));
    item(out, "weights", text);
    snprintf(text, sizeof text, "%lld bytes, %lld for the context of %d", kv,
             kv * vlmp_serve_context(export), vlmp_serve_context(export));
    bool runs = vlmp_family_runs(export->config->family);
    item(out, "keys and values of a token, 16 bits", runs ? text : NOT_KNOWN);
    measured(out, facts, "peak memory, vlmpack's runtime", "%.0f bytes", "memory.peak_rss_bytes",
             NULL, NULL);
    item(out, "requests a second that the hardware must serve", NOT_CHECKED);
    item(out, "room for growth, scaling rules", NOT_CHECKED);
}

static void put_iteration(vlmp_buffer *out, const vlmp_export_facts *facts)
{
    const vlmp_source *source = facts->export->source;
    area(out, "Iteration");
    item(out, "packed file, digest", source->digest);
    size_t length;
    const char *note = vlmp_packed_note(source, "vlmp.provenance", &length);
    cJSON *provenance = NULL;
    vlmp_error ignored = {0};
    if (note != NULL &&
        vlmp_json_parse(&provenance, note, length, "provenance", &ignored) == VLMP_ERR_SYSTEM)
        out->failed = true;
    static const char *const keys[] = {"source", "calibration", "tool"};
    static const char *const names[] = {"source model, digest", "calibration, hash", "made by"};
    for (size_t i = 0; i < 3; i++) {
        const cJSON *value = vlmp_json_get(provenance, keys[i]);
        item(out, names[i], cJSON_IsString(value) ? value->valuestring : "none");
    }
    cJSON_Delete(provenance);
    item(out, "way back to the version before", NOT_CHECKED);
}

void vlmp_export_checklist(vlmp_buffer *out, const vlmp_export_facts *facts)
{
    char text[128];
    vlmp_buffer_text(out, "# Checklist\n\nWhat was measured when this folder was written; the rest "
                          "is for whoever serves it.\n");
    put_model(out, facts);
    area(out, "Inference");
    snprintf(text, sizeof text, "up to %d of a context of %d",
             vlmp_serve_picture_tokens(facts->export), facts->export->config->text.max_positions);
    bool runs = vlmp_family_runs(facts->export->config->family);
    item(out, "tokens of a picture", runs ? text : NOT_KNOWN);
    item(out, "answers to pictures of all sizes and to text alone", NOT_CHECKED);
    area(out, "Service");
    item(out, "requests are checked, limits and keys are set", NOT_CHECKED);
    item(out, "health and readiness are watched, metrics collected", NOT_CHECKED);
    put_speed(out, facts);
    put_quality(out, facts);
    area(out, "Stability");
    item(out, "long load without growing memory", NOT_CHECKED);
    item(out, "faults: restart, cancelled and broken requests", NOT_CHECKED);
    area(out, "A/B");
    item(out, "compared with the version before on live traffic", NOT_CHECKED);
    put_iteration(out, facts);
    put_capacity(out, facts);
}
