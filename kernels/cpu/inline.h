/* What is inlined and unrolled in the files of a level, and their names. */
#pragma once

/* A sanitized build is for checks, not for speed: inlining everything would take minutes. */
#if defined(__has_feature)
#    if __has_feature(address_sanitizer)
#        define SANITIZED
#    endif
#elif defined(__SANITIZE_ADDRESS__)
#    define SANITIZED
#endif

#if defined(SANITIZED)
#    define INLINE static inline __attribute__((unused))
#else
#    define INLINE static inline __attribute__((always_inline))
#endif

/* Before loops whose count is constant once the function is inlined: unrolled, so that arrays of
 * vectors become registers. Emulated vectors are in none. */
#if defined(SANITIZED) || defined(VLMP_EMULATED)
#    define UNROLL
#elif defined(__clang__)
#    define UNROLL _Pragma("clang loop unroll(full)")
#else
#    define UNROLL _Pragma("GCC unroll 16")
#endif

/* vlmp_packed_rows_avx512vnni and so on: the same files are compiled once a level. */
#define LEVEL_JOIN(name, level)  vlmp_##name##_##level
#define LEVEL_PASTE(name, level) LEVEL_JOIN(name, level)
#define LEVEL_NAME(name)         LEVEL_PASTE(name, VLMP_LEVEL)
