/* The choice of one option for each item that does least damage within so many bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

typedef struct {
    uint64_t bytes; /* VLMP_NO_OPTION: the item does not have it */
    double damage;  /* at least 0; the largest of each item add up to something finite */
} vlmp_option;

#define VLMP_NO_OPTION   UINT64_MAX
#define VLMP_OPTIONS_MAX 32

/* Bytes of the smallest option of each item, summed. options [items][width]; every item has one. */
uint64_t vlmp_knapsack_least(const vlmp_option *options, int items, int width);

/* Every choice there is, solved at once. */
typedef struct {
    const vlmp_option *options; /* the caller's, [items][width] */
    int items, width;
    uint64_t least; /* bytes */
    uint64_t unit;  /* bytes that are told apart */
    size_t units;   /* between the smallest and the largest choice, and what rounding adds */
    uint64_t best;  /* bytes of the least damage of every item, in the fewest */
    uint8_t *of;    /* [item][units + 1]: its option in the best choice of so many units */
} vlmp_knapsack;

/* Free *out, after a failure too. */
int vlmp_knapsack_solve(vlmp_knapsack *out, const vlmp_option *options, int items, int width,
                        vlmp_error *err);
void vlmp_knapsack_free(vlmp_knapsack *knapsack);

/* chosen[items]: exact, where sizes differ by multiples of a unit of which the whole range holds no
 * more than 2¹⁷, or where the best of every item fits; else each item's bytes count rounded up to
 * that range over 2¹⁷. A larger capacity never does more damage; equal input gives an equal choice.
 * capacity: at least the least. */
void vlmp_knapsack_choose(const vlmp_knapsack *knapsack, uint64_t capacity, int *chosen);

/* The largest capacity below this one that may choose otherwise; VLMP_NO_OPTION: none. */
uint64_t vlmp_knapsack_below(const vlmp_knapsack *knapsack, uint64_t capacity);
