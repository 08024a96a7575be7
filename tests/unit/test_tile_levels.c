/* The quantizers' inner loops give the same bits at every instruction set of this processor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/quant/method/tiles.h"
#include "tests/unit/schemes.h"

enum { COLS = 37, TILE = COLS * VLMP_LANES };

/* Everything that the loops write. */
struct outcome {
    float scale[VLMP_LANES], zero[VLMP_LANES], loss[VLMP_LANES];
    float codes[TILE], values[TILE], settled[TILE], live[TILE], error[TILE], slope[TILE];
    uint8_t bytes[TILE];
    double gain[VLMP_LANES];
    int changes;
};

struct input {
    float x[TILE], weight[COLS], factor[COLS * COLS], h[COLS * COLS], sums[COLS];
};

static void run(struct outcome *o, const vlmp_tile_ops *ops, const vlmp_grid *grid,
                const struct input *in)
{
    memset(o, 0, sizeof *o);
    ops->search(grid, COLS, in->x, in->weight, o->scale, o->zero);
    ops->round(grid, COLS, in->x, o->scale, o->zero, o->codes, o->values);
    ops->settle(2, COLS - 3, in->x, o->values, in->factor, COLS, o->settled);
    memcpy(o->live, in->x, sizeof o->live);
    ops->propagate(grid, 0, COLS - 1, o->live, in->x, in->factor, COLS, in->weight, o->scale,
                   o->zero, o->error, o->bytes, o->loss);
    for (int i = 0; i < TILE; i++)
        o->codes[i] = o->bytes[i];
    ops->spread(COLS, COLS, in->h, COLS, o->error, o->slope);
    o->changes = ops->descend(grid, COLS, in->h, COLS, 0.05f, o->scale, o->error, o->slope,
                              o->codes, o->gain);
    o->changes += ops->refit(grid, COLS, in->h, COLS, in->sums, 0.05f, o->scale, o->zero, o->error,
                             o->slope, o->codes, o->gain);
}

static void fill(struct input *in, vlmp_rng *rng)
{
    for (int i = 0; i < TILE; i++)
        in->x[i] = (float)(vlmp_rng_uniform(rng) * 2 - 1);
    for (int r = 0; r < COLS; r++) {
        in->weight[r] = (float)vlmp_rng_uniform(rng) + 0.1f;
        in->sums[r] = 0;
        for (int c = 0; c < COLS; c++) {
            in->factor[r * COLS + c] = (float)(vlmp_rng_uniform(rng) - 0.5) * 0.1f;
            in->h[r * COLS + c] =
                c < r ? in->h[c * COLS + r] : (float)vlmp_rng_uniform(rng) + (r == c ? COLS : 0.0f);
        }
    }
    for (int c = 0; c < COLS; c++)
        for (int r = 0; r < COLS; r++)
            in->sums[c] += in->h[r * COLS + c];
}

static void levels_agree(void **state)
{
    (void)state;
    static const vlmp_scheme schemes[] = {SCHEME(4, 0, true, false), SCHEME(4, 0, false, false),
                                          SCHEME(8, 0, true, false), SCHEME(8, 1, false, false)};
    const vlmp_tile_ops *levels[] = {
#if defined(__x86_64__)
        __builtin_cpu_supports("avx2") ? &vlmp_tile_avx2 : NULL,
#endif
        vlmp_tile_ops_get()
    };
    vlmp_rng rng = {11};
    vlmp_search search = vlmp_search_defaults();
    static struct input in;
    static struct outcome base, other;
    for (int round = 0; round < 20; round++)
        for (size_t s = 0; s < sizeof schemes / sizeof *schemes; s++) {
            vlmp_quantized q;
            vlmp_grid grid;
            vlmp_quantized_shape(&q, VLMP_LANES, COLS, &schemes[s]);
            vlmp_grid_init(&grid, &q, &search);
            fill(&in, &rng);
            run(&base, &vlmp_tile_base, &grid, &in);
            assert_true(base.changes > 0);
            for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
                if (levels[i] == NULL) continue;
                run(&other, levels[i], &grid, &in);
                assert_memory_equal(&base, &other, sizeof base);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(levels_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
