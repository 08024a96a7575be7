/* Contexts of every implementation; that of CUDA is a library of its own, opened at run time. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cuda/open.h"
#include "kernels/ops.h"
#include "kernels/ref/ref.h"

int vlmp_ctx_create(vlmp_ctx **ctx, vlmp_backend backend, const char *level, vlmp_pool *pool,
                    vlmp_error *err)
{
    *ctx = NULL;
    if (backend == VLMP_BACKEND_REF) return vlmp_ref_ctx_create(ctx, pool, err);
    return vlmp_cpu_ctx_create(ctx, level, pool, err);
}

static const char library[] = "libvlmpack-cuda.so";

/* The folder of this program, with a slash at its end; "" where the system does not say. */
static void program_folder(char *out, size_t capacity)
{
    ssize_t length = readlink("/proc/self/exe", out, capacity - 1);
    while (length > 0 && out[length - 1] != '/')
        length--;
    out[length > 0 ? length : 0] = '\0';
}

/* path = where the library lies: in a folder of LD_LIBRARY_PATH, beside the program, or where meson
 * installs it. Looked for here and not by dlopen, whose search for a file that is not there damages
 * the heap of glibc 2.36 when memory is out. */
static bool find_library(char *path, size_t capacity)
{
    static const char *const folders[] = {".", "../lib", VLMP_LIBDIR};
    const char *listed = getenv("LD_LIBRARY_PATH");
    char program[4096];
    while (listed != NULL && *listed != '\0') {
        size_t length = strcspn(listed, ":;");
        snprintf(path, capacity, "%.*s/%s", (int)length, listed, library);
        if (length > 0 && access(path, F_OK) == 0) return true;
        listed += length + (listed[length] != '\0');
    }
    program_folder(program, sizeof program);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        bool absolute = folders[i][0] == '/';
        snprintf(path, capacity, "%s%s/%s", absolute ? "" : program, folders[i], library);
        if ((absolute || program[0] != '\0') && access(path, F_OK) == 0) return true;
    }
    return false;
}

static int find_plugin(const vlmp_cuda_plugin_table **plugin, bool *installed, vlmp_error *err)
{
    char path[8300];
    *installed = find_library(path, sizeof path);
    if (!*installed)
        return vlmp_fail(err, VLMP_ERR_SYSTEM,
                         "cannot open the CUDA part of vlmpack: there is no %s; install it, or use "
                         "--device cpu",
                         library);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return vlmp_fail(err, VLMP_ERR_SYSTEM,
                         "cannot open the CUDA part of vlmpack (%s); install it again, or use "
                         "--device cpu",
                         dlerror());
    *plugin = dlsym(handle, VLMP_CUDA_SYMBOL); /* never closed: CUDA's threads live on */
    if (*plugin == NULL || (*plugin)->abi != VLMP_CUDA_ABI ||
        strcmp((*plugin)->version, VLMP_VERSION) != 0)
        return vlmp_fail(err, VLMP_ERR_SYSTEM,
                         "libvlmpack-cuda.so is of another version than this program (%s); install "
                         "both from one build, or use --device cpu",
                         VLMP_VERSION);
    return VLMP_OK;
}

int vlmp_ctx_create_cuda(vlmp_ctx **ctx, int device, vlmp_pool *pool, bool *installed,
                         vlmp_error *err)
{
    const vlmp_cuda_plugin_table *plugin;
    *ctx = NULL;
    VLMP_TRY(find_plugin(&plugin, installed, err));
    return plugin->create(ctx, pool, device, err);
}
