#include "src/budget/sites.h"

#include <stdio.h>
#include <string.h>

#include "src/base/memory.h"

static bool shares(const vlmp_budget_site *site, const vlmp_linear_info *first,
                   const vlmp_linear_info *linear)
{
    return site->layer >= 0 && linear->component == site->component &&
           linear->layer == site->layer && linear->site == first->site;
}

/* "attn.[qkv]", "mlp.[gu]*", or the only one's name, behind a prefix. */
static void name_site(char out[VLMP_NAME_MAX], const char *prefix, const vlmp_budget_site *site,
                      const vlmp_linear_info *linears)
{
    char leaves[VLMP_SITE_LINEARS + 1] = "";
    const char *name = linears[site->linears[0]].name;
    bool letters = true;
    if (site->layer >= 0) /* behind "text.layers.3." */
        for (int dots = 0; dots < 3; name++)
            dots += *name == '.';
    int stem = (int)(strrchr(name, '.') - name) + 1;
    for (int i = 0; i < site->count; i++) {
        const char *leaf = strrchr(linears[site->linears[i]].name, '.') + 1;
        leaves[i] = leaf[0];
        letters &= leaf[1] == '\0';
    }
    if (site->count == 1)
        snprintf(out, VLMP_NAME_MAX, "%s%s", prefix, name);
    else
        snprintf(out, VLMP_NAME_MAX, "%s%.*s[%s]%s", prefix, stem, name, leaves,
                 letters ? "" : "*");
}

static void name_both(vlmp_budget_site *site, const vlmp_linear_info *linears, bool tied)
{
    char prefix[64] = "";
    const char *stack = vlmp_component_name(site->component);
    if (site->layer >= 0) snprintf(prefix, sizeof prefix, "%s.layers.%d.", stack, site->layer);
    name_site(site->name, prefix, site, linears);
    if (site->layer >= 0) snprintf(prefix, sizeof prefix, "%s.layers.*.", stack);
    name_site(site->kind, prefix, site, linears);
    if (site->component != VLMP_COMPONENT_EMBED || !tied) return;
    snprintf(site->name, sizeof site->name, "text.head");
    snprintf(site->kind, sizeof site->kind, "text.head");
}

int vlmp_budget_sites(const vlmp_linear_info *linears, int count, bool tied, vlmp_budget_site **out,
                      int *site_count, vlmp_error *err)
{
    vlmp_budget_site *sites = vlmp_calloc((size_t)count, sizeof *sites), *last = NULL;
    *out = sites;
    *site_count = 0;
    if (sites == NULL) return vlmp_fail_memory(err, "the sites of a model");
    for (int i = 0; i < count; i++) {
        const vlmp_linear_info *l = &linears[i];
        if (last == NULL || !shares(last, &linears[last->linears[0]], l)) {
            last = &sites[(*site_count)++];
            *last = (vlmp_budget_site){.component = l->component, .layer = l->layer};
        }
        last->linears[last->count++] = i;
    }
    for (int s = 0; s < *site_count; s++)
        name_both(&sites[s], linears, tied);
    return VLMP_OK;
}
