/* A model put together from several sources of one shape: where each tensor comes from is asked
 * when it is looked for. */
#pragma once

#include "src/store/source.h"

/* The source that has what belongs to `name`, a linear or norm: "text.head", not
 * "text.head.codes". */
typedef const vlmp_source *vlmp_route_fn(void *arg, const char *name);

typedef struct {
    vlmp_source base;         /* to be given to a model; nothing to close */
    const vlmp_source *usual; /* whose files and list of tensors are shown */
    vlmp_route_fn *route;
    void *arg;
} vlmp_mixed_source;

/* The sources must outlive it, and a tensor's route the time that it is in use. */
void vlmp_mixed_source_init(vlmp_mixed_source *out, const vlmp_source *usual, vlmp_route_fn *route,
                            void *arg);
