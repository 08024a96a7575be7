#include "formats/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "formats/st_header.h"

/* What a file that is no safetensors file most often is. */
static const char *hint_for(const vlmp_map *map)
{
    static const char pointer[] = "version https://git-lfs";
    if (map->length >= sizeof pointer - 1 && memcmp(map->data, pointer, sizeof pointer - 1) == 0)
        return "this is a Git LFS pointer, run 'git lfs pull'";
    if (map->length > 0 && map->data[0] == '<')
        return "this looks like an HTML page, download the file again";
    if (map->length > 2 && memcmp(map->data, "PK\x03", 3) == 0)
        return "this looks like a PyTorch pickle, convert the model to safetensors";
    return "the file is damaged or not safetensors, download it again";
}

static int header_length(const vlmp_safetensors *file, size_t *out, vlmp_error *err)
{
    const vlmp_map *map = &file->map;
    *out = 0;
    if (map->length < 8)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: %zu bytes, shorter than the 8-byte header length; %s", file->path,
                         map->length, hint_for(map));
    uint64_t length = 0;
    for (int i = 8; i-- > 0;)
        length = length << 8 | map->data[i];
    if (length > VLMP_ST_MAX_HEADER)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: byte 0: a header of %llu bytes, more than the limit of %zu; %s",
                         file->path, (unsigned long long)length, VLMP_ST_MAX_HEADER, hint_for(map));
    if (length > map->length - 8)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: byte 0: the header is %llu bytes but the file ends after %zu; the "
                         "file is truncated, download it again",
                         file->path, (unsigned long long)length, map->length - 8);
    *out = (size_t)length;
    return VLMP_OK;
}

static int by_offset(const void *a, const void *b)
{
    const vlmp_st_tensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int check_size(const vlmp_safetensors *file, const vlmp_st_tensor *t, vlmp_error *err)
{
    size_t count = 1, bytes;
    bool good = true;
    for (int i = 0; i < t->rank && good; i++)
        good = vlmp_mul_size(count, (size_t)t->shape[i], &count);
    if (!good || !vlmp_dtype_bytes(t->dtype, count, &bytes))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: header byte %zu: the size of tensor '%.200s' of type %s overflows or "
                         "is no whole number of bytes; the file is damaged, download it again",
                         file->path, t->header_at, t->name, vlmp_dtype_name(t->dtype));
    if (t->end - t->begin != bytes)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: header byte %zu: tensor '%.200s' has %llu bytes, its shape and type "
                         "%s need %zu; the file is damaged, download it again",
                         file->path, t->header_at, t->name, (unsigned long long)(t->end - t->begin),
                         vlmp_dtype_name(t->dtype), bytes);
    return VLMP_OK;
}

/* Tensors are sorted by offset: no hole, no overlap, nothing past the end, exact sizes. */
static int check_layout(vlmp_safetensors *file, bool may_be_cut, vlmp_error *err)
{
    uint64_t data = file->map.length - file->data_start, last = 0;
    for (size_t i = 0; i < file->count; i++) {
        const vlmp_st_tensor *t = &file->tensors[i];
        const char *fault = NULL;
        if (t->end < t->begin)
            fault = "ends before it begins";
        else if (t->begin < last)
            fault = "overlaps the one before it";
        else if (t->begin > last)
            fault = "leaves a hole before it";
        if (fault != NULL)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: header byte %zu: tensor '%.200s' at data bytes %llu … %llu %s; "
                             "the file is damaged, download it again",
                             file->path, t->header_at, t->name, (unsigned long long)t->begin,
                             (unsigned long long)t->end, fault);
        VLMP_TRY(check_size(file, t, err));
        if (t->end > data && !may_be_cut)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: header byte %zu: tensor '%.200s' ends at data byte %llu but the "
                             "file has %llu; the file is truncated, download it again",
                             file->path, t->header_at, t->name, (unsigned long long)t->end,
                             (unsigned long long)data);
        last = t->end;
    }
    file->is_cut = last > data;
    if (last < data)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: byte %llu: %llu bytes after the last tensor; the file is damaged, "
                         "download it again",
                         file->path, (unsigned long long)(file->data_start + last),
                         (unsigned long long)(data - last));
    return VLMP_OK;
}

typedef struct {
    const char *name;
    size_t index;
} name_index;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const name_index *)a)->name, ((const name_index *)b)->name);
}

static int index_names(vlmp_safetensors *file, vlmp_error *err)
{
    name_index *sorted = vlmp_alloc(file->count, sizeof *sorted);
    file->by_name = vlmp_alloc(file->count, sizeof *file->by_name);
    if (sorted == NULL || file->by_name == NULL) {
        free(sorted);
        return vlmp_fail_memory(err, file->path);
    }
    for (size_t i = 0; i < file->count; i++)
        sorted[i] = (name_index){file->tensors[i].name, i};
    qsort(sorted, file->count, sizeof *sorted, by_name);
    int status = VLMP_OK;
    for (size_t i = 0; i < file->count && status == VLMP_OK; i++) {
        file->by_name[i] = sorted[i].index;
        if (i == 0 || strcmp(sorted[i - 1].name, sorted[i].name) != 0) continue;
        size_t first = file->tensors[sorted[i - 1].index].header_at;
        size_t second = file->tensors[sorted[i].index].header_at;
        status = vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s: tensor '%.200s' appears twice, at header bytes %zu and %zu; the "
                           "file is damaged, download it again",
                           file->path, sorted[i].name, first < second ? first : second,
                           first < second ? second : first);
    }
    free(sorted);
    return status;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_metadata(const vlmp_safetensors *file, vlmp_error *err)
{
    const char **keys = vlmp_alloc(file->pair_count, sizeof *keys);
    if (keys == NULL) return vlmp_fail_memory(err, file->path);
    for (size_t i = 0; i < file->pair_count; i++)
        keys[i] = file->pairs[i].key;
    qsort(keys, file->pair_count, sizeof *keys, by_key);
    int status = VLMP_OK;
    for (size_t i = 1; i < file->pair_count && status == VLMP_OK; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            status = vlmp_fail(err, VLMP_ERR_INPUT,
                               "%s: the metadata key '%.200s' appears twice; the file is damaged, "
                               "download it again",
                               file->path, keys[i]);
    free(keys);
    return status;
}

static int read_header(vlmp_safetensors *file, bool may_be_cut, vlmp_error *err)
{
    size_t length;
    VLMP_TRY(header_length(file, &length, err));
    file->data_start = 8 + length;
    VLMP_TRY(vlmp_st_scan_header(file, (const char *)file->map.data + 8, length, err));
    if (file->count > 0) qsort(file->tensors, file->count, sizeof *file->tensors, by_offset);
    VLMP_TRY(index_names(file, err));
    VLMP_TRY(check_metadata(file, err));
    return check_layout(file, may_be_cut, err);
}

/* fd ≥ 0: of a file without a name. */
static int open_file(vlmp_safetensors *file, const char *path, int fd, bool may_be_cut,
                     vlmp_error *err)
{
    *file = (vlmp_safetensors){0};
    file->path = vlmp_arena_copy(&file->arena, path, strlen(path));
    if (file->path == NULL) return vlmp_fail_memory(err, path);
    int status =
        fd >= 0 ? vlmp_map_work(&file->map, fd, path, err) : vlmp_map_open(&file->map, path, err);
    if (status == VLMP_OK) status = read_header(file, may_be_cut, err);
    if (status != VLMP_OK) vlmp_safetensors_close(file);
    return status;
}

int vlmp_safetensors_open(vlmp_safetensors *file, const char *path, vlmp_error *err)
{
    return open_file(file, path, -1, false, err);
}

int vlmp_safetensors_open_header(vlmp_safetensors *file, const char *path, vlmp_error *err)
{
    return open_file(file, path, -1, true, err);
}

int vlmp_safetensors_open_work(vlmp_safetensors *file, int fd, const char *path, vlmp_error *err)
{
    return open_file(file, path, fd, false, err);
}

void vlmp_safetensors_close(vlmp_safetensors *file)
{
    vlmp_map_close(&file->map);
    free(file->tensors);
    free(file->by_name);
    free(file->pairs);
    vlmp_arena_free(&file->arena);
    *file = (vlmp_safetensors){0};
}

const vlmp_st_tensor *vlmp_safetensors_find(const vlmp_safetensors *file, const char *name)
{
    size_t low = 0, high = file->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const vlmp_st_tensor *tensor = &file->tensors[file->by_name[middle]];
        int order = strcmp(name, tensor->name);
        if (order == 0) return tensor;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const unsigned char *vlmp_safetensors_data(const vlmp_safetensors *file,
                                           const vlmp_st_tensor *tensor)
{
    return file->map.data + file->data_start + tensor->begin;
}

const char *vlmp_safetensors_metadata(const vlmp_safetensors *file, const char *key, size_t *length)
{
    for (size_t i = 0; i < file->pair_count; i++) {
        if (strcmp(file->pairs[i].key, key) != 0) continue;
        if (length != NULL) *length = file->pairs[i].length;
        return file->pairs[i].value;
    }
    return NULL;
}
