/* The linears of a model by name, for recipes and plans. */
#pragma once

#include "src/model/model.h"

typedef enum {
    VLMP_COMPONENT_VISION,
    VLMP_COMPONENT_PROJECTOR,
    VLMP_COMPONENT_EMBED,
    VLMP_COMPONENT_TEXT,
    VLMP_COMPONENT_HEAD,
    VLMP_COMPONENTS,
} vlmp_component;

/* "vision", "projector", "embed", "text", "head". */
const char *vlmp_component_name(vlmp_component component);

/* Of a tensor, a linear or a norm, by its canonical name; the newline row is the projector's. */
vlmp_component vlmp_component_of(const char *name);

typedef struct {
    char name[VLMP_NAME_MAX]; /* canonical, without ".weight" */
    vlmp_component component;
    int layer;      /* of its stack; −1 outside */
    vlmp_site site; /* whose input it reads; meaningless outside stacks */
    int n, k;
    /* What precedes the site, for scales that are folded into it (AWQ): "norm1" or "attn.v" of the
     * same layer; NULL: nothing that could take them. */
    const char *before;
    bool before_is_norm;
} vlmp_linear_info;

/* All linears in the order they run; a tied head is not listed (the table is). Free with free(). */
int vlmp_model_linears(const vlmp_model *model, vlmp_linear_info **out, int *count,
                       vlmp_error *err);
