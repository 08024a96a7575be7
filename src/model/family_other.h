/* Any architecture that no family here runs: what can be said of its weights by their names and
 * shapes alone. */
#pragma once

#include "src/model/linears.h"

/* What a tensor is taken for. */
typedef struct {
    const char *kept;         /* why it is no linear ("a norm"); NULL: it is one */
    vlmp_component component; /* of a linear */
} vlmp_tensor_role;

/* tensor: of a source whose names are vlmp_family_other's. */
vlmp_tensor_role vlmp_tensor_role_of(const vlmp_tensor *tensor);

/* vlmp_model_linears of such a source: 2-D weights whose names are not those of tables, norms and
 * routers. Free *out with free(). */
int vlmp_linears_by_name(const vlmp_source *source, vlmp_linear_info **out, int *count,
                         vlmp_error *err);
