#include <stdlib.h>
#include <string.h>

#include "src/text/tokenizer_internal.h"

static size_t hash_bytes(const char *text, size_t length)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ length;
    while (length >= 8) {
        uint64_t word;
        memcpy(&word, text, 8);
        h = (h ^ word) * 0xbf58476d1ce4e5b9u;
        h ^= h >> 32;
        text += 8;
        length -= 8;
    }
    for (; length > 0; length--)
        h = (h ^ (unsigned char)*text++) * 0x94d049bb133111ebu;
    return (size_t)(h ^ h >> 29);
}

bool vlmp_piece_map_init(vlmp_piece_map *map, size_t count)
{
    size_t slots = 16;
    while (slots / 2 < count && slots < SIZE_MAX / 64)
        slots *= 2;
    map->keys = vlmp_calloc(slots, sizeof *map->keys);
    map->ids = vlmp_calloc(slots, sizeof *map->ids);
    map->mask = slots - 1;
    map->count = 0;
    return map->keys != NULL && map->ids != NULL;
}

void vlmp_piece_map_free(vlmp_piece_map *map)
{
    free(map->keys);
    free(map->ids);
    *map = (vlmp_piece_map){0};
}

/* The slot that holds the key, or the empty one where it belongs. */
static size_t slot_of(const vlmp_piece_map *map, const char *text, size_t length)
{
    size_t slot = hash_bytes(text, length) & map->mask;
    while (map->keys[slot].text != NULL &&
           (map->keys[slot].length != length || memcmp(map->keys[slot].text, text, length) != 0))
        slot = (slot + 1) & map->mask;
    return slot;
}

int32_t vlmp_piece_map_find(const vlmp_piece_map *map, const char *text, size_t length)
{
    if (map->keys == NULL) return -1;
    size_t slot = slot_of(map, text, length);
    return map->keys[slot].text == NULL ? -1 : map->ids[slot];
}

bool vlmp_piece_map_put(vlmp_piece_map *map, const char *text, size_t length, int32_t id)
{
    size_t slot = slot_of(map, text, length);
    if (map->keys[slot].text == NULL) {
        if (map->count >= map->mask / 2 + 1 || length > UINT32_MAX) return false;
        map->keys[slot] = (vlmp_piece){text, (uint32_t)length};
        map->count++;
    }
    map->ids[slot] = id;
    return true;
}
