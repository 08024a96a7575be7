/* What reading and writing packed files share; internal to formats/. */
#pragma once

#include "formats/packed.h"

/* Shapes of the parts of a quantized linear; every product is checked. */
typedef struct {
    int64_t groups;     /* scales a row */
    int64_t code_bytes; /* bytes of codes a row */
    int64_t zero_bytes; /* bytes of zeros a row; 0 when symmetric */
    vlmp_dtype scale_type;
} vlmp_packed_shape;

/* false: bits is not 4 or 8, a size is out of range, or the group does not divide k. */
bool vlmp_packed_shape_of(vlmp_packed_shape *out, const vlmp_packed_linear *linear);

/* Features of vlmp.requires; a linear's are those of its bits, zeros and activations. */
#define VLMP_PACKED_FEATURES 4
extern const char *const vlmp_packed_features[VLMP_PACKED_FEATURES];
unsigned vlmp_packed_features_of(const vlmp_packed_linear *linear); /* bit i: features[i] */

/* Where the file's order puts a tensor: multiples of 64 bytes by computation, then the rest by
 * falling element size and name, then files. */
int vlmp_packed_order(const vlmp_tensor *a, const vlmp_tensor *b);

bool vlmp_packed_is_file(const char *name);
