/* Encodes and decodes strings from standard input, for scripts/parity-text.py and
 * golden-sentencepiece.py, by a tokenizer.json or by the tokenizer of a folder.
 * In: u32 length, bytes; again and again. Out, for each string: the ids, then their decoding with
 * and without special tokens, each as u32 count and contents (little-endian). Every decoding is
 * made token by token too and must come out the same. */
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/tokenizer_model.h"
#include "src/base/file.h"
#include "src/text/tokenizer.h"

static void stop(const vlmp_error *err)
{
    fprintf(stderr, "%s\n", err->message);
    exit(err->code);
}

static void put(const void *data, size_t count, size_t size)
{
    uint32_t n = (uint32_t)count;
    fwrite(&n, sizeof n, 1, stdout);
    fwrite(data, size, count, stdout);
}

static void decode(const vlmp_tokenizer *t, const vlmp_ids *ids, bool skip_special)
{
    vlmp_error err = {0};
    vlmp_buffer whole = {0}, pieces = {0};
    vlmp_text_stream *stream;
    if (vlmp_tokenizer_decode(t, ids->data, ids->count, skip_special, &whole, &err) != 0 ||
        vlmp_text_stream_create(&stream, t, skip_special, &err) != 0)
        stop(&err);
    for (size_t i = 0; i < ids->count; i++) {
        if (vlmp_text_stream_push(stream, ids->data[i], &pieces, &err) != 0) stop(&err);
    }
    if (vlmp_text_stream_finish(stream, &pieces, &err) != 0) stop(&err);
    vlmp_text_stream_free(stream);
    if (whole.length != pieces.length ||
        (whole.length > 0 && memcmp(whole.data, pieces.data, whole.length) != 0)) {
        fprintf(stderr, "streamed text differs\n");
        exit(1);
    }
    put(whole.data, whole.length, 1);
    vlmp_buffer_free(&whole);
    vlmp_buffer_free(&pieces);
}

static vlmp_tokenizer *open_file(const char *path)
{
    vlmp_error err = {0};
    char *json;
    size_t length;
    vlmp_tokenizer *t = NULL;
    if (vlmp_file_read(&json, &length, path, VLMP_TOKENIZER_MAX_BYTES, &err) != 0 ||
        vlmp_tokenizer_create(&t, json, length, NULL, 0, path, &err) != 0)
        stop(&err);
    free(json);
    return t;
}

static vlmp_tokenizer *open_folder(const char *path)
{
    vlmp_error err = {0};
    vlmp_arena arena = {0};
    vlmp_source_files files;
    vlmp_tokenizer *t = NULL;
    char inside[PATH_MAX];
    if (vlmp_folder_boundary(inside, sizeof inside, path, &err) != 0 ||
        vlmp_source_files_map(&files, path, inside, &arena, &err) != 0 ||
        vlmp_tokenizer_model_convert(&files, path, inside, false, &arena, &err) != 0)
        stop(&err);
    const vlmp_source_file *json = vlmp_source_files_find(&files, "tokenizer.json");
    const vlmp_source_file *config = vlmp_source_files_find(&files, "tokenizer_config.json");
    if (json == NULL) vlmp_fail(&err, VLMP_ERR_INPUT, "%s: no tokenizer", path);
    if (json == NULL ||
        vlmp_tokenizer_create(&t, json->data, json->length, config == NULL ? NULL : config->data,
                              config == NULL ? 0 : config->length, path, &err) != 0)
        stop(&err);
    vlmp_source_files_close(&files);
    vlmp_arena_free(&arena);
    return t;
}

int main(int argc, char **argv)
{
    vlmp_error err = {0};
    vlmp_path_kind kind;
    if (argc != 3) {
        fprintf(stderr, "usage: tokenize tokenizer.json|FOLDER 0|1 (special tokens) < strings > "
                        "ids\n");
        return 2;
    }
    if (vlmp_path_look(&kind, argv[1], &err) != 0) stop(&err);
    vlmp_tokenizer *t = kind == VLMP_PATH_FOLDER ? open_folder(argv[1]) : open_file(argv[1]);
    bool add_special = argv[2][0] == '1';
    uint32_t bytes;
    while (fread(&bytes, sizeof bytes, 1, stdin) == 1) {
        char *text = malloc((size_t)bytes + 1);
        if (text == NULL || fread(text, 1, bytes, stdin) != bytes) return 1;
        vlmp_ids ids = {0};
        if (vlmp_tokenizer_encode(t, text, bytes, add_special, &ids, &err) != 0) stop(&err);
        put(ids.data, ids.count, sizeof *ids.data);
        decode(t, &ids, false);
        decode(t, &ids, true);
        vlmp_ids_free(&ids);
        free(text);
    }
    vlmp_tokenizer_free(t);
    return 0;
}
