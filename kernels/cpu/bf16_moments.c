/* Gram matrices and their like, of rows rounded to BF16. */
#include <assert.h>

#include "kernels/cpu/bf16.h"

/* Panels of a task's outputs, each way. */
enum { PANEL = VLMP_BF16_PANEL, TILE = 4 };

struct moments {
    const vlmp_bf16_kernels *kernels;
    float *c;
    const float *a, *b;
    uint32_t *a_panels, *b_panels; /* [panels][pairs][PANEL]; the same where a is b */
    int rows, k, panels;
    bool lower;
};

static int pairs_of(const struct moments *m)
{
    return vlmp_ceil_div(m->rows, 2);
}

static uint32_t *panel_at(const struct moments *m, uint32_t *panels, int panel)
{
    return panels + (size_t)panel * (size_t)pairs_of(m) * PANEL;
}

static int columns_of(const struct moments *m, int panel)
{
    return vlmp_smaller(PANEL, m->k - panel * PANEL);
}

static void pair_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct moments *m = arg;
    bool second = task >= m->panels;
    int panel = task % m->panels;
    m->kernels->pair_panel(panel_at(m, second ? m->b_panels : m->a_panels, panel),
                           (second ? m->b : m->a) + (size_t)panel * PANEL, (size_t)m->k, m->rows,
                           columns_of(m, panel));
}

static void add_task(void *arg, int task, int thread)
{
    (void)thread;
    const struct moments *m = arg;
    int tiles = vlmp_ceil_div(m->panels, TILE);
    size_t width = (size_t)m->k;
    int i0 = task / tiles * TILE, i1 = vlmp_smaller(i0 + TILE, m->panels);
    int j0 = task % tiles * TILE, j1 = vlmp_smaller(j0 + TILE, m->panels);
    for (int p = 0; p < pairs_of(m); p += VLMP_BF16_DEPTH) {
        int depth = vlmp_smaller(VLMP_BF16_DEPTH, pairs_of(m) - p);
        for (int j = j0; j < j1; j++)
            for (int i = m->lower && i0 < j ? j : i0; i < i1; i++)
                m->kernels->add_block(m->c + (size_t)i * PANEL * width + (size_t)j * PANEL, width,
                                      panel_at(m, m->a_panels, i) + (size_t)p * PANEL,
                                      panel_at(m, m->b_panels, j) + (size_t)p * PANEL, depth,
                                      columns_of(m, i), columns_of(m, j), m->lower && i == j);
    }
}

/* In passes of as many rows as the scratch holds. Passes change no bit: sums are added to one after
 * another, in registers or not. */
void vlmp_bf16_moments(vlmp_cpu_ctx *cpu, float *c, const float *a, const float *b, int rows, int k,
                       bool lower)
{
    int panels = vlmp_ceil_div(k, PANEL), operands = a == b ? 1 : 2;
    int tiles = vlmp_ceil_div(panels, TILE);
    size_t pair_bytes = (size_t)panels * PANEL * sizeof(uint32_t) * (size_t)operands;
    size_t fit = cpu->scratch_bytes / pair_bytes * 2;
    assert(fit > 0);
    int most = fit < (size_t)rows ? (int)fit : rows;
    uint32_t *scratch = (uint32_t *)(void *)cpu->scratch;
    for (int row = 0; row < rows; row += most) {
        size_t at = (size_t)row * (size_t)k;
        struct moments m = {.kernels = cpu->bf16,
                            .c = c,
                            .a = a + at,
                            .b = b + at,
                            .a_panels = scratch,
                            .b_panels = scratch,
                            .rows = vlmp_smaller(most, rows - row),
                            .k = k,
                            .panels = panels,
                            .lower = lower};
        if (operands == 2) m.b_panels += panel_at(&m, scratch, panels) - scratch;
        vlmp_parallel_for(cpu->ctx.pool, panels * operands, pair_task, &m);
        vlmp_parallel_for(cpu->ctx.pool, tiles * tiles, add_task, &m);
    }
}
