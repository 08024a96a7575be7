#include "formats/st_hash.h"

#include <stdlib.h>
#include <string.h>

void vlmp_st_header_hash(const unsigned char *bytes, size_t length, size_t at,
                         char hex[VLMP_SHA256_HEX])
{
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    vlmp_sha256_update(&hash, bytes, at);
    vlmp_sha256_update(&hash, VLMP_ST_NO_HASH, 64);
    vlmp_sha256_update(&hash, bytes + at + 64, length - at - 64);
    vlmp_sha256_finish(&hash, hex);
}

size_t vlmp_st_header_hash_at(const unsigned char *bytes, size_t length)
{
    /* Inside a string value a quote is escaped, so this text can only be the key itself. */
    static const char key[] = "\"vlmp.header\":\"";
    const size_t key_length = sizeof key - 1;
    const unsigned char *hit = memmem(bytes, length, key, key_length);
    if (hit == NULL) return 0;
    size_t at = (size_t)(hit - bytes) + key_length;
    if (length - at < 65 || bytes[at + 64] != '"') return 0;
    return memmem(bytes + at, length - at, key, key_length) == NULL ? at : 0;
}

int vlmp_st_seal_header(unsigned char *bytes, size_t length, vlmp_error *err)
{
    char hex[VLMP_SHA256_HEX];
    size_t at = vlmp_st_header_hash_at(bytes, length);
    if (at == 0)
        return vlmp_fail(err, VLMP_ERR_USAGE, "the metadata key 'vlmp.header' is reserved");
    vlmp_st_header_hash(bytes, length, at, hex);
    memcpy(bytes + at, hex, 64);
    return VLMP_OK;
}

int vlmp_st_check_header(const vlmp_safetensors *file, vlmp_error *err)
{
    const unsigned char *bytes = file->map.data;
    size_t length = file->data_start, at = vlmp_st_header_hash_at(bytes, length);
    if (at == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: no readable 'vlmp.header' hash in the header; the file is damaged, "
                         "copy it again",
                         file->path);
    char hex[VLMP_SHA256_HEX];
    vlmp_st_header_hash(bytes, length, at, hex);
    if (memcmp(hex, bytes + at, 64) == 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: bytes 0 … %zu: the header does not match its hash; the file is damaged, "
                     "copy it again",
                     file->path, length - 1);
}

void vlmp_st_put_hashes(vlmp_json_writer *w, const vlmp_tensor *tensors,
                        char (*hashes)[VLMP_SHA256_HEX], size_t count)
{
    vlmp_json_open(w, '{');
    for (size_t i = 0; i < count; i++) {
        vlmp_json_key(w, tensors[i].name);
        vlmp_json_open(w, '{');
        if (tensors[i].source_name != NULL) {
            vlmp_json_key(w, "source");
            vlmp_json_put_string(w, tensors[i].source_name);
        }
        vlmp_json_key(w, "sha256");
        vlmp_json_put_string(w, hashes[i]);
        if (tensors[i].unused) {
            vlmp_json_key(w, "unused");
            vlmp_json_put_bool(w, true);
        }
        if (tensors[i].stored > 0) vlmp_json_pair_int(w, "stored", (int64_t)tensors[i].stored);
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, '}');
}

static int bad_entry(const vlmp_safetensors *file, const char *name, const char *what,
                     vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: metadata 'vlmp.tensors': '%.200s' %s; the file is damaged, make it again",
                     file->path, name, what);
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

/* The entries sorted by name: lists of cJSON are linked, a look-up by key in a loop is quadratic.
 */
static int sort_entries(const vlmp_safetensors *file, const cJSON *list, const cJSON ***out,
                        vlmp_error *err)
{
    if (!cJSON_IsObject(list)) return bad_entry(file, "it", "is not an object", err);
    size_t count = 0, n = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next)
        count++;
    if (count != file->count)
        return vlmp_fail(
            err, VLMP_ERR_INPUT,
            "%s: metadata 'vlmp.tensors' lists %zu tensors, the header %zu; the file is "
            "damaged, make it again",
            file->path, count, file->count);
    *out = vlmp_alloc(count, sizeof **out);
    if (*out == NULL) return vlmp_fail_memory(err, file->path);
    for (const cJSON *item = list->child; item != NULL; item = item->next)
        (*out)[n++] = item;
    if (n > 0) qsort(*out, n, sizeof **out, by_key);
    return VLMP_OK;
}

static bool is_hash(const cJSON *text)
{
    return cJSON_IsString(text) && strlen(text->valuestring) == 64 &&
           strspn(text->valuestring, "0123456789abcdef") == 64;
}

int vlmp_st_read_hashes(const vlmp_safetensors *file, const cJSON *list, const cJSON ***entries,
                        const char ***hashes, vlmp_error *err)
{
    *entries = NULL;
    *hashes = NULL;
    VLMP_TRY(sort_entries(file, list, entries, err));
    *hashes = vlmp_calloc(file->count, sizeof **hashes);
    if (*hashes == NULL) return vlmp_fail_memory(err, file->path);
    for (size_t i = 0; i < file->count; i++) {
        const char *name = file->tensors[file->by_name[i]].name;
        if (strcmp(name, (*entries)[i]->string) != 0)
            return bad_entry(file, name, "is not listed", err);
        const cJSON *hash = vlmp_json_get((*entries)[i], "sha256");
        if (!is_hash(hash)) return bad_entry(file, name, "has no SHA-256", err);
        (*hashes)[file->by_name[i]] = hash->valuestring;
    }
    return VLMP_OK;
}

int vlmp_st_check_tensors(const vlmp_safetensors *file, const char *const *hashes,
                          vlmp_st_progress *progress, void *arg, vlmp_error *err)
{
    const uint64_t total = file->map.length - file->data_start;
    for (size_t i = 0; i < file->count; i++) {
        const vlmp_st_tensor *t = &file->tensors[i];
        size_t from = file->data_start + (size_t)t->begin, to = file->data_start + (size_t)t->end;
        char hex[VLMP_SHA256_HEX];
        vlmp_map_sha256(&file->map, from, to - from, hex);
        if (strcmp(hex, hashes[i]) != 0)
            return vlmp_fail(
                err, VLMP_ERR_INPUT,
                "%s: tensor '%.200s' at bytes %zu … %zu does not match its SHA-256; the file "
                "is damaged, copy it again",
                file->path, t->name, from, to);
        int status = progress != NULL ? progress(arg, t->end, total) : VLMP_OK;
        if (status != VLMP_OK)
            return vlmp_fail(err, status, "%s: the check was interrupted at byte %zu", file->path,
                             to);
    }
    return VLMP_OK;
}

int vlmp_st_check_digest(const vlmp_safetensors *file, const char *const *hashes,
                         const vlmp_tensor_table *table, const char *digest, vlmp_error *err)
{
    char(*copies)[VLMP_SHA256_HEX] = vlmp_alloc(table->count, sizeof *copies);
    if (copies == NULL) return vlmp_fail_memory(err, file->path);
    for (size_t i = 0; i < table->count; i++) {
        const vlmp_st_tensor *t = vlmp_safetensors_find(file, table->tensors[i].name);
        memcpy(copies[i], hashes[t - file->tensors], VLMP_SHA256_HEX);
    }
    char hex[VLMP_SHA256_HEX];
    int status = vlmp_tensor_table_digest(table, copies, hex, err);
    free(copies);
    VLMP_TRY(status);
    if (strcmp(hex, digest) == 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: 'vlmp.digest' does not match the tensors' hashes; make the file again",
                     file->path);
}
