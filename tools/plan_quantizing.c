/* Memory, disk and time of quantizing. */
#include <stdio.h>
#include <string.h>

#include "tools/inspect.h"
#include "tools/plan.h"
#include "tools/progress.h"

/* The largest part of it. */
static void part_text(char *out, size_t capacity, const vlmp_quantizing_memory *m)
{
    const struct {
        const char *name;
        double bytes;
    } parts[] = {
        {"block", m->weights},   {"activations", m->activations},  {"largest sample", m->batch},
        {"moments", m->moments}, {"F32 of the linear", m->linear}, {"program", m->program}};
    size_t most = 0;
    char bytes[32];
    for (size_t i = 1; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].bytes > parts[most].bytes) most = i;
    vlmp_format_bytes(bytes, sizeof bytes, parts[most].bytes);
    snprintf(out, capacity, "%s %s", parts[most].name, bytes);
}

static bool add_choice(vlmp_listing *rows, const vlmp_plan_document *d, int index)
{
    const vlmp_quantizing *q = &d->quantizings[index];
    char text[64];
    bool good = vlmp_listing_add(rows, 0, d->choices[index].name);
    vlmp_format_bytes(text, sizeof text, q->memory.total);
    good = good && vlmp_listing_add(rows, 1, text);
    vlmp_format_bytes(text, sizeof text, q->disk);
    good = good && vlmp_listing_add(rows, 2, text);
    vlmp_format_seconds(text, sizeof text, vlmp_quantizing_seconds(q, d->products));
    good = good && vlmp_listing_add(rows, 3, text);
    part_text(text, sizeof text, &q->memory);
    return good && vlmp_listing_add(rows, 4, text) && vlmp_listing_add(rows, 5, q->memory.at);
}

int vlmp_plan_print_quantizing(const vlmp_plan_document *d, vlmp_error *err)
{
    vlmp_column columns[] = {{.header = "recipe"},
                             {.header = "memory", .right = true},
                             {.header = "disk", .right = true},
                             {.header = "time", .right = true},
                             {.header = "most of it"},
                             {.header = "most at"}};
    vlmp_listing rows = {.columns = sizeof columns / sizeof *columns};
    bool good = true;
    if (d->choice_count < 2) return VLMP_OK;
    if (d->asked.picture.width > 0)
        printf("\nquantizing, %lld samples of %.0f tokens (picture %dx%d, %d tower rows)\n",
               (long long)d->options->samples, vlmp_workload_prompt(&d->asked),
               d->asked.picture.width, d->asked.picture.height, d->asked.picture.tower_rows);
    else
        printf("\nquantizing, %lld samples of %.0f tokens\n", (long long)d->options->samples,
               vlmp_workload_prompt(&d->asked));
    for (int i = 1; i < d->choice_count && good; i++)
        good = add_choice(&rows, d, i);
    VLMP_TRY(vlmp_listing_print(&rows, columns, !good, err));
    printf("estimates, memory and time here: products at %.3g GFLOP/s, measured just now\n"
           "disk: beside the output until the run ends; time: --tokens N takes less\n",
           d->products / 1e9);
    return VLMP_OK;
}
