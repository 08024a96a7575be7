/* "did you mean": the name that a mistyped one is nearest to. */
#pragma once

#include <stddef.h>

/* Of count names, by edit distance (a swap of neighbours is one step); NULL when none is near. */
const char *vlmp_nearest_name(const char *text, const char *const *names, size_t count);

#define VLMP_HINT_MAX 96

/* " (did you mean NAME?)" for a message, or "". Names may be members of structs that are stride
 * bytes apart. */
void vlmp_nearest_hint(char out[VLMP_HINT_MAX], const char *text, const char *const *first,
                       size_t stride, size_t count);
