/* A .calib file of the tiny model. */
#include "formats/open.h"
#include "formats/tensor_file.h"
#include "src/calib/calibration.h"
#include "tests/fuzz/st_mutator.h"
#include "tests/unit/tiny_model.h"

static vlmp_model model;

static void open_model(void)
{
    static tiny_model tiny;
    vlmp_source *source;
    vlmp_error err = {0};
    tiny_make(&tiny);
    tiny_write(&tiny, "model");
    tiny_free(&tiny);
    if (vlmp_model_source_open(&source, temp_path("model"), &err) != VLMP_OK ||
        vlmp_model_open(&model, source, &err) != VLMP_OK)
        abort();
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    return fuzz_mutate_header(data, size, capacity, seed, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlmp_tensor_file *file;
    vlmp_calibration calibration;
    vlmp_error err = {0};
    if (fuzz_folder()) open_model();
    const char *path = fuzz_file("tiny.calib", data, size);
    if (!fuzz_was_read(vlmp_tensor_file_open(&file, path, VLMP_CALIBRATION_KEY, "hint", &err),
                       &err))
        return 0;
    int status = vlmp_calibration_import(&calibration, &model, NULL, vlmp_tensor_file_find, file,
                                         vlmp_tensor_file_metadata(file), path, &err);
    vlmp_tensor_file_close(file);
    if (fuzz_was_read(status, &err)) vlmp_calibration_free(&calibration);
    return 0;
}
