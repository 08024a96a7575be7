/* What engines compute as one product: q, k and v, and gate and up. Internal to formats/. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define VLMP_PRODUCT_MEMBERS 3

/* The members' names are name[0 … head), the member and the tail, the product's likewise. */
typedef struct {
    int head;
    const char *members[VLMP_PRODUCT_MEMBERS]; /* "q", "k", "v"; NULL behind the last */
    const char *product;                       /* "qkv" */
    const char *tail;                          /* "", "_proj" */
    int index;                                 /* of the member that was asked about */
} vlmp_product;

/* Whether the linear name[0 … length), canonical or as checkpoints call it, is a member of one. */
bool vlmp_product_of(vlmp_product *out, const char *name, size_t length);
