/* A tokenizer as tables, for formats that carry it in their own way. */
#pragma once

#include "src/text/tokenizer.h"

/* How a text is cut before merging. */
typedef enum {
    VLMP_CUT_NONE,   /* SentencePiece's way: not at all, spaces are "▁" */
    VLMP_CUT_GPT2,   /* by GPT-2's expression, bytes as letters, as below */
    VLMP_CUT_DIGITS, /* at each digit, then by GPT-2's */
    VLMP_CUT_LLAMA3,
    VLMP_CUT_QWEN2, /* of the text's NFC */
} vlmp_cut_kind;

typedef enum {
    VLMP_PIECE_ABSENT, /* no token has this id */
    VLMP_PIECE_NORMAL,
    VLMP_PIECE_UNKNOWN,
    VLMP_PIECE_BYTE,    /* "<0x41>", for characters that the vocabulary lacks */
    VLMP_PIECE_CONTROL, /* special: found in a text, not shown */
    VLMP_PIECE_ADDED,   /* found in a text before it is cut */
} vlmp_piece_kind;

typedef struct {
    const char *text; /* as the file spells it; not NUL-terminated */
    size_t length;
    vlmp_piece_kind kind;
    int32_t rank; /* of the first merge that makes it; −1: none does */
} vlmp_vocabulary_token;

typedef struct {
    vlmp_cut_kind cut;
    bool prefix_space;             /* a text gets a space in front */
    bool whole_words;              /* a word that is a token is not merged from parts */
    bool begins_with_bos;          /* the post-processor puts bos_token in front … */
    bool ends_with_eos;            /* … and eos_token behind */
    vlmp_vocabulary_token *tokens; /* [count] by id */
    int32_t count;
    struct {
        int32_t left, right; /* ids */
    } * merges;              /* [merge_count] by rank; none in double */
    int32_t merge_count;
} vlmp_vocabulary;

/* Texts are borrowed from the tokenizer. VLMP_ERR_INPUT: a pipeline that no vlmp_cut_kind says.
 * Free with vlmp_vocabulary_free, also after a failure. */
int vlmp_vocabulary_of(vlmp_vocabulary *out, const vlmp_tokenizer *tokenizer, vlmp_error *err);
void vlmp_vocabulary_free(vlmp_vocabulary *vocabulary);
