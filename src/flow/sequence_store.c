#include "src/flow/sequence_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/memory.h"
#include "src/base/outfile.h"

int vlmp_sequence_store_create(vlmp_sequence_store *store, int capacity, const vlmp_config *config,
                               const char *folder, vlmp_error *err)
{
    *store = VLMP_NO_SEQUENCES;
    store->capacity = capacity;
    store->config = config;
    store->heads = vlmp_calloc((size_t)capacity, sizeof *store->heads);
    store->offsets = vlmp_alloc((size_t)capacity, sizeof *store->offsets);
    size_t length = strlen(folder) + sizeof "/samples-XXXXXX";
    store->path = malloc(length);
    if (store->heads == NULL || store->offsets == NULL || store->path == NULL)
        return vlmp_fail_memory(err, "tokenized samples");
    snprintf(store->path, length, "%s/samples-XXXXXX", folder);
    return vlmp_workfile_create(&store->fd, store->path, err);
}

void vlmp_sequence_store_free(vlmp_sequence_store *store)
{
    for (int i = 0; i < store->count; i++)
        vlmp_sequence_free(&store->heads[i]);
    free(store->heads);
    free(store->offsets);
    free(store->path);
    if (store->fd >= 0) close(store->fd);
    *store = VLMP_NO_SEQUENCES;
}

/* Of the ids, which lie in front of the pixels. */
static size_t id_bytes(const vlmp_sequence *s)
{
    return (size_t)s->length * sizeof *s->ids;
}

int vlmp_sequence_store_add(vlmp_sequence_store *store, vlmp_sequence *sequence, vlmp_error *err)
{
    size_t ids = id_bytes(sequence), pixels = vlmp_sequence_pixel_bytes(sequence, store->config);
    store->offsets[store->count] = store->end;
    int status = vlmp_write_all(store->fd, sequence->ids, ids, store->path, err);
    if (status == VLMP_OK && pixels > 0)
        status = vlmp_write_all(store->fd, sequence->pixels, pixels, store->path, err);
    store->end += ids + pixels;
    free(sequence->ids);
    free(sequence->pixels);
    sequence->ids = NULL;
    sequence->pixels = NULL;
    store->heads[store->count++] = *sequence;
    *sequence = (vlmp_sequence){0};
    return status;
}

static int copy(void **out, const void *from, int count, size_t size, vlmp_error *err)
{
    *out = NULL;
    if (count == 0) return VLMP_OK;
    *out = vlmp_alloc((size_t)count, size);
    if (*out == NULL) return vlmp_fail_memory(err, "tokenized samples");
    memcpy(*out, from, (size_t)count * size);
    return VLMP_OK;
}

static int read_part(const vlmp_sequence_store *store, void **out, uint64_t at, size_t bytes,
                     vlmp_error *err)
{
    *out = vlmp_alloc(bytes, 1);
    if (*out == NULL) return vlmp_fail_memory(err, "tokenized samples");
    return vlmp_file_read_at(store->fd, *out, bytes, at, store->path, err);
}

int vlmp_sequence_fetch(void *arg, int index, bool pixels, vlmp_sequence *out, vlmp_error *err)
{
    const vlmp_sequence_store *store = arg;
    const vlmp_sequence *head = &store->heads[index];
    uint64_t at = store->offsets[index];
    void *ids = NULL, *bytes = NULL, *answers = NULL, *plans = NULL;
    int status = read_part(store, &ids, at, id_bytes(head), err);
    if (status == VLMP_OK && pixels)
        status = read_part(store, &bytes, at + id_bytes(head),
                           vlmp_sequence_pixel_bytes(head, store->config), err);
    if (status == VLMP_OK)
        status = copy(&answers, head->answers, head->answer_count, sizeof *head->answers, err);
    if (status == VLMP_OK)
        status = copy(&plans, head->plans, head->image_count, sizeof *head->plans, err);
    *out = *head;
    out->ids = ids;
    out->pixels = bytes;
    out->answers = answers;
    out->plans = plans;
    if (status != VLMP_OK) vlmp_sequence_free(out);
    return status;
}

int vlmp_sequence_store_pixels(const vlmp_sequence_store *store, uint64_t offset, void *out,
                               size_t length, vlmp_error *err)
{
    char *to = out;
    uint64_t passed = 0; /* pixels of the sequences before */
    for (int i = 0; i < store->count && length > 0; i++) {
        const vlmp_sequence *head = &store->heads[i];
        size_t bytes = vlmp_sequence_pixel_bytes(head, store->config);
        uint64_t from = offset - passed;
        passed += bytes;
        if (passed <= offset) continue;
        size_t take = bytes - (size_t)from < length ? bytes - (size_t)from : length;
        uint64_t at = store->offsets[i] + id_bytes(head) + from;
        VLMP_TRY(vlmp_file_read_at(store->fd, to, take, at, store->path, err));
        to += take, offset += take, length -= take;
    }
    return VLMP_OK;
}
