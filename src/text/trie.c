#include <stdlib.h>

#include "src/text/tokenizer_internal.h"

static int32_t child_of(const vlmp_trie *trie, int32_t node, unsigned char byte)
{
    int32_t child = trie->nodes[node].child;
    while (child != 0 && trie->nodes[child].byte != byte)
        child = trie->nodes[child].sibling;
    return child;
}

static int32_t add_node(vlmp_trie *trie, unsigned char byte)
{
    if (trie->count == trie->capacity) {
        size_t capacity = trie->capacity == 0 ? 64 : trie->capacity * 2;
        if (capacity > INT32_MAX) return -1;
        vlmp_trie_node *nodes = realloc(trie->nodes, capacity * sizeof *nodes);
        if (nodes == NULL) return -1;
        trie->nodes = nodes;
        trie->capacity = capacity;
    }
    trie->nodes[trie->count] = (vlmp_trie_node){.accept = -1, .byte = byte};
    return (int32_t)trie->count++;
}

bool vlmp_trie_put(vlmp_trie *trie, const char *text, size_t length, int32_t index)
{
    if (trie->count == 0 && add_node(trie, 0) < 0) return false;
    int32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        int32_t child = child_of(trie, node, byte);
        if (child == 0) {
            child = add_node(trie, byte);
            if (child < 0) return false;
            trie->nodes[child].sibling = trie->nodes[node].child;
            trie->nodes[node].child = child;
        }
        node = child;
    }
    trie->nodes[node].accept = index;
    return true;
}

int32_t vlmp_trie_longest(const vlmp_trie *trie, const char *text, size_t length, size_t *matched)
{
    int32_t found = -1, node = 0;
    for (size_t i = 0; i < length; i++) {
        node = child_of(trie, node, (unsigned char)text[i]);
        if (node == 0) break;
        if (trie->nodes[node].accept >= 0) {
            found = trie->nodes[node].accept;
            *matched = i + 1;
        }
    }
    return found;
}

void vlmp_trie_free(vlmp_trie *trie)
{
    free(trie->nodes);
    *trie = (vlmp_trie){0};
}
