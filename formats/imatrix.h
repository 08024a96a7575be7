/* The importance matrix that llama.cpp's own quantizer takes (`llama-quantize --imatrix`): for each
 * linear the sum of the squares of its inputs, as a GGUF file of type "imatrix"
 * (tools/imatrix/README.md there). */
#pragma once

#include "formats/gguf_write.h"

typedef struct {
    const char *name;    /* canonical, of a linear of the text model: "text.layers.0.attn.q" */
    const float *square; /* [inputs] sum of x² over the tokens; finite */
    int inputs;
    int64_t tokens;
} vlmp_imatrix_entry;

/* dataset: what the tokens were taken from, for readers. tokens: of one pass over it, which is
 * llama.cpp's chunk. The caller opens the output, commits and aborts it. */
int vlmp_imatrix_write(vlmp_outfile *file, const vlmp_imatrix_entry *entries, size_t count,
                       const char *dataset, uint32_t tokens, vlmp_error *err);
