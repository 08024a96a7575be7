#include "tools/eval_survey.h"

#include "formats/open.h"
#include "tools/interrupt.h"
#include "tools/progress.h"
#include "tools/stand_in.h"

/* Opens a model without checking the hashes of its data: that is done when it is computed with. */
static int open_reader(vlmp_engine *engine, const char *path, vlmp_reader *reader, vlmp_error *err)
{
    VLMP_TRY(vlmp_model_source_open(&engine->source, path, err));
    VLMP_TRY(vlmp_model_open(&engine->model, engine->source, err));
    return vlmp_reader_open(reader, &engine->model, err);
}

int vlmp_eval_look(vlmp_engine *engine, const char *path, vlmp_side *out, vlmp_error *err)
{
    vlmp_reader reader = {0};
    int status = open_reader(engine, path, &reader, err);
    if (status == VLMP_OK) vlmp_side_of(out, &reader);
    if (status == VLMP_OK) status = vlmp_engine_check_weights(engine, err);
    vlmp_reader_close(&reader);
    vlmp_engine_close(engine);
    return status;
}

static int count_tokens(const vlmp_reader *reader, const vlmp_sample *sample,
                        vlmp_picture_reading *reading, int *tokens, vlmp_error *err)
{
    vlmp_sequence sequence;
    bool answered = sample->answer_count > 0;
    VLMP_TRY(vlmp_sample_sequence(reader, sample, answered ? sample->answers[0] : NULL, reading,
                                  &sequence, err));
    /* A stand-in answer and its end. */
    *tokens = sequence.length + (answered ? 0 : VLMP_STAND_IN_TOKENS + 1);
    vlmp_sequence_free(&sequence);
    return VLMP_OK;
}

static int sift(vlmp_eval_job *job, vlmp_dataset *data, const vlmp_reader *reader, int context,
                vlmp_error *err)
{
    size_t kept = 0;
    vlmp_progress line;
    int status = VLMP_OK;
    vlmp_progress_begin(&line, job->args, "reading samples", (double)job->count);
    for (size_t i = 0; i < job->count && status == VLMP_OK; i++) {
        int tokens;
        if (vlmp_interrupted()) status = vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        if (status == VLMP_OK)
            status = count_tokens(reader, &data->samples[i], job->pictures, &tokens, err);
        if (status != VLMP_OK) break;
        if (tokens <= context) {
            data->samples[kept++] = data->samples[i];
        } else if (job->left_out++ == 0) {
            job->first_left_out = data->samples[i].line;
            job->first_left_out_tokens = tokens;
        }
        vlmp_progress_update(&line, (double)(i + 1), NULL);
    }
    vlmp_progress_end(&line);
    if (status == VLMP_OK && kept == 0)
        status = vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s:%d: %d tokens, more than the context of %d, and no sample is "
                           "shorter; give shorter ones",
                           data->path, job->first_left_out, job->first_left_out_tokens, context);
    data->count = job->count = kept;
    return status;
}

int vlmp_eval_leave_out(vlmp_eval_job *job, vlmp_dataset *data, vlmp_engine *engine,
                        const char *path, int context, vlmp_error *err)
{
    vlmp_reader reader = {0};
    int status = open_reader(engine, path, &reader, err);
    job->context = context;
    if (status == VLMP_OK) status = sift(job, data, &reader, context, err);
    vlmp_reader_close(&reader);
    vlmp_engine_close(engine);
    return status;
}
