/* The model card: a YAML head that the hub reads, then what a reader asks first. */
#include <stdio.h>
#include <string.h>

#include "formats/hub.h"
#include "formats/packed.h"
#include "src/base/escape.h"
#include "src/model/family.h"
#include "tools/export_report.h"
#include "tools/export_serve.h"
#include "tools/inspect.h"

/* Lines "KEY: value" of the head of the source's own card. */
static void put_licence(vlmp_buffer *out, const vlmp_source *source)
{
    static const char *const keys[] = {"license:", "license_name:", "license_link:"};
    size_t length;
    const char *card = source->file(source, "README.md", &length);
    if (card == NULL || length < 4 || memcmp(card, "---\n", 4) != 0) return;
    const char *end = card + length;
    for (const char *line = card + 4; line < end && strncmp(line, "---", 3) != 0;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        if (next == NULL) return;
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            size_t key = strlen(keys[i]);
            if ((size_t)(next - line) <= key || memcmp(line, keys[i], key) != 0) continue;
            vlmp_escape(out, VLMP_ESCAPE_LINE, line, (size_t)(next - line));
            vlmp_buffer_text(out, "\n");
        }
        line = next + 1;
    }
}

/* The source model's name on the hub: as given, else what its configuration remembers. */
static void put_base_model(vlmp_buffer *out, const vlmp_export_facts *facts)
{
    const vlmp_source *source = facts->export->source;
    size_t length;
    const char *json = source->file(source, "config.json", &length), *name = facts->base_model;
    vlmp_error ignored = {0};
    cJSON *config = NULL;
    if (name == NULL &&
        vlmp_json_parse(&config, json, length, "config.json", &ignored) == VLMP_ERR_SYSTEM)
        out->failed = true;
    const cJSON *path = vlmp_json_get(config, "_name_or_path");
    if (cJSON_IsString(path) && vlmp_is_hub_id(path->valuestring)) name = path->valuestring;
    if (name != NULL) vlmp_buffer_printf(out, "base_model: %s\n", name);
    cJSON_Delete(config);
}

static void put_head(vlmp_buffer *out, const vlmp_export_facts *facts)
{
    const vlmp_export *export = facts->export;
    const vlmp_scheme *first = &export->linears[0].scheme;
    vlmp_buffer_text(out, "---\n");
    put_base_model(out, facts);
    vlmp_buffer_text(out, "base_model_relation: quantized\nlibrary_name: transformers\n"
                          "pipeline_tag: image-text-to-text\n");
    put_licence(out, export->source);
    vlmp_buffer_printf(out, "tags:\n- %s\n", vlmp_layout_name(export->layout->layout));
    bool mixed = false;
    for (size_t i = 1; i < export->linear_count; i++)
        mixed |= !vlmp_scheme_same(first, &export->linears[i].scheme);
    if (mixed)
        vlmp_buffer_text(out, "- mixed-precision\n");
    else if (vlmp_codes_are_floats(first->codes))
        vlmp_buffer_printf(out, "- %s\n", vlmp_code_types[first->codes].name);
    else
        vlmp_buffer_printf(out, "- w%da%d\n", vlmp_code_types[first->codes].bits,
                           first->int8_activations ? 8 : 16);
    vlmp_buffer_text(out, "---\n\n");
}

/* One row a scheme, in order of appearance; linears by component. */
static void put_schemes(vlmp_buffer *out, const vlmp_export *export)
{
    vlmp_buffer_text(out, "| part | scheme | linears |\n| --- | --- | --- |\n");
    static const char *const parts[] = {"vision.", "projector.", "text.layers.", "text.head"};
    static const char *const names[] = {"vision tower", "projector", "text model", "head"};
    for (size_t p = 0; p < 4; p++)
        for (size_t i = 0; i < export->linear_count; i++) {
            const vlmp_packed_linear *linear = &export->linears[i];
            int count = 0;
            bool first = true;
            for (size_t k = 0; k < export->linear_count; k++) {
                const vlmp_packed_linear *other = &export->linears[k];
                if (strncmp(other->name, parts[p], strlen(parts[p])) != 0 ||
                    !vlmp_scheme_same(&other->scheme, &linear->scheme))
                    continue;
                first = first && k >= i;
                count++;
            }
            if (count == 0 || !first || strncmp(linear->name, parts[p], strlen(parts[p])) != 0)
                continue;
            char scheme[48];
            vlmp_scheme_text(scheme, sizeof scheme, &linear->scheme);
            vlmp_buffer_printf(out, "| %s | %s | %d |\n", names[p], scheme, count);
        }
    vlmp_buffer_text(out, "\nEverything else is kept as it is in the source model.\n");
}

static void put_serving(vlmp_buffer *out, const vlmp_export_facts *facts)
{
    const vlmp_export *export = facts->export;
    vlmp_buffer_text(out, "\n## Use\n\n```\n");
    vlmp_export_command(out, facts);
    vlmp_buffer_text(out, "\n```\n\n");
    if (!vlmp_family_runs(export->config->family))
        vlmp_buffer_text(out, "How many tokens a picture takes is not known to vlmpack, which does "
                              "not run this architecture.\n");
    else
        vlmp_buffer_printf(out,
                           "A picture takes up to %d tokens of the context of %d; a prompt "
                           "with more pictures needs a higher limit of pictures.\n",
                           vlmp_serve_picture_tokens(export), export->config->text.max_positions);
    const char *text;
    for (int i = 0; (text = vlmp_export_caveat(export, i)) != NULL; i++)
        vlmp_buffer_printf(out, "\n* %c%s.\n", text[0] >= 'a' ? text[0] - 32 : text[0], text + 1);
}

static void put_measured(vlmp_buffer *out, const vlmp_export_facts *facts)
{
    static const struct {
        const char *name, *source, *packed, *format;
    } rows[] = {
        {"perplexity", "reference_ppl", "ppl", "%.4f"},
        {"perplexity, ratio", NULL, "ppl_ratio", "%.4f"},
        {"KL to the source, mean", NULL, "kl.mean", "%.3e"},
        {"KL to the source, 99th percentile", NULL, "kl.p99", "%.3e"},
        {"same first choice", NULL, "top1", "%.4f"},
        {"BLEU-4", NULL, "bleu.3", "%.4f"},
        {"CIDEr", NULL, "cider", "%.4f"},
        {"bits per weight", NULL, "bits_per_weight", "%.3f"},
        {"samples", NULL, "samples", "%.0f"},
        {"answer tokens", NULL, "tokens", "%.0f"},
    };
    vlmp_buffer_text(out, "\n## Quality\n\n");
    if (facts->result == NULL) {
        vlmp_buffer_text(out, "Not measured: the export was made without a report of vlm-eval.\n");
        return;
    }
    const cJSON *data = vlmp_json_get(facts->report, "data");
    vlmp_buffer_text(out, "Measured with vlmpack's runtime, in F32, on the packed file that this "
                          "folder is made of; data: ");
    const char *name = cJSON_IsString(data) ? data->valuestring : "?";
    vlmp_escape(out, VLMP_ESCAPE_MARKDOWN, name, strlen(name));
    vlmp_buffer_text(out, ".\n\n| | source | quantized |\n| --- | --- | --- |\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double value, source;
        char text[2][32] = {"", ""};
        if (!vlmp_export_number(facts, rows[i].packed, &value)) continue;
        snprintf(text[1], sizeof text[1], rows[i].format, value);
        if (rows[i].source != NULL && vlmp_export_number(facts, rows[i].source, &source))
            snprintf(text[0], sizeof text[0], rows[i].format, source);
        vlmp_buffer_printf(out, "| %s | %s | %s |\n", rows[i].name, text[0], text[1]);
    }
}

static void put_note(vlmp_buffer *out, const vlmp_source *source, const char *title,
                     const char *key)
{
    size_t length;
    const char *text = vlmp_packed_note(source, key, &length);
    if (text == NULL) return;
    vlmp_json_writer w = {.indent = 2};
    vlmp_put_json_text(&w, text, length);
    vlmp_buffer_printf(out, "\n## %s\n\n```json\n", title);
    if (w.out.failed)
        out->failed = true;
    else
        vlmp_buffer_append(out, w.out.data, w.out.length);
    vlmp_buffer_text(out, "\n```\n");
    vlmp_buffer_free(&w.out);
}

void vlmp_export_card(vlmp_buffer *out, const vlmp_export_facts *facts)
{
    const vlmp_export *export = facts->export;
    size_t counts[3];
    vlmp_export_count_fates(export, counts);
    put_head(out, facts);
    vlmp_buffer_printf(out, "# Quantized %s model, %s\n\n", vlmp_export_name(export),
                       vlmp_layout_name(export->layout->layout));
    put_schemes(out, export);
    put_serving(out, facts);
    put_measured(out, facts);
    put_note(out, export->source, "Recipe", "vlmp.recipe");
    vlmp_buffer_printf(out,
                       "\n## Provenance\n\nMade by vlmpack " VLMP_VERSION
                       " from a packed file with the digest `%s`: %zu tensors kept, %zu laid out "
                       "anew without loss, %zu converted. `SHA256SUMS` holds the hash of each "
                       "file, `CHECKLIST.md` what was checked.\n",
                       export->source->digest, counts[0], counts[1], counts[2]);
}
