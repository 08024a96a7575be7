/* The size that Qwen-VL's picture processors give a picture: near its own, in whole squares. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VLMP_MAX_ASPECT 200 /* of the sides of a picture, as in the reference */

/* Of a picture of *height × *width pixels (≥ 1): both sides multiples of `square`, their product
 * between least and most where that can be. Rounding is the reference's: half to even, then down or
 * up by the root of the ratio of areas. False: longer than VLMP_MAX_ASPECT times its width, or a
 * result that no int holds. */
bool vlmp_smart_resize(int *height, int *width, int square, int64_t least, int64_t most);
