/* Contexts of every implementation; that of CUDA is a library of its own, opened at run time. */
#include <dlfcn.h>
#include <stdio.h>
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

/* The library where the system's linker or LD_LIBRARY_PATH finds it, else beside the program or
 * where meson puts it beside the program's folder; NULL, why, and whether there is one. */
static void *open_library(char *reason, size_t capacity, bool *installed)
{
    static const char name[] = "libvlmpack-cuda.so";
    static const char *const folders[] = {".", "../lib", VLMP_LIBDIR};
    char program[4096], path[8300];
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    *installed = handle != NULL;
    if (handle != NULL) return handle;
    snprintf(reason, capacity, "%s", dlerror());
    /* The message begins with the file that is missing: this one, or one that it needs. */
    *installed = strncmp(reason, name, sizeof name - 1) != 0;
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    while (length > 0 && program[length - 1] != '/')
        length--;
    for (size_t i = 0; i < sizeof folders / sizeof *folders && length > 0; i++) {
        snprintf(path, sizeof path, "%.*s%s/%s", folders[i][0] == '/' ? 0 : (int)length, program,
                 folders[i], name);
        if (access(path, F_OK) != 0) continue;
        *installed = true;
        handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (handle != NULL) return handle;
        snprintf(reason, capacity, "%s", dlerror());
    }
    return NULL;
}

static int find_plugin(const vlmp_cuda_plugin_table **plugin, bool *installed, vlmp_error *err)
{
    char reason[512];
    void *handle = open_library(reason, sizeof reason, installed);
    if (handle == NULL)
        return vlmp_fail(err, VLMP_ERR_SYSTEM,
                         "cannot open the CUDA part of vlmpack (%s); install it, or use --device "
                         "cpu",
                         reason);
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
    vlmp_ctx *host;
    *ctx = NULL;
    VLMP_TRY(find_plugin(&plugin, installed, err));
    VLMP_TRY(vlmp_cpu_ctx_create(&host, NULL, pool, err));
    int status = plugin->create(ctx, host, device, err);
    if (status != VLMP_OK) vlmp_ctx_free(host);
    return status;
}
