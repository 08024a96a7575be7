#include <stdio.h>
#include <string.h>

#include "src/model/family.h"
#include "tools/inspect.h"
#include "tools/plan.h"
#include "tools/progress.h"
#include "tools/terminal.h"

/* "13.35 B", "7.74 M". */
static void format_count(char *out, size_t capacity, double count)
{
    bool billions = count >= 1e9;
    snprintf(out, capacity, "%.2f %c", count / (billions ? 1e9 : 1e6), billions ? 'B' : 'M');
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
        part < VLMP_PARTS ? &choices[0].sizes.parts[part] : &choices[0].sizes.total;
    format_count(text, sizeof text, (double)of->weights);
    bool good = vlmp_listing_add(rows, 0, name) && vlmp_listing_add(rows, 1, text);
    for (int i = 0; i < count && good; i++) {
        const vlmp_weight_sizes *sizes = &choices[i].sizes;
        size_cell(text, part < VLMP_PARTS ? &sizes->parts[part] : &sizes->total);
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
    for (int part = 0; part < VLMP_PARTS; part++)
        if (choices[0].sizes.parts[part].weights > 0)
            good = good && add_sizes(&rows, choices, count, vlmp_part_name((vlmp_part)part), part);
    good = good && add_sizes(&rows, choices, count, "all", VLMP_PARTS);
    good = good && add_files(&rows, choices, count);
    return vlmp_listing_print(&rows, columns, !good, err);
}

static void print_notes(const vlmp_plan_document *d)
{
    char bytes[32];
    uint64_t unused = d->choices[0].sizes.unused_bytes;
    vlmp_format_bytes(bytes, sizeof bytes, (double)unused);
    if (unused > 0) printf("%s more in tensors that the model never reads\n", bytes);
    if (d->source->promised)
        printf("there are no weights: sizes are those that config.json asks for; a packed file\n"
               "also holds the folder's other files and tensors that the model never reads\n");
}

int vlmp_plan_print(const vlmp_plan_document *d, vlmp_error *err)
{
    print_title(d);
    for (int first = 0; first < d->choice_count; first += A_TABLE) {
        int left = d->choice_count - first;
        putchar('\n');
        VLMP_TRY(print_sizes(&d->choices[first], left < A_TABLE ? left : A_TABLE, err));
    }
    print_notes(d);
    return VLMP_OK;
}
