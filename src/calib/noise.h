/* Pictures that are random noise make useless statistics. */
#pragma once

#include "src/store/image.h"

/* Correlation of luma between horizontally and vertically neighbouring pixels, −1 … 1. Photographs
 * and drawings have more than 0.5, white noise has 0 ± 1/√pixels. 1 for pictures of one colour and
 * for pictures too small to tell (fewer than 64 neighbour pairs). */
double vlmp_neighbour_correlation(const vlmp_image *image);

#define VLMP_NOISE_CORRELATION 0.15 /* below this a picture counts as noise */
