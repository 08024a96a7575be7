#include "tools/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/packed.h"
#include "src/store/finite.h"
#include "tools/inspect.h"
#include "tools/interrupt.h"
#include "tools/progress.h"
#include "tools/terminal.h"

int vlmp_engine_start(vlmp_engine *engine, const vlmp_cli_args *args, vlmp_error *err)
{
    vlmp_error why = {0};
    bool installed;
    *engine = (vlmp_engine){.args = args};
    VLMP_TRY(vlmp_pool_create(&engine->pool, (int)args->threads, err));
    if (args->device == VLMP_DEVICE_CUDA) {
        int status =
            vlmp_ctx_create_cuda(&engine->ctx, args->device_index, engine->pool, &installed, err);
        if (status != VLMP_OK) vlmp_error_at(err, "--device cuda");
        return status;
    }
    if (args->device == VLMP_DEVICE_AUTO) {
        int status = vlmp_ctx_create_cuda(&engine->ctx, 0, engine->pool, &installed, &why);
        bool tell = installed || args->device_given || args->verbose > 0;
        if (status != VLMP_OK && tell && !args->quiet)
            vlmp_show_line(stderr, "device: cpu, since %s", why.message);
        if (status == VLMP_OK && !args->quiet)
            vlmp_show_line(stderr, "device: %s", vlmp_ctx_describe(engine->ctx));
        if (status == VLMP_OK) return VLMP_OK;
    }
    return vlmp_ctx_create(&engine->ctx, VLMP_BACKEND_CPU, NULL, engine->pool, err);
}

int vlmp_engine_start_level(vlmp_engine *engine, const char *level, const vlmp_cli_args *args,
                            vlmp_error *err)
{
    *engine = (vlmp_engine){.args = args};
    VLMP_TRY(vlmp_pool_create(&engine->pool, (int)args->threads, err));
    return vlmp_ctx_create(&engine->ctx, VLMP_BACKEND_CPU, level, engine->pool, err);
}

typedef int check_fn(const vlmp_source *source, vlmp_st_progress *progress, void *arg,
                     vlmp_error *err);

/* Every byte of the model is read, of a large one for a while: what is seen of it is the live line,
 * or a plain one now and then. */
static int check_bytes(const vlmp_engine *engine, check_fn *check, vlmp_error *err)
{
    vlmp_progress progress;
    vlmp_progress_begin_bytes(&progress, engine->args, "checking weights", 0);
    int status = check(engine->source, vlmp_verify_progress, &progress, err);
    vlmp_progress_drop(&progress);
    return status;
}

static int open_source(vlmp_engine *engine, const char *path, vlmp_error *err)
{
    VLMP_TRY(vlmp_opener_open(&engine->opener, &engine->source, path, err));
    bool packed = strcmp(engine->source->kind, "packed") == 0;
    return packed ? check_bytes(engine, vlmp_packed_verify, err) : VLMP_OK;
}

int vlmp_engine_open(vlmp_engine *engine, const char *path, vlmp_error *err)
{
    VLMP_TRY(open_source(engine, path, err));
    return vlmp_model_open(&engine->model, engine->source, err);
}

int vlmp_engine_open_weights(vlmp_engine *engine, const char *path, vlmp_error *err)
{
    VLMP_TRY(open_source(engine, path, err));
    return vlmp_model_open_weights(&engine->model, engine->source, err);
}

static int on_verify(void *arg, uint64_t done, uint64_t total)
{
    const vlmp_engine_check *check = arg;
    (void)done, (void)total;
    return atomic_load(&check->stop) || vlmp_interrupted() ? VLMP_ERR_INTERRUPTED : VLMP_OK;
}

static void *verify(void *arg)
{
    vlmp_engine_check *check = arg;
    check->status = vlmp_packed_verify(check->source, on_verify, check, &check->err);
    return NULL;
}

int vlmp_engine_open_unverified(vlmp_engine *engine, const char *path, vlmp_error *err)
{
    vlmp_engine_check *check = &engine->check;
    VLMP_TRY(vlmp_opener_open(&engine->opener, &engine->source, path, err));
    if (strcmp(engine->source->kind, "packed") == 0) {
        check->source = engine->source;
        if (pthread_create(&check->thread, NULL, verify, check) != 0)
            return vlmp_fail(err, VLMP_ERR_SYSTEM, "cannot start the thread that checks hashes");
        check->running = true;
    }
    return vlmp_model_open(&engine->model, engine->source, err);
}

int vlmp_engine_verified(vlmp_engine *engine, int status, vlmp_error *err)
{
    vlmp_engine_check *check = &engine->check;
    if (status == VLMP_ERR_INTERRUPTED) atomic_store(&check->stop, true);
    if (check->running) pthread_join(check->thread, NULL);
    check->running = false;
    if (check->status == VLMP_OK || check->status == VLMP_ERR_INTERRUPTED) return status;
    *err = check->err;
    return check->status;
}

int vlmp_engine_check_files(const vlmp_engine *engine, vlmp_error *err)
{
    if (engine->source->imported != NULL) return VLMP_OK; /* nobody else has its file */
    for (size_t i = 0; i < engine->source->count(engine->source); i++) {
        const vlmp_tensor *tensor = engine->source->at(engine->source, i);
        struct stat info;
        if (stat(tensor->file, &info) != 0)
            return vlmp_fail_errno(err, "%s: is gone while in use", tensor->file);
        if ((uint64_t)info.st_size < tensor->file_offset + tensor->bytes)
            return vlmp_fail(err, VLMP_ERR_SYSTEM,
                             "%s: became shorter while in use; leave it as it is and run again",
                             tensor->file);
    }
    return VLMP_OK;
}

int vlmp_engine_check_weights(const vlmp_engine *engine, vlmp_error *err)
{
    if (strcmp(engine->source->kind, "packed") == 0) return VLMP_OK;
    return check_bytes(engine, vlmp_source_check_finite, err);
}

void vlmp_engine_close(vlmp_engine *engine)
{
    vlmp_error unheard = {0};
    vlmp_engine_verified(engine, VLMP_ERR_INTERRUPTED, &unheard);
    engine->check = (vlmp_engine_check){0};
    vlmp_model_close(&engine->model);
    if (engine->source != NULL) vlmp_opener_close(&engine->opener, engine->source);
    engine->source = NULL;
}

void vlmp_engine_free(vlmp_engine *engine)
{
    vlmp_engine_close(engine);
    vlmp_opener_free(&engine->opener);
    vlmp_ctx_free(engine->ctx);
    vlmp_pool_free(engine->pool);
    *engine = (vlmp_engine){0};
}

void vlmp_work_folder(char out[VLMP_PATH_MAX], const char *output)
{
    if (output == NULL) {
        snprintf(out, VLMP_PATH_MAX, "%s", vlmp_temporary_folder());
        return;
    }
    const char *slash = strrchr(output, '/');
    if (slash == NULL)
        snprintf(out, VLMP_PATH_MAX, ".");
    else if (slash == output)
        snprintf(out, VLMP_PATH_MAX, "/");
    else
        snprintf(out, VLMP_PATH_MAX, "%.*s", (int)(slash - output), output);
}

size_t vlmp_peak_memory(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    size_t kibibytes = 0;
    char line[256];
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "VmHWM: %zu kB", &kibibytes) == 1) break;
    if (status != NULL) fclose(status);
    return kibibytes * 1024;
}

void vlmp_peak_memory_reset(void)
{
    FILE *clear = fopen("/proc/self/clear_refs", "w");
    if (clear == NULL) return;
    fputs("5", clear); /* proc(5): resets the peak resident set size */
    fclose(clear);
}
