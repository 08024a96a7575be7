/* Gram matrices and general products on a fixed grid of BLAS calls. */
#include "kernels/blas.h"
#include "kernels/cpu/bf16.h"

enum { GRAM_TILE = 256, GRAM_ROWS = 512, GEMM_TILE = 256 };

struct gram {
    const vlmp_cpu_ctx *cpu;
    float *gram;
    const float *x;
    int rows;
    int k;
};

/* Tile `task` of the lower triangle, row by row: (0,0), (1,0), (1,1), (2,0) … */
static void gram_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct gram *g = arg;
    int i = 0;
    while (task > i)
        task -= ++i;
    int row0 = i * GRAM_TILE;
    int column0 = task * GRAM_TILE;
    int m = vlmp_smaller(GRAM_TILE, g->k - row0);
    int n = vlmp_smaller(GRAM_TILE, g->k - column0);
    size_t width = (size_t)g->k;
    float *out = g->gram + (size_t)row0 * width + (size_t)column0;
    for (int first = 0; first < g->rows; first += GRAM_ROWS) {
        int depth = vlmp_smaller(GRAM_ROWS, g->rows - first);
        const float *x = g->x + (size_t)first * width;
        if (row0 == column0)
            vlmp_ssyrk(g->cpu->blas, m, depth, x + row0, g->k, 1, out, g->k);
        else
            vlmp_sgemm(g->cpu->blas, true, false, m, n, depth, 1, x + row0, g->k, x + column0, g->k,
                       1, out, g->k);
    }
}

void vlmp_cpu_gram(vlmp_ctx *ctx, vlmp_f32 gram, vlmp_act x, int rows, int k)
{
    if (vlmp_cpu_of(ctx)->bf16 != NULL) {
        vlmp_bf16_moments(vlmp_cpu_of(ctx), gram.at, x.at, x.at, rows, k, true);
        return;
    }
    struct gram g = {vlmp_cpu_of(ctx), gram.at, x.at, rows, k};
    int tiles = vlmp_ceil_div(k, GRAM_TILE);
    vlmp_parallel_for(ctx->pool, tiles * (tiles + 1) / 2, gram_task, &g);
}

struct gemm {
    const vlmp_cpu_ctx *cpu;
    bool trans_a, trans_b;
    int m, n, k;
    float alpha;
    const float *a;
    int lda;
    const float *b;
    int ldb;
    float beta;
    float *c;
    int ldc;
};

static void gemm_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct gemm *g = arg;
    int columns = vlmp_ceil_div(g->n, GEMM_TILE);
    size_t i = (size_t)(task / columns) * GEMM_TILE;
    size_t j = (size_t)(task % columns) * GEMM_TILE;
    const float *a = g->a + (g->trans_a ? i : i * (size_t)g->lda);
    const float *b = g->b + (g->trans_b ? j * (size_t)g->ldb : j);
    vlmp_sgemm(g->cpu->blas, g->trans_a, g->trans_b, vlmp_smaller(GEMM_TILE, g->m - (int)i),
               vlmp_smaller(GEMM_TILE, g->n - (int)j), g->k, g->alpha, a, g->lda, b, g->ldb,
               g->beta, g->c + i * (size_t)g->ldc + j, g->ldc);
}

void vlmp_cpu_gemm(vlmp_ctx *ctx, bool trans_a, bool trans_b, int m, int n, int k, float alpha,
                   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
    struct gemm g = {
        vlmp_cpu_of(ctx), trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc};
    vlmp_parallel_for(ctx->pool, vlmp_ceil_div(m, GEMM_TILE) * vlmp_ceil_div(n, GEMM_TILE),
                      gemm_task, &g);
}

void vlmp_cpu_cross(vlmp_ctx *ctx, vlmp_f32 c, vlmp_act a, vlmp_act b, int rows, int k)
{
    if (vlmp_cpu_of(ctx)->bf16 != NULL)
        vlmp_bf16_moments(vlmp_cpu_of(ctx), c.at, a.at, b.at, rows, k, false);
    else
        vlmp_cpu_gemm(ctx, true, false, k, k, rows, 1, a.at, k, b.at, k, 1, c.at, k);
}
