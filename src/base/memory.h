/* Memory: overflow-checked allocation, arenas, growable byte buffers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VLMP_ALIGN 64 /* bytes: a cache line, and the widest vector register */

/* Size arithmetic on values that come from files. false: the result does not fit. */
static inline bool vlmp_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool vlmp_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* count elements of size bytes, VLMP_ALIGN-aligned, not initialised; NULL when the product
 * overflows or memory is out. A count of 0 gives a valid pointer. Free with free(). */
void *vlmp_alloc(size_t count, size_t size);

/* vlmp_alloc for what is read all over in short runs: from 4 MB on, on a border of 2 MB, and the
 * system is asked for pages of that size, which spare the processor most of its walks through page
 * tables; where it has none, nothing changes. */
void *vlmp_alloc_large(size_t count, size_t size);

/* vlmp_alloc, zeroed. */
void *vlmp_calloc(size_t count, size_t size);

/* An arena owns many small things that die together (names, configurations). */
typedef struct vlmp_arena {
    struct vlmp_arena_block *head;
} vlmp_arena;

void *vlmp_arena_alloc(vlmp_arena *arena, size_t count, size_t size); /* zeroed; NULL: memory */
char *vlmp_arena_copy(vlmp_arena *arena, const char *text, size_t length); /* NUL-terminated */
void vlmp_arena_free(vlmp_arena *arena);                                   /* leaves it empty */

/* A byte buffer that grows. A failed growth sets `failed` and later appends do nothing, so a
 * writer checks once at the end. data is always NUL-terminated when not NULL. */
typedef struct {
    char *data;
    size_t length;
    size_t capacity;
    bool failed;
} vlmp_buffer;

void vlmp_buffer_append(vlmp_buffer *buffer, const void *bytes, size_t length);
void vlmp_buffer_text(vlmp_buffer *buffer, const char *text);
__attribute__((format(printf, 2, 3))) void vlmp_buffer_printf(vlmp_buffer *buffer, const char *fmt,
                                                              ...);
void vlmp_buffer_free(vlmp_buffer *buffer);
