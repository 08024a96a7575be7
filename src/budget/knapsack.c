#include "src/budget/knapsack.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "src/base/memory.h"

#define UNITS_MAX ((uint64_t)1 << 17)

static uint64_t least_of(const vlmp_option *options, int width)
{
    uint64_t least = VLMP_NO_OPTION;
    for (int o = 0; o < width; o++)
        if (options[o].bytes < least) least = options[o].bytes;
    assert(least != VLMP_NO_OPTION);
    return least;
}

uint64_t vlmp_knapsack_least(const vlmp_option *options, int items, int width)
{
    uint64_t sum = 0;
    for (int i = 0; i < items; i++)
        sum += least_of(options + (size_t)i * (size_t)width, width);
    return sum;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Bytes of a unit, and how many of them lie between the smallest and the largest choice. They
 * depend on the options alone, so that every capacity is counted in the same units. */
static uint64_t unit_of(const vlmp_option *options, int items, int width, uint64_t *units)
{
    uint64_t unit = 0, range = 0;
    for (int i = 0; i < items; i++) {
        const vlmp_option *of = options + (size_t)i * (size_t)width;
        uint64_t least = least_of(of, width), most = 0;
        for (int o = 0; o < width; o++) {
            if (of[o].bytes == VLMP_NO_OPTION) continue;
            uint64_t more = of[o].bytes - least;
            unit = common_divisor(unit, more);
            most = more > most ? more : most;
        }
        range += most;
    }
    if (unit == 0) unit = 1;
    if (range / unit > UNITS_MAX) {
        unit = range / UNITS_MAX + 1;
        range += unit * (uint64_t)items; /* what rounding up adds */
    }
    *units = range / unit;
    return unit;
}

/* damage[units + 1]: least of the items before, within so many units; item becomes one of them. */
static void add_item(const vlmp_option *item, int width, uint64_t unit, size_t units,
                     double *damage, double *next, uint8_t *chosen)
{
    uint64_t least = least_of(item, width);
    for (size_t u = 0; u <= units; u++)
        next[u] = INFINITY;
    for (int o = 0; o < width; o++) {
        if (item[o].bytes == VLMP_NO_OPTION) continue;
        uint64_t more = (item[o].bytes - least + unit - 1) / unit;
        for (size_t u = more; u <= units; u++) {
            double with = damage[u - more] + item[o].damage;
            if (with >= next[u]) continue;
            next[u] = with;
            chosen[u] = (uint8_t)o;
        }
    }
    for (size_t u = 0; u <= units; u++)
        damage[u] = next[u];
}

/* The least damage of an item by itself, in the fewest bytes. */
static int best_of(const vlmp_option *options, int width)
{
    int best = -1;
    for (int o = 0; o < width; o++)
        if (options[o].bytes != VLMP_NO_OPTION &&
            (best < 0 || options[o].damage < options[best].damage ||
             (options[o].damage <= options[best].damage && options[o].bytes < options[best].bytes)))
            best = o;
    return best;
}

static const vlmp_option *item_of(const vlmp_knapsack *k, int item)
{
    return k->options + (size_t)item * (size_t)k->width;
}

int vlmp_knapsack_solve(vlmp_knapsack *out, const vlmp_option *options, int items, int width,
                        vlmp_error *err)
{
    uint64_t units;
    assert(width <= VLMP_OPTIONS_MAX);
    *out = (vlmp_knapsack){.options = options, .items = items, .width = width};
    out->least = vlmp_knapsack_least(options, items, width);
    out->unit = unit_of(options, items, width, &units);
    out->units = (size_t)units;
    for (int i = 0; i < items; i++)
        out->best += item_of(out, i)[best_of(item_of(out, i), width)].bytes;
    size_t row = out->units + 1;
    double *damage = vlmp_calloc(row, sizeof *damage);
    double *next = vlmp_alloc(row, sizeof *next);
    out->of = vlmp_calloc((size_t)items, row);
    bool failed = damage == NULL || next == NULL || out->of == NULL;
    for (int i = 0; i < items && !failed; i++)
        add_item(item_of(out, i), width, out->unit, out->units, damage, next,
                 out->of + (size_t)i * row);
    free(damage);
    free(next);
    return failed ? vlmp_fail_memory(err, "the choice under a budget") : VLMP_OK;
}

void vlmp_knapsack_free(vlmp_knapsack *knapsack)
{
    free(knapsack->of);
    *knapsack = (vlmp_knapsack){0};
}

static size_t units_of(const vlmp_knapsack *k, uint64_t capacity)
{
    assert(capacity >= k->least);
    uint64_t units = (capacity - k->least) / k->unit;
    return units < k->units ? (size_t)units : k->units;
}

void vlmp_knapsack_choose(const vlmp_knapsack *k, uint64_t capacity, int *chosen)
{
    size_t units = units_of(k, capacity);
    for (int i = k->items; i-- > 0;) {
        const vlmp_option *item = item_of(k, i);
        if (capacity >= k->best) {
            chosen[i] = best_of(item, k->width);
            continue;
        }
        chosen[i] = k->of[(size_t)i * (k->units + 1) + units];
        units -=
            (size_t)((item[chosen[i]].bytes - least_of(item, k->width) + k->unit - 1) / k->unit);
    }
}

uint64_t vlmp_knapsack_below(const vlmp_knapsack *k, uint64_t capacity)
{
    if (capacity >= k->best) return k->best > k->least ? k->best - 1 : VLMP_NO_OPTION;
    uint64_t units = units_of(k, capacity);
    return units > 0 ? k->least + k->unit * units - 1 : VLMP_NO_OPTION;
}
