/* The pair of GGUF files as a target of exports. */
#include <stdlib.h>
#include <string.h>

#include "formats/export_gguf.h"
#include "formats/export_plan.h"
#include "src/model/family.h"
#include "src/picture/preprocess.h"
#include "src/text/prompt.h"

static const char *const file_names[] = {
    [VLMP_GGUF_TEXT] = VLMP_GGUF_TEXT_FILE, [VLMP_GGUF_TOWER] = VLMP_GGUF_TOWER_FILE};

/* The plans of both files, and what they borrow. */
typedef struct {
    vlmp_gguf_plan plans[2]; /* by vlmp_gguf_part */
    vlmp_gguf_model model;
    vlmp_tokenizer *tokenizer;
    vlmp_vocabulary vocabulary;
    vlmp_buffer chat_template; /* with NUL */
} parts;

static void release(vlmp_export *export)
{
    parts *p = export->own;
    vlmp_gguf_plan_free(&p->plans[VLMP_GGUF_TEXT]);
    vlmp_gguf_plan_free(&p->plans[VLMP_GGUF_TOWER]);
    vlmp_vocabulary_free(&p->vocabulary);
    vlmp_tokenizer_free(p->tokenizer);
    vlmp_buffer_free(&p->chat_template);
    free(p);
    export->own = NULL;
}

static int parts_load(parts *p, const vlmp_export *export, vlmp_error *err)
{
    const vlmp_source *source = export->source;
    const char *name;
    vlmp_preprocess pictures;
    VLMP_TRY(vlmp_preprocess_from_source(&pictures, NULL, source, err));
    VLMP_TRY(vlmp_tokenizer_load(&p->tokenizer, source, err));
    VLMP_TRY(vlmp_vocabulary_of(&p->vocabulary, p->tokenizer, err));
    VLMP_TRY(vlmp_chat_template_find(&p->chat_template, &name, source, err));
    p->model = (vlmp_gguf_model){.source = source,
                                 .config = export->config,
                                 .tokenizer = p->tokenizer,
                                 .vocabulary = &p->vocabulary,
                                 .name = export->config->family->name,
                                 .chat_template = p->chat_template.data};
    memcpy(p->model.image_mean, pictures.mean, sizeof pictures.mean);
    p->model.longest_edge = pictures.size.longest_edge;
    memcpy(p->model.image_std, pictures.std, sizeof pictures.std);
    return VLMP_OK;
}

static vlmp_export_fate fate_of(const vlmp_gguf_item *item)
{
    if (item->codes != NULL)
        return item->fit == VLMP_GGUF_EXACT ? VLMP_EXPORT_EXACT : VLMP_EXPORT_CONVERTED;
    bool as_it_is =
        item->dense != NULL && !vlmp_gguf_order_moves(&item->order) &&
        strcmp(vlmp_gguf_type_name(item->out.type), vlmp_dtype_name(item->dense->dtype)) == 0;
    return as_it_is ? VLMP_EXPORT_KEPT : VLMP_EXPORT_EXACT;
}

static int list_item(vlmp_export *export, const vlmp_gguf_item *item, vlmp_error *err)
{
    char *name = vlmp_arena_copy(&export->arena, item->out.name, strlen(item->out.name));
    if (name == NULL) return vlmp_fail_memory(err, export->source->path);
    vlmp_export_tensor t = {.tensor = {.name = name, .dtype = VLMP_U8, .rank = item->out.rank},
                            .fate = fate_of(item),
                            .source = item->dense != NULL ? item->dense : item->codes,
                            .linear = item->linear,
                            .type = vlmp_gguf_type_name(item->out.type)};
    size_t row = 0;
    VLMP_TRY(vlmp_gguf_row_bytes(&item->out, &row, err));
    t.tensor.bytes = row;
    for (int d = 0; d < item->out.rank; d++) {
        t.tensor.shape[d] = item->out.shape[d];
        if (d + 1 < item->out.rank) t.tensor.bytes *= (size_t)item->out.shape[d];
    }
    return vlmp_export_append(export, &t, err);
}

static int plan_part(vlmp_export *export, vlmp_gguf_part part, vlmp_error *err)
{
    parts *p = export->own;
    vlmp_gguf_plan *plan = &p->plans[part];
    VLMP_TRY(vlmp_gguf_plan_make(plan, part, &p->model, err));
    for (size_t i = 0; i < plan->count; i++)
        VLMP_TRY(list_item(export, &plan->items[i], err));
    return VLMP_OK;
}

static int plan_both(vlmp_export *export, vlmp_error *err)
{
    export->own = vlmp_calloc(1, sizeof(parts));
    if (export->own == NULL) return vlmp_fail_memory(err, export->source->path);
    VLMP_TRY(parts_load(export->own, export, err));
    VLMP_TRY(plan_part(export, VLMP_GGUF_TEXT, err));
    return plan_part(export, VLMP_GGUF_TOWER, err);
}

static int write_part(const vlmp_export *export, vlmp_outfolder *folder, vlmp_gguf_part part,
                      vlmp_gguf_progress *progress, vlmp_error *err)
{
    const parts *p = export->own;
    char path[4096];
    vlmp_outfile file;
    VLMP_TRY(vlmp_outfolder_path(path, folder, file_names[part], err));
    VLMP_TRY(vlmp_outfile_open(&file, path, false, err));
    int status = vlmp_gguf_plan_write(&p->plans[part], &file, progress, err);
    if (status == VLMP_OK) status = vlmp_outfile_commit(&file, err);
    vlmp_outfile_abort(&file);
    return status;
}

static int write_both(const vlmp_export *export, vlmp_outfolder *folder,
                      vlmp_export_progress *progress, void *arg, vlmp_error *err)
{
    vlmp_gguf_progress all = {progress, arg, 0, vlmp_export_bytes(export)};
    VLMP_TRY(write_part(export, folder, VLMP_GGUF_TEXT, &all, err));
    return write_part(export, folder, VLMP_GGUF_TOWER, &all, err);
}

const vlmp_export_layout vlmp_export_gguf = {.layout = VLMP_LAYOUT_GGUF,
                                             .plan = plan_both,
                                             .write = write_both,
                                             .release = release,
                                             .names = true};
