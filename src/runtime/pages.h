/* The pages of a key/value store: which are free, and how many sequences hold each of the others. A
 * page may be shared by sequences that begin alike. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/base/error.h"

typedef struct {
    int32_t *free;    /* [count] a stack of pages that nobody holds */
    int32_t *holders; /* [count] how many sequences hold a page */
    int count, free_count;
} vlmp_pages;

/* All free. */
int vlmp_pages_create(vlmp_pages *pages, int count, vlmp_error *err);
void vlmp_pages_free(vlmp_pages *pages);

/* count pages that are held once each; false, and none are, when fewer are free. */
bool vlmp_pages_take(vlmp_pages *pages, int32_t *out, int count);

void vlmp_pages_share(vlmp_pages *pages, const int32_t *held, int count); /* each once more */
void vlmp_pages_drop(vlmp_pages *pages, const int32_t *held, int count);  /* each once less */
