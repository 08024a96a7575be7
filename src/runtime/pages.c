#include "src/runtime/pages.h"

#include <assert.h>
#include <stdlib.h>

#include "src/base/memory.h"

int vlmp_pages_create(vlmp_pages *pages, int count, vlmp_error *err)
{
    *pages = (vlmp_pages){.free = vlmp_alloc((size_t)count, sizeof *pages->free),
                          .holders = vlmp_calloc((size_t)count, sizeof *pages->holders)};
    if (pages->free == NULL || pages->holders == NULL) {
        vlmp_pages_free(pages);
        return vlmp_fail_memory(err, "pages of keys and values");
    }
    /* The first page is on top. */
    for (int i = 0; i < count; i++)
        pages->free[i] = count - 1 - i;
    pages->count = pages->free_count = count;
    return VLMP_OK;
}

void vlmp_pages_free(vlmp_pages *pages)
{
    free(pages->free);
    free(pages->holders);
    *pages = (vlmp_pages){0};
}

bool vlmp_pages_take(vlmp_pages *pages, int32_t *out, int count)
{
    if (count > pages->free_count) return false;
    for (int i = 0; i < count; i++) {
        out[i] = pages->free[--pages->free_count];
        pages->holders[out[i]] = 1;
    }
    return true;
}

void vlmp_pages_share(vlmp_pages *pages, const int32_t *held, int count)
{
    for (int i = 0; i < count; i++) {
        assert(pages->holders[held[i]] > 0);
        pages->holders[held[i]]++;
    }
}

void vlmp_pages_drop(vlmp_pages *pages, const int32_t *held, int count)
{
    for (int i = 0; i < count; i++) {
        assert(pages->holders[held[i]] > 0);
        if (--pages->holders[held[i]] == 0) pages->free[pages->free_count++] = held[i];
    }
}
