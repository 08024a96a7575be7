#include "tools/pace.h"

void vlmp_pace_add(vlmp_pace *pace, double time, double done)
{
    if (!(done > pace->done) || !(time > pace->time)) return;
    /* of all weight, ∫ s² ds, the part before this addition */
    double past = pace->time / time;
    past *= past * past;
    pace->rate = pace->rate * past + (done - pace->done) / (time - pace->time) * (1 - past);
    pace->time = time;
    pace->done = done;
}

double vlmp_pace_left(const vlmp_pace *pace, double time, double total)
{
    if (!(pace->rate > 0)) return -1;
    double left = (total - pace->done) / pace->rate - (time - pace->time);
    return left > 0 ? left : 0;
}
