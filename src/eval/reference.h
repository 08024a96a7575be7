/* The reference's side of a comparison: its hidden states at scored positions and its head. */
#pragma once

#include "src/base/sha256.h"
#include "src/eval/scoring.h"

typedef struct {
    char *name;             /* the model, as the user gave it */
    char model_digest[65];  /* SHA-256 over its tensors */
    char data_digest[65];   /* SHA-256 over the samples' identities */
    char tokens_digest[65]; /* SHA-256 over the token ids of all sequences */
    char **stand_ins; /* [hidden.samples] answers that stood in where the data has none (NULL where
                       * it has one); NULL: it has all */
    vlmp_hidden hidden;
    vlmp_linear head; /* dense; weight in head_memory, or in a map that outlives this */
    void *head_memory;
} vlmp_reference;

void vlmp_reference_free(vlmp_reference *reference);

/* A hash of what is scored, sequence after sequence: two runs are comparable when it is the same. */
void vlmp_tokens_digest_add(vlmp_sha256 *hash, const vlmp_sequence *sequence);

/* The tensors of a .ref file (data points into the reference) and its metadata, in the arena. */
int vlmp_reference_export(const vlmp_reference *reference, vlmp_arena *arena, vlmp_tensor **out,
                          size_t *count, const char **metadata, vlmp_error *err);

/* Bytes of the states, whose tensor comes without data when they are spilled; arg: the reference.
 * The type is that of a reader of formats/safetensors_write.h. */
int vlmp_reference_read(void *arg, size_t index, uint64_t offset, void *out, size_t length,
                        vlmp_error *err);

/* The inverse; everything is copied, states beyond VLMP_ACTIVATIONS_IN_MEMORY to work_folder. */
typedef const vlmp_tensor *vlmp_reference_find(void *arg, const char *name);
int vlmp_reference_import(vlmp_reference *out, vlmp_reference_find *find, void *arg,
                          const char *metadata, const char *where, const char *work_folder,
                          vlmp_error *err);
