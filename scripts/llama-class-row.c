/* For parity-llama.py: llama.cpp's graph of CLIP towers with the class row where its positions and
 * patches are counted from (its pull request 25844), in a build that lacks this.
 *
 *     cc -shared -fPIC -o class-row.so scripts/llama-class-row.c
 *     LD_PRELOAD=$PWD/class-row.so:LIBGGML_BASE scripts/parity-llama.py …
 *
 * LIBGGML_BASE: llama_cpp/lib/libggml-base.so.0 of the package. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

struct ggml_context;
struct ggml_tensor;

typedef struct ggml_tensor *concat_fn(struct ggml_context *ctx, struct ggml_tensor *a,
                                      struct ggml_tensor *b, int dim);
const char *ggml_get_name(const struct ggml_tensor *tensor);
concat_fn ggml_concat;

struct ggml_tensor *ggml_concat(struct ggml_context *ctx, struct ggml_tensor *a,
                                struct ggml_tensor *b, int dim)
{
    concat_fn *own;
    void *symbol = dlsym(RTLD_NEXT, "ggml_concat");
    memcpy(&own, &symbol, sizeof own);
    if (dim == 1 && strcmp(ggml_get_name(b), "v.class_embd") == 0) return own(ctx, b, a, dim);
    return own(ctx, a, b, dim);
}
