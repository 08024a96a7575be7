/* Activations at a block border, kept beside the journal so that a resumed run reads them instead
 * of running all finished blocks forward again. Two files take turns, so that a sound one is there
 * while the other is written; the journal names what each holds, with its hash. Without a sound one
 * the blocks run forward: the result is the same. */
#pragma once

#include "src/quant/run/driver.h"

/* What a border needs to go on from: the tower's or the text model's flow behind `done` blocks. */
typedef struct {
    bool vision;
    int done;
} vlmp_border;

typedef struct {
    const vlmp_quantize_job *job;
    bool found;         /* by vlmp_boundary_open */
    vlmp_border border; /* where to go on, when found */
    int fd;             /* the file that holds it, until it is loaded; −1 */
    uint64_t bytes;     /* of that file */
    int next;           /* file that the next border goes to */
    double saved;       /* when the last border was saved, seconds */
    double cost;        /* how long that took, seconds */
} vlmp_boundary;

/* Finds the last border that was kept whole, reading every byte of its file; damage is told by
 * job->on_notice. Files that the journal does not name are removed. Close it also after a failure.
 */
int vlmp_boundary_open(vlmp_boundary *boundary, const vlmp_quantize_job *job, vlmp_error *err);
void vlmp_boundary_close(vlmp_boundary *boundary);

/* Fills stores[count], made with their shapes, from the border that was found. Once. */
int vlmp_boundary_load(vlmp_boundary *boundary, vlmp_activations *const *stores, int count,
                       vlmp_error *err);

/* Keeps a border, if that is cheap against the time since the last one, or if the run is
 * interrupted. Durable when this returns. */
int vlmp_boundary_save(vlmp_boundary *boundary, vlmp_border border, vlmp_activations *const *stores,
                       int count, vlmp_error *err);

/* Removes the files of a run that needs them no more. path: vlmp_quantize_job's boundary. */
void vlmp_boundary_remove(const char *path);
