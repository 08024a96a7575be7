/* What other engines' formats can express: one table of rules, asked by vlm-export, and
 * vlm-quantize
 * --for, before any work. */
#pragma once

#include "formats/packed.h"

typedef enum {
    VLMP_LAYOUT_COMPRESSED_TENSORS,
    VLMP_LAYOUT_GPTQ,
    VLMP_LAYOUT_AWQ,
    VLMP_LAYOUT_GGUF,
    VLMP_LAYOUTS,
} vlmp_layout;

typedef enum {
    VLMP_SERVE_VLLM,
    VLMP_SERVE_SGLANG,
    VLMP_SERVE_TRANSFORMERS,
    VLMP_SERVE_LLAMACPP,
    VLMP_SERVES,
} vlmp_serve;

/* "compressed-tensors" …; "vllm" … */
const char *vlmp_layout_name(vlmp_layout layout);
const char *vlmp_serve_name(vlmp_serve engine);

/* VLMP_SERVES when unknown. */
vlmp_serve vlmp_serve_from_name(const char *name);

/* Whether the engine reads the layout at all. */
bool vlmp_serve_reads(vlmp_serve engine, vlmp_layout layout);

/* The layout that the engine reads best. */
vlmp_layout vlmp_serve_layout(vlmp_serve engine);

/* The engine that a layout is for when nothing else is said. */
vlmp_serve vlmp_layout_serve(vlmp_layout layout);

/* The scheme in which an export has such weights: of 3-bit codes, 4-bit ones with the same values
 * (zeros are as wide in both); of others, itself. */
vlmp_scheme vlmp_export_scheme(const vlmp_scheme *scheme);

/* VLMP_ERR_INPUT with the linear, the rule and what would fit, where the linears (all that are
 * quantized) cannot be expressed. requantize: what can be rounded to something that can is allowed.
 * where names the file or recipe. */
int vlmp_export_check(vlmp_layout layout, vlmp_serve engine, const vlmp_packed_linear *linears,
                      size_t count, bool requantize, const char *where, vlmp_error *err);

/* The layout, the best read first, in which the engine takes the linears. None: VLMP_ERR_INPUT, as
 * above for the best. */
int vlmp_serve_check(vlmp_layout *layout, vlmp_serve engine, const vlmp_packed_linear *linears,
                     size_t count, const char *where, vlmp_error *err);

/* Codes, group, zeros and activations are the same. */
bool vlmp_scheme_same(const vlmp_scheme *a, const vlmp_scheme *b);

/* "W4 g64", "W8 channel asymmetric A8". */
void vlmp_scheme_text(char *out, size_t capacity, const vlmp_scheme *scheme);
