/* What reading and writing packed files share; internal to formats/. */
#pragma once

#include "formats/packed.h"
#include "src/base/packed_parts.h"

/* Features of vlmp.requires: one a code type, then zeros, activations and types of scales. */
#define VLMP_PACKED_FEATURES (VLMP_CODE_TYPES - 1 + 3)
const char *vlmp_packed_feature(int index);
unsigned vlmp_packed_features_of(const vlmp_scheme *scheme); /* bit i: feature i */

/* Whether vlmp.linears says the type of the scales, which is not that of codes and group. */
bool vlmp_packed_names_scales(const vlmp_scheme *scheme);

/* Where the file's order puts a tensor: multiples of 64 bytes by computation, then the rest by
 * falling element size and name, then files. */
int vlmp_packed_order(const vlmp_tensor *a, const vlmp_tensor *b);

bool vlmp_packed_is_file(const char *name);
