#include "src/quant/run/holdout.h"

/* Every step-th of the samples with, or without, pictures. */
static int mark(const vlmp_calibration *calibration, bool pictures, int step, bool *held)
{
    int at = 0, marked = 0;
    for (size_t i = 0; i < calibration->count; i++) {
        if ((calibration->samples[i].sequence.tiles > 0) != pictures) continue;
        held[i] = at++ % step == step - 1;
        marked += held[i];
    }
    return marked;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

int vlmp_hold_out(const vlmp_calibration *calibration, bool *held)
{
    int with = 0, count = (int)calibration->count;
    for (int i = 0; i < count; i++)
        with += calibration->samples[i].sequence.tiles > 0;
    int without = count - with;
    int marked = mark(calibration, true, with > 1 ? least(with, VLMP_HOLD_OUT) : 2, held);
    /* few texts are held out only where nothing else is */
    bool needed = marked == 0 && count > 1;
    int step = needed ? least(without, VLMP_HOLD_OUT) : VLMP_HOLD_OUT;
    return marked + mark(calibration, false, step > 0 ? step : 1, held);
}
