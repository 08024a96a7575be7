#include "src/eval/scoring.h"

#include <math.h>
#include <stdlib.h>

#include "src/base/memory.h"

#define CHUNK 32 /* tokens whose logits are held at once */

void vlmp_hidden_free(vlmp_hidden *hidden)
{
    free(hidden->first);
    free(hidden->targets);
    free(hidden->states);
    *hidden = (vlmp_hidden){0};
}

static int allocate(vlmp_hidden *h, const vlmp_sequence *sequences, int count, int dim,
                    vlmp_error *err)
{
    *h = (vlmp_hidden){.samples = count, .dim = dim};
    h->first = vlmp_alloc((size_t)count + 1, sizeof *h->first);
    if (h->first == NULL) return vlmp_fail_memory(err, "hidden states");
    for (int i = 0; i < count; i++) {
        h->first[i] = h->tokens;
        h->tokens += sequences[i].length - sequences[i].answer_from;
    }
    h->first[count] = h->tokens;
    h->targets = vlmp_alloc((size_t)h->tokens, sizeof *h->targets);
    h->states = vlmp_alloc((size_t)h->tokens * (size_t)dim, sizeof *h->states);
    if (h->targets == NULL || h->states == NULL) return vlmp_fail_memory(err, "hidden states");
    return VLMP_OK;
}

static int pick_rows(const vlmp_sweep *sweep, const vlmp_sequence *sequences,
                     const vlmp_activations *x, const vlmp_batches *batches, const float *norm,
                     vlmp_hidden *h, vlmp_error *err)
{
    size_t dim = (size_t)h->dim;
    float *scratch =
        x->memory == NULL ? vlmp_alloc((size_t)batches->max_rows * dim, sizeof *scratch) : NULL;
    if (x->memory == NULL && scratch == NULL) return vlmp_fail_memory(err, "hidden states");
    int status = VLMP_OK;
    for (int b = 0; b < batches->count && status == VLMP_OK; b++) {
        const vlmp_batch *batch = &batches->batches[b];
        float *rows;
        status =
            vlmp_activations_get(x, batch->first_row, (size_t)batch->rows, scratch, &rows, err);
        for (int s = 0; s < batch->segment_count && status == VLMP_OK; s++) {
            const vlmp_sequence *sequence = &sequences[batch->first + s];
            int tokens = sequence->length - sequence->answer_from;
            int at = h->first[batch->first + s];
            /* The row before a token predicts it. */
            const float *from =
                rows + (size_t)(batch->segments[s].first_row + sequence->answer_from - 1) * dim;
            sweep->ctx->ops->rms_norm(sweep->ctx, h->states + (size_t)at * dim, from, tokens,
                                      h->dim, norm, sweep->model->text.shape.norm_eps);
            for (int t = 0; t < tokens; t++)
                h->targets[at + t] = sequence->ids[sequence->answer_from + t];
        }
    }
    free(scratch);
    return status;
}

int vlmp_hidden_collect(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                        vlmp_hidden *out, vlmp_error *err)
{
    vlmp_activations x;
    vlmp_batches batches;
    vlmp_loaded loaded = {0};
    const float *norm;
    int status = allocate(out, sequences, count, sweep->model->text.shape.dim, err);
    if (status != VLMP_OK) return status;
    status = vlmp_sweep_all(sweep, sequences, count, NULL, NULL, &x, &batches, err);
    if (status == VLMP_OK) status = vlmp_load_text_norm(&loaded, sweep->model, &norm, err);
    if (status == VLMP_OK) status = pick_rows(sweep, sequences, &x, &batches, norm, out, err);
    vlmp_unload(&loaded);
    vlmp_activations_free(&x);
    vlmp_batches_free(&batches);
    return status;
}

void vlmp_token_scores_free(vlmp_token_scores *scores)
{
    free(scores->nll);
    free(scores->reference_nll);
    free(scores->kl);
    free(scores->top1);
    *scores = (vlmp_token_scores){0};
}

static int allocate_scores(vlmp_token_scores *s, int tokens, bool reference, vlmp_error *err)
{
    size_t n = (size_t)tokens;
    *s = (vlmp_token_scores){.tokens = tokens, .nll = vlmp_alloc(n, sizeof *s->nll)};
    bool good = s->nll != NULL;
    if (reference) {
        s->reference_nll = vlmp_alloc(n, sizeof *s->reference_nll);
        s->kl = vlmp_alloc(n, sizeof *s->kl);
        s->top1 = vlmp_alloc(n, sizeof *s->top1);
        good = good && s->reference_nll != NULL && s->kl != NULL && s->top1 != NULL;
    }
    return good ? VLMP_OK : vlmp_fail_memory(err, "token scores");
}

static double log_sum_exp(const float *logits, int vocab, int *best)
{
    *best = 0;
    for (int i = 1; i < vocab; i++)
        if (logits[i] > logits[*best]) *best = i;
    double max = (double)logits[*best], sum = 0;
    for (int i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - max);
    return max + log(sum);
}

struct chunk {
    vlmp_token_scores *out;
    const int32_t *targets;
    const float *logits;
    const float *reference; /* NULL: none */
    int first;
    int vocab;
};

static void score_one(void *arg, int task, int thread)
{
    (void)thread;
    const struct chunk *c = arg;
    int token = c->first + task, best, reference_best;
    const float *q = c->logits + (size_t)task * (size_t)c->vocab;
    double lse = log_sum_exp(q, c->vocab, &best);
    c->out->nll[token] = lse - (double)q[c->targets[token]];
    if (c->reference == NULL) return;
    const float *p = c->reference + (size_t)task * (size_t)c->vocab;
    double reference_lse = log_sum_exp(p, c->vocab, &reference_best), kl = 0;
    for (int i = 0; i < c->vocab; i++) {
        double log_p = (double)p[i] - reference_lse, log_q = (double)q[i] - lse;
        kl += exp(log_p) * (log_p - log_q);
    }
    c->out->reference_nll[token] = reference_lse - (double)p[c->targets[token]];
    c->out->kl[token] = kl;
    c->out->top1[token] = best == reference_best;
}

int vlmp_score_tokens(vlmp_ctx *ctx, const vlmp_hidden *hidden, const vlmp_linear *head,
                      const vlmp_hidden *reference, const vlmp_linear *reference_head,
                      vlmp_token_scores *out, vlmp_error *err)
{
    int status = allocate_scores(out, hidden->tokens, reference != NULL, err);
    size_t row = (size_t)head->n * sizeof(float);
    float *logits = vlmp_alloc(CHUNK, row);
    float *reference_logits = reference != NULL ? vlmp_alloc(CHUNK, row) : NULL;
    if (status == VLMP_OK && (logits == NULL || (reference != NULL && reference_logits == NULL)))
        status = vlmp_fail_memory(err, "logits");
    if (status == VLMP_OK) status = vlmp_ctx_reserve(ctx, CHUNK, hidden->dim, err);
    for (int at = 0; at < hidden->tokens && status == VLMP_OK; at += CHUNK) {
        int rows = hidden->tokens - at < CHUNK ? hidden->tokens - at : CHUNK;
        ctx->ops->linear(ctx, logits, hidden->states + (size_t)at * (size_t)hidden->dim, rows,
                         head);
        if (reference != NULL)
            ctx->ops->linear(ctx, reference_logits,
                             reference->states + (size_t)at * (size_t)reference->dim, rows,
                             reference_head);
        struct chunk chunk = {.out = out,
                              .targets = hidden->targets,
                              .logits = logits,
                              .reference = reference_logits,
                              .first = at,
                              .vocab = head->n};
        vlmp_parallel_for(ctx->pool, rows, score_one, &chunk);
    }
    free(logits);
    free(reference_logits);
    if (status != VLMP_OK) vlmp_token_scores_free(out);
    return status;
}
