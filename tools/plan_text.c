#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/model/family.h"
#include "tools/inspect.h"
#include "tools/plan.h"
#include "tools/progress.h"
#include "tools/terminal.h"

/* "13.3 B", "7.74 M", "512 k". */
static void format_count(char *out, size_t capacity, double count)
{
    if (count >= 1e9)
        snprintf(out, capacity, "%.3g B", count / 1e9);
    else if (count >= 1e6)
        snprintf(out, capacity, "%.3g M", count / 1e6);
    else
        snprintf(out, capacity, "%.3g k", count / 1e3);
}

static void print_title(const vlmp_plan_document *d)
{
    char weights[32], bytes[32];
    const vlmp_plan_choice *source = &d->choices[0];
    const vlmp_config *config = &d->model.config;
    format_count(weights, sizeof weights, (double)source->sizes.total.weights);
    vlmp_format_bytes(bytes, sizeof bytes, (double)source->sizes.total.bytes);
    vlmp_show_line(stdout, "%s: %s, %s parameters, %s%s", d->source->path,
                   d->runs ? config->family->name : config->model_type, weights, bytes,
                   d->packed ? ", packed" : "");
}

enum { A_TABLE = 4 }; /* choices that 80 columns hold */

/* "606 MB 16.00" */
static void size_cell(char out[48], const vlmp_weight_size *size)
{
    char bytes[32];
    out[0] = '\0';
    if (size->weights == 0 && size->bytes == 0) return;
    vlmp_format_bytes(bytes, sizeof bytes, (double)size->bytes);
    snprintf(out, 48, "%s %5.2f", bytes, vlmp_bits_per_weight(size->bytes, size->weights));
}

static bool add_sizes(vlmp_listing *rows, const vlmp_plan_choice *choices, int count,
                      const char *name, int part)
{
    char text[48];
    const vlmp_weight_size *of =
        part < VLMP_COMPONENTS ? &choices[0].sizes.parts[part] : &choices[0].sizes.total;
    format_count(text, sizeof text, (double)of->weights);
    bool good = vlmp_listing_add(rows, 0, name) && vlmp_listing_add(rows, 1, text);
    for (int i = 0; i < count && good; i++) {
        const vlmp_weight_sizes *sizes = &choices[i].sizes;
        size_cell(text, part < VLMP_COMPONENTS ? &sizes->parts[part] : &sizes->total);
        good = vlmp_listing_add(rows, 2 + (size_t)i, text);
    }
    return good;
}

/* What rounding to nearest would be expected to do. */
static bool add_errors(vlmp_listing *rows, const vlmp_plan_choice *choices, int count)
{
    char text[48];
    bool good = vlmp_listing_add(rows, 0, "rounding") && vlmp_listing_add(rows, 1, "");
    for (int i = 0; i < count && good; i++) {
        text[0] = '\0';
        if (choices[i].error > 0) snprintf(text, sizeof text, "%.1f %%", 100 * choices[i].error);
        good = vlmp_listing_add(rows, 2 + (size_t)i, text);
    }
    return good;
}

static bool add_files(vlmp_listing *rows, const vlmp_plan_choice *choices, int count)
{
    char text[48];
    bool good = vlmp_listing_add(rows, 0, "packed file") && vlmp_listing_add(rows, 1, "");
    for (int i = 0; i < count && good; i++) {
        text[0] = '\0';
        if (!choices[i].is_source)
            vlmp_format_bytes(text, sizeof text - 8, (double)choices[i].file_bytes);
        if (!choices[i].is_source) strcat(text, "      ");
        good = vlmp_listing_add(rows, 2 + (size_t)i, text);
    }
    return good;
}

/* Bytes and bits per weight of each component under some of the choices. */
static int print_sizes(const vlmp_plan_choice *choices, int count, vlmp_error *err)
{
    vlmp_column columns[2 + A_TABLE] = {{.header = "component"},
                                        {.header = "weights", .right = true}};
    vlmp_listing rows = {.columns = 2 + (size_t)count};
    bool good = true;
    for (int i = 0; i < count; i++)
        columns[2 + i] = (vlmp_column){.header = choices[i].name, .right = true};
    for (int part = 0; part < VLMP_COMPONENTS; part++)
        if (choices[0].sizes.parts[part].weights > 0)
            good = good && add_sizes(&rows, choices, count,
                                     vlmp_component_name((vlmp_component)part), part);
    good = good && add_sizes(&rows, choices, count, "all", VLMP_COMPONENTS);
    good = good && add_files(&rows, choices, count) && add_errors(&rows, choices, count);
    return vlmp_listing_print(&rows, columns, !good, err);
}

static void print_notes(const vlmp_plan_document *d)
{
    char bytes[32];
    uint64_t unused = d->choices[0].sizes.unused_bytes;
    vlmp_format_bytes(bytes, sizeof bytes, (double)unused);
    printf("rounding: expected error of quantized weights over their norm, were they normal\n");
    if (unused > 0) printf("%s more in tensors that the model never reads\n", bytes);
    if (d->source->promised)
        printf("there are no weights: sizes are those that config.json asks for; a packed file\n"
               "also holds the folder's other files and tensors that the model never reads\n");
}

/* "1344x672"; "none". */
static void picture_text(char out[24], const vlmp_picture_cost *picture)
{
    snprintf(out, 24, "none");
    if (picture->width > 0) snprintf(out, 24, "%dx%d", picture->width, picture->height);
}

/* What the largest thing is that fits, and which recipe to take. */
static void print_answer(const vlmp_plan_document *d)
{
    char bytes[32], memory[32], picture[24];
    if (d->memory <= 0) return;
    int best = vlmp_plan_best(d);
    if (d->options->memory > 0)
        snprintf(memory, sizeof memory, "%.4g GiB", d->memory / (1 << 30));
    else
        vlmp_format_bytes(memory, sizeof memory, d->memory);
    picture_text(picture, &d->asked.picture);
    putchar('\n');
    if (best < 0) {
        double least = d->fits[0].needed;
        for (int i = 1; i < d->choice_count; i++)
            if (d->fits[i].needed < least) least = d->fits[i].needed;
        vlmp_format_bytes(bytes, sizeof bytes, least);
        printf("%s of memory: too little; the least that is asked for needs %s\n", memory, bytes);
        return;
    }
    const vlmp_plan_fit *fit = &d->fits[best];
    vlmp_format_bytes(bytes, sizeof bytes, fit->needed);
    vlmp_show_line(stdout, "%s of memory: take %s%s; %s needed", memory,
                   d->choices[best].is_source ? "it " : "", d->choices[best].name, bytes);
    printf("  for a batch of %.0f: picture %s, %.0f tokens of text and %.0f new each\n",
           d->asked.batch, picture, d->asked.text, d->asked.new_tokens);
    picture_text(picture, &fit->picture);
    printf("  largest batch: %.0f; largest picture: %s\n", fit->batch,
           fit->any_picture ? "any" : picture);
}

/* The columns of a load, in front of totals under choices. */
enum { LOAD = 6 };

/* several: answers of more than one length. Returns how many columns those of the load are. */
static size_t load_columns(vlmp_column columns[LOAD], bool several)
{
    const vlmp_column all[LOAD] = {{.header = "picture"},
                                   {.header = "prompt", .right = true},
                                   {.header = "batch", .right = true},
                                   {.header = "KV", .right = true},
                                   {.header = "work", .right = true},
                                   {.header = "new", .right = true}};
    memcpy(columns, all, sizeof all);
    return several ? LOAD : LOAD - 1;
}

static bool add_load(vlmp_listing *rows, const vlmp_plan_document *d, const vlmp_workload *load,
                     const vlmp_plan_choice *choices, int count)
{
    char text[LOAD][32];
    double kv = vlmp_workload_kv(&d->model.config.text, load);
    double work = vlmp_workload_work(&d->model, load);
    size_t first = rows->columns - (size_t)count;
    bool good = true;
    picture_text(text[0], &load->picture);
    snprintf(text[1], sizeof text[1], "%.0f", vlmp_workload_prompt(load));
    snprintf(text[2], sizeof text[2], "%.0f", load->batch);
    vlmp_format_bytes(text[3], sizeof text[3], kv);
    vlmp_format_bytes(text[4], sizeof text[4], work);
    snprintf(text[5], sizeof text[5], "%.0f", load->new_tokens);
    for (size_t i = 0; i < first && good; i++)
        good = vlmp_listing_add(rows, i, text[i]);
    for (int i = 0; i < count && good; i++) {
        char sum[32];
        double total = choices[i].held_bytes + kv + work;
        vlmp_format_bytes(sum, sizeof sum - 1, total);
        if (d->memory > 0 && total > d->memory) strcat(sum, "!");
        good = vlmp_listing_add(rows, first + (size_t)i, sum);
    }
    return good;
}

enum { TOTALS = 4 }; /* that 80 columns hold */

/* Memory while it runs. */
static int print_loads(const vlmp_plan_document *d, const vlmp_plan_choice *choices, int count,
                       vlmp_error *err)
{
    vlmp_column columns[LOAD + TOTALS];
    size_t first = load_columns(columns, d->options->new_tokens.count > 1);
    vlmp_listing rows = {.columns = first + (size_t)count};
    bool good = true;
    for (int i = 0; i < count; i++)
        columns[first + (size_t)i] = (vlmp_column){.header = choices[i].name, .right = true};
    for (int i = 0; i < d->load_count && good; i++)
        good = add_load(&rows, d, &d->loads[i], choices, count);
    return vlmp_listing_print(&rows, columns, !good, err);
}

/* What tiles of attention and pages of keys and values save. */
static void print_saved(const vlmp_plan_document *d)
{
    char whole[32], tiles[32];
    double rows = vlmp_workload_prompt(&d->asked), batch = d->asked.batch;
    int heads = d->model.config.text.heads;
    vlmp_format_bytes(whole, sizeof whole, vlmp_score_bytes(batch, heads, rows, rows, 4));
    vlmp_format_bytes(tiles, sizeof tiles,
                      vlmp_score_bytes(batch, heads, VLMP_PLAN_TILE_ROWS, VLMP_PLAN_TILE_KEYS, 4));
    printf("work: an estimate, with %s for scores of attention in tiles; whole: %s\n", tiles,
           whole);
    double *lengths = vlmp_alloc((size_t)d->load_count, sizeof *lengths);
    size_t count = 0;
    for (int i = 0; i < d->load_count && lengths != NULL; i++) {
        double length = vlmp_workload_prompt(&d->loads[i]) + d->loads[i].new_tokens;
        if (count == 0 || lengths[count - 1] != length) lengths[count++] = length;
    }
    if (count > 1)
        printf(
            "in a batch of one of each size, padding would leave %.0f %% of use, pages %.0f %%\n",
            100 * vlmp_padded_efficiency(lengths, count, 8),
            100 * vlmp_paged_efficiency(lengths, count, VLMP_PLAN_PAGE));
    free(lengths);
}

static int print_running(const vlmp_plan_document *d, vlmp_error *err)
{
    char row[32];
    bool several = d->options->new_tokens.count > 1;
    int totals = several ? TOTALS - 1 : TOTALS;
    printf("\nmemory while it runs, with the weights of each recipe%s\n",
           d->memory > 0 ? " (!: too much)" : "");
    for (int first = 0; first < d->choice_count; first += totals) {
        int left = d->choice_count - first;
        VLMP_TRY(print_loads(d, &d->choices[first], left < totals ? left : totals, err));
    }
    if (!several) printf("KV: with %.0f new tokens; ", d->asked.new_tokens);
    const vlmp_text_config *t = &d->model.config.text;
    vlmp_format_bytes(row, sizeof row, vlmp_row_kv_bytes(t, false));
    printf("%s a token in F16 (%d layers, %d heads of %d)\n", row, t->layers, t->kv_heads,
           t->head_dim);
    print_saved(d);
    if (d->processor_is_usual)
        printf("the folder has no picture processor: pictures are as its class makes them\n");
    return VLMP_OK;
}

int vlmp_plan_print(const vlmp_plan_document *d, vlmp_error *err)
{
    print_title(d);
    print_answer(d);
    vlmp_plan_print_rate(d);
    for (int first = 0; first < d->choice_count; first += A_TABLE) {
        int left = d->choice_count - first;
        putchar('\n');
        VLMP_TRY(print_sizes(&d->choices[first], left < A_TABLE ? left : A_TABLE, err));
    }
    print_notes(d);
    if (!d->runs) return VLMP_OK;
    VLMP_TRY(print_running(d, err));
    VLMP_TRY(vlmp_plan_print_quantizing(d, err));
    return d->device.name[0] != '\0' ? vlmp_plan_print_device(d, err) : VLMP_OK;
}
