#include "src/flow/reader.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"

/* The processor governs tiles, config.json what becomes of their features: where both state a
 * thing, a difference would shift rows silently. */
static int check_processor(const vlmp_reader *reader, const vlmp_processor_settings *settings,
                           vlmp_error *err)
{
    const vlmp_config *config = &reader->model->config;
    const vlmp_preprocess *pre = &reader->preprocess;
    const char *what = NULL;
    bool tiled = vlmp_preprocess_has_grid(pre);
    bool split = pre->kind == VLMP_PROCESSOR_IDEFICS3, sized = pre->kind == VLMP_PROCESSOR_QWEN2_VL;
    vlmp_feature_select select = config->vision.drop_first ? VLMP_SELECT_DEFAULT : VLMP_SELECT_FULL;
    if ((config->family->processors >> pre->kind & 1) == 0)
        what = "kind ('image_processor_type' and 'model_type')";
    else if (sized &&
             (pre->patch_size != config->vision.patch_size ||
              pre->merge_size != config->vision.merge || pre->frames != config->vision.frames))
        what = "patch_size, merge_size or temporal_patch_size";
    else if (split && pre->tile_side != config->vision.image_size)
        what = "the size of tiles ('max_image_size' and 'image_size')";
    else if (split && settings->image_seq_len != 0 &&
             settings->image_seq_len != vlmp_tile_tokens(config))
        what = "image_seq_len (rows of a tile)";
    else if (tiled && (pre->pinpoint_count != config->pinpoint_count ||
                       memcmp(pre->pinpoints, config->pinpoints,
                              (size_t)pre->pinpoint_count * sizeof *pre->pinpoints) != 0))
        what = "image_grid_pinpoints";
    else if (settings->patch_size != 0 && settings->patch_size != config->vision.patch_size)
        what = "patch_size";
    else if (settings->num_additional_image_tokens >= 0 &&
             settings->num_additional_image_tokens != (config->vision.has_class ? 1 : 0))
        what = "num_additional_image_tokens (a CLIP tower has 1, the class row)";
    else if (settings->select != VLMP_SELECT_ABSENT && settings->select != select)
        what = "vision_feature_select_strategy";
    if (what == NULL) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the picture processor's configuration and config.json disagree about %s; "
                     "take both from one checkpoint",
                     reader->model->source->path, what);
}

/* A copy: the reader's, who may have to ask the tokenizer. */
static int find_stop(vlmp_reader *reader, vlmp_error *err)
{
    const vlmp_stop_tokens *from = &reader->model->stop;
    int32_t named = -1;
    if (from->count == 0) vlmp_tokenizer_named(reader->tokenizer, "eos_token", &named);
    if (from->count == 0 && named < 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: nothing says which token ends an answer; give 'eos_token_id' in "
                         "generation_config.json or 'eos_token' in tokenizer_config.json",
                         reader->model->source->path);
    int count = from->count > 0 ? from->count : 1;
    reader->stop.ids = vlmp_alloc((size_t)count, sizeof *reader->stop.ids);
    if (reader->stop.ids == NULL) return vlmp_fail_memory(err, "ends of answers");
    for (int i = 0; i < count; i++)
        reader->stop.ids[i] = from->count > 0 ? from->ids[i] : named;
    reader->stop.count = count;
    return VLMP_OK;
}

int vlmp_reader_open(vlmp_reader *reader, const vlmp_model *model, vlmp_error *err)
{
    *reader = (vlmp_reader){.model = model};
    vlmp_processor_settings settings = {0};
    int status = vlmp_preprocess_from_source(&reader->preprocess, &settings, model->source, err);
    if (status == VLMP_OK) status = check_processor(reader, &settings, err);
    if (status == VLMP_OK) status = vlmp_tokenizer_load(&reader->tokenizer, model->source, err);
    if (status == VLMP_OK) status = vlmp_chat_template_load(&reader->chat, model->source, err);
    int rows = model->config.text.vocab;
    if (model->config.image_token == rows) rows++; /* the placeholder needs none */
    if (status == VLMP_OK && vlmp_tokenizer_size(reader->tokenizer) > rows)
        status = vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s: tokenizer.json has ids up to %d, the embedding table has %d rows",
                           model->source->path, vlmp_tokenizer_size(reader->tokenizer) - 1,
                           model->config.text.vocab);
    if (status == VLMP_OK) status = find_stop(reader, err);
    if (status != VLMP_OK) vlmp_reader_close(reader);
    return status;
}

void vlmp_reader_close(vlmp_reader *reader)
{
    vlmp_tokenizer_free(reader->tokenizer);
    vlmp_chat_template_free(reader->chat);
    vlmp_stop_tokens_free(&reader->stop);
    *reader = (vlmp_reader){0};
}

/* Resizes one picture, plans its rows, appends its tiles to the sequence, which has *have bytes. */
static int add_picture(const vlmp_reader *reader, const vlmp_image *image, const char *name,
                       vlmp_image_plan *plan, vlmp_sequence *out, size_t *have, vlmp_error *err)
{
    const vlmp_config *config = &reader->model->config;
    vlmp_tiles tiles;
    int height, width;
    vlmp_shown_picture shown = {image->width, image->height, out->image_count};
    VLMP_TRY(
        vlmp_preprocess_tiles(&tiles, &reader->preprocess, image, out->image_count, name, err));
    int status = config->family->plan_image(config, &reader->preprocess, shown, plan, err);
    if (status != VLMP_OK) {
        free(tiles.pixels);
        return status;
    }
    vlmp_patch_grid grid = vlmp_tile_grid(&config->vision, plan);
    vlmp_grid_pixels(&config->vision, grid, &height, &width);
    if (tiles.height != height || tiles.width != width || tiles.count != plan->tiles) {
        free(tiles.pixels);
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the picture processor makes %d tiles of %d × %d pixels, the tower "
                         "wants %d of %d × %d; preprocessor_config.json and config.json disagree",
                         reader->model->source->path, tiles.count, tiles.width, tiles.height,
                         plan->tiles, width, height);
    }
    size_t bytes = (size_t)tiles.count * vlmp_grid_bytes(&config->vision, grid);
    uint8_t *grown = realloc(out->pixels, *have + bytes);
    if (grown != NULL) {
        memcpy(grown + *have, tiles.pixels, bytes);
        *have += bytes;
        out->pixels = grown;
        out->tiles += tiles.count;
    }
    free(tiles.pixels);
    return grown != NULL ? VLMP_OK : vlmp_fail_memory(err, name);
}

/* texts[i]: what stands for picture i in the prompt, in memory of *out. */
static int spell_pictures(const vlmp_reader *reader, const vlmp_sequence *sequence,
                          const char **texts, vlmp_buffer *out, vlmp_error *err)
{
    const vlmp_config *config = &reader->model->config;
    const char *row = vlmp_tokenizer_token(reader->tokenizer, config->image_token);
    if (row == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the picture token of config.json, %d, is none of the tokenizer's",
                         reader->model->source->path, config->image_token);
    for (int i = 0; i < sequence->image_count; i++) {
        config->family->spell(config, &sequence->plans[i], row, out);
        vlmp_buffer_append(out, "", 1);
    }
    if (out->failed) return vlmp_fail_memory(err, "prompt");
    const char *next = out->data;
    for (int i = 0; i < sequence->image_count; i++, next += strlen(next) + 1)
        texts[i] = next;
    return VLMP_OK;
}

static int make_ids(const vlmp_reader *reader, const vlmp_question *question,
                    const vlmp_sequence *sequence, vlmp_prompt *text, vlmp_error *err)
{
    size_t count = (size_t)question->image_count;
    int32_t *tokens = vlmp_alloc(count, sizeof *tokens);
    const char **texts = vlmp_alloc(count, sizeof *texts);
    vlmp_buffer spelled = {0};
    bool spells = reader->model->config.family->spell != NULL;
    int status = tokens != NULL && texts != NULL ? VLMP_OK : vlmp_fail_memory(err, "prompt");
    for (int i = 0; i < question->image_count && status == VLMP_OK; i++)
        tokens[i] = sequence->plans[i].tokens;
    if (status == VLMP_OK && spells)
        status = spell_pictures(reader, sequence, texts, &spelled, err);
    vlmp_prompter prompter = {.date = reader->date,
                              .chat = reader->chat,
                              .tokenizer = reader->tokenizer,
                              .image_token = reader->model->config.image_token,
                              .where = question->where != NULL ? question->where
                                                               : reader->model->source->path};
    vlmp_prompt_request request = {.turns = question->turns,
                                   .turn_count = (size_t)question->turn_count,
                                   .answer = question->answer,
                                   .pictures = question->image_count,
                                   .picture_tokens = tokens,
                                   .picture_texts = spells ? texts : NULL};
    if (status == VLMP_OK) status = vlmp_prompt_make(&prompter, &request, text, err);
    vlmp_buffer_free(&spelled);
    free(texts);
    free(tokens);
    return status;
}

static int refuse_video(const vlmp_reader *reader, const vlmp_question *question,
                        const vlmp_prompt *prompt, vlmp_error *err)
{
    int32_t video = reader->model->config.video_token;
    for (size_t i = 0; i < prompt->count && video >= 0; i++)
        if (prompt->ids[i] == video)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: the prompt has a place for a video; videos are not supported, "
                             "give pictures",
                             question->where != NULL ? question->where
                                                     : reader->model->source->path);
    return VLMP_OK;
}

int vlmp_reader_sequence(const vlmp_reader *reader, const vlmp_question *question,
                         vlmp_sequence *out, vlmp_prompt *text, vlmp_error *err)
{
    vlmp_prompt prompt = {0};
    size_t have = 0;
    *out = (vlmp_sequence){.image_count = question->image_count};
    out->plans = vlmp_calloc((size_t)question->image_count, sizeof *out->plans);
    int status = out->plans != NULL ? VLMP_OK : vlmp_fail_memory(err, "picture plans");
    for (int i = 0; i < question->image_count && status == VLMP_OK; i++)
        status = add_picture(reader, &question->images[i], question->image_names[i], &out->plans[i],
                             out, &have, err);
    if (status == VLMP_OK) status = make_ids(reader, question, out, &prompt, err);
    if (status == VLMP_OK) status = refuse_video(reader, question, &prompt, err);
    if (status == VLMP_OK &&
        (prompt.count == 0 || (prompt.answer_count > 0 && prompt.answers[0].from == 0)))
        status =
            vlmp_fail(err, VLMP_ERR_INPUT, "%s: the chat template leaves nothing before the answer",
                      reader->model->source->path);
    if (status == VLMP_OK) {
        out->length = (int)prompt.count;
        out->ids = prompt.ids;
        out->answer_count = (int)prompt.answer_count;
        out->answers = prompt.answers;
        out->border_moved = prompt.border_moved;
        out->end_differs = prompt.end_differs;
        prompt.ids = NULL;
        prompt.answers = NULL;
    }
    if (status == VLMP_OK && text != NULL)
        *text = prompt;
    else
        vlmp_prompt_free(&prompt);
    if (status != VLMP_OK) vlmp_sequence_free(out);
    return status;
}
