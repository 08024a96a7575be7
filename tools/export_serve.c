#include "tools/export_serve.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "formats/export_gguf.h"
#include "src/model/family.h"

#define MOST_CONTEXT 8192 /* that a command asks for when the model has more */

/* Tokens of a picture of this size; 0: it is refused. */
static int tokens_of(const vlmp_config *config, const vlmp_preprocess *pre, int width, int height)
{
    vlmp_error ignored = {0};
    vlmp_image_plan plan;
    const vlmp_shown_picture picture = {width, height, 1};
    int status = config->family->plan_image(config, pre, picture, &plan, &ignored);
    return status == VLMP_OK ? plan.tokens : 0;
}

int vlmp_serve_picture_tokens(const vlmp_export *export)
{
    /* Pictures larger than any processor leaves them, of shapes that fill what it allows. */
    const int sides = 8, unit = 2048;
    const vlmp_config *config = export->config;
    vlmp_error ignored = {0};
    vlmp_preprocess read;
    const vlmp_preprocess *pre =
        vlmp_preprocess_from_source(&read, NULL, export->source, &ignored) == VLMP_OK ? &read
                                                                                      : NULL;
    int most = 0;
    if (!vlmp_family_runs(config->family)) return 0;
    for (int i = 0; i < config->pinpoint_count + sides * sides; i++) {
        int shape = i - config->pinpoint_count;
        int tokens =
            shape < 0
                ? tokens_of(config, pre, config->pinpoints[i][1], config->pinpoints[i][0])
                : tokens_of(config, pre, unit * (1 + shape % sides), unit * (1 + shape / sides));
        if (tokens > most) most = tokens;
    }
    return most;
}

int vlmp_serve_context(const vlmp_export *export)
{
    int context = export->config->text.max_positions;
    bool enough = 2 * vlmp_serve_picture_tokens(export) <= MOST_CONTEXT;
    return context > MOST_CONTEXT && enough ? MOST_CONTEXT : context;
}

static void add(vlmp_serve_words *words, const char *text)
{
    assert(words->count < VLMP_SERVE_WORDS);
    char *copy = vlmp_arena_copy(&words->arena, text, strlen(text));
    words->failed |= copy == NULL;
    words->items[words->count++] = copy;
}

static void add_number(vlmp_serve_words *words, int value)
{
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    add(words, text);
}

static void add_file(vlmp_serve_words *words, const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    add(words, path);
}

static void add_vllm(vlmp_serve_words *words, const vlmp_export *export, const char *folder)
{
    static const char *const quantization[VLMP_LAYOUTS] = {
        [VLMP_LAYOUT_COMPRESSED_TENSORS] = "compressed-tensors",
        [VLMP_LAYOUT_GPTQ] = "gptq_marlin",
        [VLMP_LAYOUT_AWQ] = "awq_marlin",
    };
    add(words, "vllm");
    add(words, "serve");
    add(words, folder);
    add(words, "--quantization");
    add(words, quantization[export->layout->layout]);
    if (vlmp_serve_context(export) == 0) return; /* the engine's own limits */
    add(words, "--max-model-len");
    add_number(words, vlmp_serve_context(export));
    add(words, "--limit-mm-per-prompt");
    add(words, "{\"image\": 1}");
}

void vlmp_serve_command(vlmp_serve_words *words, const vlmp_export *export, const char *folder)
{
    switch (export->engine) {
    case VLMP_SERVE_VLLM:
        add_vllm(words, export, folder);
        break;
    case VLMP_SERVE_SGLANG:
        add(words, "python3");
        add(words, "-m");
        add(words, "sglang.launch_server");
        add(words, "--model-path");
        add(words, folder);
        if (vlmp_serve_context(export) == 0) break;
        add(words, "--context-length");
        add_number(words, vlmp_serve_context(export));
        break;
    case VLMP_SERVE_LLAMACPP:
        add(words, "llama-server");
        add(words, "-m");
        add_file(words, folder, VLMP_GGUF_TEXT_FILE);
        add(words, "--mmproj");
        add_file(words, folder, VLMP_GGUF_TOWER_FILE);
        add(words, "-c");
        add_number(words, vlmp_serve_context(export));
        break;
    default:
        add(words, "transformers");
        add(words, "chat");
        add(words, folder);
        break;
    }
}

void vlmp_serve_words_free(vlmp_serve_words *words)
{
    vlmp_arena_free(&words->arena);
    *words = (vlmp_serve_words){0};
}

/* text as one word of a shell. */
static void put_quoted(vlmp_buffer *out, const char *text)
{
    bool plain = *text != '\0';
    for (const char *c = text; *c != '\0'; c++)
        plain = plain && (isalnum((unsigned char)*c) || strchr("_./-+=,:@", *c) != NULL);
    if (plain) {
        vlmp_buffer_text(out, text);
        return;
    }
    vlmp_buffer_text(out, "'");
    for (const char *c = text; *c != '\0'; c++)
        if (*c == '\'')
            vlmp_buffer_text(out, "'\\''");
        else
            vlmp_buffer_append(out, c, 1);
    vlmp_buffer_text(out, "'");
}

void vlmp_serve_line(vlmp_buffer *out, const vlmp_export *export, const char *folder)
{
    vlmp_serve_words words = {0};
    vlmp_serve_command(&words, export, folder);
    out->failed |= words.failed;
    for (size_t i = 0; i < words.count && !words.failed; i++) {
        if (i > 0) vlmp_buffer_text(out, " ");
        put_quoted(out, words.items[i]);
    }
    vlmp_serve_words_free(&words);
}
