#include "formats/weight_sizes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/packed_layout.h"
#include "src/base/packed_parts.h"
#include "src/model/names.h"

static void add(vlmp_weight_size *size, uint64_t weights, uint64_t bytes, bool quantized)
{
    size->weights += weights;
    size->bytes += bytes;
    if (!quantized) return;
    size->quantized_weights += weights;
    size->quantized_bytes += bytes;
}

static void add_to(vlmp_weight_sizes *out, const char *name, uint64_t weights, uint64_t bytes,
                   bool quantized)
{
    add(&out->parts[vlmp_component_of(name)], weights, bytes, quantized);
    add(&out->total, weights, bytes, quantized);
}

static void add_tensor(vlmp_weight_sizes *out, const vlmp_tensor *tensor)
{
    const char *leaf = tensor->name + vlmp_name_stem(tensor->name);
    size_t bytes = tensor->stored > 0 ? tensor->stored : tensor->bytes;
    uint64_t weights = vlmp_dtype_count(tensor->dtype, tensor->bytes);
    if (tensor->unused)
        out->unused_bytes += bytes;
    else if (vlmp_packed_part_of(leaf) != VLMP_PACKED_PARTS)
        add_to(out, tensor->name, 0, bytes, true);
    else
        add_to(out, tensor->name, weights, bytes,
               tensor->stored > 0 && bytes < weights * sizeof(uint16_t));
}

/* A linear's codes are of the weights that it had. */
static void add_linear(vlmp_weight_sizes *out, const vlmp_packed_linear *linear)
{
    char name[VLMP_NAME_BYTES + 16];
    snprintf(name, sizeof name, "%s.codes", linear->name); /* of any type: its place counts */
    add_to(out, name, (uint64_t)(linear->n * linear->k), 0, true);
}

void vlmp_weight_sizes_of(const vlmp_source *source, vlmp_weight_sizes *out)
{
    *out = (vlmp_weight_sizes){0};
    for (size_t i = 0; i < source->count(source); i++)
        add_tensor(out, source->at(source, i));
    if (strcmp(source->kind, "packed") != 0) return;
    size_t count;
    const vlmp_packed_linear *linears = vlmp_packed_linears(source, &count);
    for (size_t i = 0; i < count; i++) {
        char name[VLMP_NAME_BYTES + 16];
        snprintf(name, sizeof name, "%s.%s", linears[i].name,
                 vlmp_packed_part_name(VLMP_PACKED_CODES, linears[i].scheme.codes));
        const vlmp_tensor *codes = source->find(source, name);
        if (codes != NULL && !codes->unused) add_linear(out, &linears[i]);
    }
}

void vlmp_weight_sizes_of_plan(const vlmp_packed_plan *plan, vlmp_weight_sizes *out)
{
    *out = (vlmp_weight_sizes){0};
    for (size_t i = 0; i < plan->tensor_count; i++)
        if (!vlmp_packed_is_file(plan->tensors[i].name)) add_tensor(out, &plan->tensors[i]);
    for (size_t i = 0; i < plan->linear_count; i++)
        add_linear(out, &plan->linears[i]);
}

double vlmp_bits_per_weight(uint64_t bytes, uint64_t weights)
{
    return weights == 0 ? NAN : 8.0 * (double)bytes / (double)weights;
}
