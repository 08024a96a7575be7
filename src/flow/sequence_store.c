#include "src/flow/sequence_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/memory.h"
#include "src/base/outfile.h"

int vlmp_sequence_store_create(vlmp_sequence_store *store, int capacity, int image_size,
                               const char *folder, vlmp_error *err)
{
    *store = VLMP_NO_SEQUENCES;
    store->capacity = capacity;
    store->tile_bytes = 3 * (size_t)image_size * (size_t)image_size;
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

/* The parts of a sequence that lie in the file, in this order. */
struct parts {
    void **data[3];
    size_t bytes[3];
};

static struct parts parts_of(const vlmp_sequence_store *store, vlmp_sequence *s)
{
    return (struct parts){.data = {(void **)&s->ids, (void **)&s->plans, (void **)&s->pixels},
                          .bytes = {(size_t)s->length * sizeof *s->ids,
                                    (size_t)s->image_count * sizeof *s->plans,
                                    (size_t)s->tiles * store->tile_bytes}};
}

int vlmp_sequence_store_add(vlmp_sequence_store *store, vlmp_sequence *sequence, vlmp_error *err)
{
    struct parts parts = parts_of(store, sequence);
    store->offsets[store->count] = store->end;
    int status = VLMP_OK;
    for (int i = 0; i < 3; i++) {
        if (status == VLMP_OK && parts.bytes[i] > 0)
            status = vlmp_write_all(store->fd, *parts.data[i], parts.bytes[i], store->path, err);
        store->end += parts.bytes[i];
        free(*parts.data[i]);
        *parts.data[i] = NULL;
    }
    store->heads[store->count++] = *sequence;
    *sequence = (vlmp_sequence){0};
    return status;
}

int vlmp_sequence_fetch(void *arg, int index, bool pixels, vlmp_sequence *out, vlmp_error *err)
{
    const vlmp_sequence_store *store = arg;
    const vlmp_sequence *head = &store->heads[index];
    *out = *head;
    out->answers = NULL; /* the head keeps its own */
    struct parts parts = parts_of(store, out);
    uint64_t at = store->offsets[index];
    int status = VLMP_OK;
    for (int i = 0; i < 3 && status == VLMP_OK; i++) {
        if (i == 2 && !pixels) break;
        *parts.data[i] = vlmp_alloc(parts.bytes[i], 1);
        if (*parts.data[i] == NULL) status = vlmp_fail_memory(err, "tokenized samples");
        if (status == VLMP_OK)
            status =
                vlmp_file_read_at(store->fd, *parts.data[i], parts.bytes[i], at, store->path, err);
        at += parts.bytes[i];
    }
    if (status == VLMP_OK && head->answer_count > 0) {
        size_t bytes = (size_t)head->answer_count * sizeof *out->answers;
        out->answers = vlmp_alloc(bytes, 1);
        if (out->answers != NULL)
            memcpy(out->answers, head->answers, bytes);
        else
            status = vlmp_fail_memory(err, "tokenized samples");
    }
    if (status != VLMP_OK) vlmp_sequence_free(out);
    return status;
}

int vlmp_sequence_store_pixels(const vlmp_sequence_store *store, uint64_t offset, void *out,
                               size_t length, vlmp_error *err)
{
    char *to = out;
    uint64_t passed = 0; /* pixels of the sequences before */
    for (int i = 0; i < store->count && length > 0; i++) {
        struct parts parts = parts_of(store, &store->heads[i]);
        uint64_t from = offset - passed;
        passed += parts.bytes[2];
        if (passed <= offset) continue;
        size_t take =
            parts.bytes[2] - (size_t)from < length ? parts.bytes[2] - (size_t)from : length;
        uint64_t at = store->offsets[i] + parts.bytes[0] + parts.bytes[1] + from;
        VLMP_TRY(vlmp_file_read_at(store->fd, to, take, at, store->path, err));
        to += take, offset += take, length -= take;
    }
    return VLMP_OK;
}
