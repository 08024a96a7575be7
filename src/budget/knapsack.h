/* The choice of one option for each item that does least damage within so many bytes. */
#pragma once

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

/* chosen[items]: exact, where sizes differ by multiples of a unit of which the whole range holds no
 * more than 2¹⁷, or where the best of every item fits; else each item's bytes count rounded up to
 * that range over 2¹⁷. A larger capacity never does more damage; equal input gives an equal choice.
 * capacity: at least the least. */
int vlmp_knapsack(const vlmp_option *options, int items, int width, uint64_t capacity, int *chosen,
                  vlmp_error *err);
