/* What the files of the runtime share. */
#pragma once

#include "src/runtime/pages.h"
#include "src/runtime/runtime.h"

struct vlmp_runtime {
    vlmp_ctx *ctx;
    const vlmp_model *model;
    const vlmp_preprocess *preprocess;
    const char *data; /* for messages; may be NULL */
    vlmp_resident resident;
    int streams; /* that there is room for */
    int limit;   /* of them, how many may be open now */
    int open;
    vlmp_pages pages;
    vlmp_kv *kv; /* of pages.count pages; NULL before the first stream */
    vlmp_kv_shape kv_shape;
    vlmp_step *step;     /* of the pass at work */
    vlmp_replay *replay; /* of passes of decoding */
    vlmp_block_work work;
    vlmp_f32 x;             /* [rows of a pass][hidden] */
    vlmp_act last;          /* [streams][hidden] normed rows that logits are wanted of */
    vlmp_f32 logits;        /* [streams][vocabulary] */
    vlmp_i32 best;          /* [streams] */
    vlmp_i32 found;         /* one number */
    vlmp_act added;         /* [rows of a pass][hidden] */
    vlmp_i32 from, to;      /* [rows of a pass] */
    int32_t *ids;           /* [streams] of the host */
    vlmp_segment *segments; /* [streams] */
    int32_t *positions;     /* [VLMP_POSITION_AXES][rows of a pass], where the model has axes */
    vlmp_step_item **items; /* [streams] of the pass at work, in the order of its segments */
};

struct vlmp_stream {
    vlmp_runtime *runtime;
    vlmp_activations prompt; /* [length][hidden], until it is computed */
    int32_t *pages;
    int page_count;
    int length;         /* of the prompt */
    int position;       /* rows stored */
    int32_t *positions; /* [VLMP_POSITION_AXES][length] of the prompt, where the model has axes */
    vlmp_added_rows added; /* behind the first layers, until the prompt is computed */
    int behind;            /* what is added to the number of a row behind it */
    int line;              /* of the sample in its data file, for messages */
};

/* Rows of a pass. */
static inline int vlmp_runtime_rows(const vlmp_runtime *r)
{
    return r->streams > VLMP_STEP_ROWS ? r->streams : VLMP_STEP_ROWS;
}
