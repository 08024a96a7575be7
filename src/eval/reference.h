/* The reference's side of a comparison: its hidden states at scored positions and its head. */
#pragma once

#include "src/base/sha256.h"
#include "src/eval/scoring.h"
#include "src/flow/identity.h"
#include "src/flow/reader.h"

/* What two models must agree about before their probabilities are compared. */
typedef struct {
    int width;                       /* of hidden states */
    int vocabulary;                  /* rows of the head */
    int token_ids;                   /* that the tokenizer knows; the rows behind are padding */
    int context;                     /* positions */
    char processor[VLMP_SHA256_HEX]; /* vlmp_preprocess_digest */
} vlmp_side;

/* The side of an open model. */
void vlmp_side_of(vlmp_side *out, const vlmp_reader *reader);

/* VLMP_ERR_INPUT naming what differs; the context may. Vocabularies may differ by padding rows:
 * *common is the smaller one, over which to compare. */
int vlmp_side_check(const vlmp_side *model, const char *name, const vlmp_side *reference,
                    const char *reference_name, int *common, vlmp_error *err);

typedef struct {
    char *name;          /* the model, as the user gave it */
    const char *where;   /* the file it was read from, else the model; for messages, not owned */
    bool saved;          /* read from a file */
    vlmp_identity model; /* a packed file's is that of its source */
    char
        itself[VLMP_SHA256_HEX]; /* digest of its own tensors, which a packed file's source lacks */
    vlmp_side side;
    char data_digest[VLMP_SHA256_HEX];   /* over the samples' identities */
    char tokens_digest[VLMP_SHA256_HEX]; /* vlmp_tokens_digest_add of all sequences */
    char alpha[8];    /* how transparent pictures were shown; "": none is transparent */
    char **stand_ins; /* [hidden.samples] answers that stood in where the data has none (NULL where
                       * it has one); NULL: it has all */
    vlmp_hidden hidden;
    vlmp_linear head; /* dense; weight in head_memory */
    void *head_memory;
} vlmp_reference;

void vlmp_reference_free(vlmp_reference *reference);

/* Whether the reference holds what is scored: the answers' tokens of sample `index`, and after all
 * of them their number and the hash of their tokens. Else VLMP_ERR_INPUT; name is the model's that
 * they were made with. */
int vlmp_reference_check_sample(const vlmp_reference *reference, int index,
                                const vlmp_sequence *sequence, const char *name, vlmp_error *err);
int vlmp_reference_check_all(const vlmp_reference *reference, int count, const char *tokens_digest,
                             const char *name, vlmp_error *err);

/* The tensors of a .ref file (data points into the reference) and its metadata, in the arena. */
int vlmp_reference_export(const vlmp_reference *reference, vlmp_arena *arena, vlmp_tensor **out,
                          size_t *count, const char **metadata, vlmp_error *err);

/* Bytes of the states, whose tensor comes without data when they are spilled; arg: the reference.
 * The type is that of a reader of formats/safetensors_write.h. */
int vlmp_reference_read(void *arg, size_t index, uint64_t offset, void *out, size_t length,
                        vlmp_error *err);

/* The inverse; everything is copied, states beyond VLMP_ACTIVATIONS_IN_MEMORY to work_folder. What
 * is not finite or contradicts itself is VLMP_ERR_INPUT. release (may be NULL) is told of bytes of
 * a tensor that are not read again. */
typedef void vlmp_reference_release(void *arg, const vlmp_tensor *tensor, size_t offset,
                                    size_t length);
typedef const vlmp_tensor *vlmp_reference_find(void *arg, const char *name);
int vlmp_reference_import(vlmp_reference *out, vlmp_reference_find *find,
                          vlmp_reference_release *release, void *arg, const char *metadata,
                          const char *where, const char *work_folder, vlmp_error *err);
