/* GGUF files, each in the place of the text model and in that of tower and projector. */
#include "formats/open.h"
#include "formats/packed.h"
#include "src/base/file.h"
#include "tests/fuzz/fuzz.h"

#define GOLDEN VLMP_SOURCE_ROOT "/tests/golden/import/"
#define HEADER 2048 /* bytes that hold most of a seed's */

/* Models whose other file and configuration an input meets; the first has none of the words. */
static const struct {
    const char *word, *folder;
} models[] = {
    {"", GOLDEN "gguf/"},
    {"qwen2", GOLDEN "converted/qwen2.5-vl/"},
    {"idefics3", GOLDEN "converted/idefics3-llama3/"},
};

static const char *folder_of(const uint8_t *data, size_t size)
{
    size_t i = sizeof models / sizeof *models - 1;
    while (i > 0 && memmem(data, size < HEADER ? size : HEADER, models[i].word,
                           strlen(models[i].word)) == NULL)
        i--;
    return models[i].folder;
}

static void copy(const char *folder, const char *name)
{
    vlmp_error err = {0};
    char from[1024], to[64], *bytes;
    size_t length;
    snprintf(from, sizeof from, "%s%s", folder, name);
    snprintf(to, sizeof to, "folder/%s", name);
    if (vlmp_file_read(&bytes, &length, from, 1 << 20, &err) != VLMP_OK) abort();
    fuzz_file(to, (const uint8_t *)bytes, length);
    free(bytes);
}

/* Most mutants keep their size and change a few bytes of the header, in whose lengths and offsets
 * each byte counts. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    size_t within = size < HEADER ? size : HEADER, length = 1 + seed / 8 % 16;
    if (seed % 8 == 0 || within <= length) return LLVMFuzzerMutate(data, size, capacity);
    LLVMFuzzerMutate(data + seed / 128 % (within - length), length, length);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"model.gguf", "mmproj-model.gguf"};
    const char *folder = folder_of(data, size);
    if (fuzz_folder()) mkdir(temp_path("folder"), 0700);
    copy(folder, "config.json");
    for (int i = 0; i < 2; i++) {
        char path[64];
        vlmp_error err = {0};
        vlmp_opener opener = {.gguf = true};
        vlmp_source *source;
        copy(folder, names[1 - i]);
        snprintf(path, sizeof path, "folder/%s", names[i]);
        fuzz_file(path, data, size);
        if (fuzz_was_read(vlmp_opener_open(&opener, &source, temp_path("folder/model.gguf"), &err),
                          &err))
            /* What was read is a sound packed file, but for weights that were kept. */
            fuzz_was_read(vlmp_packed_verify(source, NULL, NULL, &err), &err);
        vlmp_opener_free(&opener);
    }
    return 0;
}
