#include "src/calib/noise.h"

#include <math.h>
#include <stddef.h>

static double luma(const uint8_t *p)
{
    return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
}

double vlmp_neighbour_correlation(const vlmp_image *image)
{
    double n = 0, sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;
    for (int y = 0; y < image->height; y++) {
        for (int x = 0; x < image->width; x++) {
            const uint8_t *p = image->pixels + 3 * ((size_t)y * (size_t)image->width + (size_t)x);
            double a = luma(p);
            const uint8_t *neighbours[] = {x + 1 < image->width ? p + 3 : NULL,
                                           y + 1 < image->height ? p + 3 * (size_t)image->width
                                                                 : NULL};
            for (int i = 0; i < 2; i++) {
                if (neighbours[i] == NULL) continue;
                double b = luma(neighbours[i]);
                n++, sa += a, sb += b, saa += a * a, sbb += b * b, sab += a * b;
            }
        }
    }
    double va = saa - sa * sa / n, vb = sbb - sb * sb / n;
    if (n < 64 || va <= 1e-6 * n || vb <= 1e-6 * n) return 1;
    return (sab - sa * sb / n) / sqrt(va * vb);
}
