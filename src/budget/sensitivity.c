#include "src/budget/sensitivity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/budget/knapsack.h"

#define VERSION    2
#define DAMAGE_MAX 1e100 /* nats; sums of these are finite */

/* Codes of a candidate, by falling size. */
static const struct {
    vlmp_code_type codes;
    int group;
    vlmp_zeros zeros;
} candidates[] = {
    {VLMP_CODES_U8, VLMP_GROUP_CHANNEL, VLMP_ZEROS_NONE},
    {VLMP_CODES_U4, 32, VLMP_ZEROS_PACKED},
    {VLMP_CODES_U4, 32, VLMP_ZEROS_NONE},
    {VLMP_CODES_U4, 64, VLMP_ZEROS_PACKED},
    {VLMP_CODES_U4, 64, VLMP_ZEROS_NONE},
    {VLMP_CODES_U4, 128, VLMP_ZEROS_PACKED},
    {VLMP_CODES_U4, 128, VLMP_ZEROS_NONE},
    {VLMP_CODES_U3, 32, VLMP_ZEROS_PACKED},
    {VLMP_CODES_U3, 64, VLMP_ZEROS_NONE},
    {VLMP_CODES_U3, 128, VLMP_ZEROS_NONE},
    {VLMP_CODES_U3, VLMP_GROUP_CHANNEL, VLMP_ZEROS_NONE},
};

void vlmp_sensitivity_candidates(vlmp_sensitivity *table)
{
    const int count = sizeof candidates / sizeof *candidates;
    table->candidates[0] = (vlmp_recipe_scheme){.method = VLMP_METHOD_KEEP};
    for (int i = 0; i < count; i++) {
        vlmp_recipe_scheme *scheme = &table->candidates[1 + i];
        *scheme = vlmp_recipe_scheme_default(VLMP_METHOD_GPTQ);
        scheme->codes = candidates[i].codes;
        scheme->group = candidates[i].group;
        scheme->zeros = candidates[i].zeros;
    }
    table->candidate_count = 1 + count;
}

vlmp_site_candidate *vlmp_sensitivity_cell(const vlmp_sensitivity *table, int site, int candidate)
{
    return &table->cells[(size_t)site * (size_t)table->candidate_count + (size_t)candidate];
}

int vlmp_sensitivity_probe(const vlmp_sensitivity *table, int site)
{
    static const int groups[] = {64, 32, 128};
    int any = 0;
    for (int c = table->candidate_count; c-- > 1;)
        if (vlmp_sensitivity_cell(table, site, c)->bytes != VLMP_NO_OPTION) any = c;
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        for (int c = 1; c < table->candidate_count; c++) {
            const vlmp_recipe_scheme *scheme = &table->candidates[c];
            if (scheme->codes == VLMP_CODES_U4 && scheme->group == groups[g] &&
                scheme->zeros == VLMP_ZEROS_NONE &&
                vlmp_sensitivity_cell(table, site, c)->bytes != VLMP_NO_OPTION)
                return c;
        }
    return any;
}

double vlmp_sensitivity_damage(const vlmp_sensitivity *table, int site, int candidate)
{
    const vlmp_site_candidate *cell = vlmp_sensitivity_cell(table, site, candidate);
    if (candidate == 0) return 0;
    if (!isnan(cell->kl)) return cell->kl;
    const vlmp_site_candidate *probe =
        vlmp_sensitivity_cell(table, site, vlmp_sensitivity_probe(table, site));
    return probe->error > 0 ? probe->kl * cell->error / probe->error : 0;
}

static void write_candidates(const vlmp_sensitivity *table, vlmp_json_writer *w)
{
    vlmp_json_pair_open(w, "candidates", '[');
    for (int c = 0; c < table->candidate_count; c++)
        vlmp_recipe_scheme_write(&table->candidates[c], w);
    vlmp_json_close(w, ']');
}

static void write_site(const vlmp_sensitivity *table, int site, vlmp_json_writer *w)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "site", table->sites[site].name);
    for (int key = 0; key < 2; key++) {
        vlmp_json_pair_open(w, key == 0 ? "error" : "kl", '[');
        for (int c = 0; c < table->candidate_count; c++) {
            const vlmp_site_candidate *cell = vlmp_sensitivity_cell(table, site, c);
            vlmp_json_put_double(w, key == 0 ? cell->error : cell->kl);
        }
        vlmp_json_close(w, ']');
    }
    vlmp_json_close(w, '}');
}

void vlmp_sensitivity_write(const vlmp_sensitivity *table, vlmp_json_writer *w)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_int(w, "version", VERSION);
    vlmp_json_key(w, "model");
    vlmp_identity_write(&table->model, w);
    vlmp_json_pair_string(w, "calibration", table->calibration);
    vlmp_json_pair_string(w, "program", table->program);
    vlmp_json_pair_string(w, "kernels", table->kernels);
    vlmp_json_pair_int(w, "samples", table->samples);
    vlmp_json_pair_int(w, "tokens", table->tokens);
    vlmp_json_pair_double(w, "passes", table->passes);
    write_candidates(table, w);
    vlmp_json_pair_open(w, "sites", '[');
    for (int s = 0; s < table->site_count; s++)
        write_site(table, s, w);
    vlmp_json_close(w, ']');
    vlmp_json_close(w, '}');
}

static int bad(const char *where, const char *what, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %s; remove the file, and it will be measured again",
                     where, what);
}

/* Whether the document's candidates and sites are the table's. */
static int compare(const vlmp_sensitivity *table, const cJSON *document, const char *where,
                   const char **why, vlmp_error *err)
{
    vlmp_identity model;
    const char *calibration, *program, *kernels;
    VLMP_TRY(vlmp_identity_read(&model, vlmp_json_get(document, "model"), where, err));
    VLMP_TRY(vlmp_json_string(document, "calibration", "", &calibration, where, err));
    VLMP_TRY(vlmp_json_string(document, "program", "", &program, where, err));
    VLMP_TRY(vlmp_json_string(document, "kernels", "", &kernels, where, err));
    const cJSON *schemes = vlmp_json_get(document, "candidates");
    const cJSON *sites = vlmp_json_get(document, "sites");
    if (!cJSON_IsArray(schemes) || !cJSON_IsArray(sites))
        return bad(where, "no list of candidates and sites", err);
    *why = vlmp_identity_difference(&model, &table->model);
    if (*why == NULL && strcmp(calibration, table->calibration) != 0) *why = "calibration";
    if (*why == NULL && strcmp(program, table->program) != 0) *why = "version of the program";
    if (*why == NULL && strcmp(kernels, table->kernels) != 0)
        *why = "processor, --seed or --tokens";
    vlmp_json_writer now = {0}, then = {0};
    vlmp_json_open(&now, '{');
    write_candidates(table, &now);
    vlmp_json_close(&now, '}');
    vlmp_json_open(&then, '{');
    vlmp_json_key(&then, "candidates");
    vlmp_json_put_tree(&then, schemes);
    vlmp_json_close(&then, '}');
    bool failed = now.out.failed || then.out.failed;
    if (!failed && *why == NULL && strcmp(now.out.data, then.out.data) != 0)
        *why = "list of candidates";
    vlmp_buffer_free(&now.out);
    vlmp_buffer_free(&then.out);
    if (failed) return vlmp_fail_memory(err, where);
    if (*why == NULL && cJSON_GetArraySize(sites) != table->site_count) *why = "list of sites";
    return VLMP_OK;
}

/* A number at least 0, or null: NAN. */
static bool read_number(const cJSON *item, double *out)
{
    *out = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    return cJSON_IsNull(item) || (cJSON_IsNumber(item) && *out >= 0);
}

static int read_site(vlmp_sensitivity *table, int site, const cJSON *item, const char *where,
                     vlmp_error *err)
{
    const char *name;
    VLMP_TRY(vlmp_json_string(item, "site", "", &name, where, err));
    const cJSON *errors = vlmp_json_get(item, "error"), *kls = vlmp_json_get(item, "kl");
    if (strcmp(name, table->sites[site].name) != 0 || !cJSON_IsArray(errors) ||
        !cJSON_IsArray(kls) || cJSON_GetArraySize(errors) != table->candidate_count ||
        cJSON_GetArraySize(kls) != table->candidate_count)
        return bad(where, "a site of another name, or numbers for other candidates", err);
    const cJSON *error = errors->child, *kl = kls->child;
    for (int c = 0; c < table->candidate_count; c++, error = error->next, kl = kl->next) {
        vlmp_site_candidate *cell = vlmp_sensitivity_cell(table, site, c);
        if (!read_number(error, &cell->error) || !read_number(kl, &cell->kl))
            return bad(where, "an error or a divergence below 0", err);
        bool needed = c > 0 && cell->bytes != VLMP_NO_OPTION;
        if ((needed && isnan(cell->error)) ||
            (needed && c == vlmp_sensitivity_probe(table, site) && isnan(cell->kl)))
            return bad(where, "a number is missing", err);
    }
    for (int c = 1; c < table->candidate_count; c++) {
        bool has = vlmp_sensitivity_cell(table, site, c)->bytes != VLMP_NO_OPTION;
        if (has && !(vlmp_sensitivity_damage(table, site, c) <= DAMAGE_MAX))
            return bad(where, "damage beyond what can be", err);
    }
    return VLMP_OK;
}

int vlmp_sensitivity_read(vlmp_sensitivity *table, const cJSON *document, const char *where,
                          bool *same, const char **why, vlmp_error *err)
{
    int64_t version, samples, tokens;
    *why = NULL;
    *same = false;
    VLMP_TRY(vlmp_json_int(document, "version", 0, 0, INT32_MAX, &version, where, err));
    if (version != VERSION) {
        *why = "version of the program";
        return VLMP_OK;
    }
    VLMP_TRY(compare(table, document, where, why, err));
    *same = *why == NULL;
    if (!*same) return VLMP_OK;
    VLMP_TRY(vlmp_json_int(document, "samples", -1, 1, INT32_MAX, &samples, where, err));
    VLMP_TRY(vlmp_json_int(document, "tokens", -1, 1, INT32_MAX, &tokens, where, err));
    VLMP_TRY(vlmp_json_double(document, "passes", 0, &table->passes, where, err));
    table->samples = (int)samples;
    table->tokens = (int)tokens;
    const cJSON *site = vlmp_json_get(document, "sites")->child;
    for (int s = 0; s < table->site_count; s++, site = site->next)
        VLMP_TRY(read_site(table, s, site, where, err));
    return VLMP_OK;
}

void vlmp_sensitivity_free(vlmp_sensitivity *table)
{
    free(table->sites);
    free(table->cells);
    *table = (vlmp_sensitivity){0};
}
