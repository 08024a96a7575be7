#include "tools/eval_sensitivity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/export_rules.h"
#include "src/base/table.h"
#include "src/budget/knapsack.h"
#include "tools/sensitivity.h"

#define COLUMNS (1 + VLMP_CANDIDATES_MAX)
#define CELL    24

/* "W4 g64 asymmetric" and the like. */
static void candidate_text(char out[CELL], const vlmp_recipe_scheme *scheme)
{
    vlmp_scheme packed = vlmp_scheme_make(scheme->codes, scheme->group, scheme->zeros, false);
    char text[64];
    vlmp_scheme_text(text, sizeof text, &packed);
    char *word = strstr(text, " asymmetric");
    if (word != NULL) memcpy(word, "a", 2);
    snprintf(out, CELL, "%.23s", text);
}

/* Damage of every candidate that is rounded, nats a token. */
static void fill_row(const vlmp_sensitivity *t, int site, char (*row)[CELL])
{
    for (int c = 1; c < t->candidate_count; c++) {
        bool has = vlmp_sensitivity_cell(t, site, c)->bytes != VLMP_NO_OPTION;
        bool probe = c == vlmp_sensitivity_probe(t, site);
        if (has)
            snprintf(row[c], CELL, "%.2e%s", vlmp_sensitivity_damage(t, site, c),
                     probe ? "*" : " ");
        else
            snprintf(row[c], CELL, "- ");
    }
}

static int print_table(const vlmp_sensitivity *t, vlmp_buffer *out, vlmp_error *err)
{
    size_t columns = (size_t)t->candidate_count, rows = (size_t)t->site_count;
    vlmp_column heads[COLUMNS] = {{.header = "site"}};
    char names[COLUMNS][CELL];
    char(*text)[COLUMNS][CELL] = vlmp_calloc(rows, sizeof *text);
    const char **cells = vlmp_calloc(rows * columns, sizeof *cells);
    for (size_t c = 1; c < columns; c++) {
        candidate_text(names[c], &t->candidates[c]);
        heads[c] = (vlmp_column){.header = names[c], .right = true};
    }
    for (size_t s = 0; text != NULL && cells != NULL && s < rows; s++) {
        fill_row(t, (int)s, text[s]);
        cells[s * columns] = t->sites[s].name;
        for (size_t c = 1; c < columns; c++)
            cells[s * columns + c] = text[s][c];
    }
    if (text != NULL && cells != NULL) vlmp_table_print(out, heads, columns, cells, rows);
    bool failed = text == NULL || cells == NULL;
    free(text);
    free(cells);
    vlmp_buffer_printf(
        out,
        "KL divergence from the original in nats a token, each site rounded alone by "
        "gptq.\n* was run, the others follow by their error on samples held out: %d "
        "samples, %d tokens, %.1f passes of the model over them.\n",
        t->samples, t->tokens, t->passes);
    return failed ? vlmp_fail_memory(err, "the table of sites") : VLMP_OK;
}

static int print(const vlmp_sensitivity *t, bool json, vlmp_error *err)
{
    vlmp_buffer out = {0};
    int status = VLMP_OK;
    if (json) {
        vlmp_json_writer w = {.indent = 1};
        vlmp_sensitivity_write(t, &w);
        out = w.out;
        vlmp_buffer_text(&out, "\n");
    } else {
        status = print_table(t, &out, err);
    }
    if (status == VLMP_OK && out.failed) status = vlmp_fail_memory(err, "the table of sites");
    if (status == VLMP_OK) fwrite(out.data, 1, out.length, stdout);
    vlmp_buffer_free(&out);
    return status;
}

int vlmp_eval_sensitivity(const vlmp_cli_command *cli, const vlmp_cli_args *args,
                          vlmp_engine *engine, const char *path, const char *calib, int64_t tokens,
                          vlmp_error *err)
{
    char work[VLMP_PATH_MAX];
    vlmp_sensitivity table;
    VLMP_TRY(vlmp_engine_open(engine, path, err));
    if (strcmp(engine->source->kind, "folder") != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: already packed; sensitivity is of the original model folder", path);
    vlmp_work_folder(work, NULL);
    vlmp_sensitivity_job job = {
        .cli = cli, .args = args, .engine = engine, .calib = calib, .tokens = tokens, .work = work};
    int status = vlmp_sensitivity_get(&job, &table, err);
    if (status == VLMP_OK) status = print(&table, args->json, err);
    vlmp_sensitivity_free(&table);
    return status;
}
