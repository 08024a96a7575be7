/* The reference's side of a comparison: its hidden states at scored positions and its head. */
#pragma once

#include "src/eval/scoring.h"

typedef struct {
    char *name;             /* the model, as the user gave it */
    char model_digest[65];  /* SHA-256 over its tensors */
    char data_digest[65];   /* SHA-256 over the samples' identities */
    char tokens_digest[65]; /* SHA-256 over the token ids of all sequences */
    char alpha[8]; /* how transparent pictures were shown; "": none is transparent */
    vlmp_hidden hidden;
    vlmp_linear head; /* dense; weight in head_memory, or in a map that outlives this */
    void *head_memory;
} vlmp_reference;

void vlmp_reference_free(vlmp_reference *reference);

/* A hash of what was scored: two runs are comparable when it is the same. */
void vlmp_tokens_digest(const vlmp_sequence *sequences, int count, char hex[65]);

/* The tensors of a .ref file (data points into the reference) and its metadata, in the arena. */
int vlmp_reference_export(const vlmp_reference *reference, vlmp_arena *arena, vlmp_tensor **out,
                          size_t *count, const char **metadata, vlmp_error *err);

/* The inverse; everything is copied. */
typedef const vlmp_tensor *vlmp_reference_find(void *arg, const char *name);
int vlmp_reference_import(vlmp_reference *out, vlmp_reference_find *find, void *arg,
                          const char *metadata, const char *where, vlmp_error *err);
