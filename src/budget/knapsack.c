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

/* The least damage of every item by itself, in the fewest bytes. Returns the bytes. */
static uint64_t choose_best(const vlmp_option *options, int items, int width, int *chosen)
{
    uint64_t bytes = 0;
    for (int i = 0; i < items; i++) {
        const vlmp_option *of = options + (size_t)i * (size_t)width;
        int best = -1;
        for (int o = 0; o < width; o++)
            if (of[o].bytes != VLMP_NO_OPTION &&
                (best < 0 || of[o].damage < of[best].damage ||
                 (of[o].damage <= of[best].damage && of[o].bytes < of[best].bytes)))
                best = o;
        chosen[i] = best;
        bytes += of[best].bytes;
    }
    return bytes;
}

int vlmp_knapsack(const vlmp_option *options, int items, int width, uint64_t capacity, int *chosen,
                  vlmp_error *err)
{
    static const char what[] = "the choice under a budget";
    uint64_t least = vlmp_knapsack_least(options, items, width), all;
    assert(width <= VLMP_OPTIONS_MAX && capacity >= least);
    uint64_t unit = unit_of(options, items, width, &all);
    size_t units = (size_t)((capacity - least) / unit < all ? (capacity - least) / unit : all);
    size_t row = units + 1;
    if (choose_best(options, items, width, chosen) <= capacity) return VLMP_OK;
    double *damage = vlmp_calloc(row, sizeof *damage);
    double *next = vlmp_alloc(row, sizeof *next);
    uint8_t *of = vlmp_calloc((size_t)items, row);
    int status =
        damage != NULL && next != NULL && of != NULL ? VLMP_OK : vlmp_fail_memory(err, what);
    for (int i = 0; i < items && status == VLMP_OK; i++)
        add_item(options + (size_t)i * (size_t)width, width, unit, units, damage, next,
                 of + (size_t)i * row);
    assert(status != VLMP_OK || isfinite(damage[units]));
    for (int i = items; i-- > 0 && status == VLMP_OK;) {
        const vlmp_option *item = options + (size_t)i * (size_t)width;
        chosen[i] = of[(size_t)i * row + units];
        units -= (size_t)((item[chosen[i]].bytes - least_of(item, width) + unit - 1) / unit);
    }
    free(damage);
    free(next);
    free(of);
    return status;
}
