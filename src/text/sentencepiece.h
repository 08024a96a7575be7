/* SentencePiece's own file, tokenizer.model, and the tokenizer.json that says the same.
 *
 * The file is a protobuf (sentencepiece_model.proto): pieces with scores and types, what the
 * trainer was told, what the normalizer does. Read are BPE models that leave the characters of a
 * text as they are, which those of Llama, Vicuna and Mistral do; anything else is VLMP_ERR_INPUT
 * with its name. */
#pragma once

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/json.h"

#define VLMP_SENTENCEPIECE_MAX_BYTES  ((size_t)64 << 20) /* of the file */
#define VLMP_SENTENCEPIECE_MAX_PIECES ((size_t)1 << 22)
/* Bytes of a piece: its cuts are looked up one by one. Trainers make 16 characters by default. */
#define VLMP_SENTENCEPIECE_MAX_PIECE  ((size_t)512)
/* Bytes of the merges, as JSON: a piece of n characters can have n − 1, each with all of its text.
 * The 32000 pieces of Mistral have 58980, in 0.9 MB. */
#define VLMP_SENTENCEPIECE_MAX_MERGES ((size_t)32 << 20)

typedef enum {
    VLMP_SP_NORMAL = 1,
    VLMP_SP_UNKNOWN,
    VLMP_SP_CONTROL,
    VLMP_SP_USER_DEFINED,
    VLMP_SP_UNUSED,
    VLMP_SP_BYTE,
} vlmp_sp_type;

typedef struct {
    const char *text; /* UTF-8, in the file's bytes */
    size_t length;
    float score; /* the higher, the earlier it is merged */
    vlmp_sp_type type;
} vlmp_sp_piece;

typedef struct {
    const char *where;     /* the file, for messages */
    vlmp_sp_piece *pieces; /* [count] by id */
    size_t count, capacity;
    int32_t unknown, begin, end; /* ids; −1: none */
    bool byte_fallback;          /* unknown characters become bytes */
    bool dummy_prefix;           /* a text gets a space in front */
    /* What is refused unless it has the value of Llama's file: */
    bool trims;       /* spaces at the ends and double ones */
    bool escapes;     /* a space is "▁" */
    bool suffix;      /* a space belongs to the word before it */
    size_t table;     /* bytes of the normalizer's table of characters */
    int64_t training; /* how the pieces were found: 2 is BPE */
} vlmp_sentencepiece;

/* Texts are borrowed from data, and so is where. Free also after a failure. */
int vlmp_sentencepiece_read(vlmp_sentencepiece *out, const void *data, size_t length,
                            const char *where, vlmp_error *err);
void vlmp_sentencepiece_free(vlmp_sentencepiece *model);

/* The other files of such a folder; objects or NULL. */
typedef struct {
    const cJSON *config;  /* tokenizer_config.json */
    const cJSON *special; /* special_tokens_map.json, of folders from before added_tokens_decoder */
    const cJSON *added;   /* added_tokens.json, likewise: token → id */
    const char *config_where, *added_where; /* their paths, for messages */
    /* Whether every stretch of text between added tokens gets the space in front, or, not legacy,
     * the first alone. */
    bool legacy;
} vlmp_sentencepiece_beside;

/* Writes tokenizer.json and the tokenizer_config.json that goes with it. Ids of a text are those
 * of SentencePiece for each stretch between added tokens, and of transformers for the whole; only
 * a text that begins with a space, not legacy, gets no second one (as in transformers). */
int vlmp_sentencepiece_convert(vlmp_json_writer *tokenizer, vlmp_json_writer *config,
                               const vlmp_sentencepiece *model,
                               const vlmp_sentencepiece_beside *beside, vlmp_error *err);
