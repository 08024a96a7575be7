#include "src/picture/smart_resize.h"

#include <math.h>

bool vlmp_smart_resize(int *height, int *width, int square, int64_t least, int64_t most)
{
    double h = *height, w = *width, side = square;
    if (fmax(h, w) / fmin(h, w) > VLMP_MAX_ASPECT) return false;
    double high = nearbyint(h / side) * side, wide = nearbyint(w / side) * side;
    if (high * wide > (double)most) {
        double ratio = sqrt(h * w / (double)most);
        high = fmax(side, floor(h / ratio / side) * side);
        wide = fmax(side, floor(w / ratio / side) * side);
    } else if (high * wide < (double)least) {
        double ratio = sqrt((double)least / (h * w));
        high = ceil(h * ratio / side) * side;
        wide = ceil(w * ratio / side) * side;
    }
    if (!(high >= side && wide >= side && high <= 1 << 24 && wide <= 1 << 24)) return false;
    *height = (int)high;
    *width = (int)wide;
    return true;
}
