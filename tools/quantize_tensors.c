#include "tools/quantize_tensors.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/table.h"
#include "src/model/family_other.h"
#include "src/model/names.h"
#include "tools/inspect.h"
#include "tools/quantize_report.h"

/* name with '#' for each run of digits that is a part of its own: "layers.#.mlp.fc1.weight". */
static void without_numbers(char out[VLMP_NAME_MAX], const char *name)
{
    size_t used = 0;
    for (const char *c = name; *c != '\0' && used + 1 < VLMP_NAME_MAX; c++) {
        size_t digits = strspn(c, "0123456789");
        bool alone =
            digits > 0 && (c == name || c[-1] == '.') && (c[digits] == '.' || c[digits] == '\0');
        out[used++] = alone ? '#' : *c;
        if (alone) c += digits - 1;
    }
    out[used] = '\0';
}

static const vlmp_plan_entry *entry_of(const char *name, const vlmp_linear_info *linears,
                                       const vlmp_plan *plan, int *next)
{
    size_t stem = vlmp_name_stem(name);
    if (*next >= plan->count || strlen(linears[*next].name) != stem ||
        strncmp(linears[*next].name, name, stem) != 0)
        return NULL;
    return &plan->entries[(*next)++];
}

static void describe(vlmp_tensor_line *line, const vlmp_tensor *tensor,
                     const vlmp_linear_info *linears, const vlmp_plan *plan, int *next)
{
    vlmp_tensor_role role = vlmp_tensor_role_of(tensor);
    const vlmp_plan_entry *entry =
        role.kept == NULL ? entry_of(tensor->name, linears, plan, next) : NULL;
    *line = (vlmp_tensor_line){.count = 1};
    without_numbers(line->names, tensor->name);
    vlmp_shape_text(line->shape, sizeof line->shape, tensor->shape, tensor->rank);
    if (entry == NULL)
        snprintf(line->fate, sizeof line->fate, "kept: %s", role.kept);
    else if (entry->method == VLMP_METHOD_KEEP)
        snprintf(line->fate, sizeof line->fate, "kept: no rule quantizes it");
    else
        vlmp_method_text(line->fate, sizeof line->fate, entry->method, &entry->scheme);
}

static bool is_same(const vlmp_tensor_line *a, const vlmp_tensor_line *b)
{
    return strcmp(a->names, b->names) == 0 && strcmp(a->shape, b->shape) == 0 &&
           strcmp(a->fate, b->fate) == 0;
}

int vlmp_tensor_lines(vlmp_tensor_line **lines, int *count, const vlmp_source *source,
                      const vlmp_linear_info *linears, const vlmp_plan *plan, vlmp_error *err)
{
    size_t total = source->count(source);
    int next = 0;
    *count = 0;
    *lines = vlmp_alloc(total + 1, sizeof **lines);
    if (*lines == NULL) return vlmp_fail_memory(err, "list of tensors");
    for (size_t i = 0; i < total; i++) {
        vlmp_tensor_line line;
        describe(&line, source->at(source, i), linears, plan, &next);
        int at = 0;
        while (at < *count && !is_same(&(*lines)[at], &line))
            at++;
        if (at < *count)
            (*lines)[at].count++;
        else
            (*lines)[(*count)++] = line;
    }
    return VLMP_OK;
}

void vlmp_tensor_lines_print(const vlmp_tensor_line *lines, int count, vlmp_buffer *out)
{
    vlmp_column columns[] = {{.header = "tensors"},
                             {.header = "shape", .right = true},
                             {.header = "count", .right = true},
                             {.header = "becomes"}};
    enum { COLUMNS = sizeof columns / sizeof *columns };
    char(*numbers)[16] = calloc((size_t)count + 1, sizeof *numbers);
    const char **cells = calloc(((size_t)count + 1) * COLUMNS, sizeof *cells);
    out->failed |= numbers == NULL || cells == NULL;
    for (int i = 0; i < count && !out->failed; i++) {
        snprintf(numbers[i], sizeof numbers[i], "%d", lines[i].count);
        const char *row[COLUMNS] = {lines[i].names, lines[i].shape, numbers[i], lines[i].fate};
        memcpy(cells + (size_t)i * COLUMNS, row, sizeof row);
    }
    if (!out->failed) vlmp_table_print(out, columns, COLUMNS, cells, (size_t)count);
    free(numbers);
    free(cells);
}

void vlmp_tensor_lines_write(const vlmp_tensor_line *lines, int count, vlmp_json_writer *w)
{
    vlmp_json_open(w, '[');
    for (int i = 0; i < count; i++) {
        vlmp_json_open(w, '{');
        vlmp_json_pair_string(w, "tensors", lines[i].names);
        vlmp_json_pair_string(w, "shape", lines[i].shape);
        vlmp_json_pair_string(w, "fate", lines[i].fate);
        vlmp_json_key(w, "count");
        vlmp_json_put_int(w, lines[i].count);
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
}
