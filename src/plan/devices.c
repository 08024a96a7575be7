#include "src/plan/devices.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/nearest.h"

#define T 1e12
#define G 1e9

/* Dense rates, F16 products with F32 sums. */
static const vlmp_device_row table[] = {
    {"t4", 320 * G, 65 * T, 130 * T, 16 * G, "NVIDIA T4 data sheet"},
    {"a10", 600 * G, 125 * T, 250 * T, 24 * G, "NVIDIA A10 data sheet"},
    {"l4", 300 * G, 121 * T, 242 * T, 24 * G, "NVIDIA L4 data sheet, without sparsity"},
    {"l40s", 864 * G, 362 * T, 733 * T, 48 * G, "NVIDIA L40S data sheet, without sparsity"},
    {"rtx3090", 936 * G, 71 * T, 284 * T, 24 * G, "NVIDIA GA102 white paper"},
    {"rtx4090", 1008 * G, 165.2 * T, 660.6 * T, 24 * G, "NVIDIA Ada white paper"},
    {"a100-40g", 1555 * G, 312 * T, 624 * T, 40 * G, "NVIDIA A100 data sheet"},
    {"a100-80g", 2039 * G, 312 * T, 624 * T, 80 * G, "NVIDIA A100 data sheet, SXM"},
    {"h100", 3350 * G, 989 * T, 1979 * T, 80 * G, "NVIDIA H100 data sheet, SXM"},
    {"h200", 4800 * G, 989 * T, 1979 * T, 141 * G, "NVIDIA H200 data sheet, SXM"},
};

const vlmp_device_row *vlmp_device_at(int index)
{
    return index >= 0 && index < (int)(sizeof table / sizeof *table) ? &table[index] : NULL;
}

static int unknown(const char *spec, vlmp_error *err)
{
    char names[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "",
                                 table[i].name);
    char hint[VLMP_HINT_MAX];
    vlmp_nearest_hint(hint, spec, &table[0].name, sizeof *table, sizeof table / sizeof *table);
    return vlmp_fail(err, VLMP_ERR_USAGE,
                     "--device-spec '%.80s': no such device%s; give one of %s, 2xNAME for two that "
                     "share the work, cpu for this machine, or bandwidth=…,flops=…",
                     spec, hint, names);
}

/* A positive number with k, M, G, T or P behind it, up to a comma or the end. */
static const char *read_rate(const char *text, double *out)
{
    static const char units[] = "kMGTP";
    char *end;
    *out = strtod(text, &end);
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    if (end == text || !isdigit((unsigned char)text[0])) return NULL;
    if (unit != NULL) *out *= pow(1000, (double)(unit - units + 1)), end++;
    return *out > 0 && *out < 1e24 && (*end == ',' || *end == '\0') ? end : NULL;
}

static int read_pairs(vlmp_plan_device *out, const char *spec, vlmp_error *err)
{
    const struct {
        const char *key;
        double *to;
    } keys[] = {{"bandwidth=", &out->rates.bandwidth},
                {"flops=", &out->rates.flops},
                {"int8=", &out->rates.int8},
                {"memory=", &out->memory}};
    const size_t count = sizeof keys / sizeof *keys;
    for (const char *at = spec; at != NULL && *at != '\0';) {
        size_t k = 0;
        while (k < count && strncmp(at, keys[k].key, strlen(keys[k].key)) != 0)
            k++;
        const char *end = k < count ? read_rate(at + strlen(keys[k].key), keys[k].to) : NULL;
        if (end == NULL)
            return vlmp_fail(err, VLMP_ERR_USAGE,
                             "--device-spec: cannot read '%.80s'; give "
                             "bandwidth=1555G,flops=312T and, where known, int8=624T,memory=40G",
                             at);
        at = *end == ',' ? end + 1 : NULL;
    }
    if (out->rates.bandwidth > 0 && out->rates.flops > 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_USAGE,
                     "--device-spec '%.80s': bandwidth= (bytes/s) and flops= (operations/s) must "
                     "both be said",
                     spec);
}

static void take_row(vlmp_plan_device *out, const vlmp_device_row *row)
{
    out->rates = (vlmp_rates){.bandwidth = out->count * row->bandwidth,
                              .flops = out->count * row->flops,
                              .int8 = out->count * row->int8};
    out->memory = out->count * row->memory;
    out->source = row->source;
}

int vlmp_plan_device_read(vlmp_plan_device *out, const char *spec, vlmp_error *err)
{
    const char *name = spec;
    *out = (vlmp_plan_device){.count = 1};
    snprintf(out->name, sizeof out->name, "%s", spec);
    if (strchr(spec, '=') != NULL) return read_pairs(out, spec, err);
    const char *times = strchr(spec, 'x');
    if (isdigit((unsigned char)spec[0]) && times != NULL) {
        char *end;
        long count = strtol(spec, &end, 10);
        if (end != times || count < 1 || count > 1024) return unknown(spec, err);
        out->count = (int)count;
        name = times + 1;
    }
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].name, name) != 0) continue;
        take_row(out, &table[i]);
        return VLMP_OK;
    }
    return unknown(spec, err);
}
