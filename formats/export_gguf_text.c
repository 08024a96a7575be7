/* The keys of the text model's GGUF file: its sizes and its tokenizer. */
#include <stdio.h>
#include <string.h>

#include "formats/export_gguf.h"

/* llama.cpp's numbers for kinds of tokens. */
enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };

static const struct {
    vlmp_piece_kind kind;
    int32_t number;
} token_kinds[] = {
    {VLMP_PIECE_ABSENT, UNUSED}, {VLMP_PIECE_NORMAL, NORMAL},   {VLMP_PIECE_UNKNOWN, UNKNOWN},
    {VLMP_PIECE_BYTE, BYTE},     {VLMP_PIECE_CONTROL, CONTROL}, {VLMP_PIECE_ADDED, USER_DEFINED},
};

/* llama.cpp's names of pre-tokenizers. */
static const struct {
    vlmp_cut_kind cut;
    const char *model, *pre;
} tokenizers[] = {
    {VLMP_CUT_NONE, "llama", "default"}, {VLMP_CUT_GPT2, "gpt2", "gpt-2"},
    {VLMP_CUT_DIGITS, "gpt2", "smollm"}, {VLMP_CUT_LLAMA3, "gpt2", "llama-bpe"},
    {VLMP_CUT_QWEN2, "gpt2", "qwen2"},
};

/* "ARCH.LEAF", valid until the next call with the same buffer. */
static const char *key_of(char out[128], const char *arch, const char *leaf)
{
    snprintf(out, 128, "%s.%s", arch, leaf);
    return out;
}

/* A graph of llama.cpp that computes what the model computes. */
static int find_architecture(const vlmp_text_config *text, const char **arch, vlmp_error *err)
{
    *arch = vlmp_gguf_architecture(text);
    for (int i = 0; i < text->layers; i++)
        if (text->sliding[i])
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "the text model's layer %d sees a window of %d tokens; llama.cpp's "
                             "'%s' has none",
                             i, text->window, *arch);
    if (text->act != VLMP_SILU)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "the text model's activation is not silu, as llama.cpp's '%s' has it",
                         *arch);
    return VLMP_OK;
}

static void put_sizes(vlmp_gguf_keys *keys, const vlmp_text_config *text, const char *arch)
{
    const struct {
        const char *leaf;
        int value;
    } sizes[] = {
        {"block_count", text->layers},
        {"context_length", text->max_positions},
        {"embedding_length", text->hidden},
        {"feed_forward_length", text->intermediate},
        {"attention.head_count", text->heads},
        {"attention.head_count_kv", text->kv_heads},
        {"attention.key_length", text->head_dim},
        {"attention.value_length", text->head_dim},
        {"rope.dimension_count", text->head_dim},
        {"vocab_size", text->vocab},
    };
    char key[128];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        vlmp_gguf_put_u32(keys, key_of(key, arch, sizes[i].leaf), (uint32_t)sizes[i].value);
    vlmp_gguf_put_f32(keys, key_of(key, arch, "attention.layer_norm_rms_epsilon"), text->norm_eps);
    vlmp_gguf_put_f32(keys, key_of(key, arch, "rope.freq_base"), (float)text->rope.theta);
    if (text->sections[0] > 0) { /* time, row, column, and one that is not used */
        const int32_t sections[] = {text->sections[0], text->sections[1], text->sections[2], 0};
        vlmp_gguf_put_i32s(keys, key_of(key, arch, "rope.dimension_sections"), sections, 4);
    }
    if (text->rope.kind == VLMP_ROPE_LINEAR) {
        vlmp_gguf_put_string(keys, key_of(key, arch, "rope.scaling.type"), "linear");
        vlmp_gguf_put_f32(keys, key_of(key, arch, "rope.scaling.factor"), (float)text->rope.factor);
    }
}

/* Rows of the embedding that have no token are llama.cpp's "[PADn]". */
static void put_tokens(vlmp_gguf_keys *keys, const vlmp_vocabulary *v, int rows)
{
    vlmp_gguf_put_texts(keys, "tokenizer.ggml.tokens", (size_t)rows);
    for (int id = 0; id < rows; id++) {
        char pad[32];
        int length = snprintf(pad, sizeof pad, "[PAD%d]", id);
        bool known = id < v->count && v->tokens[id].kind != VLMP_PIECE_ABSENT;
        vlmp_gguf_add_text(keys, known ? v->tokens[id].text : pad,
                           known ? v->tokens[id].length : (size_t)length);
    }
}

static int put_token_kinds(vlmp_gguf_plan *plan, const vlmp_vocabulary *v, int rows,
                           vlmp_error *err)
{
    int32_t *numbers = vlmp_arena_alloc(&plan->arena, (size_t)rows, sizeof *numbers);
    if (numbers == NULL) return vlmp_fail_memory(err, "export");
    for (int id = 0; id < rows; id++) {
        vlmp_piece_kind kind = id < v->count ? v->tokens[id].kind : VLMP_PIECE_ABSENT;
        for (size_t i = 0; i < sizeof token_kinds / sizeof *token_kinds; i++)
            if (token_kinds[i].kind == kind) numbers[id] = token_kinds[i].number;
    }
    vlmp_gguf_put_i32s(&plan->keys, "tokenizer.ggml.token_type", numbers, (size_t)rows);
    return VLMP_OK;
}

/* SentencePiece merges what makes the piece of highest score; here an earlier merge is worth more.
 * Pieces that no merge makes are never looked for but as single characters. */
static int put_scores(vlmp_gguf_plan *plan, const vlmp_vocabulary *v, int rows, vlmp_error *err)
{
    float *scores = vlmp_arena_alloc(&plan->arena, (size_t)rows, sizeof *scores);
    if (scores == NULL) return vlmp_fail_memory(err, "export");
    for (int id = 0; id < rows; id++)
        scores[id] = id < v->count && v->tokens[id].rank >= 0 ? -(float)v->tokens[id].rank
                     : id < v->count && v->tokens[id].kind == VLMP_PIECE_NORMAL
                         ? -(float)v->merge_count
                         : 0;
    vlmp_gguf_put_f32s(&plan->keys, "tokenizer.ggml.scores", scores, (size_t)rows);
    return VLMP_OK;
}

static int put_merges(vlmp_gguf_keys *keys, const vlmp_vocabulary *v, vlmp_error *err)
{
    vlmp_gguf_put_texts(keys, "tokenizer.ggml.merges", (size_t)v->merge_count);
    vlmp_buffer text = {0};
    for (int i = 0; i < v->merge_count; i++) {
        const vlmp_vocabulary_token *left = &v->tokens[v->merges[i].left];
        const vlmp_vocabulary_token *right = &v->tokens[v->merges[i].right];
        text.length = 0;
        vlmp_buffer_append(&text, left->text, left->length);
        vlmp_buffer_append(&text, " ", 1);
        vlmp_buffer_append(&text, right->text, right->length);
        if (text.failed) break;
        vlmp_gguf_add_text(keys, text.data, text.length);
    }
    bool failed = text.failed;
    vlmp_buffer_free(&text);
    return failed ? vlmp_fail_memory(err, "export") : VLMP_OK;
}

static void put_named(vlmp_gguf_keys *keys, const vlmp_tokenizer *tokenizer)
{
    static const struct {
        const char *name, *key;
    } named[] = {{"bos_token", "tokenizer.ggml.bos_token_id"},
                 {"eos_token", "tokenizer.ggml.eos_token_id"},
                 {"unk_token", "tokenizer.ggml.unknown_token_id"},
                 {"pad_token", "tokenizer.ggml.padding_token_id"}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        int32_t id;
        if (vlmp_tokenizer_named(tokenizer, named[i].name, &id) != NULL && id >= 0)
            vlmp_gguf_put_u32(keys, named[i].key, (uint32_t)id);
    }
}

static int put_tokenizer(vlmp_gguf_plan *plan, const vlmp_gguf_model *model, vlmp_error *err)
{
    const vlmp_vocabulary *v = model->vocabulary;
    vlmp_gguf_keys *keys = &plan->keys;
    int rows = model->config->text.vocab;
    if (v->count > rows)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "the tokenizer has %d tokens, the embedding only %d rows", v->count, rows);
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++) {
        if (tokenizers[i].cut != v->cut) continue;
        vlmp_gguf_put_string(keys, "tokenizer.ggml.model", tokenizers[i].model);
        vlmp_gguf_put_string(keys, "tokenizer.ggml.pre", tokenizers[i].pre);
    }
    put_tokens(keys, v, rows);
    VLMP_TRY(put_token_kinds(plan, v, rows, err));
    if (v->cut == VLMP_CUT_NONE)
        VLMP_TRY(put_scores(plan, v, rows, err));
    else
        VLMP_TRY(put_merges(keys, v, err));
    put_named(keys, model->tokenizer);
    vlmp_gguf_put_bool(keys, "tokenizer.ggml.add_bos_token", v->begins_with_bos);
    vlmp_gguf_put_bool(keys, "tokenizer.ggml.add_eos_token", v->ends_with_eos);
    vlmp_gguf_put_bool(keys, "tokenizer.ggml.add_space_prefix", v->prefix_space);
    if (model->chat_template != NULL)
        vlmp_gguf_put_string(keys, "tokenizer.chat_template", model->chat_template);
    return VLMP_OK;
}

int vlmp_gguf_text_keys(vlmp_gguf_plan *plan, const vlmp_gguf_model *model, vlmp_error *err)
{
    const char *arch;
    VLMP_TRY(find_architecture(&model->config->text, &arch, err));
    vlmp_gguf_keys *keys = &plan->keys;
    vlmp_gguf_put_string(keys, "general.architecture", arch);
    vlmp_gguf_put_string(keys, "general.type", "model");
    vlmp_gguf_put_string(keys, "general.name", model->name);
    vlmp_gguf_put_u32(keys, "general.file_type", vlmp_gguf_file_type(plan));
    vlmp_gguf_put_u32(keys, "general.quantization_version", 2);
    put_sizes(keys, &model->config->text, arch);
    return put_tokenizer(plan, model, err);
}
