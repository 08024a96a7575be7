/* Many sequences, of which memory holds sizes, answers and plans: ids and pixels lie in an unlinked
 * work file. */
#pragma once

#include <stddef.h>

#include "src/base/error.h"
#include "src/flow/sequence.h"

typedef struct {
    int fd;                    /* −1: none */
    const vlmp_config *config; /* not owned */
    uint64_t end;              /* of what is written */
    int count, capacity;
    vlmp_sequence *heads; /* [count] without ids and pixels */
    uint64_t *offsets;    /* [count] in the file */
    char *path;           /* which the file had, for messages */
} vlmp_sequence_store;

#define VLMP_NO_SEQUENCES \
    (vlmp_sequence_store) \
    {                     \
        .fd = -1          \
    }

/* folder: where the work file goes. */
int vlmp_sequence_store_create(vlmp_sequence_store *store, int capacity, const vlmp_config *config,
                               const char *folder, vlmp_error *err);
void vlmp_sequence_store_free(vlmp_sequence_store *store);

/* Appends what the sequence has and frees it; its answers and plans stay in memory. */
int vlmp_sequence_store_add(vlmp_sequence_store *store, vlmp_sequence *sequence, vlmp_error *err);

/* Reads sequence `index` back, whole or without pixels. Free it with vlmp_sequence_free. arg: the
 * store. */
int vlmp_sequence_fetch(void *arg, int index, bool pixels, vlmp_sequence *out, vlmp_error *err);

/* length bytes, from byte `offset` on, of all sequences' pixels one after the other. */
int vlmp_sequence_store_pixels(const vlmp_sequence_store *store, uint64_t offset, void *out,
                               size_t length, vlmp_error *err);
