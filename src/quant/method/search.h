/* What GPTQ and AWQ share: how the scale of a group is searched. */
#pragma once

/* How scales are searched: factors of the min-max scale, min-max itself always included. */
typedef struct {
    int candidates;
    float shrink_from, shrink_to;
    int zero_moves; /* zeros tried on each side of the centred one (asymmetric) */
} vlmp_search;

/* 16 factors around min-max, one zero on each side. */
vlmp_search vlmp_search_defaults(void);
