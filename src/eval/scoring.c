#include "src/eval/scoring.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/store/finite.h"

#define CHUNK 32 /* tokens whose logits are held at once */

void vlmp_hidden_free(vlmp_hidden *hidden)
{
    free(hidden->first);
    free(hidden->targets);
    vlmp_activations_free(&hidden->states);
    *hidden = (vlmp_hidden){.states.fd = -1};
}

static int allocate(vlmp_hidden *h, const vlmp_sweep *sweep, const vlmp_sequence *sequences,
                    int count, vlmp_error *err)
{
    int dim = sweep->model->text.shape.dim;
    *h = (vlmp_hidden){.samples = count, .dim = dim, .states.fd = -1};
    h->first = vlmp_alloc((size_t)count + 1, sizeof *h->first);
    if (h->first == NULL) return vlmp_fail_memory(err, "hidden states");
    for (int i = 0; i < count; i++) {
        h->first[i] = h->tokens;
        if (__builtin_add_overflow(h->tokens, vlmp_sequence_answer_tokens(&sequences[i]),
                                   &h->tokens))
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "more than %d answer tokens to score; take fewer samples", INT_MAX);
    }
    h->first[count] = h->tokens;
    h->targets = vlmp_alloc((size_t)h->tokens, sizeof *h->targets);
    if (h->targets == NULL) return vlmp_fail_memory(err, "hidden states");
    return vlmp_activations_create(&h->states, (size_t)h->tokens, dim, sweep->memory_limit,
                                   sweep->work_folder, err);
}

/* The answers of one sequence: rows are its own, normed those that are scored. */
static int pick_answers(const vlmp_sweep *sweep, const vlmp_sequence *sequence, const float *rows,
                        const float *norm, float *normed, vlmp_hidden *h, int at, vlmp_error *err)
{
    for (int a = 0; a < sequence->answer_count; a++) {
        vlmp_span answer = sequence->answers[a];
        int tokens = answer.end - answer.from;
        /* The row before a token predicts it. */
        const float *from = rows + (size_t)(answer.from - 1) * (size_t)h->dim;
        sweep->ctx->ops->rms_norm(sweep->ctx, normed, from, tokens, h->dim, norm,
                                  sweep->model->text.shape.norm_eps);
        VLMP_TRY(vlmp_activations_put(&h->states, (size_t)at, (size_t)tokens, normed, err));
        memcpy(h->targets + at, sequence->ids + answer.from, (size_t)tokens * sizeof *h->targets);
        at += tokens;
    }
    return VLMP_OK;
}

static int pick_rows(const vlmp_sweep *sweep, const vlmp_sequence *sequences,
                     const vlmp_activations *x, const vlmp_batches *batches, const float *norm,
                     vlmp_hidden *h, vlmp_error *err)
{
    size_t dim = (size_t)h->dim;
    float *scratch = vlmp_alloc((size_t)batches->max_rows * dim, sizeof *scratch);
    float *normed = vlmp_alloc((size_t)batches->max_rows * dim, sizeof *normed);
    int status =
        scratch != NULL && normed != NULL ? VLMP_OK : vlmp_fail_memory(err, "hidden states");
    for (int b = 0; b < batches->count && status == VLMP_OK; b++) {
        const vlmp_batch *batch = &batches->batches[b];
        float *rows;
        status =
            vlmp_activations_get(x, batch->first_row, (size_t)batch->rows, scratch, &rows, err);
        for (int s = 0; s < batch->segment_count && status == VLMP_OK; s++) {
            int index = batch->first + s;
            const vlmp_sequence *sequence;
            vlmp_sequence held;
            status = vlmp_sweep_sequence(sweep, sequences, index, false, &held, &sequence, err);
            if (status == VLMP_OK)
                status =
                    pick_answers(sweep, sequence, rows + (size_t)batch->segments[s].first_row * dim,
                                 norm, normed, h, h->first[index], err);
            vlmp_sequence_free(&held);
        }
    }
    free(scratch);
    free(normed);
    return status;
}

int vlmp_hidden_collect(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                        vlmp_hidden *out, vlmp_error *err)
{
    vlmp_activations x;
    vlmp_batches batches;
    vlmp_loaded loaded = {0};
    const float *norm;
    int status = allocate(out, sweep, sequences, count, err);
    if (status != VLMP_OK) return status;
    status = vlmp_sweep_all(sweep, sequences, count, NULL, NULL, &x, &batches, err);
    if (status == VLMP_OK) status = vlmp_load_text_norm(&loaded, sweep->model, &norm, err);
    if (status == VLMP_OK) status = pick_rows(sweep, sequences, &x, &batches, norm, out, err);
    vlmp_unload(&loaded);
    vlmp_activations_free(&x);
    vlmp_batches_free(&batches);
    return status;
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

struct token_score {
    double nll, reference_nll, kl;
    float bad, reference_bad; /* a logit that is NaN or infinite; else 0 */
    bool top1;
};

struct chunk {
    struct token_score scores[CHUNK];
    const int32_t *targets; /* of the chunk's tokens */
    const float *logits;
    const float *reference;          /* NULL: none */
    size_t stride, reference_stride; /* logits a token */
    int vocab;                       /* of them that count */
};

static float not_finite(const float *logits, int vocab)
{
    size_t at = vlmp_first_not_finite(logits, (size_t)vocab);
    return at < (size_t)vocab ? logits[at] : 0;
}

static void score_one(void *arg, int task, int thread)
{
    (void)thread;
    struct chunk *c = arg;
    struct token_score *score = &c->scores[task];
    int best, reference_best;
    const float *q = c->logits + (size_t)task * c->stride;
    double lse = log_sum_exp(q, c->vocab, &best);
    *score = (struct token_score){.nll = lse - (double)q[c->targets[task]],
                                  .bad = not_finite(q, c->vocab)};
    if (c->reference == NULL) return;
    const float *p = c->reference + (size_t)task * c->reference_stride;
    double reference_lse = log_sum_exp(p, c->vocab, &reference_best);
    score->reference_bad = not_finite(p, c->vocab);
    for (int i = 0; i < c->vocab; i++) {
        double log_p = (double)p[i] - reference_lse, log_q = (double)q[i] - lse;
        score->kl += exp(log_p) * (log_p - log_q);
    }
    score->reference_nll = reference_lse - (double)p[c->targets[task]];
    score->top1 = best == reference_best;
}

/* Tokens from `at` on; a new sample begins where `first` says so. */
static int append(vlmp_token_scores *out, const vlmp_hidden *hidden, const struct chunk *chunk,
                  int at, int rows, int *sample, vlmp_error *err)
{
    for (int i = 0; i < rows; i++) {
        for (; *sample < hidden->samples && hidden->first[*sample] <= at + i; (*sample)++)
            VLMP_TRY(vlmp_scores_sample(out, err));
        const struct token_score *s = &chunk->scores[i];
        float bad = s->bad != 0 ? s->bad : s->reference_bad;
        if (bad != 0)
            return vlmp_fail(
                err, VLMP_ERR_INPUT,
                "text.head%s gives %s for sample %d of %d; the weights are damaged, or "
                "what they compute exceeds F32",
                s->bad != 0 ? "" : " of the reference",
                isnan(bad) ? "infinity (and from it NaN)" : "infinity", *sample, hidden->samples);
        VLMP_TRY(vlmp_scores_token(out, s->nll, s->reference_nll, s->kl, s->top1, err));
    }
    return VLMP_OK;
}

int vlmp_score_tokens(vlmp_ctx *ctx, const vlmp_scored *model, const vlmp_scored *reference,
                      int vocab, vlmp_token_scores *out, vlmp_error *err)
{
    const vlmp_hidden *hidden = model->hidden;
    struct chunk chunk = {.stride = (size_t)model->head->n, .vocab = vocab};
    if (reference != NULL) chunk.reference_stride = (size_t)reference->head->n;
    float *logits = vlmp_alloc(CHUNK * chunk.stride, sizeof *logits), *states;
    float *reference_logits =
        reference != NULL ? vlmp_alloc(CHUNK * chunk.reference_stride, sizeof *logits) : NULL;
    float *scratch = vlmp_alloc(CHUNK, (size_t)hidden->dim * sizeof *scratch);
    int status = VLMP_OK, sample = 0;
    out->has_reference = reference != NULL;
    if (logits == NULL || scratch == NULL || (reference != NULL && reference_logits == NULL))
        status = vlmp_fail_memory(err, "logits");
    if (status == VLMP_OK) status = vlmp_ctx_reserve(ctx, CHUNK, hidden->dim, err);
    chunk.logits = logits;
    chunk.reference = reference_logits;
    for (int at = 0; at < hidden->tokens && status == VLMP_OK; at += CHUNK) {
        int rows = hidden->tokens - at < CHUNK ? hidden->tokens - at : CHUNK;
        status =
            vlmp_activations_get(&hidden->states, (size_t)at, (size_t)rows, scratch, &states, err);
        if (status != VLMP_OK) break;
        ctx->ops->linear(ctx, logits, states, rows, model->head);
        if (reference != NULL)
            status = vlmp_activations_get(&reference->hidden->states, (size_t)at, (size_t)rows,
                                          scratch, &states, err);
        if (status != VLMP_OK) break;
        if (reference != NULL)
            ctx->ops->linear(ctx, reference_logits, states, rows, reference->head);
        chunk.targets = hidden->targets + at;
        vlmp_parallel_for(ctx->pool, rows, score_one, &chunk);
        status = append(out, hidden, &chunk, at, rows, &sample, err);
    }
    free(logits);
    free(scratch);
    free(reference_logits);
    return status;
}
