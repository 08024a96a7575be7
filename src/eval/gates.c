#include "src/eval/gates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/nearest.h"

typedef struct {
    const char *name;
    size_t offset;   /* in vlmp_eval_result */
    bool integer;    /* int64_t, −1: null; else double, NAN: null */
    unsigned metric; /* 0: always there */
    bool reference;  /* needs one */
} field;

#define AT(member) offsetof(vlmp_eval_result, member)
#define NUMBER(name, m, ...)            \
    {                                   \
        name, AT(m), false, __VA_ARGS__ \
    }
#define COUNT(name, m)              \
    {                               \
        name, AT(m), true, 0, false \
    }
#define INTERVAL(name, m, ...) \
    NUMBER(name ".lo", m.lo, __VA_ARGS__), NUMBER(name ".hi", m.hi, __VA_ARGS__)

static const field fields[] = {
    COUNT("samples", samples),
    COUNT("left_out", left_out),
    COUNT("tokens", tokens),
    NUMBER("ppl", ppl, VLMP_METRIC_PPL, false),
    INTERVAL("ppl_ci95", ppl_ci95, VLMP_METRIC_PPL, false),
    NUMBER("reference_ppl", reference_ppl, VLMP_METRIC_PPL, true),
    NUMBER("ppl_ratio", ppl_ratio, VLMP_METRIC_PPL, true),
    INTERVAL("ppl_ratio_ci95", ppl_ratio_ci95, VLMP_METRIC_PPL, true),
    NUMBER("kl.mean", kl.mean, VLMP_METRIC_KL, true),
    INTERVAL("kl.ci95", kl.ci95, VLMP_METRIC_KL, true),
    NUMBER("kl.p95", kl.p95, VLMP_METRIC_KL, true),
    NUMBER("kl.p99", kl.p99, VLMP_METRIC_KL, true),
    NUMBER("kl.max", kl.max, VLMP_METRIC_KL, true),
    NUMBER("kl.score", kl.score, VLMP_METRIC_KL, true),
    INTERVAL("kl.score_ci95", kl.score_ci95, VLMP_METRIC_KL, true),
    NUMBER("kl_classes.numbers.mean", kl_classes[VLMP_KL_NUMBERS].mean, VLMP_METRIC_KL, true),
    NUMBER("kl_classes.content_words.mean", kl_classes[VLMP_KL_CONTENT].mean, VLMP_METRIC_KL, true),
    NUMBER("kl_classes.function_words.mean", kl_classes[VLMP_KL_FUNCTION].mean, VLMP_METRIC_KL,
           true),
    NUMBER("kl_classes.marks.mean", kl_classes[VLMP_KL_MARKS].mean, VLMP_METRIC_KL, true),
    NUMBER("kl_classes.picture.mean", kl_classes[VLMP_KL_PICTURE].mean, VLMP_METRIC_KL, true),
    NUMBER("kl_classes.text.mean", kl_classes[VLMP_KL_TEXT].mean, VLMP_METRIC_KL, true),
    NUMBER("top1", top1, VLMP_METRIC_KL, true),
    NUMBER("bleu.1", bleu[0], VLMP_METRIC_BLEU, false),
    NUMBER("bleu.2", bleu[1], VLMP_METRIC_BLEU, false),
    NUMBER("bleu.3", bleu[2], VLMP_METRIC_BLEU, false),
    NUMBER("bleu.4", bleu[3], VLMP_METRIC_BLEU, false),
    INTERVAL("bleu_ci95.1", bleu_ci95[0], VLMP_METRIC_BLEU, false),
    INTERVAL("bleu_ci95.2", bleu_ci95[1], VLMP_METRIC_BLEU, false),
    INTERVAL("bleu_ci95.3", bleu_ci95[2], VLMP_METRIC_BLEU, false),
    INTERVAL("bleu_ci95.4", bleu_ci95[3], VLMP_METRIC_BLEU, false),
    NUMBER("cider", cider, VLMP_METRIC_CIDER, false),
    INTERVAL("cider_ci95", cider_ci95, VLMP_METRIC_CIDER, false),
    NUMBER("speed.ttft_ms.p50", speed.ttft_ms.p50, VLMP_METRIC_SPEED, false),
    NUMBER("speed.ttft_ms.p95", speed.ttft_ms.p95, VLMP_METRIC_SPEED, false),
    NUMBER("speed.ttft_ms.p99", speed.ttft_ms.p99, VLMP_METRIC_SPEED, false),
    NUMBER("speed.prefill_tps", speed.prefill_tps, VLMP_METRIC_SPEED, false),
    NUMBER("speed.decode_tps", speed.decode_tps, VLMP_METRIC_SPEED, false),
    COUNT("memory.weights_bytes", memory.weights_bytes),
    COUNT("memory.kv_bytes", memory.kv_bytes),
    COUNT("memory.peak_rss_bytes", memory.peak_rss_bytes),
    COUNT("memory.peak_device_bytes", memory.peak_device_bytes),
    NUMBER("bits_per_weight", bits_per_weight, 0, false),
    NUMBER("bits_per_weight_quantized", bits_per_weight_quantized, 0, false),
    NUMBER("quantize_seconds", quantize_seconds, 0, false),
    COUNT("fallbacks", fallbacks),
    COUNT("kept_rtn", kept_rtn),
    COUNT("unguarded", unguarded),
};

enum { FIELD_COUNT = sizeof fields / sizeof *fields };

const char *vlmp_result_name(size_t index)
{
    return index < FIELD_COUNT ? fields[index].name : NULL;
}

static const field *find_field(const char *name)
{
    for (size_t i = 0; i < FIELD_COUNT; i++)
        if (strcmp(fields[i].name, name) == 0) return &fields[i];
    return NULL;
}

bool vlmp_result_value(const vlmp_eval_result *result, const char *name, double *out)
{
    const field *f = find_field(name);
    if (f == NULL) return false;
    const char *at = (const char *)result + f->offset;
    if (f->integer) {
        int64_t value;
        memcpy(&value, at, sizeof value);
        *out = value < 0 ? NAN : (double)value;
    } else {
        memcpy(out, at, sizeof *out);
    }
    if (f->metric != 0 && (result->metrics & f->metric) == 0) *out = NAN;
    if (f->reference && result->reference == NULL) *out = NAN;
    return true;
}

/* The names that begin like the unknown one, for the message: "kl.median" shows all of "kl.". */
static void similar_names(char *out, size_t capacity, const char *name)
{
    size_t stem = strcspn(name, ".");
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const char *other = fields[i].name;
        if (stem < 2 || strncmp(other, name, stem < 3 ? stem : 3) != 0) continue;
        size_t length = strlen(other);
        if (used + length + 3 > capacity) break;
        if (used > 0) {
            memcpy(out + used, ", ", 2);
            used += 2;
        }
        memcpy(out + used, other, length + 1);
        used += length;
    }
}

static bool parse_op(const char **at, vlmp_gate_op *op)
{
    static const struct {
        const char *text;
        vlmp_gate_op op;
    } ops[] = {{"<=", VLMP_GATE_LE},
               {">=", VLMP_GATE_GE},
               {"==", VLMP_GATE_EQ},
               {"<", VLMP_GATE_LT},
               {">", VLMP_GATE_GT}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        size_t length = strlen(ops[i].text);
        if (strncmp(*at, ops[i].text, length) != 0) continue;
        *at += length;
        *op = ops[i].op;
        return true;
    }
    return false;
}

int vlmp_gate_parse(vlmp_gate *out, const char *text, vlmp_error *err)
{
    *out = (vlmp_gate){.text = text};
    const char *at = text + strspn(text, " ");
    size_t length = strcspn(at, " <>=!");
    if (length == 0 || length >= sizeof out->name)
        return vlmp_fail(err, VLMP_ERR_USAGE, "--gate '%.100s': write NAME<=NUMBER", text);
    memcpy(out->name, at, length);
    at += length;
    at += strspn(at, " ");
    if (!parse_op(&at, &out->op))
        return vlmp_fail(err, VLMP_ERR_USAGE,
                         "--gate '%.100s': after the name comes one of <=, <, >=, >, ==", text);
    at += strspn(at, " ");
    char *end;
    out->limit = strtod(at, &end);
    if (end == at || !isfinite(out->limit) || end[strspn(end, " ")] != '\0')
        return vlmp_fail(err, VLMP_ERR_USAGE, "--gate '%.100s': '%.40s' is not a number", text, at);
    if (find_field(out->name) != NULL) return VLMP_OK;
    char similar[512], hint[VLMP_HINT_MAX];
    similar_names(similar, sizeof similar, out->name);
    vlmp_nearest_hint(hint, out->name, &fields[0].name, sizeof *fields, FIELD_COUNT);
    if (similar[0] != '\0')
        return vlmp_fail(err, VLMP_ERR_USAGE, "--gate '%.100s': unknown name '%s'%s; there are %s",
                         text, out->name, hint, similar);
    return vlmp_fail(err, VLMP_ERR_USAGE,
                     "--gate '%.100s': unknown name '%s'%s; names are those of --json, as kl.mean, "
                     "bleu.4, ppl_ratio_ci95.hi, speed.decode_tps, memory.weights_bytes",
                     text, out->name, hint);
}

int vlmp_gate_check(const vlmp_gate *gate, unsigned metrics, bool has_reference, vlmp_error *err)
{
    const field *f = find_field(gate->name);
    if (f == NULL) return vlmp_fail(err, VLMP_ERR_USAGE, "--gate: unknown name '%s'", gate->name);
    if (f->reference && !has_reference)
        return vlmp_fail(err, VLMP_ERR_USAGE, "--gate '%.100s': '%s' needs --reference", gate->text,
                         gate->name);
    if (f->metric != 0 && (metrics & f->metric) == 0)
        return vlmp_fail(err, VLMP_ERR_USAGE, "--gate '%.100s': --metrics leaves '%s' out",
                         gate->text, gate->name);
    return VLMP_OK;
}

static bool passes(double value, vlmp_gate_op op, double limit)
{
    switch (op) {
    case VLMP_GATE_LE:
        return value <= limit;
    case VLMP_GATE_LT:
        return value < limit;
    case VLMP_GATE_GE:
        return value >= limit;
    case VLMP_GATE_GT:
        return value > limit;
    case VLMP_GATE_EQ:
        return value == limit;
    }
    return false;
}

int vlmp_gates_judge(vlmp_eval_result *result, const vlmp_gate *gates, size_t count, size_t *failed,
                     vlmp_error *err)
{
    *failed = 0;
    result->gates = vlmp_arena_alloc(&result->arena, count, sizeof *result->gates);
    if (result->gates == NULL) return vlmp_fail_memory(err, "gates");
    result->gate_count = count;
    for (size_t i = 0; i < count; i++) {
        double value = NAN;
        vlmp_result_value(result, gates[i].name, &value);
        /* Comparisons with NAN are false: null fails. */
        bool pass = passes(value, gates[i].op, gates[i].limit);
        result->gates[i] = (vlmp_gate_outcome){gates[i].text, value, pass};
        *failed += !pass;
    }
    return VLMP_OK;
}
