/* Byte-pair merges of one word: symbols in a linked list, candidate pairs in a heap by rank, then
 * by place. A word may be a whole text (SentencePiece style has no pre-tokenizer). */
#include <stdlib.h>
#include <string.h>

#include "src/text/tokenizer_internal.h"
#include "src/text/unicode/unicode.h"

typedef struct {
    int32_t id;
    int32_t previous, next; /* −1: none */
    bool alive;
} symbol;

typedef struct {
    int32_t rank, place, id;
} candidate;

struct vlmp_bpe {
    symbol *symbols;
    size_t symbol_count, symbol_capacity;
    candidate *heap;
    size_t heap_count, heap_capacity;
};

vlmp_bpe *vlmp_bpe_create(void)
{
    return calloc(1, sizeof(vlmp_bpe));
}

void vlmp_bpe_free(vlmp_bpe *bpe)
{
    if (bpe == NULL) return;
    free(bpe->symbols);
    free(bpe->heap);
    free(bpe);
}

static bool before(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->place < b->place;
}

/* The capacity is reserved beforehand: pairs at the start, two more for each of the merges. */
static void heap_push(vlmp_bpe *bpe, candidate item)
{
    size_t at = bpe->heap_count++;
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!before(&item, &bpe->heap[parent])) break;
        bpe->heap[at] = bpe->heap[parent];
        at = parent;
    }
    bpe->heap[at] = item;
}

static candidate heap_pop(vlmp_bpe *bpe)
{
    candidate top = bpe->heap[0];
    candidate item = bpe->heap[--bpe->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= bpe->heap_count) break;
        if (child + 1 < bpe->heap_count && before(&bpe->heap[child + 1], &bpe->heap[child]))
            child++;
        if (!before(&bpe->heap[child], &item)) break;
        bpe->heap[at] = bpe->heap[child];
        at = child;
    }
    bpe->heap[at] = item;
    return top;
}

static const vlmp_merge *find_merge(const vlmp_tokenizer *t, int32_t left, int32_t right)
{
    if (t->merges == NULL) return NULL;
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint64_t hash = pair * 0x9e3779b97f4a7c15u;
    size_t slot = (size_t)(hash ^ hash >> 32) & t->merge_mask;
    while (t->merges[slot].id >= 0) {
        if (t->merges[slot].pair == pair) return &t->merges[slot];
        slot = (slot + 1) & t->merge_mask;
    }
    return NULL;
}

static void consider(const vlmp_tokenizer *t, vlmp_bpe *bpe, int32_t left)
{
    if (left < 0) return;
    int32_t right = bpe->symbols[left].next;
    if (right < 0) return;
    const vlmp_merge *merge = find_merge(t, bpe->symbols[left].id, bpe->symbols[right].id);
    if (merge != NULL) heap_push(bpe, (candidate){merge->rank, left, merge->id});
}

static void merge_all(const vlmp_tokenizer *t, vlmp_bpe *bpe)
{
    bpe->heap_count = 0;
    for (size_t i = 0; i + 1 < bpe->symbol_count; i++)
        consider(t, bpe, (int32_t)i);
    while (bpe->heap_count > 0) {
        candidate top = heap_pop(bpe);
        symbol *left = &bpe->symbols[top.place];
        if (!left->alive || left->next < 0) continue;
        symbol *right = &bpe->symbols[left->next];
        /* Stale when a neighbour has merged in between. */
        const vlmp_merge *merge = find_merge(t, left->id, right->id);
        if (merge == NULL || merge->id != top.id) continue;
        left->id = top.id;
        right->alive = false;
        left->next = right->next;
        if (left->next >= 0) bpe->symbols[left->next].previous = top.place;
        consider(t, bpe, left->previous);
        consider(t, bpe, top.place);
    }
}

static int reserve(vlmp_bpe *bpe, size_t bytes, vlmp_error *err)
{
    if (bytes > INT32_MAX / 4)
        return vlmp_fail(err, VLMP_ERR_INPUT, "a text of %zu bytes is too long to tokenize", bytes);
    if (bpe->symbol_capacity < bytes) {
        symbol *symbols = realloc(bpe->symbols, bytes * sizeof *symbols);
        if (symbols == NULL) return vlmp_fail_memory(err, "tokenizing");
        bpe->symbols = symbols;
        bpe->symbol_capacity = bytes;
    }
    if (bpe->heap_capacity < 3 * bytes) {
        candidate *heap = realloc(bpe->heap, 3 * bytes * sizeof *heap);
        if (heap == NULL) return vlmp_fail_memory(err, "tokenizing");
        bpe->heap = heap;
        bpe->heap_capacity = 3 * bytes;
    }
    return VLMP_OK;
}

static void add_symbol(vlmp_bpe *bpe, int32_t id)
{
    int32_t at = (int32_t)bpe->symbol_count++;
    bpe->symbols[at] = (symbol){id, at - 1, -1, true};
    if (at > 0) bpe->symbols[at - 1].next = at;
}

static bool add_bytes(const vlmp_tokenizer *t, vlmp_bpe *bpe, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (t->bytes[(unsigned char)text[i]] < 0) return false;
    for (size_t i = 0; i < length; i++)
        add_symbol(bpe, t->bytes[(unsigned char)text[i]]);
    return true;
}

/* One symbol a character. As in the reference, a pending unknown waits for the next character that
 * the vocabulary has, even across characters that fall back to bytes. */
static void split_characters(const vlmp_tokenizer *t, vlmp_bpe *bpe, const char *word,
                             size_t length)
{
    bool pending = false;
    bpe->symbol_count = 0;
    for (size_t at = 0, end = 0; at < length; at = end) {
        uint32_t c = vlmp_utf8_next(word, length, &end);
        int32_t id =
            c < 1024 ? t->characters[c] : vlmp_piece_map_find(&t->vocabulary, word + at, end - at);
        if (id >= 0) {
            if (pending) add_symbol(bpe, t->unknown);
            pending = false;
            add_symbol(bpe, id);
            continue;
        }
        if (t->byte_fallback && add_bytes(t, bpe, word + at, end - at)) continue;
        if (t->unknown < 0) continue;
        if (pending && !t->fuse_unknown) add_symbol(bpe, t->unknown);
        pending = true;
    }
    if (pending) add_symbol(bpe, t->unknown);
}

int vlmp_bpe_encode(const vlmp_tokenizer *t, vlmp_bpe *bpe, const char *word, size_t length,
                    vlmp_ids *ids, vlmp_error *err)
{
    if (length == 0) return VLMP_OK;
    if (t->ignore_merges) {
        int32_t id = vlmp_piece_map_find(&t->vocabulary, word, length);
        if (id >= 0) return vlmp_ids_push(ids, id) ? VLMP_OK : vlmp_fail_memory(err, "tokenizing");
    }
    VLMP_TRY(reserve(bpe, length, err));
    split_characters(t, bpe, word, length);
    if (bpe->symbol_count == 0) return VLMP_OK;
    merge_all(t, bpe);
    for (int32_t i = 0; i >= 0; i = bpe->symbols[i].next)
        if (!vlmp_ids_push(ids, bpe->symbols[i].id)) return vlmp_fail_memory(err, "tokenizing");
    return VLMP_OK;
}
