/* What the results of a model depend on: its tensors, and the small files beside them that shape
 * tokens, pictures and answers. The one list of them, for calibrations, journals, saved references
 * and whoever else must tell whether two runs saw the same model. */
#pragma once

#include "src/base/json.h"
#include "src/base/sha256.h"
#include "src/flow/sequence.h"
#include "src/picture/preprocess.h"
#include "src/store/source.h"

#define VLMP_IDENTITY_FILES 10

typedef struct {
    char tensors[VLMP_SHA256_HEX];                    /* the source's digest */
    char files[VLMP_IDENTITY_FILES][VLMP_SHA256_HEX]; /* of config.json …; "": absent */
} vlmp_identity;

/* Reads every byte of the source. */
int vlmp_identity_of(vlmp_identity *out, vlmp_source *source, vlmp_error *err);

/* NULL: the same; else what differs first: "weights", or the name of a file. */
const char *vlmp_identity_difference(const vlmp_identity *a, const vlmp_identity *b);

/* {"tensors": hex, "files": {name: hex, …}}; absent files are left out. Reading refuses what
 * writing cannot have written; object may be NULL. */
void vlmp_identity_write(const vlmp_identity *identity, vlmp_json_writer *w);
int vlmp_identity_read(vlmp_identity *out, const cJSON *object, const char *where, vlmp_error *err);

/* Appends "weights: HEX\nconfig.json: HEX\n…", a line for each. */
void vlmp_identity_lines(const vlmp_identity *identity, vlmp_buffer *out);

/* SHA-256 over the settings that make pixels of a picture, defaults filled in: two files that say
 * the same in other words have the same. */
void vlmp_preprocess_digest(const vlmp_preprocess *pre, char hex[VLMP_SHA256_HEX]);

/* What a hash of tokens is over: the length of each sequence, its answers' borders and its ids. */
void vlmp_tokens_digest_add(vlmp_sha256 *hash, const vlmp_sequence *sequence);
