/* Shared by the tokenizer's files only. */
#pragma once

#include <cjson/cJSON.h>

#include "src/text/tokenizer.h"

#define MAX_STAGES 16 /* of a Sequence, nested ones counted together */

/* The bytes that a pipeline may make of a text: "▁" and letters for bytes make six of one, real
 * files no more; stages that feed each other could make a text of any length. */
#define VLMP_TEXT_GROWTH 16
#define VLMP_TEXT_SPARE  ((size_t)4096)

static inline size_t vlmp_grown_limit(size_t length)
{
    return length < SIZE_MAX / VLMP_TEXT_GROWTH / 2 ? length * VLMP_TEXT_GROWTH + VLMP_TEXT_SPARE
                                                    : SIZE_MAX;
}

/* VLMP_ERR_INPUT: stage `stage` (from 0) of part ("normalizer" …) makes too much of a text. */
int vlmp_text_grows(const vlmp_tokenizer *t, const char *part, int stage, vlmp_error *err);

typedef struct {
    const char *text;
    uint32_t length;
} vlmp_piece;

/* String → id, open addressing. */
typedef struct {
    vlmp_piece *keys; /* text NULL: empty */
    int32_t *ids;
    size_t mask; /* slots − 1 */
    size_t count;
} vlmp_piece_map;

bool vlmp_piece_map_init(vlmp_piece_map *map, size_t count);
void vlmp_piece_map_free(vlmp_piece_map *map);
int32_t vlmp_piece_map_find(const vlmp_piece_map *map, const char *text, size_t length);
bool vlmp_piece_map_put(vlmp_piece_map *map, const char *text, size_t length, int32_t id);

typedef enum { NORMALIZE_NFC, NORMALIZE_PREPEND, NORMALIZE_REPLACE } vlmp_normalizer_kind;

typedef struct {
    vlmp_normalizer_kind kind;
    vlmp_piece pattern; /* Replace */
    vlmp_piece content; /* Prepend, Replace */
} vlmp_normalizer;

typedef enum {
    SPLIT_BYTE_LEVEL,
    SPLIT_PATTERN,
    SPLIT_STRING,
    SPLIT_DIGITS,
    SPLIT_METASPACE,
    SPLIT_WORDS, /* Whitespace */
    SPLIT_SPACES /* WhitespaceSplit */
} vlmp_splitter_kind;

/* The expressions in use, each with its own scanner. */
typedef enum { PATTERN_NONE, PATTERN_GPT2, PATTERN_QWEN2, PATTERN_LLAMA3 } vlmp_pattern;

typedef enum {
    BEHAVIOR_REMOVED,
    BEHAVIOR_ISOLATED,
    BEHAVIOR_MERGED_WITH_PREVIOUS,
    BEHAVIOR_MERGED_WITH_NEXT,
    BEHAVIOR_CONTIGUOUS
} vlmp_behavior;

typedef enum { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } vlmp_prepend;

typedef struct {
    vlmp_splitter_kind kind;
    vlmp_pattern pattern;   /* SPLIT_PATTERN; SPLIT_BYTE_LEVEL: PATTERN_GPT2 or none */
    vlmp_behavior behavior; /* SPLIT_STRING, SPLIT_DIGITS */
    bool invert;            /* SPLIT_STRING: the gaps are the delimiters */
    bool prefix_space;      /* SPLIT_BYTE_LEVEL */
    vlmp_piece literal;     /* SPLIT_STRING's pattern, SPLIT_METASPACE's replacement */
    vlmp_prepend prepend;   /* SPLIT_METASPACE */
    bool split;             /* SPLIT_METASPACE */
} vlmp_splitter;

typedef enum {
    DECODE_BYTE_LEVEL,
    DECODE_REPLACE,
    DECODE_BYTE_FALLBACK,
    DECODE_FUSE,
    DECODE_STRIP,
    DECODE_METASPACE
} vlmp_decoder_kind;

typedef struct {
    vlmp_decoder_kind kind;
    vlmp_piece pattern;   /* Replace; Strip and Metaspace: the character */
    vlmp_piece content;   /* Replace */
    uint32_t start, stop; /* Strip */
    bool drop_first;      /* Metaspace */
    bool fused;           /* all tokens are one by now */
} vlmp_decoder;

typedef struct {
    vlmp_piece content;
    vlmp_piece pattern; /* what is searched for: content, normalized when `normalized` */
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
} vlmp_added;

/* The added tokens of one kind as a trie over bytes; node 0 is the root. */
typedef struct {
    int32_t child, sibling; /* 0: none */
    int32_t accept;         /* index into added, -1: none */
    unsigned char byte;
} vlmp_trie_node;

typedef struct {
    vlmp_trie_node *nodes; /* NULL: empty */
    size_t count, capacity;
} vlmp_trie;

typedef struct {
    uint64_t pair; /* left << 32 | right */
    int32_t rank, id;
} vlmp_merge;

typedef struct {
    char *name, *content;
    int32_t id;
} vlmp_named;

struct vlmp_tokenizer {
    vlmp_arena arena;
    char *where, *config_where; /* FOLDER/tokenizer.json, FOLDER/tokenizer_config.json */

    vlmp_piece_map vocabulary; /* the model's */
    size_t size;               /* largest id + 1 */
    vlmp_piece *tokens;        /* [size]; text NULL: no such id */
    bool *special;             /* [size] */

    vlmp_merge *merges; /* open addressing; id −1: empty */
    size_t merge_mask;
    int32_t bytes[256];       /* ids of "<0x00>" …; −1: absent */
    int32_t characters[1024]; /* ids of one-character tokens below U+0400; −1: absent */
    bool byte_fallback, fuse_unknown, ignore_merges;
    int32_t unknown; /* −1: unknown characters vanish */

    vlmp_added *added;
    size_t added_count;
    size_t pattern_bytes;     /* of normal forms */
    vlmp_piece_map added_map; /* content → index into added */
    vlmp_trie raw, normalized;

    vlmp_normalizer normalizers[MAX_STAGES];
    int normalizer_count;
    vlmp_splitter splitters[MAX_STAGES];
    int splitter_count;
    vlmp_decoder decoders[MAX_STAGES];
    int decoder_count; /* 0: tokens are joined by spaces */

    vlmp_ids before, after; /* the post-processor's special tokens */

    vlmp_named *named;
    size_t named_count;
};

/* tokenizer_load.c and the readers of the file's parts */
int vlmp_tokenizer_read_model(vlmp_tokenizer *t, const cJSON *model, vlmp_error *err);
int vlmp_tokenizer_read_added(vlmp_tokenizer *t, const cJSON *root, const cJSON *config,
                              vlmp_error *err);
int vlmp_tokenizer_read_normalizer(vlmp_tokenizer *t, const cJSON *node, vlmp_error *err);
int vlmp_tokenizer_read_splitter(vlmp_tokenizer *t, const cJSON *node, vlmp_error *err);
int vlmp_tokenizer_read_decoder(vlmp_tokenizer *t, const cJSON *node, vlmp_error *err);
int vlmp_tokenizer_read_processor(vlmp_tokenizer *t, const cJSON *node, vlmp_error *err);

int vlmp_tokenizer_copy(vlmp_tokenizer *t, const char *text, vlmp_piece *out, vlmp_error *err);
/* The "type" of a pipeline stage; NULL with err set when it has none. */
const char *vlmp_tokenizer_type(const vlmp_tokenizer *t, const cJSON *node, const char *part,
                                vlmp_error *err);
/* {"String": s} → s; anything else is an error. */
int vlmp_tokenizer_string_pattern(vlmp_tokenizer *t, const cJSON *node, const char *part,
                                  vlmp_piece *out, vlmp_error *err);

/* normalizer.c: the normal form of text, appended to out (which is emptied first). */
int vlmp_normalize(const vlmp_tokenizer *t, const char *text, size_t length, vlmp_buffer *out,
                   vlmp_error *err);

/* trie.c */
bool vlmp_trie_put(vlmp_trie *trie, const char *text, size_t length, int32_t index);
void vlmp_trie_free(vlmp_trie *trie);
/* The longest entry that starts at text; returns its index or −1, and its length. */
int32_t vlmp_trie_longest(const vlmp_trie *trie, const char *text, size_t length, size_t *matched);

/* bpe.c: one word → ids. */
typedef struct vlmp_bpe vlmp_bpe; /* scratch */
vlmp_bpe *vlmp_bpe_create(void);
void vlmp_bpe_free(vlmp_bpe *bpe);
int vlmp_bpe_encode(const vlmp_tokenizer *t, vlmp_bpe *bpe, const char *word, size_t length,
                    vlmp_ids *ids, vlmp_error *err);

/* pretokenizer.c: cuts a normalized piece into words and encodes each. scratch has MAX_STAGES
 * buffers. at_start: the piece starts where the input starts. */
typedef struct {
    const vlmp_tokenizer *tokenizer;
    vlmp_bpe *bpe;
    vlmp_ids *ids;
    vlmp_buffer scratch[MAX_STAGES];
    vlmp_buffer words[MAX_STAGES];
    size_t limit; /* bytes that words may have together: vlmp_grown_limit of the whole text */
    size_t spent; /* of them */
    vlmp_error *err;
} vlmp_cutter;

int vlmp_cut(vlmp_cutter *cutter, const char *text, size_t length, bool at_start);

/* patterns.c: the end of the match that starts at `at`. */
vlmp_pattern vlmp_pattern_find(const char *expression);
size_t vlmp_pattern_next(vlmp_pattern pattern, const char *text, size_t length, size_t at);

/* byte_level.c: GPT-2's letters for bytes. */
uint32_t vlmp_byte_letter(unsigned char byte);
int vlmp_letter_byte(uint32_t c); /* −1: not such a letter */
