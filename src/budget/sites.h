/* What a budget chooses for: linears that read one input and must share a scheme, since engines
 * fuse them (q, k and v; gate and up), and each linear outside the stacks by itself. */
#pragma once

#include "src/model/linears.h"

#define VLMP_SITE_LINEARS 3 /* that share a scheme, at most */

typedef struct {
    char name[VLMP_NAME_MAX]; /* a recipe's glob that matches these linears alone */
    char kind[VLMP_NAME_MAX]; /* one that matches those of every layer */
    vlmp_component component;
    int layer;                      /* −1 outside of stacks */
    int linears[VLMP_SITE_LINEARS]; /* by index */
    int count;
} vlmp_budget_site;

/* Of a model's linears, in the order they run. tied: the table is the head, and named so. Free
 * *out. */
int vlmp_budget_sites(const vlmp_linear_info *linears, int count, bool tied, vlmp_budget_site **out,
                      int *site_count, vlmp_error *err);
