#include "tools/sensitivity_work.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/journal_sink.h"
#include "src/base/memory.h"
#include "src/quant/run/boundary.h"

/* Payloads are doubles as they lie in memory: the file never leaves this machine. */
#define KIND_ROUNDED 1 /* name: the candidate's number; digest, then an error for each site */
#define KIND_RAN     2 /* name: the site's; one divergence */

static void name_candidate(char out[16], int candidate)
{
    snprintf(out, 16, "%d", candidate);
}

static int write_identity(const vlmp_sensitivity *t, vlmp_buffer *out, vlmp_error *err)
{
    vlmp_json_writer w = {0};
    vlmp_json_open(&w, '[');
    for (int c = 0; c < t->candidate_count; c++)
        vlmp_recipe_scheme_write(&t->candidates[c], &w);
    vlmp_json_close(&w, ']');
    vlmp_identity_lines(&t->model, out);
    vlmp_buffer_printf(out, "program: %s\ncalibration: %s\nkernels: %s\n", t->program,
                       t->calibration, t->kernels);
    if (!w.out.failed) vlmp_buffer_printf(out, "candidates: %s\n", w.out.data);
    bool failed = w.out.failed || out->failed;
    vlmp_buffer_free(&w.out);
    return failed ? vlmp_fail_memory(err, "a measurement's journal") : VLMP_OK;
}

/* What another run left is gone on from where it is of the same, else started over. */
static int open_or_replace(vlmp_journal **out, const char *path, const char *identity,
                           vlmp_error *err)
{
    vlmp_error other = {0};
    int status = vlmp_journal_open(out, path, identity, VLMP_JOURNAL_RESUME, &other);
    if (status == VLMP_ERR_INPUT)
        return vlmp_journal_open(out, path, identity, VLMP_JOURNAL_REPLACE, err);
    if (status != VLMP_OK) *err = other;
    return status;
}

int vlmp_sensitivity_work_open(vlmp_sensitivity_work *out, const vlmp_sensitivity *table,
                               const char *folder, vlmp_error *err)
{
    char path[4200];
    *out = (vlmp_sensitivity_work){.table = table};
    snprintf(out->stem, sizeof out->stem, "%.4000s/vlmpack-candidate-%.12s", folder,
             table->calibration);
    snprintf(path, sizeof path, "%s.measured", out->stem);
    VLMP_TRY(write_identity(table, &out->identity, err));
    VLMP_TRY(open_or_replace(&out->journal, path, out->identity.data, err));
    out->again = vlmp_journal_count(out->journal) > 0;
    return VLMP_OK;
}

void vlmp_sensitivity_work_close(vlmp_sensitivity_work *work, bool keep)
{
    char path[4200];
    for (int c = 1; work->journal != NULL && !keep && c < work->table->candidate_count; c++) {
        vlmp_sensitivity_work_path(work, c, path);
        unlink(path);
    }
    if (work->journal != NULL && !keep) {
        snprintf(path, sizeof path, "%s.border", work->stem);
        vlmp_boundary_remove(path);
        snprintf(path, sizeof path, "%s.journal", work->stem);
        unlink(path);
        snprintf(path, sizeof path, "%s.measured", work->stem);
        unlink(path);
    }
    vlmp_journal_close(work->journal);
    vlmp_buffer_free(&work->identity);
    *work = (vlmp_sensitivity_work){0};
}

int vlmp_sensitivity_work_sink(const vlmp_sensitivity_work *work, int candidate, vlmp_sink **sink,
                               char border[4096], vlmp_error *err)
{
    char path[4200];
    vlmp_buffer identity = {0};
    vlmp_error other = {0};
    snprintf(border, 4096, "%.4080s.border", work->stem);
    snprintf(path, sizeof path, "%s.journal", work->stem);
    vlmp_buffer_printf(&identity, "%scandidate: %d\n", work->identity.data, candidate);
    if (identity.failed) return vlmp_fail_memory(err, path);
    int status = vlmp_journal_sink_open(sink, path, identity.data, VLMP_JOURNAL_RESUME, &other);
    if (status == VLMP_ERR_INPUT)
        status = vlmp_journal_sink_open(sink, path, identity.data, VLMP_JOURNAL_REPLACE, err);
    else if (status != VLMP_OK)
        *err = other;
    vlmp_buffer_free(&identity);
    return status;
}

void vlmp_sensitivity_work_sink_end(const vlmp_sensitivity_work *work, vlmp_sink *sink)
{
    char path[4200];
    snprintf(path, sizeof path, "%s.border", work->stem);
    vlmp_boundary_remove(path);
    snprintf(path, sizeof path, "%s.journal", work->stem);
    unlink(path);
    vlmp_journal_sink_close(sink);
}

void vlmp_sensitivity_work_path(const vlmp_sensitivity_work *work, int candidate, char path[4096])
{
    snprintf(path, 4096, "%.4070s-%d.vlmp", work->stem, candidate);
}

int vlmp_sensitivity_work_rounded(vlmp_sensitivity_work *work, int candidate, const char *digest,
                                  vlmp_error *err)
{
    char name[16];
    int sites = work->table->site_count;
    double *errors = vlmp_alloc((size_t)sites, sizeof *errors);
    if (errors == NULL) return vlmp_fail_memory(err, "a measurement's journal");
    for (int s = 0; s < sites; s++)
        errors[s] = vlmp_sensitivity_cell(work->table, s, candidate)->error;
    name_candidate(name, candidate);
    int status = vlmp_journal_append(work->journal, KIND_ROUNDED, name, digest, VLMP_SHA256_HEX,
                                     errors, (size_t)sites * sizeof *errors, err);
    free(errors);
    VLMP_TRY(status);
    return vlmp_journal_commit(work->journal, err);
}

int vlmp_sensitivity_work_find(const vlmp_sensitivity_work *work, int candidate,
                               char digest[VLMP_SHA256_HEX], vlmp_error *err)
{
    char name[16];
    const vlmp_sensitivity *t = work->table;
    digest[0] = '\0';
    name_candidate(name, candidate);
    const vlmp_journal_record *r = vlmp_journal_find(work->journal, KIND_ROUNDED, name);
    if (r == NULL || r->length != VLMP_SHA256_HEX + (uint64_t)t->site_count * sizeof(double))
        return VLMP_OK;
    for (int s = 0; s < t->site_count; s++)
        VLMP_TRY(vlmp_journal_read(work->journal, r, VLMP_SHA256_HEX + (size_t)s * sizeof(double),
                                   &vlmp_sensitivity_cell(t, s, candidate)->error, sizeof(double),
                                   err));
    VLMP_TRY(vlmp_journal_read(work->journal, r, 0, digest, VLMP_SHA256_HEX, err));
    digest[VLMP_SHA256_HEX - 1] = '\0';
    return VLMP_OK;
}

int vlmp_sensitivity_work_ran(vlmp_sensitivity_work *work, int site, double kl, vlmp_error *err)
{
    VLMP_TRY(vlmp_journal_append(work->journal, KIND_RAN, work->table->sites[site].name, NULL, 0,
                                 &kl, sizeof kl, err));
    return vlmp_journal_commit(work->journal, err);
}

int vlmp_sensitivity_work_runs(const vlmp_sensitivity_work *work, vlmp_error *err)
{
    const vlmp_sensitivity *t = work->table;
    for (int s = 0; s < t->site_count; s++) {
        const vlmp_journal_record *r = vlmp_journal_find(work->journal, KIND_RAN, t->sites[s].name);
        if (r == NULL || r->length != sizeof(double)) continue;
        double *kl = &vlmp_sensitivity_cell(t, s, vlmp_sensitivity_probe(t, s))->kl;
        VLMP_TRY(vlmp_journal_read(work->journal, r, 0, kl, sizeof *kl, err));
    }
    return VLMP_OK;
}
