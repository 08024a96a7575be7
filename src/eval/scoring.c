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

/* What reading hidden states off a batch works with. */
struct picked {
    vlmp_f32 x;      /* [max rows][dim] */
    vlmp_act normed; /* [max rows][dim] */
    vlmp_vector norm;
};

/* The answers of one sequence, whose rows of x begin at `first`; normed those that are scored. */
static int pick_answers(const vlmp_sweep *sweep, const vlmp_sequence *sequence,
                        const struct picked *p, int first, vlmp_hidden *h, int at, vlmp_error *err)
{
    vlmp_ctx *ctx = sweep->ctx;
    for (int a = 0; a < sequence->answer_count; a++) {
        vlmp_span answer = sequence->answers[a];
        int tokens = answer.end - answer.from;
        /* The row before a token predicts it. */
        vlmp_f32 from = vlmp_f32_at(p->x, (size_t)(first + answer.from - 1) * (size_t)h->dim);
        ctx->ops->rms_norm(ctx, p->normed, from, tokens, h->dim, p->norm.own,
                           sweep->model->text.shape.norm_eps);
        VLMP_TRY(vlmp_activations_download_act(&h->states, (size_t)at, (size_t)tokens, ctx,
                                               p->normed, err));
        memcpy(h->targets + at, sequence->ids + answer.from, (size_t)tokens * sizeof *h->targets);
        at += tokens;
    }
    return VLMP_OK;
}

static int pick_batch(const vlmp_sweep *sweep, const vlmp_sequence *sequences,
                      const vlmp_batch *batch, const struct picked *p, vlmp_hidden *h,
                      vlmp_error *err)
{
    for (int s = 0; s < batch->segment_count; s++) {
        int index = batch->first + s;
        const vlmp_sequence *sequence;
        vlmp_sequence held;
        VLMP_TRY(vlmp_sweep_sequence(sweep, sequences, index, false, &held, &sequence, err));
        int status =
            pick_answers(sweep, sequence, p, batch->segments[s].first_row, h, h->first[index], err);
        vlmp_sequence_free(&held);
        VLMP_TRY(status);
    }
    return VLMP_OK;
}

static int pick_rows(const vlmp_sweep *sweep, const vlmp_sequence *sequences, vlmp_activations *x,
                     const vlmp_batches *batches, vlmp_hidden *h, vlmp_error *err)
{
    static const char what[] = "hidden states";
    vlmp_ctx *ctx = sweep->ctx;
    size_t rows = (size_t)batches->max_rows, dim = (size_t)h->dim;
    struct picked p = {0};
    vlmp_loaded loaded = {.ctx = ctx};
    int status = vlmp_load_text_norm(&loaded, sweep->model, &p.norm, err);
    if (status == VLMP_OK) status = vlmp_ctx_alloc(ctx, &p.x, rows, dim * sizeof(float), what, err);
    if (status == VLMP_OK)
        status = vlmp_ctx_alloc(ctx, &p.normed, rows, dim * ctx->ops->act_bytes, what, err);
    for (int b = 0; b < batches->count && status == VLMP_OK; b++) {
        const vlmp_batch *batch = &batches->batches[b];
        status = vlmp_activations_upload(x, batch->first_row, (size_t)batch->rows, ctx, p.x, err);
        if (status == VLMP_OK) status = pick_batch(sweep, sequences, batch, &p, h, err);
    }
    vlmp_ctx_free_memory(ctx, p.x.at);
    vlmp_ctx_free_memory(ctx, p.normed.at);
    vlmp_unload(&loaded);
    return status;
}

int vlmp_hidden_take(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                     vlmp_activations *x, const vlmp_batches *batches, vlmp_hidden *out,
                     vlmp_error *err)
{
    VLMP_TRY(allocate(out, sweep, sequences, count, err));
    return pick_rows(sweep, sequences, x, batches, out, err);
}

int vlmp_hidden_collect(const vlmp_sweep *sweep, const vlmp_sequence *sequences, int count,
                        vlmp_hidden *out, vlmp_error *err)
{
    vlmp_activations x;
    vlmp_batches batches;
    int status = allocate(out, sweep, sequences, count, err);
    if (status != VLMP_OK) return status;
    status = vlmp_sweep_all(sweep, sequences, count, NULL, NULL, &x, &batches, err);
    if (status == VLMP_OK) status = pick_rows(sweep, sequences, &x, &batches, out, err);
    vlmp_activations_free(&x);
    vlmp_batches_free(&batches);
    return status;
}

/* A model's side of scoring, in the context's memory. */
struct side {
    vlmp_linear head;  /* prepared */
    vlmp_act states;   /* [CHUNK][dim] */
    vlmp_f32 logits;   /* [CHUNK][vocabulary] */
    vlmp_hidden *from; /* NULL: there is no such model */
};

static void free_side(vlmp_ctx *ctx, struct side *side)
{
    if (side->head.own != NULL) ctx->ops->release(ctx, side->head.own);
    vlmp_ctx_free_memory(ctx, side->states.at);
    vlmp_ctx_free_memory(ctx, side->logits.at);
}

static int create_side(vlmp_ctx *ctx, struct side *side, const vlmp_scored *scored, vlmp_error *err)
{
    size_t n = (size_t)scored->head->n, dim = (size_t)scored->hidden->dim;
    side->from = scored->hidden;
    side->head = *scored->head;
    side->head.own = NULL;
    VLMP_TRY(ctx->ops->prepare(ctx, &side->head, err));
    VLMP_TRY(vlmp_ctx_alloc(ctx, &side->logits, CHUNK, n * sizeof(float), "logits", err));
    return vlmp_ctx_alloc(ctx, &side->states, CHUNK, dim * ctx->ops->act_bytes, "logits", err);
}

/* Logits of tokens from `at` on. */
static int compute_logits(vlmp_ctx *ctx, const struct side *side, int at, int rows, vlmp_error *err)
{
    if (side->from == NULL) return VLMP_OK;
    VLMP_TRY(vlmp_activations_upload_act(&side->from->states, (size_t)at, (size_t)rows, ctx,
                                         side->states, err));
    ctx->ops->linear_f32(ctx, side->logits, side->states, (vlmp_rows){rows, false}, &side->head,
                         false);
    return VLMP_OK;
}

/* Tokens from `at` on; a new sample begins where `first` says so. */
static int append(vlmp_token_scores *out, const vlmp_hidden *hidden,
                  const vlmp_token_measure *measures, int at, int rows, int *sample,
                  vlmp_error *err)
{
    for (int i = 0; i < rows; i++) {
        for (; *sample < hidden->samples && hidden->first[*sample] <= at + i; (*sample)++)
            VLMP_TRY(vlmp_scores_sample(out, err));
        const vlmp_token_measure *s = &measures[i];
        float bad = s->bad != 0 ? s->bad : s->reference_bad;
        if (bad != 0)
            return vlmp_fail(
                err, VLMP_ERR_INPUT,
                "text.head%s gives %s for sample %d of %d; the weights are damaged, or "
                "what they compute exceeds F32",
                s->bad != 0 ? "" : " of the reference",
                isnan(bad) ? "infinity (and from it NaN)" : "infinity", *sample, hidden->samples);
        bool top1 = out->has_reference && s->best == s->reference_best;
        VLMP_TRY(vlmp_scores_token(out, s->nll, s->reference_nll, s->kl, top1, err));
    }
    return VLMP_OK;
}

/* Both models' sides, the tokens they are measured on, and what comes out. */
struct scoring {
    struct side model, reference;
    vlmp_i32 targets;      /* [CHUNK] */
    vlmp_measures results; /* [CHUNK] */
};

static int score_chunk(vlmp_ctx *ctx, const struct scoring *s, int vocab, int at, int rows,
                       vlmp_token_measure *out, vlmp_error *err)
{
    VLMP_TRY(compute_logits(ctx, &s->model, at, rows, err));
    VLMP_TRY(compute_logits(ctx, &s->reference, at, rows, err));
    vlmp_ctx_write(ctx, s->targets.at, s->model.from->targets + at, (size_t)rows * sizeof(int32_t));
    ctx->ops->measure(ctx, s->results, s->model.logits, (size_t)s->model.head.n,
                      s->reference.logits, (size_t)s->reference.head.n, vocab, s->targets, rows);
    return vlmp_ctx_read(ctx, out, s->results.at, (size_t)rows * sizeof *out, err);
}

int vlmp_score_tokens(vlmp_ctx *ctx, const vlmp_scored *model, const vlmp_scored *reference,
                      int vocab, vlmp_token_scores *out, vlmp_error *err)
{
    const vlmp_hidden *hidden = model->hidden;
    struct scoring s = {0};
    vlmp_token_measure measures[CHUNK];
    int sample = 0, status = create_side(ctx, &s.model, model, err);
    out->has_reference = reference != NULL;
    if (status == VLMP_OK && reference != NULL)
        status = create_side(ctx, &s.reference, reference, err);
    if (status == VLMP_OK)
        status = vlmp_ctx_alloc(ctx, &s.targets, CHUNK, sizeof(int32_t), "logits", err);
    if (status == VLMP_OK)
        status = vlmp_ctx_alloc(ctx, &s.results, CHUNK, sizeof *measures, "logits", err);
    if (status == VLMP_OK) status = vlmp_ctx_reserve(ctx, CHUNK, hidden->dim, err);
    for (int at = 0; at < hidden->tokens && status == VLMP_OK; at += CHUNK) {
        int rows = hidden->tokens - at < CHUNK ? hidden->tokens - at : CHUNK;
        status = score_chunk(ctx, &s, vocab, at, rows, measures, err);
        if (status == VLMP_OK) status = append(out, hidden, measures, at, rows, &sample, err);
    }
    free_side(ctx, &s.model);
    free_side(ctx, &s.reference);
    vlmp_ctx_free_memory(ctx, s.targets.at);
    vlmp_ctx_free_memory(ctx, s.results.at);
    return status;
}
