/* Writes the seeds that are files of our own, so that they follow the formats: FOLDER/calib,
 * FOLDER/ref, FOLDER/journal, FOLDER/safetensors, FOLDER/index, one small file each.
 *     make_seeds FOLDER */
#include "formats/open.h"
#include "formats/tensor_file.h"
#include "src/base/journal.h"
#include "src/calib/calibration.h"
#include "src/eval/reference.h"
#include "tests/unit/tiny_model.h"

static void need(int status, const vlmp_error *err)
{
    if (status == VLMP_OK) return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

/* Bytes of tensors that come without data: pixels. */
static int read_nothing(void *arg, size_t index, uint64_t offset, void *out, size_t length,
                        vlmp_error *err)
{
    (void)arg;
    (void)index;
    (void)offset;
    (void)err;
    memset(out, 0, length);
    return VLMP_OK;
}

static void write_tensors(const char *path, const char *key, const char *metadata,
                          const vlmp_tensor *tensors, size_t count)
{
    vlmp_error err = {0};
    vlmp_outfile file;
    need(vlmp_outfile_open(&file, path, true, &err), &err);
    need(vlmp_tensor_file_write(&file, key, metadata, tensors, count, read_nothing, NULL, &err),
         &err);
}

static void write_calibration(const char *path)
{
    static int32_t ids[] = {1, 4, 4, 4, 4, 5, 6, 7, 2};
    static uint8_t pixels[16 * 16 * 3];
    static vlmp_image_plan plan;
    static vlmp_span spans[] = {{7, 9}, {2, 3}};
    vlmp_calib_sample samples[2] = {
        {.line = 1,
         .sequence = {.length = 9,
                      .ids = ids,
                      .answer_count = 1,
                      .answers = spans,
                      .image_count = 1,
                      .plans = &plan,
                      .tiles = 1,
                      .pixels = pixels}},
        {.line = 2,
         .sequence = {.length = 3, .ids = ids + 6, .answer_count = 1, .answers = spans + 1}}};
    vlmp_source *source;
    vlmp_model model;
    vlmp_arena arena = {0};
    vlmp_tensor *tensors;
    const char *metadata;
    size_t count;
    vlmp_error err = {0};
    char audit[] = "{}";
    vlmp_calibration c = {.count = 2, .samples = samples, .audit = audit};
    static const char *const texts[2][2] = {{"prompt", "one"}, {"prompt", "two"}};
    for (size_t i = 0; i < 2; i++) {
        vlmp_sample_id(NULL, 0, texts[i], 2, false, samples[i].id);
        vlmp_sample_id(NULL, 0, texts[i], 2, true, samples[i].loose_id);
    }
    need(vlmp_model_source_open(&source, temp_path("model"), &err), &err);
    need(vlmp_model_open(&model, source, &err), &err);
    vlmp_calibration_sizes(c.sizes, &model);
    need(vlmp_identity_of(&c.model, source, &err), &err);
    need(model.config.family->plan_image(&model.config, NULL, (vlmp_shown_picture){16, 16, 1},
                                         &plan, &err),
         &err);
    need(vlmp_statistics_create(&c.statistics, &model, &err), &err);
    need(vlmp_calibration_export(&c, &model.config, &arena, &tensors, &count, &metadata, &err),
         &err);
    write_tensors(path, VLMP_CALIBRATION_KEY, metadata, tensors, count);
    vlmp_statistics_free(&c.statistics);
    vlmp_arena_free(&arena);
    vlmp_model_close(&model);
    source->close(source);
}

static void write_reference(const char *path)
{
    static int first[] = {0, 2, 3};
    static int32_t targets[] = {1, 2, 0};
    static float states[3 * 4], head[5 * 4];
    char name[] = "tiny";
    vlmp_reference r = {
        .name = name,
        .hidden = {2, first, 3, 4, targets, {.rows = 3, .dim = 4, .memory = states, .fd = -1}},
        .head = {.n = 5, .k = 4, .weight = (const void *)head, .dtype = VLMP_F32}};
    vlmp_arena arena = {0};
    vlmp_tensor *tensors;
    const char *metadata;
    size_t count;
    vlmp_error err = {0};
    need(vlmp_reference_export(&r, &arena, &tensors, &count, &metadata, &err), &err);
    write_tensors(path, VLMP_REFERENCE_KEY, metadata, tensors, count);
    vlmp_arena_free(&arena);
}

static void write_journal(const char *path)
{
    vlmp_journal *journal;
    vlmp_error err = {0};
    need(
        vlmp_journal_open(&journal, path, "model: tiny\nmethod: rtn\n", VLMP_JOURNAL_REPLACE, &err),
        &err);
    for (int i = 0; i < 3; i++) {
        need(vlmp_journal_append(journal, (uint32_t)i, "text.0", "head", 4, "some bytes", 10, &err),
             &err);
        need(vlmp_journal_commit(journal, &err), &err);
    }
    vlmp_journal_close(journal);
}

static void write_index(const char *path, const tiny_model *tiny)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL) exit(1);
    fprintf(file, "{\"metadata\":{},\"weight_map\":{");
    for (size_t i = 0; i < tiny->count; i++)
        fprintf(file, "%s\"%s\":\"model.safetensors\"", i > 0 ? "," : "", tiny->tensors[i].name);
    fprintf(file, "}}");
    if (fclose(file) != 0) exit(1);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"calib", "ref", "journal", "safetensors", "index"};
    static tiny_model tiny;
    char paths[5][4096];
    vlmp_error err = {0};
    vlmp_st_pair pair = {"format", "pt", 2};
    if (argc != 2 || temp_folder_make(NULL) != 0) return 1;
    mkdir(argv[1], 0777); /* it may exist */
    for (int i = 0; i < 5; i++) {
        snprintf(paths[i], sizeof paths[i], "%.3000s/%s", argv[1], names[i]);
        mkdir(paths[i], 0777);
        strcat(paths[i], "/seed");
    }
    tiny_make(&tiny);
    tiny_write(&tiny, "model");
    write_calibration(paths[0]);
    write_reference(paths[1]);
    write_journal(paths[2]);
    need(vlmp_safetensors_write(paths[3], true, tiny.tensors, 9, &pair, 1, NULL, NULL, &err), &err);
    write_index(paths[4], &tiny);
    tiny_free(&tiny);
    return temp_folder_remove(NULL);
}
