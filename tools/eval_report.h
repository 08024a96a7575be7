/* What the report of an evaluation needs beside the results. */
#pragma once

#include "src/eval/report.h"
#include "tools/eval_model.h"

/* The command as a shell reads it: words quoted where they must be. */
void vlmp_command_line(vlmp_buffer *out, int argc, char *const *argv);

/* The worst samples: their texts and small pictures, in the arena, and what the original answers:
 * of its result where it is among the files, else, where files have answers, of the reference,
 * which is asked. A saved one can tell what stood in for the data's answers alone. */
int vlmp_eval_worst(const vlmp_eval_job *job, vlmp_engine *engine, const vlmp_eval_result *results,
                    size_t count, vlmp_arena *arena, vlmp_worst_sample out[VLMP_WORST],
                    size_t *found, vlmp_error *err);
