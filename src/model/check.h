/* What the configuration says and what is stored must be one model: a head is stored or tied, a
 * tied one that is stored again equals the table; no tensor is missing, has another shape, or is
 * one that the configuration has no use for; the picture token is in the vocabulary. All else is
 * VLMP_ERR_INPUT. */
#pragma once

#include "src/model/model.h"

int vlmp_check_head(const vlmp_source *source, bool tied, vlmp_error *err);
int vlmp_check_tensors(const vlmp_model *model, vlmp_error *err);

/* Whether all weights are there with the right types and shapes, by their headers alone. */
int vlmp_check_shapes(const vlmp_model *model, vlmp_error *err);
