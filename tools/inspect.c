#include "tools/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"
#include "formats/tensor_file.h"
#include "src/base/file.h"
#include "tools/interrupt.h"
#include "tools/progress.h"
#include "tools/terminal.h"

void vlmp_shape_text(char *out, size_t capacity, const int64_t *shape, int rank)
{
    size_t used = (size_t)snprintf(out, capacity, rank == 0 ? "scalar" : "");
    for (int i = 0; i < rank && used < capacity; i++)
        used += (size_t)snprintf(out + used, capacity - used, "%s%lld", i > 0 ? "×" : "",
                                 (long long)shape[i]);
}

void vlmp_listing_scheme(char *out, size_t capacity, const vlmp_scheme *scheme)
{
    char group[16] = "channel", codes[16];
    if (scheme->blocks)
        snprintf(group, sizeof group, "block");
    else if (scheme->group > 0)
        snprintf(group, sizeof group, "%d", scheme->group);
    vlmp_codes_text(codes, sizeof codes, scheme);
    if (vlmp_codes_are_floats(scheme->codes)) {
        snprintf(out, capacity, "%s A16 %s", codes, group);
        return;
    }
    snprintf(out, capacity, "%sA%s %s %s", codes, scheme->int8_activations ? "8" : "16",
             scheme->zeros == VLMP_ZEROS_NONE ? "sym" : "asym", group);
}

bool vlmp_listing_add(vlmp_listing *rows, size_t column, const char *text)
{
    if (column == 0 && rows->count == rows->capacity) {
        size_t capacity = rows->capacity == 0 ? 64 : rows->capacity * 2;
        void *grown = realloc(rows->cells, capacity * rows->columns * sizeof *rows->cells);
        if (grown == NULL) return false;
        rows->cells = grown;
        rows->capacity = capacity;
    }
    if (column == 0) rows->count++;
    const char *copy = vlmp_arena_copy(&rows->arena, text, strlen(text));
    rows->cells[(rows->count - 1) * rows->columns + column] = copy;
    return copy != NULL;
}

int vlmp_listing_print(vlmp_listing *rows, vlmp_column *columns, bool failed, vlmp_error *err)
{
    vlmp_buffer out = {0};
    if (!failed) vlmp_table_print(&out, columns, rows->columns, rows->cells, rows->count);
    failed |= out.failed;
    if (!failed) fwrite(out.data, 1, out.length, stdout);
    vlmp_buffer_free(&out);
    free(rows->cells);
    vlmp_arena_free(&rows->arena);
    return failed ? vlmp_fail_memory(err, "table") : VLMP_OK;
}

void vlmp_put_json_text(vlmp_json_writer *w, const char *text, size_t length)
{
    vlmp_error refused = {0};
    cJSON *tree;
    int status = vlmp_json_parse(&tree, text, length, "metadata", &refused);
    w->out.failed |= status == VLMP_ERR_SYSTEM;
    if (status == VLMP_OK)
        vlmp_json_put_tree(w, tree);
    else
        vlmp_json_put_bytes(w, text, length);
    cJSON_Delete(tree);
}

struct kind {
    const char *key; /* metadata that says it; NULL: none of ours */
    const char *name, *title, *hint;
};

static const struct kind *kind_of(const vlmp_safetensors *file)
{
    static const struct kind kinds[] = {
        {VLMP_CALIBRATION_KEY, "calibration", "calibration file", "run vlm-calibrate again"},
        {VLMP_REFERENCE_KEY, "reference", "saved reference", "make it again with --save-reference"},
        {NULL, "safetensors", "safetensors file, not a packed model", NULL}};
    const struct kind *kind = kinds;
    while (kind->key != NULL && vlmp_safetensors_metadata(file, kind->key, NULL) == NULL)
        kind++;
    return kind;
}

int vlmp_is_other_file(bool *other, const char *path, vlmp_error *err)
{
    vlmp_error refused = {0};
    vlmp_safetensors file;
    vlmp_path_kind kind;
    *other = false;
    VLMP_TRY(vlmp_path_look(&kind, path, err));
    if (kind != VLMP_PATH_FILE) return VLMP_OK;
    if (vlmp_safetensors_open(&file, path, &refused) != VLMP_OK)
        return vlmp_fail_tried(err, &refused);
    /* Any of these, so that one damaged key does not make a packed file something else. */
    static const char *const keys[] = {"vlmp.version", "vlmp.header", "vlmp.tensors"};
    *other = true;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        *other &= vlmp_safetensors_metadata(&file, keys[i], NULL) == NULL;
    *other |= kind_of(&file)->key != NULL;
    vlmp_safetensors_close(&file);
    return VLMP_OK;
}

/* The audit of a calibration file, a document within its metadata; *out NULL: none that can be
 * read. Free it with cJSON_Delete. */
static int audit_of(cJSON **out, const vlmp_safetensors *file, vlmp_error *err)
{
    size_t length;
    vlmp_error refused = {0};
    cJSON *root = NULL;
    const char *audit_text, *text = vlmp_safetensors_metadata(file, VLMP_CALIBRATION_KEY, &length);
    *out = NULL;
    if (text != NULL && vlmp_json_parse(&root, text, length, file->path, &refused) == VLMP_OK &&
        vlmp_json_string(root, "audit", "{}", &audit_text, file->path, &refused) == VLMP_OK)
        vlmp_json_parse(out, audit_text, strlen(audit_text), file->path, &refused);
    cJSON_Delete(root);
    return vlmp_fail_tried(err, &refused);
}

/* What the activations of a calibration were measured on; files of older versions do not say. */
static int print_measured(const vlmp_safetensors *file, vlmp_error *err)
{
    cJSON *audit;
    VLMP_TRY(audit_of(&audit, file, err));
    const cJSON *measured = vlmp_json_get(audit, "measured");
    const cJSON *budget = vlmp_json_get(measured, "budget");
    int64_t samples = 0, tokens = 0, chosen = 0;
    vlmp_error refused = {0};
    int status = vlmp_json_int(measured, "samples", 0, 0, INT64_MAX, &samples, "", &refused);
    if (status == VLMP_OK)
        status = vlmp_json_int(measured, "tokens", 0, 0, INT64_MAX, &tokens, "", &refused);
    if (status == VLMP_OK)
        status = vlmp_json_int(audit, "chosen", 0, 0, INT64_MAX, &chosen, "", &refused);
    if (status == VLMP_OK && measured != NULL) {
        printf("activations measured on %lld tokens, %lld of %lld samples", (long long)tokens,
               (long long)samples, (long long)chosen);
        if (cJSON_IsNumber(budget)) printf(" (--audit-tokens %.0f)", budget->valuedouble);
        putchar('\n');
    }
    cJSON_Delete(audit);
    return VLMP_OK;
}

/* audit: of a calibration; NULL. */
static void put_file(vlmp_json_writer *w, const vlmp_safetensors *file, const cJSON *audit,
                     bool verified)
{
    vlmp_json_open(w, '{');
    vlmp_json_key(w, "schema");
    vlmp_json_put_int(w, 1);
    vlmp_json_key(w, "path");
    vlmp_json_put_string(w, file->path);
    vlmp_json_key(w, "kind");
    vlmp_json_put_string(w, kind_of(file)->name);
    vlmp_json_key(w, "digest");
    vlmp_json_put_string(w, vlmp_safetensors_metadata(file, "vlmp.digest", NULL));
    vlmp_json_key(w, "verified");
    vlmp_json_put_bool(w, verified && kind_of(file)->key != NULL);
    vlmp_json_key(w, "metadata");
    vlmp_json_open(w, '{');
    for (size_t i = 0; i < file->pair_count; i++) {
        vlmp_json_key(w, file->pairs[i].key);
        vlmp_put_json_text(w, file->pairs[i].value, file->pairs[i].length);
    }
    vlmp_json_close(w, '}');
    if (audit != NULL) {
        vlmp_json_key(w, "audit");
        vlmp_json_put_tree(w, audit);
    }
    vlmp_json_key(w, "tensors");
    vlmp_json_open(w, '[');
    for (size_t i = 0; i < file->count; i++) {
        const vlmp_st_tensor *t = &file->tensors[i];
        vlmp_json_open(w, '{');
        vlmp_json_key(w, "name");
        vlmp_json_put_string(w, t->name);
        vlmp_json_key(w, "dtype");
        vlmp_json_put_string(w, vlmp_dtype_name(t->dtype));
        vlmp_json_key(w, "shape");
        vlmp_json_open(w, '[');
        for (int d = 0; d < t->rank; d++)
            vlmp_json_put_int(w, t->shape[d]);
        vlmp_json_close(w, ']');
        vlmp_json_key(w, "offset");
        vlmp_json_put_int(w, (int64_t)(file->data_start + t->begin));
        vlmp_json_key(w, "bytes");
        vlmp_json_put_int(w, (int64_t)(t->end - t->begin));
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
    vlmp_json_close(w, '}');
}

static int print_file(const vlmp_safetensors *file, bool verified, vlmp_error *err)
{
    vlmp_column columns[] = {
        {"tensor", false, 0}, {"type", false, 0}, {"shape", true, 0}, {"bytes", true, 0}};
    vlmp_show_line(stdout, "%s: %s", file->path, kind_of(file)->title);
    const char *digest = vlmp_safetensors_metadata(file, "vlmp.digest", NULL);
    if (digest != NULL) vlmp_show_line(stdout, "digest %s", digest);
    if (verified)
        puts(kind_of(file)->key != NULL
                 ? "verified: every hash matches"
                 : "verified: the structure is sound (the file carries no hashes)");
    for (size_t i = 0; i < file->pair_count; i++)
        vlmp_show_line(stdout, "metadata %s: %zu bytes%s%.60s", file->pairs[i].key,
                       file->pairs[i].length, file->pairs[i].length <= 60 ? ", " : "",
                       file->pairs[i].length <= 60 ? file->pairs[i].value : "");
    VLMP_TRY(print_measured(file, err));
    putchar('\n');
    vlmp_listing rows = {.columns = 4};
    bool good = true;
    for (size_t i = 0; i < file->count && good; i++) {
        const vlmp_st_tensor *t = &file->tensors[i];
        char text[160];
        good = vlmp_listing_add(&rows, 0, t->name) &&
               vlmp_listing_add(&rows, 1, vlmp_dtype_name(t->dtype));
        vlmp_shape_text(text, sizeof text, t->shape, t->rank);
        good = good && vlmp_listing_add(&rows, 2, text);
        snprintf(text, sizeof text, "%llu", (unsigned long long)(t->end - t->begin));
        good = good && vlmp_listing_add(&rows, 3, text);
    }
    return vlmp_listing_print(&rows, columns, !good, err);
}

int vlmp_verify_progress(void *arg, uint64_t done, uint64_t total)
{
    vlmp_progress *progress = arg;
    progress->total = (double)total;
    vlmp_progress_update(progress, (double)done, NULL);
    return vlmp_interrupted() ? VLMP_ERR_INTERRUPTED : VLMP_OK;
}

static int verify_file(const vlmp_safetensors *file, const vlmp_cli_args *args, vlmp_error *err)
{
    const struct kind *kind = kind_of(file);
    if (kind->key == NULL) return VLMP_OK; /* its structure is sound: it was opened */
    vlmp_tensor_file *hashed;
    VLMP_TRY(vlmp_tensor_file_open(&hashed, file->path, kind->key, kind->hint, err));
    vlmp_progress progress;
    vlmp_progress_begin_bytes(&progress, args, "checking",
                              (double)(file->map.length - file->data_start));
    int status = vlmp_tensor_file_verify(hashed, vlmp_verify_progress, &progress, err);
    vlmp_progress_end(&progress);
    vlmp_tensor_file_close(hashed);
    return status;
}

int vlmp_inspect_other(const char *path, const vlmp_cli_args *args, bool verify, vlmp_error *err)
{
    vlmp_safetensors file;
    VLMP_TRY(vlmp_safetensors_open(&file, path, err));
    int status = verify ? verify_file(&file, args, err) : VLMP_OK;
    if (status == VLMP_OK && !args->json) {
        status = print_file(&file, verify, err);
    } else if (status == VLMP_OK) {
        vlmp_json_writer w = {.indent = 1};
        cJSON *audit;
        status = audit_of(&audit, &file, err);
        put_file(&w, &file, audit, verify);
        cJSON_Delete(audit);
        if (status == VLMP_OK && w.out.failed) status = vlmp_fail_memory(err, "listing");
        if (status == VLMP_OK) puts(w.out.data);
        vlmp_buffer_free(&w.out);
    }
    vlmp_safetensors_close(&file);
    return status;
}
