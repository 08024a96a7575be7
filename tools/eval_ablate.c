#include "tools/eval_ablate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/packed.h"
#include "formats/weight_sizes.h"
#include "src/base/table.h"
#include "src/budget/mixed_source.h"
#include "tools/eval_provenance.h"

/* The quantized model with one part from elsewhere, or the other way round. */
struct ablation {
    const vlmp_eval_job *job;
    vlmp_engine *engine; /* with the packed file open */
    const vlmp_source *original;
    vlmp_reader reader;
    int vocab;
    vlmp_component part;
    bool alone; /* the part alone is quantized; else all but it */
};

typedef struct {
    double kl, ppl_ratio;
} cost;

static const vlmp_source *route(void *arg, const char *name)
{
    const struct ablation *a = arg;
    bool of_part = vlmp_component_of(name) == a->part;
    return of_part == a->alone ? a->engine->source : a->original;
}

/* Mean KL divergence, and perplexity over the reference's. */
static cost cost_of(const vlmp_token_scores *scores)
{
    double kl = 0, nll = 0;
    for (size_t i = 0; i < scores->tokens; i++) {
        kl += scores->kl[i];
        nll += scores->nll[i] - scores->reference_nll[i];
    }
    double tokens = scores->tokens > 0 ? (double)scores->tokens : NAN;
    return (cost){kl / tokens, exp(nll / tokens)};
}

static int score_engine(const struct ablation *a, vlmp_engine *engine, cost *out, vlmp_error *err)
{
    vlmp_token_scores scores = {0};
    int status = vlmp_eval_score(a->job, engine, &a->reader, a->vocab, &scores, err);
    *out = cost_of(&scores);
    vlmp_scores_free(&scores);
    return status;
}

static int score_mixed(struct ablation *a, vlmp_component part, bool alone, cost *out,
                       vlmp_error *err)
{
    vlmp_mixed_source source;
    vlmp_engine mixed = *a->engine;
    a->part = part;
    a->alone = alone;
    vlmp_mixed_source_init(&source, a->engine->source, route, a);
    mixed.source = &source.base;
    mixed.model.source = &source.base;
    return score_engine(a, &mixed, out, err);
}

struct row {
    const char *name;
    double bits;
    cost alone, without;
};

static void print_table(const char *path, const struct row *rows, int count, vlmp_buffer *out)
{
    enum { COLUMNS = 6 };
    vlmp_column columns[COLUMNS] = {{.header = "component"},
                                    {.header = "bits/weight", .right = true},
                                    {.header = "KL alone", .right = true},
                                    {.header = "ppl ratio", .right = true},
                                    {.header = "KL without", .right = true},
                                    {.header = "ppl ratio", .right = true}};
    char text[VLMP_COMPONENTS + 1][COLUMNS][24];
    const char *cells[(VLMP_COMPONENTS + 1) * COLUMNS];
    for (int i = 0; i < count; i++) {
        const struct row *r = &rows[i];
        snprintf(text[i][1], 24, "%.3f", r->bits);
        snprintf(text[i][2], 24, "%.3e", r->alone.kl);
        snprintf(text[i][3], 24, "%.5f", r->alone.ppl_ratio);
        snprintf(text[i][4], 24, i + 1 < count ? "%.3e" : "-", r->without.kl);
        snprintf(text[i][5], 24, i + 1 < count ? "%.5f" : "-", r->without.ppl_ratio);
        cells[i * COLUMNS] = r->name;
        for (int c = 1; c < COLUMNS; c++)
            cells[i * COLUMNS + c] = text[i][c];
    }
    vlmp_buffer_printf(out,
                       "%s: alone: the original with this component as the file has it; "
                       "without: the file with the original's\n",
                       path);
    vlmp_table_print(out, columns, COLUMNS, cells, (size_t)count);
}

static void write_cost(vlmp_json_writer *w, const char *key, const cost *c)
{
    vlmp_json_pair_open(w, key, '{');
    vlmp_json_pair_double(w, "kl", c->kl);
    vlmp_json_pair_double(w, "ppl_ratio", c->ppl_ratio);
    vlmp_json_close(w, '}');
}

static void write_document(const char *path, const struct row *rows, int count, vlmp_buffer *out)
{
    vlmp_json_writer w = {.indent = 1};
    vlmp_json_open(&w, '{');
    vlmp_json_pair_int(&w, "schema", 1);
    vlmp_json_pair_string(&w, "model", path);
    vlmp_json_pair_open(&w, "components", '[');
    for (int i = 0; i + 1 < count; i++) {
        vlmp_json_open(&w, '{');
        vlmp_json_pair_string(&w, "component", rows[i].name);
        vlmp_json_pair_double(&w, "bits_per_weight", rows[i].bits);
        write_cost(&w, "alone", &rows[i].alone);
        write_cost(&w, "without", &rows[i].without);
        vlmp_json_close(&w, '}');
    }
    vlmp_json_close(&w, ']');
    write_cost(&w, "all", &rows[count - 1].alone);
    vlmp_json_close(&w, '}');
    vlmp_buffer_text(&w.out, "\n");
    *out = w.out;
}

/* Components that have something quantized, then the whole file. */
static int measure(struct ablation *a, struct row *rows, int *count, vlmp_error *err)
{
    vlmp_weight_sizes sizes;
    vlmp_weight_sizes_of(a->engine->source, &sizes);
    for (int p = 0; p < VLMP_COMPONENTS; p++) {
        const vlmp_weight_size *size = &sizes.parts[p];
        if (size->quantized_weights == 0) continue;
        struct row *r = &rows[(*count)++];
        *r = (struct row){.name = vlmp_component_name((vlmp_component)p),
                          .bits = vlmp_bits_per_weight(size->bytes, size->weights)};
        VLMP_TRY(score_mixed(a, (vlmp_component)p, true, &r->alone, err));
        VLMP_TRY(score_mixed(a, (vlmp_component)p, false, &r->without, err));
    }
    struct row *all = &rows[(*count)++];
    *all = (struct row){.name = "all",
                        .bits = vlmp_bits_per_weight(sizes.total.bytes, sizes.total.weights)};
    return score_engine(a, a->engine, &all->alone, err);
}

static int ablate(struct ablation *a, vlmp_error *err)
{
    struct row rows[VLMP_COMPONENTS + 1];
    vlmp_buffer out = {0};
    vlmp_side side;
    vlmp_eval_result result;
    int count = 0;
    vlmp_side_of(&side, &a->reader);
    VLMP_TRY(vlmp_side_check(&side, a->job->path, &a->job->reference->side,
                             a->job->reference->where, &a->vocab, err));
    vlmp_result_init(&result);
    int status = vlmp_eval_provenance(a->job, a->engine->source, &result, err);
    vlmp_result_free(&result);
    if (status == VLMP_OK) status = measure(a, rows, &count, err);
    if (status != VLMP_OK) return status;
    (a->job->args->json ? write_document : print_table)(a->job->path, rows, count, &out);
    if (out.failed)
        status = vlmp_fail_memory(err, "the table of components");
    else
        fwrite(out.data, 1, out.length, stdout);
    vlmp_buffer_free(&out);
    return status;
}

int vlmp_eval_ablate(const vlmp_eval_job *job, vlmp_engine *engine, const char *original,
                     vlmp_error *err)
{
    struct ablation a = {.job = job, .engine = engine};
    vlmp_source *source = NULL;
    VLMP_TRY(vlmp_engine_open(engine, job->path, err));
    if (strcmp(engine->source->kind, "packed") != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: nothing of it is quantized; --ablate is of packed files", job->path);
    int status = vlmp_opener_open(&engine->opener, &source, original, err);
    if (status == VLMP_OK) status = vlmp_reader_open(&a.reader, &engine->model, err);
    a.reader.date = job->data->date;
    a.original = source;
    if (status == VLMP_OK) status = ablate(&a, err);
    vlmp_reader_close(&a.reader);
    if (source != NULL) vlmp_opener_close(&engine->opener, source);
    vlmp_engine_close(engine);
    return status;
}
