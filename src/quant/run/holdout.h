/* Which calibration samples the methods do not see. */
#pragma once

#include <stdbool.h>

#include "src/calib/calibration.h"

/* held[count]: every VLMP_HOLD_OUT-th sample with pictures and every VLMP_HOLD_OUT-th without, of
 * fewer with pictures the last, so that tower and text model are judged both; at least one where
 * there are two samples or more, at least one with pictures where two have them, and never the only
 * one with pictures. Returns how many. */
int vlmp_hold_out(const vlmp_calibration *calibration, bool *held);
