#include "tools/export_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/model/family.h"
#include "tools/export_serve.h"
#include "tools/inspect.h"
#include "tools/progress.h"
#include "tools/terminal.h"

#define MAX_REPORT ((size_t)256 << 20) /* bytes */

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

int vlmp_export_read_report(vlmp_export_facts *facts, const char *path, vlmp_error *err)
{
    VLMP_TRY(vlmp_json_load(&facts->report, path, MAX_REPORT, err));
    const char *name = last_part(facts->export->source->path);
    const cJSON *results = vlmp_json_get(facts->report, "results");
    for (const cJSON *r = cJSON_IsArray(results) ? results->child : NULL; r != NULL; r = r->next) {
        const cJSON *model = vlmp_json_get(r, "model");
        if (!cJSON_IsString(model) || strcmp(last_part(model->valuestring), name) != 0) continue;
        facts->result = r;
        return VLMP_OK;
    }
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: has no results of %s; give what vlm-eval --json printed about it", path,
                     name);
}

void vlmp_export_facts_free(vlmp_export_facts *facts)
{
    cJSON_Delete(facts->report);
    *facts = (vlmp_export_facts){0};
}

bool vlmp_export_number(const vlmp_export_facts *facts, const char *path, double *value)
{
    const cJSON *at = facts->result;
    char key[32];
    while (at != NULL && *path != '\0') {
        size_t length = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, atoi(key)) : vlmp_json_get(at, key);
        path += length + (path[length] == '.');
    }
    if (!cJSON_IsNumber(at)) return false;
    *value = at->valuedouble;
    return true;
}

const char *vlmp_export_name(const vlmp_export *export)
{
    const vlmp_config *config = export->config;
    return vlmp_family_runs(config->family) ? config->family->name : config->model_type;
}

void vlmp_export_count_fates(const vlmp_export *export, size_t counts[3])
{
    memset(counts, 0, 3 * sizeof *counts);
    for (size_t i = 0; i < export->count; i++)
        counts[export->tensors[i].fate]++;
}

void vlmp_export_command(vlmp_buffer *out, const vlmp_export_facts *facts)
{
    vlmp_serve_line(out, facts->export, facts->output != NULL ? facts->output : "DIR");
}

static const char *source_of(const vlmp_export_tensor *t)
{
    return t->linear != NULL ? t->linear->name : t->source != NULL ? t->source->name : "";
}

static const char *type_of(const vlmp_export_tensor *t)
{
    return t->type != NULL ? t->type : vlmp_dtype_name(t->tensor.dtype);
}

static int print_table(const vlmp_export *export, vlmp_error *err)
{
    vlmp_column columns[] = {{"tensor", false, 0}, {"becomes", false, 0}, {"type", false, 0},
                             {"shape", true, 0},   {"bytes", true, 0},    {"of", false, 0}};
    vlmp_listing rows = {.columns = 6};
    bool good = true;
    for (size_t i = 0; i < export->count && good; i++) {
        const vlmp_export_tensor *t = &export->tensors[i];
        char text[160];
        good = vlmp_listing_add(&rows, 0, t->tensor.name) &&
               vlmp_listing_add(&rows, 1, vlmp_export_fate_name(t->fate)) &&
               vlmp_listing_add(&rows, 2, type_of(t));
        vlmp_shape_text(text, sizeof text, t->tensor.shape, t->tensor.rank);
        good = good && vlmp_listing_add(&rows, 3, text);
        snprintf(text, sizeof text, "%zu", t->tensor.bytes);
        good = good && vlmp_listing_add(&rows, 4, text) && vlmp_listing_add(&rows, 5, source_of(t));
    }
    return vlmp_listing_print(&rows, columns, !good, err);
}

static int print_text(const vlmp_export_facts *facts, bool dry_run, vlmp_error *err)
{
    const vlmp_export *export = facts->export;
    size_t counts[3];
    char size[32];
    if (dry_run) VLMP_TRY(print_table(export, err));
    vlmp_export_count_fates(export, counts);
    vlmp_format_bytes(size, sizeof size, (double)vlmp_export_bytes(export));
    vlmp_show_line(stdout, "%s: %s for %s, %zu tensors (%zu kept, %zu exact, %zu converted), %s",
                   dry_run || facts->output == NULL ? export->source->path : facts->output,
                   vlmp_layout_name(export->layout->layout), vlmp_serve_name(export->engine),
                   export->count, counts[0], counts[1], counts[2], size);
    const char *text;
    for (int i = 0; (text = vlmp_export_caveat(export, i)) != NULL; i++)
        vlmp_show_line(stdout, "note: %s", text);
    vlmp_buffer command = {0};
    vlmp_export_command(&command, facts);
    bool failed = command.failed;
    if (!failed) vlmp_show_line(stdout, "serve: %s", command.data);
    vlmp_buffer_free(&command);
    return failed ? vlmp_fail_memory(err, "command") : VLMP_OK;
}

static void put_tensors(vlmp_json_writer *w, const vlmp_export *export)
{
    vlmp_json_key(w, "tensors");
    vlmp_json_open(w, '[');
    for (size_t i = 0; i < export->count; i++) {
        const vlmp_export_tensor *t = &export->tensors[i];
        vlmp_json_open(w, '{');
        vlmp_json_pair_string(w, "name", t->tensor.name);
        vlmp_json_pair_string(w, "of", source_of(t));
        vlmp_json_pair_string(w, "fate", vlmp_export_fate_name(t->fate));
        vlmp_json_pair_string(w, "dtype", type_of(t));
        vlmp_json_key(w, "shape");
        vlmp_json_open(w, '[');
        for (int d = 0; d < t->tensor.rank; d++)
            vlmp_json_put_int(w, t->tensor.shape[d]);
        vlmp_json_close(w, ']');
        vlmp_json_pair_int(w, "bytes", (int64_t)t->tensor.bytes);
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
}

static int print_json(const vlmp_export_facts *facts, bool dry_run, vlmp_error *err)
{
    const vlmp_export *export = facts->export;
    size_t counts[3];
    vlmp_export_count_fates(export, counts);
    vlmp_json_writer w = {.indent = 1};
    vlmp_json_open(&w, '{');
    vlmp_json_pair_int(&w, "schema", 1);
    vlmp_json_pair_string(&w, "packed", export->source->path);
    vlmp_json_pair_string(&w, "output", dry_run ? NULL : facts->output);
    vlmp_json_pair_string(&w, "format", vlmp_layout_name(export->layout->layout));
    vlmp_json_pair_string(&w, "engine", vlmp_serve_name(export->engine));
    vlmp_json_pair_int(&w, "bytes", (int64_t)vlmp_export_bytes(export));
    for (int i = 0; i < 3; i++)
        vlmp_json_pair_int(&w, vlmp_export_fate_name((vlmp_export_fate)i), (int64_t)counts[i]);
    vlmp_json_key(&w, "notes");
    vlmp_json_open(&w, '[');
    const char *text;
    for (int i = 0; (text = vlmp_export_caveat(export, i)) != NULL; i++)
        vlmp_json_put_string(&w, text);
    vlmp_json_close(&w, ']');
    vlmp_buffer command = {0};
    vlmp_export_command(&command, facts);
    vlmp_json_pair_string(&w, "command", command.data);
    w.out.failed |= command.failed;
    vlmp_buffer_free(&command);
    put_tensors(&w, export);
    vlmp_json_close(&w, '}');
    int status = w.out.failed ? vlmp_fail_memory(err, "listing") : VLMP_OK;
    if (status == VLMP_OK) puts(w.out.data);
    vlmp_buffer_free(&w.out);
    return status;
}

int vlmp_export_print(const vlmp_export_facts *facts, const vlmp_cli_args *args, bool dry_run,
                      vlmp_error *err)
{
    return args->json ? print_json(facts, dry_run, err) : print_text(facts, dry_run, err);
}

static int write_document(const char *name, vlmp_buffer *text, const vlmp_outfolder *folder,
                          vlmp_error *err)
{
    char path[4096];
    int status = text->failed ? vlmp_fail_memory(err, name) : VLMP_OK;
    if (status == VLMP_OK) status = vlmp_outfolder_path(path, folder, name, err);
    if (status == VLMP_OK) status = vlmp_file_write(path, text->data, text->length, false, err);
    vlmp_buffer_free(text);
    return status;
}

int vlmp_export_write_documents(const vlmp_export_facts *facts, vlmp_outfolder *folder,
                                vlmp_error *err)
{
    vlmp_buffer card = {0}, checklist = {0};
    vlmp_export_card(&card, facts);
    VLMP_TRY(write_document("README.md", &card, folder, err));
    vlmp_export_checklist(&checklist, facts);
    return write_document("CHECKLIST.md", &checklist, folder, err);
}
