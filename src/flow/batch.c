#include "src/flow/batch.h"

#include <stdlib.h>

#include "src/base/memory.h"

static int page_count(int rows)
{
    return (rows + VLMP_PAGE_ROWS - 1) / VLMP_PAGE_ROWS;
}

int vlmp_batches_create(vlmp_batches *batches, const int *lengths, int count, int break_at,
                        vlmp_error *err)
{
    *batches = (vlmp_batches){0};
    size_t pages = 0;
    for (int i = 0; i < count; i++)
        pages += (size_t)page_count(lengths[i]);
    batches->batches = vlmp_calloc((size_t)count, sizeof *batches->batches);
    batches->segments = vlmp_calloc((size_t)count, sizeof *batches->segments);
    batches->pages = vlmp_alloc(pages, sizeof *batches->pages);
    if (batches->batches == NULL || batches->segments == NULL || batches->pages == NULL) {
        vlmp_batches_free(batches);
        return vlmp_fail_memory(err, "batches");
    }
    int32_t *next_page = batches->pages;
    int used_pages = 0;
    vlmp_batch *batch = NULL;
    for (int i = 0; i < count; i++) {
        if (i == break_at) batches->break_batch = batches->count;
        if (batch == NULL || batch->rows >= VLMP_BATCH_ROWS || i == break_at) {
            batch = &batches->batches[batches->count++];
            batch->first_row = batches->total_rows;
            batch->first = i;
            batch->segments = &batches->segments[i];
            used_pages = 0;
        }
        batches->segments[i] = (vlmp_segment){.first_row = batch->rows,
                                              .rows = lengths[i],
                                              .pages = next_page,
                                              .page_count = page_count(lengths[i])};
        for (int p = 0; p < page_count(lengths[i]); p++)
            *next_page++ = used_pages++;
        batch->segment_count++;
        batch->rows += lengths[i];
        batches->total_rows += (size_t)lengths[i];
        if (batch->rows > batches->max_rows) batches->max_rows = batch->rows;
        if (used_pages > batches->max_pages) batches->max_pages = used_pages;
        if (batch->segment_count > batches->max_segments)
            batches->max_segments = batch->segment_count;
    }
    if (break_at >= count) batches->break_batch = batches->count;
    return VLMP_OK;
}

size_t vlmp_added_rows_in(const vlmp_added_rows *added, size_t first, size_t end, size_t *from)
{
    size_t at = 0;
    while (at < added->count && (size_t)added->places[at] < first)
        at++;
    *from = at;
    while (at < added->count && (size_t)added->places[at] < end)
        at++;
    return at - *from;
}

void vlmp_added_rows_free(vlmp_added_rows *added)
{
    if (added->taps > 0) vlmp_activations_free(&added->rows);
    free(added->places);
    *added = (vlmp_added_rows){0};
}

int vlmp_batches_cut(vlmp_batches *batches, const int *rows, int count, vlmp_error *err)
{
    size_t pages = 0;
    for (int i = 0; i < count; i++)
        pages += (size_t)page_count(rows[i]);
    batches->windows = vlmp_calloc((size_t)count, sizeof *batches->windows);
    batches->window_pages = vlmp_alloc(pages, sizeof *batches->window_pages);
    if (batches->windows == NULL || batches->window_pages == NULL)
        return vlmp_fail_memory(err, "windows of batches");
    int32_t *next_page = batches->window_pages;
    vlmp_segment *window = batches->windows;
    for (int b = 0; b < batches->count; b++) {
        vlmp_batch *batch = &batches->batches[b];
        int used_pages = 0;
        batch->windows = window;
        for (int at = 0; at < batch->rows; at += window++->rows, rows++) {
            *window = (vlmp_segment){.first_row = at,
                                     .rows = *rows,
                                     .pages = next_page,
                                     .page_count = page_count(*rows)};
            for (int p = 0; p < page_count(*rows); p++)
                *next_page++ = used_pages++;
        }
        batch->window_count = (int)(window - batch->windows);
        if (used_pages > batches->max_pages) batches->max_pages = used_pages;
        if (batch->window_count > batches->max_segments)
            batches->max_segments = batch->window_count;
    }
    return VLMP_OK;
}

int vlmp_batches_place(vlmp_batches *batches, int32_t **positions, vlmp_error *err)
{
    size_t rows = batches->total_rows;
    batches->positions = vlmp_alloc(VLMP_POSITION_AXES * rows, sizeof *batches->positions);
    if (batches->positions == NULL) return vlmp_fail_memory(err, "positions of batches");
    for (int b = 0; b < batches->count; b++)
        for (size_t axis = 0; axis < VLMP_POSITION_AXES; axis++)
            batches->batches[b].positions[axis] =
                batches->positions + axis * rows + batches->batches[b].first_row;
    *positions = batches->positions;
    return VLMP_OK;
}

void vlmp_batches_free(vlmp_batches *batches)
{
    free(batches->batches);
    free(batches->segments);
    free(batches->windows);
    free(batches->pages);
    free(batches->window_pages);
    free(batches->positions);
    vlmp_added_rows_free(&batches->added);
    *batches = (vlmp_batches){0};
}
