/* The reference's side of a comparison: its hidden states at scored positions and its head. */
#pragma once

#include "src/eval/scoring.h"
#include "src/model/identity.h"
#include "src/model/reader.h"

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
    vlmp_side side;
    char data_digest[VLMP_SHA256_HEX];   /* over the samples' identities */
    char tokens_digest[VLMP_SHA256_HEX]; /* vlmp_tokens_digest of all sequences */
    char alpha[8]; /* how transparent pictures were shown; "": none is transparent */
    vlmp_hidden hidden;
    vlmp_linear head; /* dense; weight in head_memory */
    void *head_memory;
} vlmp_reference;

void vlmp_reference_free(vlmp_reference *reference);

/* Whether the reference holds what is scored in sequences[count]: the same samples, borders and
 * tokens, else VLMP_ERR_INPUT; name is the model's that they were made with. */
int vlmp_reference_check(const vlmp_reference *reference, const vlmp_sequence *sequences, int count,
                         const char *name, vlmp_error *err);

/* The tensors of a .ref file (data points into the reference) and its metadata, in the arena. */
int vlmp_reference_export(const vlmp_reference *reference, vlmp_arena *arena, vlmp_tensor **out,
                          size_t *count, const char **metadata, vlmp_error *err);

/* The inverse; everything is copied. What is not finite or contradicts itself is VLMP_ERR_INPUT. */
typedef const vlmp_tensor *vlmp_reference_find(void *arg, const char *name);
int vlmp_reference_import(vlmp_reference *out, vlmp_reference_find *find, void *arg,
                          const char *metadata, const char *where, vlmp_error *err);
