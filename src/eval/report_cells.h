/* The table's cells and small texts that all report formats share (private to report*.c). */
#pragma once

#include <stdbool.h>

#include "src/base/memory.h"
#include "src/eval/results.h"

enum { VLMP_REPORT_COLUMNS = 13 };

typedef struct {
    const char *header;
    bool right;
} vlmp_report_column;

typedef struct {
    vlmp_report_column columns[VLMP_REPORT_COLUMNS]; /* only the used ones, in order */
    size_t column_count;
    const char **cells; /* [results][column_count]; NULL: nothing to say */
    vlmp_arena arena;
} vlmp_report_cells;

/* false: out of memory. Free with vlmp_arena_free(&cells->arena) in any case. */
bool vlmp_report_cells_build(vlmp_report_cells *out, const vlmp_eval_result *results, size_t count);

/* Last part of a path. */
const char *vlmp_report_name(const char *path);

/* text as XML and HTML may hold it; see src/base/escape.h. */
void vlmp_report_escape(vlmp_buffer *out, const char *text);

/* "kl.mean<=0.02 (0.0131)" and how many gates failed over all results. */
void vlmp_report_gate(char *out, size_t capacity, const struct vlmp_gate_outcome *gate);
/* "kl.mean: 0.00034 → 0.00046, change 8.1e-05 … 0.00016 (95 %): worse" */
void vlmp_report_change(char *out, size_t capacity, const vlmp_change *change);
size_t vlmp_report_failed(const vlmp_eval_result *results, size_t count, size_t *gates);
