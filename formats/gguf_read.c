#include "formats/gguf_read.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/gguf_blocks.h"
#include "src/base/utf8.h"

#define MAX_KEY       65535 /* bytes of a key's name (docs/gguf.md) */
#define MAX_ALIGNMENT 65536
#define MAX_SIDE      ((uint64_t)INT32_MAX)

/* Types of values (gguf.h). */
enum { TRUTH = 7, TEXT = VLMP_GGUF_VALUE_TEXT, ARRAY = 9, VALUE_TYPES = 13 };

/* Bytes of each; 0: not of one size. */
static const size_t value_bytes[VALUE_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static const char magic[4] = {'G', 'G', 'U', 'F'};

typedef struct {
    vlmp_gguf_file *file;
    size_t at;
    vlmp_error *err;
} scanner;

__attribute__((format(printf, 3, 4))) static int bad(const scanner *s, size_t at, const char *fmt,
                                                     ...)
{
    char what[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return vlmp_fail(s->err, VLMP_ERR_INPUT,
                     "%s: byte %zu: %s; the file is damaged, download it again", s->file->path, at,
                     what);
}

static size_t left(const scanner *s)
{
    return s->file->map.length - s->at;
}

static int take(scanner *s, void *out, size_t bytes, const char *what)
{
    memset(out, 0, bytes);
    if (bytes > left(s)) return bad(s, s->at, "the file ends within %s", what);
    memcpy(out, s->file->map.data + s->at, bytes);
    s->at += bytes;
    return VLMP_OK;
}

/* A length and so many bytes, which stay where they are. */
static int take_text(scanner *s, const char **out, size_t *length, const char *what)
{
    uint64_t bytes;
    size_t at = s->at;
    *out = NULL;
    *length = 0;
    VLMP_TRY(take(s, &bytes, sizeof bytes, what));
    if (bytes > left(s))
        return bad(s, at, "%s has %llu bytes, but %zu are left", what, (unsigned long long)bytes,
                   left(s));
    *out = (const char *)s->file->map.data + s->at;
    *length = (size_t)bytes;
    s->at += *length;
    return VLMP_OK;
}

/* A name of 1 to most bytes, kept with a NUL. */
static int take_name(scanner *s, const char **out, size_t most, const char *what)
{
    const char *text;
    size_t length, at = s->at;
    VLMP_TRY(take_text(s, &text, &length, what));
    if (length == 0 || length > most)
        return bad(s, at, "%s has %zu bytes, it must have 1 to %zu", what, length, most);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return bad(s, at, "%s has a control character", what);
    if (vlmp_utf8_check(text, length) != length) return bad(s, at, "%s is not valid UTF-8", what);
    *out = vlmp_arena_copy(&s->file->arena, text, length);
    return *out != NULL ? VLMP_OK : vlmp_fail_memory(s->err, s->file->path);
}

static int skip_texts(scanner *s, uint64_t count)
{
    const char *text;
    size_t length;
    if (count > left(s) / sizeof(uint64_t))
        return bad(s, s->at, "an array of %llu texts, more than the file holds",
                   (unsigned long long)count);
    for (uint64_t i = 0; i < count; i++)
        VLMP_TRY(take_text(s, &text, &length, "a text"));
    return VLMP_OK;
}

static int skip_values(scanner *s, uint32_t type, uint64_t count)
{
    if (type == TEXT) return skip_texts(s, count);
    if (count > left(s) / value_bytes[type])
        return bad(s, s->at, "%llu values of %zu bytes, more than the file holds",
                   (unsigned long long)count, value_bytes[type]);
    s->at += (size_t)count * value_bytes[type];
    return VLMP_OK;
}

static int read_key(scanner *s, vlmp_gguf_key *key)
{
    *key = (vlmp_gguf_key){.at = s->at, .count = 1};
    VLMP_TRY(take_name(s, &key->name, MAX_KEY, "a key"));
    size_t at = s->at;
    VLMP_TRY(take(s, &key->type, sizeof key->type, "the type of a value"));
    key->array = key->type == ARRAY;
    if (key->array) {
        VLMP_TRY(take(s, &key->type, sizeof key->type, "the type of an array"));
        VLMP_TRY(take(s, &key->count, sizeof key->count, "the length of an array"));
    }
    if (key->type >= VALUE_TYPES || key->type == ARRAY)
        return bad(s, at, "the value of '%.200s' is of type %u, which %s", key->name, key->type,
                   key->type == ARRAY ? "arrays do not hold" : "GGUF does not have");
    key->value = s->file->map.data + s->at;
    return skip_values(s, key->type, key->count);
}

static int key_order(const void *a, const void *b)
{
    return strcmp(((const vlmp_gguf_key *)a)->name, ((const vlmp_gguf_key *)b)->name);
}

static int read_keys(scanner *s, uint64_t count)
{
    vlmp_gguf_file *file = s->file;
    /* A name, a type and a value have 14 bytes at least. */
    if (count > VLMP_GGUF_MAX_KEYS || count > left(s) / 14)
        return bad(s, 16, "%llu keys, more than %s", (unsigned long long)count,
                   count > VLMP_GGUF_MAX_KEYS ? "are read" : "the file holds");
    file->keys = vlmp_alloc((size_t)count, sizeof *file->keys);
    if (file->keys == NULL) return vlmp_fail_memory(s->err, file->path);
    for (; file->key_count < count; file->key_count++)
        VLMP_TRY(read_key(s, &file->keys[file->key_count]));
    qsort(file->keys, file->key_count, sizeof *file->keys, key_order);
    for (size_t i = 1; i < file->key_count; i++)
        if (key_order(&file->keys[i - 1], &file->keys[i]) == 0)
            return bad(s, file->keys[i].at, "the key '%.200s' appears twice", file->keys[i].name);
    return VLMP_OK;
}

/* Sides come fastest first. */
static int read_shape(scanner *s, vlmp_gguf_tensor *about)
{
    uint32_t rank;
    size_t at = s->at;
    VLMP_TRY(take(s, &rank, sizeof rank, "the number of dimensions"));
    if (rank < 1 || rank > VLMP_GGUF_MAX_RANK)
        return bad(s, at, "tensor '%.200s' has %u dimensions, not 1 to %d", about->name, rank,
                   VLMP_GGUF_MAX_RANK);
    about->rank = (int)rank;
    for (int d = about->rank - 1; d >= 0; d--) {
        uint64_t side;
        at = s->at;
        VLMP_TRY(take(s, &side, sizeof side, "a dimension"));
        if (side < 1 || side > MAX_SIDE)
            return bad(s, at, "tensor '%.200s' has a side of %llu, not 1 to %llu", about->name,
                       (unsigned long long)side, (unsigned long long)MAX_SIDE);
        about->shape[d] = (int64_t)side;
    }
    return VLMP_OK;
}

static int read_type(scanner *s, vlmp_gguf_tensor *about)
{
    uint32_t type;
    size_t at = s->at;
    VLMP_TRY(take(s, &type, sizeof type, "the type of a tensor"));
    about->type = (vlmp_gguf_type)type;
    if (vlmp_gguf_type_is_read(type)) return VLMP_OK;
    const char *name = vlmp_gguf_type_name(type);
    if (name == NULL)
        return bad(s, at, "tensor '%.200s' is of type %u, which ggml does not have", about->name,
                   type);
    return vlmp_fail(s->err, VLMP_ERR_INPUT,
                     "%s: byte %zu: tensor '%.200s' is of type %s, which is not read; F32, F16, "
                     "BF16, Q4_0 to Q8_0, Q2_K to Q6_K, IQ4_NL and IQ4_XS are",
                     s->file->path, at, about->name, name);
}

static int size_of(const scanner *s, vlmp_gguf_stored *tensor)
{
    size_t row = 0, bytes;
    bool good = true;
    int status = vlmp_gguf_row_bytes(&tensor->about, &row, s->err);
    if (status != VLMP_OK) {
        vlmp_error_at(s->err, s->file->path);
        return status;
    }
    bytes = row;
    for (int d = 0; d + 1 < tensor->about.rank && good; d++)
        good = vlmp_mul_size(bytes, (size_t)tensor->about.shape[d], &bytes);
    tensor->bytes = bytes;
    return good ? VLMP_OK
                : bad(s, s->at, "the size of tensor '%.200s' overflows", tensor->about.name);
}

/* offset: where the next tensor begins behind the header, as the file should say. */
static int read_tensor(scanner *s, vlmp_gguf_stored *tensor, size_t alignment, uint64_t *offset)
{
    VLMP_TRY(take_name(s, &tensor->about.name, VLMP_GGUF_MAX_NAME, "the name of a tensor"));
    VLMP_TRY(read_shape(s, &tensor->about));
    VLMP_TRY(read_type(s, &tensor->about));
    VLMP_TRY(size_of(s, tensor));
    size_t at = s->at, padded;
    VLMP_TRY(take(s, &tensor->offset, sizeof tensor->offset, "the offset of a tensor"));
    if (tensor->offset != *offset)
        return bad(s, at,
                   "tensor '%.200s' begins at byte %llu of the data, not where the one "
                   "before it ends, at %llu",
                   tensor->about.name, (unsigned long long)tensor->offset,
                   (unsigned long long)*offset);
    if (!vlmp_add_size(tensor->bytes, alignment - 1, &padded) ||
        __builtin_add_overflow(*offset, padded / alignment * alignment, offset))
        return bad(s, at, "the size of tensor '%.200s' overflows", tensor->about.name);
    return VLMP_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_names(const scanner *s)
{
    const vlmp_gguf_file *file = s->file;
    const char **names = vlmp_alloc(file->tensor_count, sizeof *names);
    if (names == NULL) return vlmp_fail_memory(s->err, file->path);
    for (size_t i = 0; i < file->tensor_count; i++)
        names[i] = file->tensors[i].about.name;
    if (file->tensor_count > 0) qsort(names, file->tensor_count, sizeof *names, by_name);
    int status = VLMP_OK;
    for (size_t i = 1; i < file->tensor_count && status == VLMP_OK; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            status = bad(s, s->at, "tensor '%.200s' appears twice", names[i]);
    free(names);
    return status;
}

/* Where the data are, behind the header's padding. */
static int place_tensors(scanner *s, size_t alignment)
{
    vlmp_gguf_file *file = s->file;
    size_t start;
    if (!vlmp_add_size(s->at, alignment - 1, &start))
        return bad(s, s->at, "the header's size overflows");
    start = start / alignment * alignment;
    for (size_t i = 0; i < file->tensor_count; i++) {
        vlmp_gguf_stored *tensor = &file->tensors[i];
        if (start > file->map.length || tensor->offset > file->map.length - start ||
            tensor->bytes > file->map.length - start - tensor->offset)
            return vlmp_fail(s->err, VLMP_ERR_INPUT,
                             "%s: tensor '%.200s' needs %zu bytes from byte %llu on, but the file "
                             "has %zu; it is truncated, download it again",
                             file->path, tensor->about.name, tensor->bytes,
                             (unsigned long long)(start + tensor->offset), file->map.length);
        tensor->offset += start;
        tensor->data = file->map.data + tensor->offset;
    }
    return VLMP_OK;
}

static int read_tensors(scanner *s, uint64_t count)
{
    vlmp_gguf_file *file = s->file;
    double alignment;
    VLMP_TRY(vlmp_gguf_number(file, "general.alignment", 32, &alignment, s->err));
    bool power = false;
    for (size_t two = 8; two <= MAX_ALIGNMENT; two *= 2)
        power |= alignment == (double)two;
    if (!power)
        return bad(s, s->at, "general.alignment is %g, not a power of two from 8 to %d", alignment,
                   MAX_ALIGNMENT);
    /* A name, a side, a type and an offset have 33 bytes at least. */
    if (count > VLMP_GGUF_MAX_TENSORS || count > left(s) / 33)
        return bad(s, 8, "%llu tensors, more than %s", (unsigned long long)count,
                   count > VLMP_GGUF_MAX_TENSORS ? "are read" : "the file holds");
    file->tensors = vlmp_calloc((size_t)count, sizeof *file->tensors);
    if (file->tensors == NULL) return vlmp_fail_memory(s->err, file->path);
    uint64_t offset = 0;
    for (; file->tensor_count < count; file->tensor_count++)
        VLMP_TRY(read_tensor(s, &file->tensors[file->tensor_count], (size_t)alignment, &offset));
    VLMP_TRY(check_names(s));
    return place_tensors(s, (size_t)alignment);
}

static int read_header(vlmp_gguf_file *file, vlmp_error *err)
{
    scanner s = {file, 0, err};
    char start[4];
    uint32_t version;
    uint64_t tensors, keys;
    VLMP_TRY(take(&s, start, sizeof start, "the first bytes"));
    if (memcmp(start, magic, sizeof magic) != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: is no GGUF file; check the path", file->path);
    VLMP_TRY(take(&s, &version, sizeof version, "the version"));
    if (version != 2 && version != 3)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: byte 4: GGUF version %u%s; 2 and 3 are read, convert the model again",
                         file->path, version & 0xffff ? version : version >> 24,
                         version & 0xffff ? "" : ", big-endian");
    VLMP_TRY(take(&s, &tensors, sizeof tensors, "the number of tensors"));
    VLMP_TRY(take(&s, &keys, sizeof keys, "the number of keys"));
    VLMP_TRY(read_keys(&s, keys));
    return read_tensors(&s, tensors);
}

int vlmp_gguf_open(vlmp_gguf_file *file, const char *path, vlmp_error *err)
{
    *file = (vlmp_gguf_file){0};
    file->path = vlmp_arena_copy(&file->arena, path, strlen(path));
    int status = file->path == NULL ? vlmp_fail_memory(err, path) : VLMP_OK;
    if (status == VLMP_OK) status = vlmp_map_open(&file->map, path, err);
    if (status == VLMP_OK) status = read_header(file, err);
    if (status != VLMP_OK) vlmp_gguf_close(file);
    return status;
}

void vlmp_gguf_close(vlmp_gguf_file *file)
{
    vlmp_map_close(&file->map);
    free(file->keys);
    free(file->tensors);
    vlmp_arena_free(&file->arena);
    *file = (vlmp_gguf_file){0};
}

const vlmp_gguf_key *vlmp_gguf_find_key(const vlmp_gguf_file *file, const char *name)
{
    const vlmp_gguf_key wanted = {.name = name};
    return file->key_count == 0
               ? NULL
               : bsearch(&wanted, file->keys, file->key_count, sizeof wanted, key_order);
}

const vlmp_gguf_stored *vlmp_gguf_find_tensor(const vlmp_gguf_file *file, const char *name)
{
    for (size_t i = 0; i < file->tensor_count; i++)
        if (strcmp(file->tensors[i].about.name, name) == 0) return &file->tensors[i];
    return NULL;
}

static int other_kind(const vlmp_gguf_file *file, const vlmp_gguf_key *key, const char *wanted,
                      vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: byte %zu: the value of '%.200s' is not %s; convert the model again",
                     file->path, key->at, key->name, wanted);
}

#define LOAD(type)                        \
    do {                                  \
        type x;                           \
        memcpy(&x, key->value, sizeof x); \
        return (double)x;                 \
    } while (0)

static double number_of(const vlmp_gguf_key *key)
{
    switch (key->type) {
    case 0:
        LOAD(uint8_t);
    case 1:
        LOAD(int8_t);
    case 2:
        LOAD(uint16_t);
    case 3:
        LOAD(int16_t);
    case 4:
        LOAD(uint32_t);
    case 5:
        LOAD(int32_t);
    case 6:
        LOAD(float);
    case 10:
        LOAD(uint64_t);
    case 11:
        LOAD(int64_t);
    default:
        LOAD(double);
    }
}

int vlmp_gguf_number(const vlmp_gguf_file *file, const char *name, double fallback, double *out,
                     vlmp_error *err)
{
    const vlmp_gguf_key *key = vlmp_gguf_find_key(file, name);
    *out = fallback;
    if (key == NULL) return VLMP_OK;
    if (key->array || key->type == TEXT || key->type == TRUTH)
        return other_kind(file, key, "a number", err);
    *out = number_of(key);
    return VLMP_OK;
}

int vlmp_gguf_truth(const vlmp_gguf_file *file, const char *name, bool fallback, bool *out,
                    vlmp_error *err)
{
    const vlmp_gguf_key *key = vlmp_gguf_find_key(file, name);
    *out = key == NULL ? fallback : *key->value != 0;
    return key == NULL || (!key->array && key->type == TRUTH)
               ? VLMP_OK
               : other_kind(file, key, "true or false", err);
}

int vlmp_gguf_numbers(const vlmp_gguf_file *file, const char *name, double *out, size_t room,
                      size_t *count, vlmp_error *err)
{
    const vlmp_gguf_key *key = vlmp_gguf_find_key(file, name);
    *count = 0;
    if (key == NULL) return VLMP_OK;
    if (!key->array || key->type == TEXT || key->type == TRUTH || key->count > room)
        return other_kind(file, key, "an array of some numbers", err);
    vlmp_gguf_key element = *key;
    for (; *count < key->count; ++*count, element.value += value_bytes[key->type])
        out[*count] = number_of(&element);
    return VLMP_OK;
}

int vlmp_gguf_text(const vlmp_gguf_file *file, const char *name, const char **out, size_t *length,
                   vlmp_error *err)
{
    const vlmp_gguf_key *key = vlmp_gguf_find_key(file, name);
    *out = NULL;
    *length = 0;
    if (key == NULL) return VLMP_OK;
    if (key->array || key->type != TEXT) return other_kind(file, key, "a text", err);
    uint64_t bytes;
    memcpy(&bytes, key->value, sizeof bytes);
    *out = (const char *)key->value + sizeof bytes;
    *length = (size_t)bytes;
    return VLMP_OK;
}

bool vlmp_gguf_text_is(const char *text, size_t length, const char *other)
{
    return text != NULL && length == strlen(other) && memcmp(text, other, length) == 0;
}

int vlmp_gguf_is(bool *out, const char *path, vlmp_error *err)
{
    char start[sizeof magic];
    size_t length;
    int fd;
    *out = false;
    VLMP_TRY(vlmp_file_open(&fd, &length, path, err));
    int status = VLMP_OK;
    if (length >= sizeof start) {
        status = vlmp_file_read_at(fd, start, sizeof start, 0, path, err);
        *out = status == VLMP_OK && memcmp(start, magic, sizeof magic) == 0;
    }
    close(fd);
    return status;
}
