/* What the two halves of the compressed-tensors layout share; internal to formats/. */
#pragma once

#include "formats/export_plan.h"

/* Appends the value of quantization_config. */
int vlmp_ct_put_config(const vlmp_export *export, vlmp_json_writer *w, vlmp_error *err);
