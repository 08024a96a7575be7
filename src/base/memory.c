#include "src/base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *alloc_aligned(size_t alignment, size_t count, size_t size)
{
    size_t bytes;
    if (!vlmp_mul_size(count, size, &bytes) || !vlmp_add_size(bytes, alignment, &bytes))
        return NULL;
    /* aligned_alloc wants a multiple of the alignment. */
    return aligned_alloc(alignment, bytes / alignment * alignment);
}

void *vlmp_alloc(size_t count, size_t size)
{
    return alloc_aligned(VLMP_ALIGN, count, size);
}

void *vlmp_alloc_large(size_t count, size_t size)
{
    const size_t huge = (size_t)2 << 20;
    size_t bytes;
    if (!vlmp_mul_size(count, size, &bytes) || bytes < 2 * huge) return vlmp_alloc(count, size);
    void *memory = alloc_aligned(huge, count, size);
    /* A wish: that it is refused is no fault. */
    if (memory != NULL) (void)madvise(memory, bytes / huge * huge, MADV_HUGEPAGE);
    return memory;
}

void *vlmp_calloc(size_t count, size_t size)
{
    void *memory = vlmp_alloc(count, size);
    if (memory != NULL) memset(memory, 0, count * size);
    return memory;
}

#define ARENA_BLOCK_BYTES ((size_t)64 << 10)

struct vlmp_arena_block {
    struct vlmp_arena_block *next;
    size_t used;
    size_t capacity;
    _Alignas(VLMP_ALIGN) unsigned char bytes[];
};

void *vlmp_arena_alloc(vlmp_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (!vlmp_mul_size(count, size, &bytes) || !vlmp_add_size(bytes, 15, &bytes)) return NULL;
    bytes &= ~(size_t)15;
    struct vlmp_arena_block *block = arena->head;
    if (block == NULL || block->capacity - block->used < bytes) {
        size_t capacity = bytes > ARENA_BLOCK_BYTES ? bytes : ARENA_BLOCK_BYTES;
        block = vlmp_calloc(1, sizeof *block + capacity);
        if (block == NULL) return NULL;
        block->capacity = capacity;
        block->next = arena->head;
        arena->head = block;
    }
    void *memory = block->bytes + block->used;
    block->used += bytes;
    return memory;
}

char *vlmp_arena_copy(vlmp_arena *arena, const char *text, size_t length)
{
    size_t bytes;
    if (!vlmp_add_size(length, 1, &bytes)) return NULL;
    char *copy = vlmp_arena_alloc(arena, bytes, 1);
    if (copy != NULL) memcpy(copy, text, length);
    return copy;
}

void vlmp_arena_free(vlmp_arena *arena)
{
    struct vlmp_arena_block *block = arena->head;
    while (block != NULL) {
        struct vlmp_arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->head = NULL;
}

static bool buffer_reserve(vlmp_buffer *buffer, size_t more)
{
    size_t need;
    if (buffer->failed || !vlmp_add_size(buffer->length, more, &need) ||
        !vlmp_add_size(need, 1, &need)) {
        buffer->failed = true;
        return false;
    }
    if (need <= buffer->capacity) return true;
    size_t capacity = buffer->capacity < 256 ? 256 : buffer->capacity;
    while (capacity < need) {
        if (!vlmp_mul_size(capacity, 2, &capacity)) {
            buffer->failed = true;
            return false;
        }
    }
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void vlmp_buffer_append(vlmp_buffer *buffer, const void *bytes, size_t length)
{
    if (!buffer_reserve(buffer, length)) return;
    if (length > 0) memcpy(buffer->data + buffer->length, bytes, length);
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
}

void vlmp_buffer_text(vlmp_buffer *buffer, const char *text)
{
    vlmp_buffer_append(buffer, text, strlen(text));
}

void vlmp_buffer_printf(vlmp_buffer *buffer, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (length >= 0 && buffer_reserve(buffer, (size_t)length)) {
        vsnprintf(buffer->data + buffer->length, (size_t)length + 1, fmt, again);
        buffer->length += (size_t)length;
    } else {
        buffer->failed = true;
    }
    va_end(again);
}

void vlmp_buffer_free(vlmp_buffer *buffer)
{
    free(buffer->data);
    *buffer = (vlmp_buffer){0};
}
