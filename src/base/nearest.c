#include "src/base/nearest.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 63 };

/* Edit distance with swaps of neighbours (optimal string alignment); texts of up to LONGEST bytes,
 * more for longer ones. */
static int edit_distance(const char *a, const char *b)
{
    int rows[3][LONGEST + 1];
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > LONGEST || m > LONGEST) return LONGEST + 1;
    for (int j = 0; j <= m; j++)
        rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < best) best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[n % 3][m];
}

static const char *nearest(const char *text, const char *const *first, size_t stride, size_t count)
{
    const char *name = NULL;
    int best = 1 + (int)strlen(text) / 4; /* a typo a syllable */
    for (size_t i = 0; i < count; i++) {
        const char *at = *(const char *const *)((const char *)first + i * stride);
        int distance = edit_distance(text, at);
        if (distance > LONGEST) continue; /* not compared */
        if (distance < best || (distance == best && name == NULL)) {
            best = distance;
            name = at;
        }
    }
    return name;
}

const char *vlmp_nearest_name(const char *text, const char *const *names, size_t count)
{
    return nearest(text, names, sizeof *names, count);
}

void vlmp_nearest_hint(char out[VLMP_HINT_MAX], const char *text, const char *const *first,
                       size_t stride, size_t count)
{
    const char *near = nearest(text, first, stride, count);
    out[0] = '\0';
    if (near != NULL) snprintf(out, VLMP_HINT_MAX, " (did you mean %s?)", near);
}
