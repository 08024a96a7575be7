#include "tools/export_imatrix.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/imatrix.h"
#include "formats/open.h"
#include "src/model/linears.h"
#include "src/model/model.h"
#include "tools/calibration_file.h"
#include "tools/outputs.h"
#include "tools/terminal.h"

struct matrix {
    const char *calib, *output;
    vlmp_source *source;
    vlmp_model model;
    vlmp_calibration calibration;
    vlmp_linear_info *linears;
    vlmp_imatrix_entry *entries; /* [count] */
    size_t count;
    float *squares; /* of all sites of the text model, one after the other */
    vlmp_outfile file;
};

/* square[dim]: both kinds of tokens together. */
static int sum_squares(float *square, const vlmp_site_statistics *site, const char *calib,
                       vlmp_error *err)
{
    for (int j = 0; j < site->dim; j++) {
        double sum = 0;
        for (int kind = 0; kind < VLMP_TOKEN_KINDS; kind++) {
            double rms = (double)site->rms[(size_t)kind * (size_t)site->dim + (size_t)j];
            sum += rms * rms * (double)site->count[kind];
        }
        if (sum > (double)FLT_MAX)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: the squares of %s, channel %d, sum up to %g, which F32 does not "
                             "hold; calibrate with fewer samples",
                             calib, site->name, j, sum);
        square[j] = (float)sum;
    }
    return VLMP_OK;
}

/* As many as a key of the file can count. */
static int add_tokens(int64_t *tokens, const vlmp_site_statistics *site, const char *calib,
                      vlmp_error *err)
{
    const int64_t *count = site->count;
    if (!__builtin_add_overflow(count[VLMP_TOKEN_TEXT], count[VLMP_TOKEN_PICTURE], tokens) &&
        *tokens <= UINT32_MAX)
        return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: %s has seen %lld text and %lld picture tokens, an importance matrix "
                     "counts up to 2³² − 1; calibrate with fewer samples",
                     calib, site->name, (long long)count[VLMP_TOKEN_TEXT],
                     (long long)count[VLMP_TOKEN_PICTURE]);
}

/* The text model's sites in order, and in which of them a linear reads. */
static int fill(struct matrix *m, vlmp_error *err)
{
    const vlmp_statistics *all = &m->calibration.statistics;
    int first = VLMP_SITES * m->model.vision.layers, linear_count;
    size_t values = 0, used = 0;
    for (int i = first; i < all->count; i++)
        values += (size_t)all->sites[i].dim;
    VLMP_TRY(vlmp_model_linears(&m->model, &m->linears, &linear_count, err));
    m->squares = vlmp_alloc(values, sizeof *m->squares);
    m->entries = vlmp_alloc((size_t)linear_count, sizeof *m->entries);
    if (m->squares == NULL || m->entries == NULL) return vlmp_fail_memory(err, m->output);
    int linear = 0;
    for (int i = first; i < all->count; used += (size_t)all->sites[i++].dim) {
        const vlmp_site_statistics *site = &all->sites[i];
        int64_t tokens;
        VLMP_TRY(add_tokens(&tokens, site, m->calib, err));
        VLMP_TRY(sum_squares(m->squares + used, site, m->calib, err));
        for (; linear < linear_count; linear++) {
            const vlmp_linear_info *info = &m->linears[linear];
            if (info->component != VLMP_COMPONENT_TEXT) continue;
            if (first + VLMP_SITES * info->layer + (int)info->site != i) break;
            m->entries[m->count++] =
                (vlmp_imatrix_entry){info->name, m->squares + used, site->dim, tokens};
        }
    }
    return VLMP_OK;
}

static int load(struct matrix *m, const char *model, vlmp_error *err)
{
    vlmp_identity identity;
    char digest[VLMP_SHA256_HEX];
    VLMP_TRY(vlmp_model_source_open(&m->source, model, err));
    VLMP_TRY(vlmp_model_open(&m->model, m->source, err));
    VLMP_TRY(vlmp_identity_of(&identity, m->source, err));
    return vlmp_calibration_load(&m->calibration, m->calib, &m->model, &identity, digest, err);
}

static int print(const struct matrix *m, const vlmp_cli_args *args, vlmp_error *err)
{
    const int64_t *count =
        m->calibration.statistics.sites[VLMP_SITES * m->model.vision.layers].count;
    if (!args->json) {
        vlmp_show_line(stdout,
                       "%s: importance for %zu linears, from %lld picture and %lld text tokens of "
                       "%zu samples",
                       m->output, m->count, (long long)count[VLMP_TOKEN_PICTURE],
                       (long long)count[VLMP_TOKEN_TEXT], m->calibration.count);
        return VLMP_OK;
    }
    vlmp_json_writer w = {.indent = 1};
    vlmp_json_open(&w, '{');
    vlmp_json_pair_int(&w, "schema", 1);
    vlmp_json_pair_string(&w, "model", m->source->path);
    vlmp_json_pair_string(&w, "calibration", m->calib);
    vlmp_json_pair_string(&w, "output", m->output);
    vlmp_json_pair_int(&w, "linears", (int64_t)m->count);
    vlmp_json_pair_int(&w, "samples", (int64_t)m->calibration.count);
    vlmp_json_pair_int(&w, "picture_tokens", count[VLMP_TOKEN_PICTURE]);
    vlmp_json_pair_int(&w, "text_tokens", count[VLMP_TOKEN_TEXT]);
    vlmp_json_close(&w, '}');
    int status = w.out.failed ? vlmp_fail_memory(err, "listing") : VLMP_OK;
    if (status == VLMP_OK) puts(w.out.data);
    vlmp_buffer_free(&w.out);
    return status;
}

static int write_matrix(struct matrix *m, const char *model, bool force, const vlmp_cli_args *args,
                        vlmp_error *err)
{
    const char *inputs[] = {model, m->calib};
    VLMP_TRY(vlmp_output_check(m->output, force, err));
    VLMP_TRY(vlmp_outputs_apart(&m->output, 1, inputs, 2, err));
    VLMP_TRY(load(m, model, err));
    VLMP_TRY(fill(m, err));
    const char *slash = strrchr(m->calib, '/');
    VLMP_TRY(vlmp_outfile_open(&m->file, m->output, force, err));
    VLMP_TRY(vlmp_imatrix_write(&m->file, m->entries, m->count,
                                slash != NULL ? slash + 1 : m->calib,
                                (uint32_t)m->entries[0].tokens, err));
    VLMP_TRY(vlmp_outfile_commit(&m->file, err));
    return print(m, args, err);
}

int vlmp_export_imatrix(const char *model, const char *calib, const char *output, bool force,
                        const vlmp_cli_args *args, vlmp_error *err)
{
    struct matrix m = {.calib = calib, .output = output, .file = {.fd = -1}};
    int status = write_matrix(&m, model, force, args, err);
    vlmp_outfile_abort(&m.file);
    free(m.squares);
    free(m.entries);
    free(m.linears);
    vlmp_calibration_free(&m.calibration);
    vlmp_model_close(&m.model);
    if (m.source != NULL) m.source->close(m.source);
    return status;
}
