/* config.json against the tensors that are there: a model that both describe, or none. */
#include <stdlib.h>
#include <string.h>

#include "src/model/check.h"

static int contradicts(const vlmp_tensor *tensor, const char *says, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: tensor '%.200s' is there, but config.json says %s; take both from one "
                     "checkpoint",
                     tensor->file, tensor->source_name, says);
}

static bool starts(const char *text, const char *prefix, const char **rest)
{
    size_t length = strlen(prefix);
    *rest = text + length;
    return strncmp(text, prefix, length) == 0;
}

static bool ends(const char *text, const char *tail)
{
    size_t length = strlen(text), tail_length = strlen(tail);
    return length >= tail_length && strcmp(text + length - tail_length, tail) == 0;
}

/* Biases of the text model, behind "text.layers.N". */
static bool has_bias(const vlmp_text_config *text, const char *rest)
{
    if (ends(rest, "attn.o.bias")) return text->o_bias;
    if (strstr(rest, ".attn.") != NULL) return text->qkv_bias;
    if (strstr(rest, ".mlp.") != NULL) return text->mlp_bias;
    return false;
}

/* A stored tensor that the configuration has no use for was made by another model. */
static int check_tensor(const vlmp_config *config, const vlmp_tensor *tensor, vlmp_error *err)
{
    const char *rest;
    bool bias = ends(tensor->name, ".bias");
    if (starts(tensor->name, "vision.layers.", &rest)) {
        if (strtol(rest, NULL, 10) >= config->vision.layers)
            return contradicts(tensor, "that the tower has fewer layers", err);
    } else if (starts(tensor->name, "text.layers.", &rest)) {
        if (strtol(rest, NULL, 10) >= config->text.layers)
            return contradicts(tensor, "that the text model has fewer layers", err);
        if (bias && !has_bias(&config->text, rest))
            return contradicts(tensor, "that there is no such bias", err);
    } else if (starts(tensor->name, "text.", &rest) ||
               (!config->vision.patch_bias && strcmp(tensor->name, "vision.embed.bias") == 0)) {
        if (bias) return contradicts(tensor, "that there is no such bias", err);
    } else if ((starts(tensor->name, "vision.pre_norm", &rest) && !config->vision.has_pre_norm) ||
               (starts(tensor->name, "vision.class", &rest) && !config->vision.has_class)) {
        return contradicts(tensor, "that the tower is of a class without it", err);
    } else if (starts(tensor->name, "projector.", &rest)) {
        if (bias && !config->projector.bias)
            return contradicts(tensor, "that the projector has no bias", err);
        if (starts(rest, "taps.", &rest) ? strtol(rest, NULL, 10) >= config->vision.tap_count
                                         : strtol(rest, NULL, 10) >= config->projector.linears)
            return contradicts(tensor, "that the projector has fewer linears", err);
    } else if (strcmp(tensor->name, "newline") == 0 && !config->has_newline) {
        return contradicts(tensor, "that the model is of a family that has none", err);
    }
    return VLMP_OK;
}

/* Of a table whose data are made later, those are compared that are made. */
static bool equal(const vlmp_source *source, const vlmp_tensor *a, const vlmp_tensor *b)
{
    vlmp_tensor x, y;
    if (a->data == NULL || b->data == NULL) return true;
    bool same = a->bytes == b->bytes && a->dtype == b->dtype;
    for (size_t at = 0; same && vlmp_tensor_part(&x, a, at); at += x.bytes) {
        vlmp_tensor_part(&y, b, at);
        same = memcmp(x.data, y.data, x.bytes) == 0;
        source->release(source, &x);
        source->release(source, &y);
    }
    return same;
}

int vlmp_check_head(const vlmp_source *source, bool tied, vlmp_error *err)
{
    bool head = source->find(source, "text.head.weight") != NULL ||
                source->scheme(source, "text.head") != NULL;
    if (!head && !tied)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: there is no head (lm_head.weight), and 'tie_word_embeddings' of "
                         "config.json does not make one of the embedding table; is the download "
                         "complete?",
                         source->path);
    const vlmp_tensor *table = source->find(source, "text.embed.weight"),
                      *stored = source->find(source, "text.head.weight");
    if (!tied || table == NULL || stored == NULL || equal(source, table, stored)) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: tensor '%.200s' differs from the embedding table, but "
                     "'tie_word_embeddings' of config.json says that they are one; correct "
                     "whichever is wrong",
                     stored->file, stored->source_name);
}

int vlmp_check_tensors(const vlmp_model *model, vlmp_error *err)
{
    const vlmp_source *source = model->source;
    const vlmp_config *config = &model->config;
    for (size_t i = 0; i < source->count(source); i++)
        VLMP_TRY(check_tensor(config, source->at(source, i), err));
    bool behind = config->has_bare_token && config->image_token == config->text.vocab;
    if (config->image_token >= config->text.vocab && !behind)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s/config.json: 'image_token_index' %d is no token of the vocabulary of "
                         "%d; give the id of the token that stands for a picture",
                         source->path, config->image_token, config->text.vocab);
    return vlmp_check_shapes(model, err);
}
