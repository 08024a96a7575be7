#include "tools/eval_survey.h"

#include "tools/interrupt.h"
#include "tools/stand_in.h"

/* Opens a model without checking the hashes of its data: that is done when it is computed with. */
static int open_reader(vlmp_engine *engine, const char *path, vlmp_reader *reader, vlmp_error *err)
{
    VLMP_TRY(vlmp_opener_open(&engine->opener, &engine->source, path, err));
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

int vlmp_eval_look_at_data(vlmp_engine *engine, const char *path, vlmp_eval_data *data,
                           const vlmp_cli_args *args, vlmp_error *err)
{
    vlmp_reader reader = {0};
    int status = open_reader(engine, path, &reader, err);
    reader.date = data->date;
    if (status == VLMP_OK) status = vlmp_eval_data_survey(data, &reader, args, err);
    vlmp_reader_close(&reader);
    vlmp_engine_close(engine);
    return status;
}

static int answer_all(vlmp_engine *engine, const vlmp_reader *reader, vlmp_eval_data *data,
                      vlmp_error *err)
{
    vlmp_runtime *runtime;
    data->stand_ins = vlmp_calloc(data->count, sizeof *data->stand_ins);
    if (data->stand_ins == NULL) return vlmp_fail_memory(err, "stand-in answers");
    int status = vlmp_runtime_create(&runtime, engine->ctx, &engine->model, &reader->preprocess,
                                     vlmp_dataset_path(data->data), 1, err);
    for (size_t i = 0; i < data->count && status == VLMP_OK; i++) {
        vlmp_sample sample;
        if (vlmp_interrupted()) status = vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        if (status == VLMP_OK) status = vlmp_eval_sample(data, i, &sample, err);
        if (status != VLMP_OK) break;
        if (sample.answer_count == 0)
            status = vlmp_stand_in_answer(runtime, reader, &sample, data->pictures,
                                          &data->stand_ins[i], err);
        vlmp_sample_free(&sample);
    }
    vlmp_runtime_free(runtime);
    return status;
}

int vlmp_eval_stand_ins(vlmp_engine *engine, const char *path, vlmp_eval_data *data,
                        vlmp_error *err)
{
    vlmp_reader reader = {0};
    VLMP_TRY(vlmp_engine_open(engine, path, err));
    int status = vlmp_reader_open(&reader, &engine->model, err);
    reader.date = data->date;
    if (status == VLMP_OK) status = answer_all(engine, &reader, data, err);
    vlmp_reader_close(&reader);
    vlmp_engine_close(engine);
    return status;
}
