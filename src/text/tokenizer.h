/* Text to token ids and back, from a Hugging Face tokenizer.json. The pipeline of the file is
 * followed as it stands: added tokens, normalizer, pre-tokenizer, BPE, post-processor, decoder. A
 * construct outside the supported set is VLMP_ERR_INPUT at creation, with its name:
 *   normalizers     NFC, Prepend, Replace (string), Sequence
 *   pre-tokenizers  ByteLevel, Digits, Metaspace, Whitespace, WhitespaceSplit, Sequence, Split by a
 *                   string or by the expressions of Llama-3, Qwen2 and GPT-2
 *   model           BPE without dropout, prefix and suffix
 *   post-processors TemplateProcessing, ByteLevel, Sequence
 *   decoders        ByteLevel, Replace (string), ByteFallback, Fuse, Strip, Metaspace, Sequence */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/memory.h"

#define VLMP_TOKENIZER_MAX_BYTES ((size_t)128 << 20) /* of tokenizer.json */

typedef struct vlmp_tokenizer vlmp_tokenizer;

/* Token ids; grows. Start with {0}, free with vlmp_ids_free. */
typedef struct {
    int32_t *data;
    size_t count;
    size_t capacity;
} vlmp_ids;

bool vlmp_ids_push(vlmp_ids *ids, int32_t id); /* false: out of memory */
void vlmp_ids_free(vlmp_ids *ids);

/* config (tokenizer_config.json) may be NULL. Its special tokens count as special where the
 * vocabulary has them, and tokens that only its added_tokens_decoder lists are added. where names
 * the folder in messages. Both texts may be freed afterwards. */
int vlmp_tokenizer_create(vlmp_tokenizer **out, const char *json, size_t json_length,
                          const char *config, size_t config_length, const char *where,
                          vlmp_error *err);
void vlmp_tokenizer_free(vlmp_tokenizer *tokenizer); /* NULL is allowed */

/* Appends the ids of text (UTF-8; malformed text is VLMP_ERR_INPUT with the offset). add_special
 * applies the post-processor. A tokenizer may be used by several threads at once. */
int vlmp_tokenizer_encode(const vlmp_tokenizer *tokenizer, const char *text, size_t length,
                          bool add_special, vlmp_ids *ids, vlmp_error *err);

/* Appends the text of ids: valid UTF-8, malformed bytes as U+FFFD. Unknown ids add nothing. */
int vlmp_tokenizer_decode(const vlmp_tokenizer *tokenizer, const int32_t *ids, size_t count,
                          bool skip_special, vlmp_buffer *out, vlmp_error *err);

/* Decoding token by token. The pieces together equal what vlmp_tokenizer_decode gives; bytes that
 * await the rest of their character are held back. push and finish append to out. The stream
 * borrows the tokenizer. */
typedef struct vlmp_text_stream vlmp_text_stream;

int vlmp_text_stream_create(vlmp_text_stream **out, const vlmp_tokenizer *tokenizer,
                            bool skip_special, vlmp_error *err);
int vlmp_text_stream_push(vlmp_text_stream *stream, int32_t id, vlmp_buffer *out, vlmp_error *err);
int vlmp_text_stream_finish(vlmp_text_stream *stream, vlmp_buffer *out, vlmp_error *err);
void vlmp_text_stream_free(vlmp_text_stream *stream); /* NULL is allowed */

/* -1 when no token has exactly this content. */
int32_t vlmp_tokenizer_find(const vlmp_tokenizer *tokenizer, const char *content);

/* The token's content as the file spells it (byte-level letters and all); NULL: no such id. */
const char *vlmp_tokenizer_token(const vlmp_tokenizer *tokenizer, int32_t id);

/* One more than the largest id. */
int32_t vlmp_tokenizer_size(const vlmp_tokenizer *tokenizer);

/* The named tokens of tokenizer_config.json ("bos_token", "eos_token", "pad_token", …), for chat
 * templates. Content is NULL and id −1 when absent; id is −1 too when the vocabulary lacks it. */
const char *vlmp_tokenizer_named(const vlmp_tokenizer *tokenizer, const char *name, int32_t *id);

/* All of them, index from 0; false behind the last. */
bool vlmp_tokenizer_named_at(const vlmp_tokenizer *tokenizer, size_t index, const char **name,
                             const char **content);
