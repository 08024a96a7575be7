/* What every command that computes needs: threads, kernels, a model. */
#pragma once

#include "src/model/model.h"
#include "tools/cli.h"

typedef struct {
    vlmp_pool *pool;
    vlmp_ctx *ctx;
    vlmp_source *source;
    vlmp_model model;
} vlmp_engine;

/* Threads and kernels alone; the model is opened by the second call. Free after failures too. */
int vlmp_engine_start(vlmp_engine *engine, const vlmp_cli_args *args, vlmp_error *err);

/* path: a folder, a packed file or a hub name. A packed file's hashes are checked first, and those
 * of what was read from another tool's folder. */
int vlmp_engine_open(vlmp_engine *engine, const char *path, vlmp_error *err);

/* The same of any architecture: see vlmp_model_open_weights. */
int vlmp_engine_open_weights(vlmp_engine *engine, const char *path, vlmp_error *err);

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

/* The folder that spilled activations go to when nothing else is said: that of the output, whose
 * disk is meant for files of this size; without an output $TMPDIR, else /tmp. */
void vlmp_work_folder(char out[VLMP_PATH_MAX], const char *output);

/* The most memory that this process had resident, mapped pages included. Bytes. */
size_t vlmp_peak_memory(void);

/* Starts the count anew, so that files evaluated in one run are told apart. Where the system
 * cannot, the peak stays that of the whole run. */
void vlmp_peak_memory_reset(void);
