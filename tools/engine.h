/* What every command that computes needs: threads, kernels, a model. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "formats/open.h"
#include "src/model/model.h"
#include "tools/cli.h"

/* The check of a packed file's hashes, beside the work. */
typedef struct {
    pthread_t thread;
    bool running; /* the thread is to be joined */
    atomic_bool stop;
    const vlmp_source *source;
    int status; /* once joined */
    vlmp_error err;
} vlmp_engine_check;

typedef struct {
    vlmp_pool *pool;
    vlmp_ctx *ctx;
    vlmp_opener opener; /* settings are set after the start */
    vlmp_source *source;
    vlmp_model model;
    vlmp_engine_check check;
    const vlmp_cli_args *args; /* of the start: how progress is shown */
} vlmp_engine;

/* Threads and kernels alone, on args->device (auto: CUDA where it can be had, and says what it took
 * and why; nothing where its library is not installed and nobody asked); the model is opened by the
 * second call. Free after failures too. */
int vlmp_engine_start(vlmp_engine *engine, const vlmp_cli_args *args, vlmp_error *err);

/* The same on the processor, of the level that vlmp_ctx_create takes. */
int vlmp_engine_start_level(vlmp_engine *engine, const char *level, const vlmp_cli_args *args,
                            vlmp_error *err);

/* path: a folder, a packed file or a hub name. A packed file's hashes are checked first, and those
 * of what was read from another tool's folder. */
int vlmp_engine_open(vlmp_engine *engine, const char *path, vlmp_error *err);

/* The same of any architecture: see vlmp_model_open_weights. */
int vlmp_engine_open_weights(vlmp_engine *engine, const char *path, vlmp_error *err);

/* vlmp_engine_open, but hashes are checked on a thread of their own, so that what follows
 * need not wait for the whole file to be read. vlmp_engine_verified is asked before success is
 * said; engine stays where it is until then. */
int vlmp_engine_open_unverified(vlmp_engine *engine, const char *path, vlmp_error *err);

/* Waits for that check, where one was begun. A file that is not what its hashes say is told instead
 * of status and err, since it may be their cause; else status comes back. An interrupted run
 * (VLMP_ERR_INTERRUPTED) does not wait. */
int vlmp_engine_verified(vlmp_engine *engine, int status, vlmp_error *err);

/* VLMP_ERR_SYSTEM when a file of the model has become shorter since it was opened: what is cut from
 * its last page reads as zeros, and makes no fault. Asked before results are given out. */
int vlmp_engine_check_files(const vlmp_engine *engine, vlmp_error *err);

/* A folder's weights that the model reads: NaN or infinity is VLMP_ERR_INPUT, said before hours of
 * work. A packed file's were checked with its hashes. */
int vlmp_engine_check_weights(const vlmp_engine *engine, vlmp_error *err);

/* Closes the model alone, so that another can be opened. */
void vlmp_engine_close(vlmp_engine *engine);
void vlmp_engine_free(vlmp_engine *engine);

#define VLMP_PATH_MAX 4200

/* Bytes of a store of activations, or of a matrix of moments, that memory keeps while a model is
 * quantized; larger ones go to files. */
#define VLMP_STORE_MEMORY ((size_t)256 << 20)

/* The folder that spilled activations go to when nothing else is said: that of the output, whose
 * disk is meant for files of this size; without an output $TMPDIR, else /tmp. */
void vlmp_work_folder(char out[VLMP_PATH_MAX], const char *output);

/* The most memory that this process had resident, mapped pages included. Bytes. */
size_t vlmp_peak_memory(void);

/* Starts the count anew, so that files evaluated in one run are told apart. Where the system
 * cannot, the peak stays that of the whole run. */
void vlmp_peak_memory_reset(void);
