/* How long the rest of a work takes, from how long its parts took. What was done at time s weighs
 * as s², so that a slow start is forgotten and a trembling pace is not followed: half of the weight
 * lies in the last fifth of the time. */
#pragma once

typedef struct {
    double time, done; /* at the last addition */
    double rate;       /* work a second, weighted; 0: nothing is done yet */
} vlmp_pace;

/* time: seconds since the beginning; done: all that is done by then. Neither falls. */
void vlmp_pace_add(vlmp_pace *pace, double time, double done);

/* Seconds from time until total is done; negative: not known yet. Counts down between additions. */
double vlmp_pace_left(const vlmp_pace *pace, double time, double total);
