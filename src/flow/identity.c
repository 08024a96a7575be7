#include "src/flow/identity.h"

#include <stdio.h>
#include <string.h>

/* Every file of a model folder that is read, and those that other programs read in their place. */
static const char *const file_names[VLMP_IDENTITY_FILES] = {
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
};

int vlmp_identity_of(vlmp_identity *out, vlmp_source *source, vlmp_error *err)
{
    *out = (vlmp_identity){0};
    for (int i = 0; i < VLMP_IDENTITY_FILES; i++) {
        size_t length;
        const char *bytes = source->file(source, file_names[i], &length);
        if (bytes != NULL) vlmp_sha256_hex(bytes, length, out->files[i]);
    }
    return source->digest_now(source, out->tensors, err);
}

const char *vlmp_identity_difference(const vlmp_identity *a, const vlmp_identity *b)
{
    if (strcmp(a->tensors, b->tensors) != 0) return "weights";
    for (int i = 0; i < VLMP_IDENTITY_FILES; i++)
        if (strcmp(a->files[i], b->files[i]) != 0) return file_names[i];
    return NULL;
}

void vlmp_identity_write(const vlmp_identity *identity, vlmp_json_writer *w)
{
    vlmp_json_open(w, '{');
    vlmp_json_key(w, "tensors");
    vlmp_json_put_string(w, identity->tensors);
    vlmp_json_key(w, "files");
    vlmp_json_open(w, '{');
    for (int i = 0; i < VLMP_IDENTITY_FILES; i++) {
        if (identity->files[i][0] == '\0') continue;
        vlmp_json_key(w, file_names[i]);
        vlmp_json_put_string(w, identity->files[i]);
    }
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
}

static int read_hash(char out[VLMP_SHA256_HEX], const cJSON *text, const char *what,
                     const char *where, vlmp_error *err)
{
    if (!cJSON_IsString(text) || strlen(text->valuestring) != VLMP_SHA256_HEX - 1)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no SHA-256 of the model's %.80s", where, what);
    memcpy(out, text->valuestring, VLMP_SHA256_HEX);
    return VLMP_OK;
}

int vlmp_identity_read(vlmp_identity *out, const cJSON *object, const char *where, vlmp_error *err)
{
    *out = (vlmp_identity){0};
    VLMP_TRY(read_hash(out->tensors, vlmp_json_get(object, "tensors"), "weights", where, err));
    const cJSON *files = vlmp_json_get(object, "files");
    for (const cJSON *item = files != NULL ? files->child : NULL; item != NULL; item = item->next) {
        int i = 0;
        while (i < VLMP_IDENTITY_FILES && item->string != NULL &&
               strcmp(item->string, file_names[i]) != 0)
            i++;
        if (i == VLMP_IDENTITY_FILES || item->string == NULL)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the model's list of files is damaged",
                             where);
        VLMP_TRY(read_hash(out->files[i], item, file_names[i], where, err));
    }
    return VLMP_OK;
}

void vlmp_identity_lines(const vlmp_identity *identity, vlmp_buffer *out)
{
    vlmp_buffer_printf(out, "weights: %s\n", identity->tensors);
    for (int i = 0; i < VLMP_IDENTITY_FILES; i++)
        vlmp_buffer_printf(out, "%s: %s\n", file_names[i], identity->files[i]);
}

void vlmp_preprocess_digest(const vlmp_preprocess *pre, char hex[VLMP_SHA256_HEX])
{
    const double fields[] = {(double)pre->kind,
                             pre->do_resize,
                             pre->size.height,
                             pre->size.width,
                             pre->size.shortest_edge,
                             pre->size.longest_edge,
                             (double)pre->resample,
                             pre->do_center_crop,
                             pre->crop_height,
                             pre->crop_width,
                             pre->do_rescale,
                             pre->rescale_factor,
                             pre->do_normalize,
                             pre->mean[0],
                             pre->mean[1],
                             pre->mean[2],
                             pre->std[0],
                             pre->std[1],
                             pre->std[2],
                             pre->do_pad};
    char text[4096];
    int used = 0;
    /* One number a call: from 15 conversions on, glibc's printf allocates, and may fail, once a
     * library has registered conversions of its own (libquadmath, which OpenBLAS brings). */
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%.17g", i > 0 ? " " : "",
                         fields[i]);
    _Static_assert(VLMP_MAX_PINPOINTS * 24 + 600 < sizeof text, "all of it fits");
    for (int i = 0; i < pre->pinpoint_count; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, " %d,%d", pre->pinpoints[i][0],
                         pre->pinpoints[i][1]);
    if (pre->kind == VLMP_PROCESSOR_QWEN2_VL)
        used += snprintf(text + used, sizeof text - (size_t)used, " %lld %lld %d %d %d",
                         (long long)pre->least_pixels, (long long)pre->most_pixels, pre->patch_size,
                         pre->merge_size, pre->frames);
    if (pre->kind == VLMP_PROCESSOR_IDEFICS3)
        used += snprintf(text + used, sizeof text - (size_t)used, " %d %d", pre->tile_side,
                         pre->do_image_splitting);
    vlmp_sha256_hex(text, (size_t)used, hex);
}

void vlmp_tokens_digest_add(vlmp_sha256 *hash, const vlmp_sequence *sequence)
{
    int32_t sizes[2] = {sequence->length, sequence->answer_count};
    vlmp_sha256_update(hash, sizes, sizeof sizes);
    for (int i = 0; i < sequence->answer_count; i++) {
        int32_t span[2] = {sequence->answers[i].from, sequence->answers[i].end};
        vlmp_sha256_update(hash, span, sizeof span);
    }
    vlmp_sha256_update(hash, sequence->ids, (size_t)sequence->length * sizeof *sequence->ids);
}
